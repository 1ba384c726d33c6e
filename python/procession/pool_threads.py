"""`ThreadPool`: a pool whose workers are threads of this process."""

import itertools
import queue
import threading
import time
import warnings
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from multiprocessing import pool as standard
from multiprocessing import util
from multiprocessing.context import TimeoutError
from multiprocessing.dummy import DummyProcess
from typing import Any, Callable, Optional, TypeVar

from .affinity import usable_cpus
from .pool_words import ONE, PoolWords, ResultIterator
from .remote import PoolTerminated

_numbers = itertools.count(1)
RUN, CLOSE, TERMINATE = "RUN", "CLOSE", "TERMINATE"
_T = TypeVar("_T")
# What came of a call: (whether it returned, the result or the exception).
Outcome = tuple[bool, Any]


def _call(func: Callable[..., Any], args: Iterable[Any], kwds: Mapping[str, Any]) -> Outcome:
    try:
        return True, func(*args, **kwds)
    except BaseException as error:
        # SystemExit too is the task's own affair.
        return False, error


class _Crew:
    """What the threads share with the pool. They know nothing of the pool itself, so that one which
    is forgotten ends."""

    def __init__(self, initializer: Optional[Callable[..., object]], initargs: Any) -> None:
        self.initializer, self.initargs = initializer, initargs
        self.tasks: queue.SimpleQueue[Optional[Callable[[], None]]] = queue.SimpleQueue()
        self.changed = threading.Condition()
        self.unfinished = 0
        # The threads that do something.
        self.busy: set[int] = set()
        self.closed = False
        # Why nothing more is done: PoolTerminated, or what the initializer raised.
        self.error: Optional[BaseException] = None
        self.waiting: weakref.WeakSet[Any] = weakref.WeakSet()
        # One callback at a time.
        self.calling = threading.RLock()

    def work(self) -> None:
        """What a thread does."""
        if self.initializer is not None:
            success, error = _call(self.initializer, self.initargs, {})
            if not success:
                self.end(error)
        while True:
            task = self.tasks.get()
            if task is None:
                # For the next thread.
                self.tasks.put(None)
                return
            self.busy.add(threading.get_ident())
            if self.error is None:
                task()
            self.busy.discard(threading.get_ident())
            del task

    def call_each(self, func: Callable[..., Any], some: Iterable[Any]) -> Optional[list[Outcome]]:
        """What comes of some calls; None if the pool ends meanwhile."""
        outcomes = []
        for args in some:
            if self.error is not None:
                return None
            outcomes.append(_call(func, args, {}))
        return outcomes

    def begin(self, task: Callable[[], None], result: Any) -> None:
        """Hands over one more task, for a result that ends with the pool if need be."""
        with self.changed:
            self.unfinished += 1
            self.waiting.add(result)
            error = self.error
        if error is not None:
            result.pool_ended(error)
        self.tasks.put(task)

    def input_begins(self) -> None:
        """Tasks come from an input until it ends, whether the pool is closed or not."""
        with self.changed:
            self.unfinished += 1

    def finish(self) -> None:
        """One task is done, or one input has ended."""
        with self.changed:
            self.unfinished -= 1
            self.changed.notify_all()
            self._release()

    def close(self) -> None:
        """No more tasks come."""
        with self.changed:
            self.closed = True
            self._release()

    def _release(self) -> None:
        if self.closed and (self.unfinished == 0 or self.error is not None):
            self.tasks.put(None)

    def end(self, error: BaseException) -> None:
        """Nothing more is done; who waits for a result gets the error."""
        with self.changed:
            if self.error is None:
                self.error = error
            waiting = list(self.waiting)
            self.changed.notify_all()
        for result in waiting:
            result.pool_ended(self.error)


class ApplyResult(standard.ApplyResult[_T]):
    """The result of a call that is made by a thread."""

    def __init__(
        self,
        crew: _Crew,
        callback: Optional[Callable[[Any], object]] = None,
        error_callback: Optional[Callable[[BaseException], object]] = None,
    ) -> None:
        self._crew = crew
        self._callback, self._error_callback = callback, error_callback
        self._outcome: Optional[Outcome] = None
        self._event = threading.Event()
        self._settling = threading.Lock()

    def ready(self) -> bool:
        """Whether there is a result, or an exception."""
        return self._event.is_set()

    def successful(self) -> bool:
        """Whether there is a result; ValueError while it is not ready."""
        if self._outcome is None or not self.ready():
            raise ValueError(f"{self!r} not ready")
        return self._outcome[0]

    def wait(self, timeout: Optional[float] = None) -> None:
        """Waits until it is ready, for `timeout` seconds at most."""
        self._event.wait(timeout)

    def get(self, timeout: Optional[float] = None) -> _T:
        """The result; raises what the call raised, or TimeoutError if it is not ready in `timeout`
        seconds."""
        self.wait(timeout)
        if self._outcome is None or not self.ready():
            raise TimeoutError
        success, value = self._outcome
        if not success:
            raise value
        result: _T = value
        return result

    def pool_ended(self, error: BaseException) -> None:
        """Nothing will come of it any more."""
        self._settle((False, error))

    def _settle(self, outcome: Outcome) -> None:
        with self._settling:
            if self._outcome is not None:
                return
            self._outcome = outcome
        call = self._callback if outcome[0] else self._error_callback
        if call is not None:
            with self._crew.calling:
                success, error = _call(call, (outcome[1],), {})
            if not success:
                thread, hook = threading.current_thread(), threading.excepthook
                hook(threading.ExceptHookArgs((type(error), error, error.__traceback__, thread)))
        self._event.set()


