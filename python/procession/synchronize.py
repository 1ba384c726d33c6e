"""Locks and their kin, by the name of the standard library's module."""

from ._procession import Barrier, BoundedSemaphore, Condition, Event, Lock, RLock, Semaphore

# The largest value of a semaphore.
SEM_VALUE_MAX = 0x7FFFFFFF

__all__ = ["Barrier", "BoundedSemaphore", "Condition", "Event", "Lock", "RLock", "Semaphore"]
