"""Asking for particular processors, for oneself or for a process to be."""

import os
from collections.abc import Iterable
from typing import Any, Optional

from . import _procession


def get_affinity() -> set[int]:
    """The processors that the calling thread may run on."""
    return os.sched_getaffinity(0)


def set_affinity(cpus: Iterable[int]) -> None:
    """Asks for the processors that the calling thread, and what it starts, may run on.

    Raises ValueError for an empty set, OSError if none of them exists.
    """
    os.sched_setaffinity(0, checked(cpus))


def checked(cpus: Iterable[int]) -> frozenset[int]:
    """The processors as a set; TypeError or ValueError if they can't be."""
    chosen: frozenset[Any] = frozenset(cpus)
    for cpu in chosen:
        if not isinstance(cpu, int):
            kind = type(cpu).__name__
            raise TypeError(f"affinity must be integers, the numbers of processors; got {kind}")
        if cpu < 0:
            raise ValueError(f"affinity must be numbers of processors, 0 or more; got {cpu}")
    if not chosen:
        raise ValueError("affinity needs one processor at least; got none")
    if chosen.isdisjoint(range(os.cpu_count() or 1)):
        there = f"0 to {(os.cpu_count() or 1) - 1}"
        raise ValueError(f"affinity names no processor of this machine ({there}): {sorted(chosen)}")
    return chosen


def checked_or_none(cpus: Optional[Iterable[int]]) -> Optional[frozenset[int]]:
    """As `checked`; None asks for nothing."""
    return None if cpus is None else checked(cpus)


def usable_cpus() -> int:
    """How many processors this process may use: by its affinity and its container's quota, or what
    PYTHON_CPU_COUNT or `-X cpu_count` say where the interpreter knows them."""
    count: Any = getattr(os, "process_cpu_count", None)
    said = count() if count is not None else None
    if said is not None and said != len(os.sched_getaffinity(0)):
        return int(said)
    return _procession.usable_cpus()
