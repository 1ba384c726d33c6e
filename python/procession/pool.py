"""`Pool`: workers that call functions, as multiprocessing.Pool has them."""

import itertools
import os
import signal
import threading
import warnings
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from multiprocessing import pool as _pool
from multiprocessing import process, util
from multiprocessing.context import BaseContext, TimeoutError
from multiprocessing.pool import MaybeEncodingError  # noqa: F401  (it is looked for here)
from time import monotonic
from typing import Any, Callable, Optional

from . import _procession
from .keeper import Plan, keep
from .remote import PoolTerminated, WorkerDied, pack

# How the function takes its argument: see PoolCore.submit.
_ONE, _STAR, _CALL = 0, 1, 2

# After so many keepers that ended before they had shown up, the pool is given up.
_KEEPERS_TRIED = 3
# How a worker ends that ran a task when its pool was terminated.
_ENDED_BY_US = (-signal.SIGTERM, -signal.SIGKILL)
# What busy workers get to end, in seconds, before they are killed.
_GRACE = 1.0
# So often, in seconds, those look after the keeper who wait for more than one job.
_LOOK_AFTER = 0.1
# The states in which nothing more is done.
_OVER = ("ended", "terminated", "broken")


class ApplyResult(_pool.ApplyResult):  # type: ignore[type-arg]
    """The result of a call that is made by a worker."""

    def __init__(
        self,
        pool: "Pool",
        job: "_procession.PoolJob | _Failure",
        what: str,
        callback: Optional[Callable[[Any], object]] = None,
        error_callback: Optional[Callable[[BaseException], object]] = None,
    ) -> None:
        self._pool = pool
        self._job: Optional[_procession.PoolJob] = None
        self._what = what
        self._callback = callback
        self._error_callback = error_callback
        self._success: Optional[bool] = None
        self._value: Any = None
        if isinstance(job, _Failure):
            self._success, self._value = False, job.error
        else:
            self._job = job
        # Set when the callbacks were called, where there are any.
        self._called: Optional[threading.Event] = None
        if callback is not None or error_callback is not None:
            self._called = threading.Event()
            pool._callbacks.add(self, job)

    def ready(self) -> bool:
        """Whether there is a result, or an exception."""
        called = self._called
        if called is not None and not called.is_set() and not self._pool._callbacks.is_caller():
            return False
        return self._success is not None or self._settle()

    def successful(self) -> bool:
        """Whether there is a result; ValueError while it is not ready."""
        if not self.ready():
            raise ValueError(f"{self!r} not ready")
        return bool(self._success)

    def wait(self, timeout: Optional[float] = None) -> None:
        """Waits until it is ready, for `timeout` seconds at most."""
        end = None if timeout is None else monotonic() + timeout
        job = self._job  # another thread may settle it meanwhile
        if job is not None and not job.wait(None, timeout, self._pool._look_after):
            return
        called = self._called
        if called is not None and not self._pool._callbacks.is_caller():
            called.wait(None if end is None else max(0.0, end - monotonic()))
        self._settle()

    def get(self, timeout: Optional[float] = None) -> Any:
        """The result; raises what the call raised, or WorkerDied if its worker died, or TimeoutError if it is not
        ready in `timeout` seconds."""
        if self._success is None or self._called is not None:
            self.wait(timeout)
            if not self.ready():
                raise TimeoutError
        if self._success:
            return self._value
        raise self._value

    def _settle(self) -> bool:
        """Takes the result out of the job, if it is settled."""
        job = self._job
        if job is None:
            return True
        if not job.is_settled() and not self._pool._is_over():
            return False
        success, value = self._outcome(job)
        if self._job is not None:
            self._value, self._success, self._job = value, success, None
        return True

    def _outcome(self, job: "_procession.PoolJob") -> tuple[bool, Any]:
        return self._pool._outcome(job, 0, self._what)

    def _call_back(self) -> None:
        """Calls the callback that is due."""
        self._settle()
        call = self._callback if self._success else self._error_callback
        try:
            if call is not None:
                call(self._value)
        except BaseException as error:
            thread = threading.current_thread()
            hook = threading.excepthook
            hook(threading.ExceptHookArgs((type(error), error, error.__traceback__, thread)))
        finally:
            assert self._called is not None
            self._called.set()


AsyncResult = ApplyResult