AsyncResult = ApplyResult


class MapResult(ApplyResult[list[_T]], standard.MapResult[_T]):
    """The results of a call that is made once for each element of a list."""

    def __init__(self, crew: _Crew, items: list[Any], chunk: int, *callbacks: Any) -> None:
        super().__init__(crew, *callbacks)
        self._outcomes: list[Any] = [None] * len(items)
        self._left = -(-len(items) // chunk)
        if not items:
            self._settle((True, []))

    def chunk_done(self, start: int, outcomes: list[Outcome]) -> None:
        """Some elements are done."""
        with self._settling:
            self._outcomes[start : start + len(outcomes)] = outcomes
            self._left -= 1
            if self._left:
                return
        failed = next((outcome for outcome in self._outcomes if not outcome[0]), None)
        self._settle(failed or (True, [value for _, value in self._outcomes]))


class IMapIterator(ResultIterator[Any]):
    """An iterator over results, in the order of the input."""

    _ordered = True

    def __init__(
        self,
        crew: _Crew,
        func: Callable[[Any], Any],
        items: Iterator[Any],
        chunk: int,
        buffersize: Optional[int],
    ) -> None:
        self._crew, self._func, self._input, self._chunk = crew, func, items, chunk
        # How many chunks are read ahead of the iterator.
        self._ahead = None if buffersize is None else max(1, buffersize // chunk)
        self._changed = threading.Condition()
        self._results: dict[int, list[Outcome]] = {}
        self._order: deque[int] = deque()
        self._ready: deque[Outcome] = deque()
        # Chunks read, chunks whose results were taken, and whether somebody is to read the next
        # one.
        self._read = self._taken = 0
        self._reading = False
        self._ended = False
        self._error: Optional[BaseException] = None
        crew.input_begins()
        self._go_on()

    def _go_on(self) -> None:
        """Has a thread read on, unless one does, or enough results wait for the iterator."""
        with self._changed:
            full = self._ahead is not None and self._read - self._taken >= self._ahead
            if self._reading or self._ended or full:
                return
            self._reading = True
        self._crew.begin(self._work, self)

    def _work(self) -> None:
        """What a thread does: it reads a chunk of the input, lets another one read on, and
        calls."""
        try:
            key, chunk = self._read_chunk()
            if chunk:
                self._go_on()
                outcomes = self._crew.call_each(self._func, ((item,) for item in chunk))
                if outcomes is None:
                    return
                with self._changed:
                    self._results[key] = outcomes
                    if not self._ordered:
                        self._order.append(key)
                    self._changed.notify_all()
        finally:
            self._crew.finish()

    def _read_chunk(self) -> tuple[int, list[Any]]:
        chunk: list[Any] = []
        error = None
        try:
            for item in itertools.islice(self._input, self._chunk):
                chunk.append(item)
        except BaseException as raised:
            # A chunk that is not complete is not done, as in a Pool.
            chunk, error = [], raised
        with self._changed:
            key, self._reading = self._read, False
            if chunk:
                self._read += 1
            if error is not None or len(chunk) < self._chunk:
                self._ended, self._error = True, error
            self._changed.notify_all()
        if self._ended:
            self._crew.finish()
        return key, chunk

    def pool_ended(self, error: BaseException) -> None:
        """Nothing more will come."""
        with self._changed:
            self._changed.notify_all()

    def __iter__(self) -> "IMapIterator":
        return self

    def __next__(self, timeout: Optional[float] = None) -> Any:
        return self.next(timeout)

    def next(self, timeout: Optional[float] = None) -> Any:
        """The next result; raises what the call raised, or TimeoutError if it is not there in
        `timeout` seconds."""
        until = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while not self._ready:
                key = self._next_key()
                if key is not None:
                    self._ready.extend(self._results.pop(key))
                    self._taken += 1
                    break
                if self._ended and self._taken == self._read:
                    error, self._error = self._error, None
                    raise error or StopIteration
                if self._crew.error is not None:
                    raise self._crew.error
                left = None if until is None else until - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError
                self._changed.wait(left)
            success, value = self._ready.popleft()
        self._go_on()
        if not success:
            raise value
        return value

    def __del__(self) -> None:
        # Nobody takes results any more: what is handed in is done all the same.
        self._ahead = None
        self._go_on()

    def _next_key(self) -> Optional[int]:
        return self._taken if self._taken in self._results else None


class IMapUnorderedIterator(IMapIterator):
    """An iterator over results, in the order in which they are done."""

    _ordered = False

    def _next_key(self) -> Optional[int]:
        return self._order.popleft() if self._order else None


class ThreadPool(PoolWords, standard.ThreadPool):
    """So many threads, which do the tasks that are handed to the pool, with the words of `Pool`.

    `processes` is the number of threads: of processors that this process may use, if it is None. If
    `initializer(*initargs)`, which each calls first, raises, all pending and later calls raise
    that.
    """

    def __init__(
        self,
        processes: Optional[int] = None,
        initializer: Optional[Callable[..., object]] = None,
        initargs: Iterable[Any] = (),
    ) -> None:
        # Looked at by __del__, whatever happens here.
        self._state = CLOSE
        if processes is None:
            processes = usable_cpus()
        if processes < 1:
            raise ValueError("Number of processes must be at least 1")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        self._processes = processes
        self._crew = _Crew(initializer, tuple(initargs))
        self._pool = [self._start() for _ in range(processes)]
        self._terminate = util.Finalize(self, _end, args=(self._crew,), exitpriority=15)
        self._state = RUN

    def _start(self) -> Any:
        thread = DummyProcess(target=self._crew.work, name=f"PoolWorker-{next(_numbers)}")
        thread.daemon = True
        thread.start()
        return thread

    def _check_running(self) -> None:
        if self._state != RUN:
            raise ValueError("Pool not running")
        if self._crew.error is not None:
            raise self._crew.error

    def close(self) -> None:
        """Takes no more tasks; threads end when all are done."""
        util.debug("closing pool")
        if self._state == RUN:
            self._state = CLOSE
            self._crew.close()

    def terminate(self) -> None:
        """Ends the pool at once: what is not done raises PoolTerminated. What a thread does at this
        moment it does to its end, but nobody gets its result."""
        util.debug("terminating pool")
        self._state = TERMINATE
        self._terminate()

    def join(self) -> None:
        """Waits for the end of all threads. To be called after close() or terminate(); after
        terminate() it does not wait for those that still do something, which nothing can end."""
        if self._state == RUN:
            raise ValueError("Pool is still running")
        for thread in self._pool:
            # What is handed in is begun at once, and so before a terminate() that follows.
            if self._state == CLOSE or thread.ident not in self._crew.busy:
                thread.join()

    def __exit__(self, *error: object) -> None:
        self.terminate()

    def __del__(self, _warn: Any = warnings.warn, RUN: str = RUN) -> None:
        if self._state == RUN:
            _warn(f"unclosed running multiprocessing pool {self!r}", ResourceWarning, source=self)

    # Tasks

    def apply_async(
        self,
        func: Callable[..., _T],
        args: Iterable[Any] = (),
        kwds: Optional[Mapping[str, Any]] = None,
        callback: Optional[Callable[[_T], object]] = None,
        error_callback: Optional[Callable[[BaseException], object]] = None,
    ) -> ApplyResult[_T]:
        """Hands func(*args, **kwds) to the threads, without waiting. When it is done, that thread
        calls `callback` with the result or `error_callback` with the exception."""
        self._check_running()
        crew, args, kwds = self._crew, tuple(args), dict(kwds or {})
        result: ApplyResult[_T] = ApplyResult(crew, callback, error_callback)

        def work() -> None:
            try:
                result._settle(_call(func, args, kwds))
            finally:
                crew.finish()

        crew.begin(work, result)
        return result

    def _map_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Any],
        mode: int,
        chunksize: Optional[int] = None,
        callback: Optional[Callable[[Any], object]] = None,
        error_callback: Optional[Callable[[BaseException], object]] = None,
    ) -> MapResult[Any]:
        self._check_running()
        items: list[Any] = [(item,) for item in iterable] if mode == ONE else list(iterable)
        crew, chunk = self._crew, self._chunk_for(len(items), chunksize)
        result: MapResult[Any] = MapResult(crew, items, chunk, callback, error_callback)

        def work(start: int) -> None:
            try:
                outcomes = crew.call_each(func, items[start : start + chunk])
                if outcomes is not None:
                    result.chunk_done(start, outcomes)
            finally:
                crew.finish()

        for start in range(0, len(items), chunk):
            crew.begin(lambda start=start: work(start), result)  # type: ignore[misc]
        return result

    def _imap(
        self,
        ordered: bool,
        func: Callable[..., Any],
        items: Iterator[Any],
        chunk: int,
        buffersize: Optional[int],
    ) -> IMapIterator:
        kind = IMapIterator if ordered else IMapUnorderedIterator
        return kind(self._crew, func, items, chunk, buffersize)


def _end(crew: _Crew) -> None:
    crew.end(PoolTerminated("the pool was terminated before the task was done"))
    crew.close()
