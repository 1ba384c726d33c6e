"""`python -m procession COMMAND`: what the package offers at the command line."""

import argparse
import sys


def main() -> int:
    """Run the command that was asked for; its exit code."""
    if sys.argv[1:2] == ["run"]:
        # What follows are the program's own arguments.
        from .run import main as run

        return run(sys.argv[2:])
    from .tour import cli as tour

    parser = argparse.ArgumentParser(
        prog="python -m procession", description="Processes that work together, built on Rust."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    about = "run a program with procession in the place of multiprocessing"
    commands.add_parser("run", help=about, description=about.capitalize())
    about = "find near-duplicate files, first with one process, then with several"
    tour.add_arguments(commands.add_parser("tour", help=about, description=about.capitalize()))
    options = parser.parse_args()
    code: int = options.run(options)
    return code


if __name__ == "__main__":
    sys.exit(main())
