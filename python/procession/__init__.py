"""Processes, queues and locks with the interface of multiprocessing, on a runtime of its own.

``import procession as mp`` in place of ``import multiprocessing as mp``.

>>> import procession as mp
>>> queue = mp.Queue()
>>> queue.put({"answer": 42})
>>> queue.get()
{'answer': 42}
"""

import sys
import typing

if not sys.platform.startswith("linux"):
    raise ImportError(
        "procession runs on Linux only so far: its arena, its futexes and its news of deaths are "
        f"Linux's; this is {sys.platform}. Use multiprocessing here."
    )

from multiprocessing.context import AuthenticationError, BufferTooShort, ProcessError, TimeoutError
from multiprocessing import reduction as reducer
from multiprocessing.process import active_children, current_process, parent_process

from ._procession import (
    Barrier,
    BoundedSemaphore,
    BrokenLockError,
    Condition,
    Event,
    JoinableQueue,
    Lock,
    Queue,
    RLock,
    Semaphore,
    SimpleQueue,
)
from .affinity import get_affinity, set_affinity
from .connection import Connection, Pipe
from .context import (
    Context,
    Manager,
    allow_connection_pickling,
    cpu_count,
    freeze_support,
    get_all_start_methods,
    get_context,
    get_logger,
    get_start_method,
    log_to_stderr,
    set_executable,
    set_forkserver_preload,
    set_start_method,
)
from .install import install
from .process import Process

if typing.TYPE_CHECKING:
    from .pool import Pool
    from .remote import PoolTerminated, RemoteError, WorkerDied
    from .sharedctypes import Array, RawArray, RawValue, Value

__all__ = [
    "Array",
    "AuthenticationError",
    "Barrier",
    "BoundedSemaphore",
    "BrokenLockError",
    "BufferTooShort",
    "Condition",
    "Connection",
    "Context",
    "Event",
    "JoinableQueue",
    "Lock",
    "Manager",
    "Pipe",
    "Pool",
    "PoolTerminated",
    "Process",
    "ProcessError",
    "Queue",
    "RLock",
    "RawArray",
    "RawValue",
    "RemoteError",
    "Semaphore",
    "SimpleQueue",
    "TimeoutError",
    "Value",
    "WorkerDied",
    "active_children",
    "allow_connection_pickling",
    "cpu_count",
    "current_process",
    "freeze_support",
    "get_affinity",
    "get_all_start_methods",
    "get_context",
    "get_logger",
    "get_start_method",
    "install",
    "log_to_stderr",
    "parent_process",
    "reducer",
    "set_affinity",
    "set_executable",
    "set_forkserver_preload",
    "set_start_method",
]

# Levels of the logger, beside those of logging.
SUBDEBUG = 5
SUBWARNING = 25

# What they need takes a while to import, and not every program has a pool.
_LATER = {
    "Array": "sharedctypes",
    "Pool": "pool",
    "PoolTerminated": "remote",
    "RawArray": "sharedctypes",
    "RawValue": "sharedctypes",
    "RemoteError": "remote",
    "Value": "sharedctypes",
    "WorkerDied": "remote",
}


def __getattr__(name: str) -> typing.Any:
    import importlib

    module = _LATER.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{module}", __name__), name)
    globals()[name] = value
    return value
