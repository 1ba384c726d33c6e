"""The words of the package, done by threads of this process instead of processes.

>>> from procession.dummy import Pool
>>> with Pool(2) as pool:
...     pool.map(str, [1, 2])
['1', '2']

Nothing is copied or pickled on its way from one to another: what one changes, all see. It is the
standard library's `multiprocessing.dummy`, but for its pool, and `Manager()`, which has sets too.
"""

import builtins
import sys
from collections.abc import Iterable
from multiprocessing.dummy import (
    Array,
    Barrier,
    BoundedSemaphore,
    Condition,
    DummyProcess,  # noqa: F401  (looked for here, as the other so marked)
    Event,
    JoinableQueue,
    Lock,
    Namespace,  # noqa: F401
    Process,
    Queue,
    RLock,
    Semaphore,
    Value,
    active_children,
    current_process,
    freeze_support,
)
from types import ModuleType
from typing import Any, Callable, Optional

from ..pool_threads import ThreadPool
from .connection import Pipe

__all__ = [
    "Array",
    "Barrier",
    "BoundedSemaphore",
    "Condition",
    "Event",
    "JoinableQueue",
    "Lock",
    "Manager",
    "Pipe",
    "Pool",
    "Process",
    "Queue",
    "RLock",
    "Semaphore",
    "Value",
    "active_children",
    "current_process",
    "freeze_support",
]

# What a manager makes, without a process of its own.
dict = builtins.dict
list = builtins.list
set = builtins.set


def Pool(
    processes: Optional[int] = None,
    initializer: Optional[Callable[..., object]] = None,
    initargs: Iterable[Any] = (),
) -> ThreadPool:
    """A pool of threads."""
    return ThreadPool(processes, initializer, initargs)


def Manager() -> ModuleType:
    """This module: what it makes is shared by all threads as it is."""
    return sys.modules[__name__]


def shutdown() -> None:
    """Nothing: as of a manager."""
