"""side.py, as a program whose main module has the functions that its workers run."""

from pools import identity  # noqa: F401
from side import main

if __name__ == "__main__":
    main()