class MapResult(ApplyResult):
    """The results of a call that is made once for each element of a list."""

    def _outcome(self, job: "_procession.PoolJob") -> tuple[bool, Any]:
        results = job.results()
        if isinstance(results, list):
            return True, results
        return self._pool._outcome(job, results, self._what)


class _Failure:
    """Stands for a job that could not be handed over."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


class _Callbacks:
    """Calls callbacks in order of completion, in one thread of this process."""

    def __init__(self, pool: "Pool") -> None:
        self._core = pool._core
        self._look_after = weakref.WeakMethod(pool._look_after)
        self._settled = pool._core.follow()
        self._guard = threading.Lock()
        self._results: dict[int, ApplyResult] = {}
        self._failed: deque[int] = deque()
        self._keys = itertools.count()
        self._thread: Optional[threading.Thread] = None
        self._has_ended = False
        self._owner = os.getpid()

    def add(self, result: ApplyResult, job: "_procession.PoolJob | _Failure") -> None:
        with self._guard:
            if not self._has_ended:
                key = next(self._keys)
                self._results[key] = result
                if isinstance(job, _Failure):
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
        return threading.current_thread() is self._thread

    def join(self) -> None:
        if self._thread is not None and self._owner == os.getpid() and not self.is_caller():
            self._thread.join()

    def _run(self) -> None:
        over = False
        while not over:
            # Asked first: what was settled before the end is found after it.
            over = self._core.state in _OVER
            keys = self._settled.take(_LOOK_AFTER)
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

    def _conclude(self, result: ApplyResult) -> None:
        """The pool has ended before this one was taken."""
        job = result._job
        if self._core.state != "terminated" or job is None or job.is_settled():
            result._call_back()
        else:
            # Its task will not be done: who waits learns that.
            assert result._called is not None
            result._called.set()


class Pool(_pool.Pool):
    """So many worker processes, which do the tasks that are handed to the pool.

    A worker that dies costs the task that it ran, which raises WorkerDied; another one takes its
    place. `processes` is the number of processors that this process may use, if it is None.
    """

    _pool: Any

    def __init__(
        self,
        processes: Optional[int] = None,
        initializer: Optional[Callable[..., object]] = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: Optional[int] = None,
        context: Optional[BaseContext] = None,
    ) -> None:
        if processes is None:
            processes = _procession.usable_cpus()
        if processes < 1:
            raise ValueError("Number of processes must be at least 1")
        if maxtasksperchild is not None and (
            not isinstance(maxtasksperchild, int) or maxtasksperchild <= 0
        ):
            raise ValueError("maxtasksperchild must be a positive int or None")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        if context is None:
            from .context import get_context

            context = get_context()
        self._ctx = context
        self._processes = processes
        method: str = context.get_start_method()
        current: Any = process.current_process()
        self._plan = Plan(
            name=_PREFIXES[method] + "PoolWorker",
            identity=current._identity,
            initializer=initializer,
            initargs=tuple(initargs),
            limit=maxtasksperchild,
            reseed=method != "fork",
        )
        self._core = _procession.PoolCore(processes)
        self._owner = os.getpid()
        self._closing = False
        self._keepers: list[Any] = []
        self._failed_keepers = 0
        self._guard = threading.Lock()
        self._inputs = 0
        self._iterators: weakref.WeakSet[IMapIterator] = weakref.WeakSet()
        self._callbacks_of = {self._owner: _Callbacks(self)}
        self._start_keeper()
        self._terminate = util.Finalize(
            self, _end, args=(self._core, self._keepers), exitpriority=15
        )

    # State

    @property
    def _callbacks(self) -> _Callbacks:
        pid = os.getpid()
        try:
            return self._callbacks_of[pid]
        except KeyError:
            # A process that was forked since: it has no thread for callbacks yet.
            return self._callbacks_of.setdefault(pid, _Callbacks(self))

    @property
    def _state(self) -> str:
        state = self._core.state
        if state == "open":
            return "CLOSE" if self._closing else "RUN"
        return "CLOSE" if state in ("closed", "ended") else "TERMINATE"

    @property
    def _pool(self) -> list["_Worker"]:  # type: ignore[no-redef]
        self._look_after()
        return [_Worker(pid) for pid in self._core.workers(10.0)]

    def _is_over(self) -> bool:
        return self._core.state in _OVER

    def _check_running(self) -> None:
        if self._core.state == "broken":
            raise self._end_error()
        if self._state != "RUN":
            raise ValueError("Pool not running")

    def _end_error(self) -> BaseException:
        if self._core.state == "broken":
            error = self._core.error()
            if error is not None:
                return error
            return RuntimeError(
                "the pool's workers died again and again before they were ready; look at what the "
                "initializer and the import of the main module do"
            )
        return PoolTerminated("the pool was terminated before the task was done")

    def _outcome(self, job: "_procession.PoolJob", index: int, what: str) -> tuple[bool, Any]:
        """What an element came to: (whether it has a result, the result or an exception)."""
        outcome = job.outcome(index)
        if outcome is None:
            return False, self._end_error()
        success, value = outcome
        if not success and isinstance(value, tuple):
            pid, exitcode = value
            if self._core.state == "terminated" and exitcode in _ENDED_BY_US:
                return False, self._end_error()
            task = what if len(job) == 1 else f"{what}, element {index}"
            return False, WorkerDied(task, pid, exitcode)
        return success, value

    # The processes

    def _start_keeper(self) -> None:
        kind: Any = self._ctx.Process  # type: ignore[attr-defined]
        keeper = kind(target=keep, args=(self._core, self._plan))
        keeper.start()
        # It is the pool's, not one of the program's own children.
        process._children.discard(keeper)  # type: ignore[attr-defined]
        self._keepers.append(keeper)

    def _look_after(self) -> None:
        """Called by who waits when nobody may keep the workers: starts a keeper if that is so."""
        if self._is_over():
            return
        mine = [keeper for keeper in self._keepers if keeper._parent_pid == os.getpid()]
        starting = bool(mine) and mine[-1].is_alive()
        if self._core.has_keeper():
            if starting or not self._core.is_abandoned():
                return
        else:
            if starting or not mine:
                return
            self._failed_keepers += 1
            if self._failed_keepers >= _KEEPERS_TRIED:
                code = mine[-1].exitcode
                self._core.set_error(
                    pack(RuntimeError(f"the pool's processes can't be started: exit code {code}"))
                )
                self._core.give_up()
                return
        with self._guard:
            if self._keepers[-1:] == mine[-1:] or not mine:
                # It replaces one that died: no matter to warn of threads that there are by now.
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", DeprecationWarning)
                    self._start_keeper()

    def close(self) -> None:
        """Takes no more tasks; workers end when all are done."""
        util.debug("closing pool")  # type: ignore[attr-defined]
        with self._guard:
            self._closing = True
            if self._inputs == 0:
                self._core.close()

    def terminate(self) -> None:
        """Ends the pool at once: what is not done will not be, and raises PoolTerminated."""
        util.debug("terminating pool")  # type: ignore[attr-defined]
        self._closing = True
        if self._owner == os.getpid():
            self._terminate()
        else:
            _end(self._core, self._keepers)

    def join(self) -> None:
        """Waits for the end of all workers. To be called after close() or terminate()."""
        if self._state == "RUN":
            raise ValueError("Pool is still running")
        following = self._core.follow()
        while not self._is_over():
            keeper = self._keepers[-1]
            if keeper._parent_pid == os.getpid() and keeper.is_alive():
                keeper.join(None if self._inputs == 0 else _LOOK_AFTER)
            else:
                # Another process's keeper, or a new one to be.
                self._look_after()
                following.take(_LOOK_AFTER)
        for keeper in self._keepers:
            if keeper._parent_pid == os.getpid():
                keeper.join()
        self._callbacks.join()

    def __enter__(self) -> "Pool":
        self._check_running()
        return self

    def __exit__(self, *error: object) -> None:
        self.terminate()

    def __del__(self, _warn: Any = warnings.warn) -> None:
        # The finalizer of a pool that is forgotten ends it.
        pass

    def __repr__(self) -> str:
        kind = type(self)
        return (
            f"<{kind.__module__}.{kind.__qualname__} state={self._state} "
            f"pool_size={self._processes}>"
        )

    # Tasks

    def apply(self, func: Callable[..., Any], args: Iterable[Any] = (), kwds: Any = None) -> Any:
        """The result of func(*args, **kwds), called by a worker."""
        return self.apply_async(func, args, kwds).get()

    def apply_async(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] = (),
        kwds: Any = None,
        callback: Optional[Callable[[Any], object]] = None,
        error_callback: Optional[Callable[[BaseException], object]] = None,
    ) -> ApplyResult:
        """Hands func(*args, **kwds) to the workers. When it is done, a thread of this process calls `callback` with
        the result or `error_callback` with the exception."""
        self._check_running()
        asks = callback is not None or error_callback is not None
        call = (tuple(args), dict(kwds or {}))
        job = self._submit(func, _CALL, (call,), 1, asks)
        return ApplyResult(self, job, _name(func), callback, error_callback)

    def _submit(
        self, func: Callable[..., Any], mode: int, items: Iterable[Any], chunk: int, asks: bool
    ) -> "_procession.PoolJob | _Failure":
        try:
            return self._core.submit(func, mode, items, chunk, asks)
        except Exception as error:
            self._check_running()
            # What does not pickle is this call's failure.
            return _Failure(error)

    def map(
        self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: Optional[int] = None
    ) -> list[Any]:
        """[func(x) for x in iterable], by the workers. If some raise, raises what the first of them raised."""
        return self._map_async(func, iterable, _ONE, chunksize).get()  # type: ignore[no-any-return]

    def starmap(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: Optional[int] = None,
    ) -> list[Any]:
        """[func(*x) for x in iterable], by the workers."""
        return self._map_async(func, iterable, _STAR, chunksize).get()  # type: ignore[no-any-return]

    def map_async(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: Optional[int] = None,
        callback: Optional[Callable[[Any], object]] = None,
        error_callback: Optional[Callable[[BaseException], object]] = None,
    ) -> MapResult:
        """As map, without waiting."""
        return self._map_async(func, iterable, _ONE, chunksize, callback, error_callback)

    def starmap_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: Optional[int] = None,
        callback: Optional[Callable[[Any], object]] = None,
        error_callback: Optional[Callable[[BaseException], object]] = None,
    ) -> MapResult:
        """As starmap, without waiting."""
        return self._map_async(func, iterable, _STAR, chunksize, callback, error_callback)

    def _map_async(  # type: ignore[override]
        self,
        func: Callable[..., Any],
        iterable: Iterable[Any],
        mode: int,
        chunksize: Optional[int] = None,
        callback: Optional[Callable[[Any], object]] = None,
        error_callback: Optional[Callable[[BaseException], object]] = None,
    ) -> MapResult:
        self._check_running()
        if chunksize is not None and chunksize < 1:
            chunksize = 1
        items = iterable if hasattr(iterable, "__len__") else list(iterable)
        if chunksize is None:
            # What counts as one task: the workers share the elements by themselves.
            chunksize = -(-len(items) // (self._processes * 4)) or 1
        asks = callback is not None or error_callback is not None
        job = self._submit(func, mode, items, chunksize, asks)
        return MapResult(self, job, f"map of {_name(func)}", callback, error_callback)

    def imap(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int = 1,
        *,
        buffersize: Optional[int] = None,
    ) -> "IMapIterator":
        """An iterator over func(x) for x in iterable, in this order. The input is read as far as workers need, and not
        more than `buffersize` results ahead of the iterator."""
        return self._imap(func, iterable, chunksize, buffersize, IMapIterator)

    def imap_unordered(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int = 1,
        *,
        buffersize: Optional[int] = None,
    ) -> "IMapIterator":
        """As imap, in the order in which they are done."""
        return self._imap(func, iterable, chunksize, buffersize, IMapUnorderedIterator)

    def _imap(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int,
        buffersize: Optional[int],
        kind: type["IMapIterator"],
    ) -> "IMapIterator":
        self._check_running()
        if chunksize < 1:
            raise ValueError(f"Chunksize must be 1+, not {chunksize:n}")
        if buffersize is not None and buffersize < 1:
            raise ValueError(f"buffersize must be 1 or more, or None; got {buffersize}")
        iterator = kind(self, func, iter(iterable), chunksize, buffersize)
        self._iterators.add(iterator)
        return iterator

    def _input_begins(self) -> None:
        with self._guard:
            self._inputs += 1

    def _input_ended(self) -> None:
        with self._guard:
            self._inputs -= 1
            if self._closing and self._inputs == 0:
                self._core.close()


class _Flow:
    """Jobs on their way from an input to the workers: what its reader shares with the iterator."""

    def __init__(self, pool: Pool, ordered: bool, chunk: int, ahead: Optional[int]) -> None:
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

    def read(self, pool: Pool, func: Callable[[Any], Any], items: Iterator[Any]) -> None:
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

    def _hand_over(self, pool: Pool, func: Callable[[Any], Any], chunk: list[Any]) -> None:
        try:
            job: Any = pool._core.submit(func, _ONE, chunk, len(chunk), True)
        except Exception as error:
            if pool._is_over():
                job = _Failure(pool._end_error())
            elif len(chunk) > 1:
                # The one that can't be handed over fails alone.
                for item in chunk:
                    self._hand_over(pool, func, [item])
                return
            else:
                job = _Failure(error)
        key = next(self._keys)
        self.jobs[key] = job
        if isinstance(job, _Failure):
            self.failed.append(key)
        else:
            self.settled.add(key, job)
        self.settled.nudge()


class IMapIterator:
    """An iterator over results, in the order of the input."""

    _ordered = True

    def __init__(
        self,
        pool: Pool,
        func: Callable[[Any], Any],
        items: Iterator[Any],
        chunksize: int,
        buffersize: Optional[int],
    ) -> None:
        self._pool = pool
        self._what = f"imap of {_name(func)}"
        self._flow = _Flow(pool, self._ordered, chunksize, buffersize)
        self._results: deque[tuple[bool, Any]] = deque()
        # The next job in the order of the input.
        self._key = 0
        pool._input_begins()
        threading.Thread(
            target=self._flow.read, args=(pool, func, items), name="PoolInput", daemon=True
        ).start()

    def __iter__(self) -> "IMapIterator":
        return self

    def __next__(self) -> Any:
        return self.next()

    def next(self, timeout: Optional[float] = None) -> Any:
        """The next result; raises what the call raised, or TimeoutError if it is not there in `timeout` seconds."""
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
            return value
        raise value

    def _take(self, timeout: Optional[float]) -> bool:
        """Takes the results of the next job; False if the time is over. Raises StopIteration at the end."""
        key = self._key
        job = self._flow.jobs.get(key)
        if job is None:
            return self._wait(timeout)
        if not isinstance(job, _Failure) and not job.wait(None, timeout, self._pool._look_after):
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
        flow.settled.take(_LOOK_AFTER if timeout is None else min(timeout, _LOOK_AFTER))
        self._pool._look_after()
        return bool(flow.jobs) or flow.ended or timeout is None or timeout > _LOOK_AFTER

    def _add(self, job: Any) -> None:
        if isinstance(job, _Failure):
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


class IMapUnorderedIterator(IMapIterator):
    """An iterator over results, in the order in which they are done."""

    _ordered = False

    def _take(self, timeout: Optional[float]) -> bool:
        flow = self._flow
        if flow.failed:
            self._add(flow.jobs.pop(flow.failed.popleft()))
            return True
        self._check_end()
        slice_ = _LOOK_AFTER if timeout is None else min(timeout, _LOOK_AFTER)
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


class _Worker:
    """A worker, seen from the pool."""

    def __init__(self, pid: int) -> None:
        self.pid = self.ident = pid
        self.daemon = True
        self.exitcode: Optional[int] = None

    def is_alive(self) -> bool:
        """Whether it runs."""
        try:
            with open(f"/proc/{self.pid}/stat", encoding="utf-8", errors="replace") as file:
                return file.read().rpartition(")")[2].split()[0] not in ("Z", "X")
        except OSError:
            return False

    def __repr__(self) -> str:
        return f"<PoolWorker pid={self.pid}>"


_PREFIXES = {"fork": "Fork", "spawn": "Spawn", "forkserver": "ForkServer"}


def _name(func: Callable[..., Any]) -> str:
    name = getattr(func, "__qualname__", None)
    return name if isinstance(name, str) else type(func).__name__


def _end(core: "_procession.PoolCore", keepers: list[Any]) -> None:
    """Ends a pool at once."""
    core.terminate(_GRACE)
    for keeper in keepers:
        if keeper._parent_pid != os.getpid():
            continue
        keeper.join(_GRACE)
        if keeper.is_alive():
            keeper.kill()
            keeper.join()
