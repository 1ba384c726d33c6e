"""The iterators over a pool's results: imap, imap_unordered."""

import itertools
import threading
from collections import deque
from collections.abc import Iterator
from multiprocessing.context import TimeoutError
from time import monotonic
from typing import TYPE_CHECKING, Any, Callable, Optional, TypeVar

from .pool_result import LOOK_AFTER, Failure, name_of
from .pool_words import ONE, ResultIterator

if TYPE_CHECKING:
    from .pool import Pool

_T = TypeVar("_T")


class Flow:
    """Jobs on their way from an input to the workers: what its reader shares with the iterator."""

    def __init__(self, pool: "Pool", ordered: bool, chunk: int, ahead: Optional[int]) -> None:
        self.settled = pool._core.follow(ordered)
        self.chunk = chunk
        self.ahead = None if ahead is None else max(1, ahead // chunk)
        # As many as the workers do, and as many again so that none waits for the input.
        self.unsettled = 2 * pool._processes
        self.jobs: dict[int, Any] = {}
        # Those of the jobs that could not be handed over.
        self.failed: deque[int] = deque()
        self.ended = False
        # What the input itself raised.
        self.error: Optional[BaseException] = None
        self._keys = itertools.count()

    def read(self, pool: "Pool", func: Callable[[Any], Any], items: Iterator[Any]) -> None:
        """What the thread does."""
        try:
            while self.settled.wait_room(self.unsettled, self.ahead):
                chunk = list(itertools.islice(items, self.chunk))
                if not chunk:
                    self.ended = True
                    break
                self._hand_over(pool, func, chunk)
        except BaseException as error:
            self.error, self.ended = error, True
        finally:
            self.settled.nudge()
            pool._input_ended()

    def _hand_over(self, pool: "Pool", func: Callable[[Any], Any], chunk: list[Any]) -> None:
        try:
            job: Any = pool._core.submit(func, ONE, chunk, len(chunk), True)
        except Exception as error:
            if pool._is_over():
                job = Failure(pool._end_error())
            elif len(chunk) > 1:
                # The one that can't be handed over fails alone.
                for item in chunk:
                    self._hand_over(pool, func, [item])
                return
            else:
                job = Failure(error)
        key = next(self._keys)
        self.jobs[key] = job
        if isinstance(job, Failure):
            self.failed.append(key)
        else:
            self.settled.add(key, job)
        self.settled.nudge()


class IMapIterator(ResultIterator[_T]):
    """An iterator over results, in the order of the input."""

    _ordered = True

    def __init__(
        self,
        pool: "Pool",
        func: Callable[[Any], Any],
        items: Iterator[Any],
        chunksize: int,
        buffersize: Optional[int],
    ) -> None:
        self._pool = pool
        self._what = f"imap of {name_of(func)}"
        self._flow = Flow(pool, self._ordered, chunksize, buffersize)
        self._results: deque[tuple[bool, Any]] = deque()
        # The next job in the order of the input.
        self._key = 0
        pool._input_begins()
        threading.Thread(
            target=self._flow.read, args=(pool, func, items), name="PoolInput", daemon=True
        ).start()

    def __iter__(self) -> "IMapIterator[_T]":
        return self

    def __next__(self, timeout: Optional[float] = None) -> _T:
        return self.next(timeout)

    def next(self, timeout: Optional[float] = None) -> _T:
        """The next result; raises what the call raised, or TimeoutError if it is not there in
        `timeout` seconds."""
        end = None if timeout is None else monotonic() + timeout
        while True:
            try:
                success, value = self._results.popleft()
                break
            except IndexError:
                pass
            left = None if end is None else max(0.0, end - monotonic())
            if not self._take(left):
                raise TimeoutError
        if success:
            result: _T = value
            return result
        raise value

    def _take(self, timeout: Optional[float]) -> bool:
        """Takes the results of the next job; False if the time is over. Raises StopIteration at
        the end."""
        key = self._key
        job = self._flow.jobs.get(key)
        if job is None:
            return self._wait(timeout)
        if not isinstance(job, Failure) and not job.wait(None, timeout, self._pool._look_after):
            return False
        if self._flow.jobs.pop(key, None) is job:
            self._key = key + 1
            self._add(job)
        return True

    def _check_end(self) -> None:
        flow = self._flow
        if flow.ended and not flow.jobs:
            error, flow.error = flow.error, None
            raise error or StopIteration

    def _wait(self, timeout: Optional[float]) -> bool:
        """Waits for a job to be handed over; False if the time is over."""
        self._check_end()
        flow = self._flow
        if self._pool._is_over() and not flow.jobs:
            raise self._pool._end_error()
        # In slices: somebody has to look whether the workers are kept.
        flow.settled.take(LOOK_AFTER if timeout is None else min(timeout, LOOK_AFTER))
        self._pool._look_after()
        return bool(flow.jobs) or flow.ended or timeout is None or timeout > LOOK_AFTER

    def _add(self, job: Any) -> None:
        if isinstance(job, Failure):
            self._results.append((False, job.error))
            return
        self._flow.settled.add_yielded(1)
        for index in range(len(job)):
            self._results.append(self._pool._outcome(job, index, self._what))

    def __del__(self) -> None:
        # Nobody takes results any more: what is handed in is done all the same.
        flow = getattr(self, "_flow", None)
        if flow is not None:
            flow.settled.add_yielded(1 << 62)


class IMapUnorderedIterator(IMapIterator[_T]):
    """An iterator over results, in the order in which they are done."""

    _ordered = False

    def _take(self, timeout: Optional[float]) -> bool:
        flow = self._flow
        if flow.failed:
            self._add(flow.jobs.pop(flow.failed.popleft()))
            return True
        self._check_end()
        slice_ = LOOK_AFTER if timeout is None else min(timeout, LOOK_AFTER)
        done = flow.settled.take(slice_)
        for key in done:
            self._add(flow.jobs.pop(key))
        if done:
            return True
        if self._pool._is_over():
            left = list(flow.jobs)
            if not left:
                return self._wait(timeout)
            self._key = min(left)
            return super()._take(timeout)
        self._pool._look_after()
        return timeout is None or timeout > slice_ or bool(flow.failed)
