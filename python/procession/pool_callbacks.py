"""The callbacks of a pool's calls."""

import itertools
import os
import threading
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any, Optional, Union

from .pool_result import LOOK_AFTER, OVER, ApplyResult, Failure

if TYPE_CHECKING:
    from . import _procession
    from .pool import Pool


class Callbacks:
    """Calls callbacks in order of completion, in one thread of this process."""

    def __init__(self, pool: "Pool") -> None:
        self._core = pool._core
        self._look_after = weakref.WeakMethod(pool._look_after)
        self._settled = pool._core.follow()
        self._guard = threading.Lock()
        self._results: dict[int, ApplyResult[Any]] = {}
        self._failed: deque[int] = deque()
        self._keys = itertools.count()
        self._thread: Optional[threading.Thread] = None
        self._has_ended = False
        self._owner = os.getpid()

    def add(self, result: ApplyResult[Any], job: "Union[_procession.PoolJob, Failure]") -> None:
        """The callback of this result is to be called."""
        with self._guard:
            if not self._has_ended:
                key = next(self._keys)
                self._results[key] = result
                if isinstance(job, Failure):
                    self._failed.append(key)
                    self._settled.nudge()
                else:
                    self._settled.add(key, job)
                if self._thread is None:
                    self._thread = threading.Thread(
                        target=self._run, name="PoolCallbacks", daemon=True
                    )
                    self._thread.start()
                return
        self._conclude(result)

    def is_caller(self) -> bool:
        """Whether it is the thread that calls callbacks who asks."""
        return threading.current_thread() is self._thread

    def join(self) -> None:
        """Waits until all were called, in this process, after the pool's end."""
        if self._thread is not None and self._owner == os.getpid() and not self.is_caller():
            self._thread.join()

    def _run(self) -> None:
        over = False
        while not over:
            # Asked first: what was settled before the end is found after it.
            over = self._core.state in OVER
            keys = self._settled.take(LOOK_AFTER)
            while self._failed:
                keys.append(self._failed.popleft())
            for key in keys:
                self._results.pop(key)._call_back()
            look_after = self._look_after()
            if look_after is not None and not keys:
                look_after()
            del look_after
        with self._guard:
            self._has_ended = True
            rest, self._results = self._results, {}
        for result in rest.values():
            self._conclude(result)

    def _conclude(self, result: ApplyResult[Any]) -> None:
        """The pool has ended before this one was taken."""
        job = result._job
        if self._core.state != "terminated" or job is None or job.is_settled():
            result._call_back()
        else:
            # Its task will not be done: who waits learns that.
            assert result._called is not None
            result._called.set()
