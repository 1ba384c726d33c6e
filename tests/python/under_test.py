"""The module under test: procession, or the one that PROCESSION_TEST_MODULE names.

With ``PROCESSION_TEST_MODULE=multiprocessing`` the suite runs against the standard library, which
shows whether a test asks for ordinary behaviour or for a promise of ours.
"""

import importlib
import os
from pathlib import Path

NAME = os.environ.get("PROCESSION_TEST_MODULE", "procession")
REPOSITORY = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent

mp = importlib.import_module(NAME)
METHODS = tuple(mp.get_all_start_methods())
