"""The pickler of the package: the standard library's, with our own types registered with it.

It is a subclass of ForkingPickler, so reducers that others register there are honoured, and the
standard library's own pickler can carry what is ours.
"""

import copyreg
import io
from multiprocessing.reduction import ForkingPickler
from typing import Any, Callable

from . import _procession

Reducer = Callable[[Any], Any]


class _Reducers(dict[type, Reducer]):
    """What is registered at this moment: a kept pickler must see what is registered later."""

    def __missing__(self, kind: type) -> Reducer:
        extra: dict[type, Reducer] = ForkingPickler._extra_reducers  # type: ignore[attr-defined]
        try:
            return extra[kind]
        except KeyError:
            return copyreg.dispatch_table[kind]


_REDUCERS = _Reducers()


class Pickler(ForkingPickler):
    """Pickles for another process of the program."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.dispatch_table = _REDUCERS


def dumps(value: object) -> bytes:
    """The value as bytes."""
    buffer = io.BytesIO()
    Pickler(buffer, 5).dump(value)
    return buffer.getvalue()


_procession.set_pickler(Pickler)
