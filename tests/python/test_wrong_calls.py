"""Wrong calls: each raises what it raises in multiprocessing, unless its row says why not.

The rows are in `wrong_calls`, a file for each noun.
"""

import multiprocessing
import sys

import pytest
from under_test import mp
from wrong_calls import NONE, ROWS

pytestmark = [
    # What the standard library leaves open after an error is not ours to judge.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def raised_by(module, call):
    """What the call raises; NoneType if nothing."""
    try:
        call(module)
    except Exception as error:
        return type(error)
    return NONE


def is_one_of(found, expected):
    return issubclass(found, expected)


@pytest.mark.parametrize("name", ROWS)
def test_wrong_call(name):
    row = ROWS[name]
    if mp is not multiprocessing:
        found = raised_by(mp, row.call)
        assert is_one_of(found, row.ours or row.raises), found
    if sys.version_info < row.since:
        return
    theirs = raised_by(multiprocessing, row.call)
    assert is_one_of(theirs, row.raises), theirs
    if mp is not multiprocessing and row.ours is None and not isinstance(row.raises, tuple):
        assert found.__name__ == theirs.__name__, "the same, not only of the same kind"


def test_the_table_is_long_enough():
    assert len(ROWS) >= 60
    assert sum(row.ours is not None for row in ROWS.values()) <= 10
