"""What a manager's clients wait for together: queues, locks and their kin, of a server's threads.

They are the standard library's classes for threads, but for one thing: a thread that waits for a
client which is gone gives up, and takes nothing. So a killed client's `get()` leaves the next item
to others.
"""

import queue
import threading
import time
from typing import Any, Callable, Optional

from . import _procession

# How soon a thread is gone that waits for a client which is gone; what somebody puts or lets go
# meanwhile is not taken, however soon that is.
_LOOK = 1.0


class ClientGone(BaseException):
    """The client that the call was for has ended: nobody wants what comes of it."""


class _Serving(threading.local):
    # The client that this thread serves.
    visitor: Any = None


serving = _Serving()


def _check() -> None:
    """Raises ClientGone if this thread's client is gone. It says nothing while it waits for an
    answer, so what can be read is the end."""
    visitor = serving.visitor
    if visitor is not None and _procession.poll(visitor.connection.fileno(), 0):
        raise ClientGone


class Condition(threading.Condition):
    """As threading's."""

    def wait(self, timeout: Optional[float] = None) -> bool:
        """Waits for a notification, for `timeout` seconds at most; says whether there was one."""
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            left = _LOOK if until is None else min(_LOOK, max(0.0, until - time.monotonic()))
            notified = super().wait(left)
            try:
                _check()
            except ClientGone:
                if notified:
                    self.notify()
                raise
            if notified or (until is not None and time.monotonic() >= until):
                return notified


class Event(threading.Event):
    """As threading's."""

    def __init__(self) -> None:
        super().__init__()
        self._cond = Condition(threading.Lock())


class Semaphore(threading.Semaphore):
    """As threading's."""

    def __init__(self, value: int = 1) -> None:
        super().__init__(value)
        self._cond = Condition(threading.Lock())


class BoundedSemaphore(threading.BoundedSemaphore):
    """As threading's."""

    def __init__(self, value: int = 1) -> None:
        super().__init__(value)
        self._cond = Condition(threading.Lock())


class Barrier(threading.Barrier):
    """As threading's. A party that is gone is one that has not come."""

    def __init__(
        self,
        parties: int,
        action: Optional[Callable[[], None]] = None,
        timeout: Optional[float] = None,
    ) -> None:
        super().__init__(parties, action, timeout)
        self._cond: Any = Condition(threading.Lock())


class Queue(queue.Queue[Any]):
    """As that of the module queue."""

    def __init__(self, maxsize: int = 0) -> None:
        super().__init__(maxsize)
        self.not_empty = Condition(self.mutex)
        self.not_full = Condition(self.mutex)
        self.all_tasks_done = Condition(self.mutex)


class Lock:
    """As threading's: whoever may release it."""

    def __init__(self) -> None:
        self._free = Condition(threading.Lock())
        self._locked = False

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Waits until nobody has it, for `timeout` seconds at most; says whether it is got."""
        with self._free:
            if not self._free.wait_for(lambda: not self._locked, _bound(blocking, timeout)):
                return False
            self._locked = True
        return True

    def release(self) -> None:
        """Lets it go."""
        with self._free:
            if not self._locked:
                raise RuntimeError("release unlocked lock")
            self._locked = False
            self._free.notify()

    def locked(self) -> bool:
        """Whether somebody has it."""
        return self._locked

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()


class RLock:
    """As threading's. It is free when the client has ended who had it, since no other may release
    it."""

    def __init__(self) -> None:
        self._free = Condition(threading.Lock())
        self._owner: Optional[int] = None
        self._count = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Waits until no other thread has it, for `timeout` seconds at most; says whether it is
        got."""
        me = threading.get_ident()
        with self._free:
            if self._owner != me:
                if not self._free.wait_for(lambda: not self._count, _bound(blocking, timeout)):
                    return False
                self._owner = me
                if serving.visitor is not None:
                    serving.visitor.at_end.append(self._let_go)
            self._count += 1
        return True

    def release(self) -> None:
        """Lets it go, once."""
        with self._free:
            if self._owner != threading.get_ident():
                raise RuntimeError("cannot release un-acquired lock")
            self._count -= 1
            if not self._count:
                self._free_it()

    def _free_it(self) -> None:
        self._owner, self._count = None, 0
        self._free.notify()
        if serving.visitor is not None:
            serving.visitor.at_end.remove(self._let_go)

    def _let_go(self) -> None:
        with self._free:
            if self._owner == threading.get_ident():
                self._free_it()

    def locked(self) -> bool:
        """Whether somebody has it."""
        return self._count > 0

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()

    # What threading.Condition asks of its lock

    def _is_owned(self) -> bool:
        return self._owner == threading.get_ident()

    def _release_save(self) -> int:
        with self._free:
            count = self._count
            self._free_it()
        return count

    def _acquire_restore(self, count: int) -> None:
        # Whoever is notified has it again, gone or not, to pass the notification on.
        visitor, serving.visitor = serving.visitor, None
        try:
            self.acquire()
            self._count = count
        finally:
            serving.visitor = visitor
        if visitor is not None:
            visitor.at_end.append(self._let_go)


def _bound(blocking: bool, timeout: Optional[float]) -> Optional[float]:
    if timeout is None:
        timeout = -1
    if not blocking:
        if timeout != -1:
            raise ValueError("can't specify a timeout for a non-blocking call")
        return 0.0
    if timeout < 0 and timeout != -1:
        raise ValueError("timeout value must be a non-negative number")
    return None if timeout < 0 else timeout


def condition(lock: Any = None) -> Condition:
    """A condition; its lock is new unless one is given, as a proxy of one of the same manager."""
    entry = getattr(lock, "_hold", None)
    found: Any = RLock() if lock is None else getattr(entry, "obj", lock)
    return Condition(found)
