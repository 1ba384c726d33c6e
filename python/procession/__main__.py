"""`python -m procession COMMAND`: what the package offers at the command line."""

import argparse
import sys

from .tour import cli as tour


def main() -> int:
    """Run the command that was asked for; its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m procession", description="Processes that work together, built on Rust."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    about = "find near-duplicate files, first with one process, then with several"
    tour.add_arguments(commands.add_parser("tour", help=about, description=about.capitalize()))
    options = parser.parse_args()
    code: int = options.run(options)
    return code


if __name__ == "__main__":
    sys.exit(main())
