"""side.py, as a program that imports much."""

import numpy  # noqa: F401
import pandas  # noqa: F401
from side import main

if __name__ == "__main__":
    main()
