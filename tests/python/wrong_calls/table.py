"""What the rows share: how one is written, and what they are made of.

Each row is a call on a module, which is either; `ours` is where we differ, and why.
"""

import importlib
from typing import Any, Callable, NamedTuple, Optional


class Row(NamedTuple):
    """A wrong call, what it raises, and what it raises here if that is not the same."""

    call: Callable[[Any], Any]
    raises: type
    ours: Optional[type] = None
    why: str = ""
    # Python versions before it look at the call less closely, and are not asked.
    since: tuple[int, int] = (3, 9)


ROWS: dict[str, Row] = {}


def wrong(raises, ours=None, why="", *, since=(3, 9)):
    """The function is a row: it makes a wrong call on the module that it is given."""
    assert (ours is None) == (not why)

    def add(call):
        assert call.__name__ not in ROWS
        ROWS[call.__name__] = Row(call, raises, ours, why, since)
        return call

    return add


def submodule(m, name):
    """A module of the package."""
    return importlib.import_module(f"{m.__name__}.{name}")


def nothing():
    """A target."""


def fail():
    """A task."""
    raise LookupError("a task's own")


unpicklable = lambda: None  # noqa: E731
NONE: type = type(None)  # it raises nothing
