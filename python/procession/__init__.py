"""Processes, queues and locks with the interface of multiprocessing, on a runtime of its own.

``import procession as mp`` in place of ``import multiprocessing as mp``.

>>> import procession as mp
>>> queue = mp.Queue()
>>> queue.put({"answer": 42})
>>> queue.get()
{'answer': 42}

Processes:
    Process - a process that calls a function, or the run() of a subclass.
    active_children - the children that have not ended.
    current_process - the process that asks.
    parent_process - the process that started the one that asks; None in the first one.
    cpu_count - the number of processors of the machine.
    get_affinity - the processors that a process may run on.
    set_affinity - says on which processors a process may run.
    freeze_support - lets a program start processes that was made one executable file.

Start methods:
    get_context - the words of this package with one start method.
    Context - what get_context returns.
    get_all_start_methods - the start methods that there are, the default one first.
    get_start_method - the start method of processes whose context has none of its own.
    set_start_method - chooses it, once.
    set_executable - the interpreter that is run for a new process.
    set_forkserver_preload - the modules that processes of forkserver find imported.

What passes between processes:
    Queue - first in, first out, many producers, many consumers.
    JoinableQueue - a queue that knows how much of the work that was put into it is not done.
    SimpleQueue - a queue with the fewest words.
    Pipe - two connected ends.
    Connection - an end of a pipe, or of a connection to a Listener.

What keeps them in step:
    Lock - one holder at a time; breaks when the holder is killed.
    RLock - a lock that its holder may acquire again.
    Semaphore - a counter that is never below zero.
    BoundedSemaphore - a semaphore that never passes the value that it began with.
    Event - set by one, waited for by others.
    Condition - waiters that are let go one by one, oldest first, or all at once.
    Barrier - all pass when all have come.

What they share:
    Value - a number or structure in shared memory, with a lock.
    Array - an array in shared memory, with a lock.
    RawValue - a number or structure in shared memory.
    RawArray - an array in shared memory.
    Manager - a process that keeps objects for others.

Pools:
    Pool - workers that run tasks.

Errors:
    ProcessError - what the next three are kinds of.
    AuthenticationError - the other end of a connection has another key.
    BufferTooShort - a message is longer than the buffer that it shall be received into.
    TimeoutError - a result is not there in time.
    BrokenLockError - the process that held the lock was killed.
    WorkerDied - the worker that ran a task was killed or ended.
    PoolTerminated - the pool was ended before the task was done.
    RemoteError - what a task raised, where the exception itself could not be sent.

Logging:
    get_logger - the logger that the runtime's own messages go to.
    log_to_stderr - the same logger, made to write to the standard error stream.

In the place of multiprocessing:
    install - puts procession there, for what is imported from then on, here and in children.
    reducer - the module whose functions say how objects are pickled.
    allow_connection_pickling - does nothing: connections can be pickled.
"""

import sys
import typing

if not sys.platform.startswith("linux"):
    raise ImportError(
        "procession runs on Linux only so far: its arena, its futexes and its news of deaths are "
        f"Linux's; this is {sys.platform}. Use multiprocessing here."
    )

from multiprocessing.context import AuthenticationError, BufferTooShort, ProcessError, TimeoutError
from multiprocessing.process import active_children, current_process, parent_process

from . import reduction, util  # noqa: F401  (multiprocessing has it among its names)
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
    from .connection import Connection, Pipe
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

reducer = reduction

# Levels of the logger, beside those of logging.
SUBDEBUG = 5
SUBWARNING = 25

# What they need takes a while to import, and not every program has a pool, nor every child a pipe.
_LATER = {
    "Array": "sharedctypes",
    "Connection": "connection",
    "Pipe": "connection",
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


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
