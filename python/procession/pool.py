"""`Pool`: workers that call functions, as multiprocessing.Pool has them."""

import os
import signal
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sized
from multiprocessing import pool as standard
from multiprocessing import process, util
from multiprocessing.context import BaseContext
from multiprocessing.pool import (  # type: ignore[attr-defined]
    MaybeEncodingError,  # noqa: F401  (it is looked for here)
)
from typing import Any, Callable, Optional, TypeVar, Union

from . import _procession
from .affinity import usable_cpus
from .beside import beside
from .keeper import Plan, do_tasks, keep
from .pool_callbacks import Callbacks
from .pool_imap import IMapIterator, IMapUnorderedIterator
from .pool_result import (
    LOOK_AFTER,
    OVER,
    ApplyResult,
    Failure,
    MapResult,
    name_of,
)
from .pool_threads import ThreadPool  # noqa: F401  (it is looked for here)
from .pool_words import CALL, PoolWords
from .process import Process
from .remote import PoolTerminated, WorkerDied, pack

# After so many keepers that ended before they had shown up, the pool is given up.
_KEEPERS_TRIED = 3
# How a worker ends that ran a task when its pool was terminated.
_ENDED_BY_US = (-signal.SIGTERM, -signal.SIGKILL)
# What busy workers get to end, in seconds, before they are killed.
_GRACE = 1.0
_T = TypeVar("_T")

AsyncResult = ApplyResult


class Pool(PoolWords):
    """So many worker processes, which do the tasks that are handed to the pool.

    A worker that dies costs the task that it ran, which raises WorkerDied; another one takes its
    place. `processes` is the number of processors that this process may use, if it is None.
    """

    def __init__(
        self,
        processes: Optional[int] = None,
        initializer: Optional[Callable[..., object]] = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: Optional[int] = None,
        context: Optional[BaseContext] = None,
    ) -> None:
        if processes is None:
            processes = usable_cpus()
        if processes < 1:
            raise ValueError("Number of processes must be at least 1")
        limit: Any = maxtasksperchild
        if limit is not None and (not isinstance(limit, int) or limit <= 0):
            raise ValueError("maxtasksperchild must be a positive int or None")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        if context is None:
            from .context import default_context

            context = default_context()
        self._ctx = context
        self._processes = processes
        method: str = context.get_start_method()
        current: Any = process.current_process()
        make: Any = self.Process
        worker = make(context, target=do_tasks)
        worker.daemon = True
        self._plan = Plan(
            worker=worker,
            name=_name_for(worker, method),
            identity=current._identity,
            initializer=initializer,
            initargs=tuple(initargs),
            limit=maxtasksperchild,
            reseed=method != "fork",
        )
        self._core = _procession.PoolCore(processes)
        self._owner = os.getpid()
        # What it was told here.
        self._told = "RUN"
        self._keepers: list[Any] = []
        self._failed_keepers = 0
        self._guard = threading.Lock()
        self._inputs = 0
        self._callbacks_of = {self._owner: Callbacks(self)}
        self._start_keeper()
        self._terminate = util.Finalize(
            self, _end, args=(self._core, self._keepers), exitpriority=15
        )

    # State

    @property
    def _callbacks(self) -> Callbacks:
        pid = os.getpid()
        try:
            return self._callbacks_of[pid]
        except KeyError:
            # A process that was forked since: it has no thread for callbacks yet.
            return self._callbacks_of.setdefault(pid, Callbacks(self))

    @property
    def _state(self) -> str:
        state = self._core.state
        if state == "open":
            return self._told
        over = self._told == "TERMINATE" or state not in ("closed", "ended")
        return "TERMINATE" if over else "CLOSE"

    @property
    def _pool(self) -> list["_Worker"]:
        self._look_after()
        return [_Worker(pid) for pid in self._core.workers(10.0)]

    def _is_over(self) -> bool:
        return self._core.state in OVER

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
        from .context import default_context

        # The class of processes that a context may have of its own is for the workers.
        context: Any = default_context()
        if self._ctx is not context:
            context = context.get_context(self._ctx.get_start_method())
        keeper = context.Process(target=keep, args=(self._core, self._plan))
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

    def _repopulate_pool(self) -> None:
        self._look_after()

    def close(self) -> None:
        """Takes no more tasks; workers end when all are done."""
        util.debug("closing pool")
        with self._guard:
            if self._told == "RUN":
                self._told = "CLOSE"
            if self._inputs == 0:
                self._core.close()

    def terminate(self) -> None:
        """Ends the pool at once: what is not done will not be, and raises PoolTerminated."""
        util.debug("terminating pool")
        self._told = "TERMINATE"
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
                keeper.join(None if self._inputs == 0 else LOOK_AFTER)
            else:
                # Another process's keeper, or a new one to be.
                self._look_after()
                following.take(LOOK_AFTER)
        for keeper in self._keepers:
            if keeper._parent_pid == os.getpid():
                keeper.join()
        self._callbacks.join()

    def __exit__(self, *error: object) -> None:
        # A process that was forked within the block leaves the pool to the one that made it.
        if self._owner == os.getpid():
            self.terminate()

    def __del__(self, _warn: Any = warnings.warn) -> None:
        # The finalizer of a pool that is forgotten ends it.
        pass

    # Tasks

    def apply_async(
        self,
        func: Callable[..., _T],
        args: Iterable[Any] = (),
        kwds: Optional[Mapping[str, Any]] = None,
        callback: Optional[Callable[[_T], object]] = None,
        error_callback: Optional[Callable[[BaseException], object]] = None,
    ) -> ApplyResult[_T]:
        """Hands func(*args, **kwds) to the workers, without waiting. When it is done, a thread of
        this process calls `callback` with the result or `error_callback` with the exception."""
        self._check_running()
        asks = callback is not None or error_callback is not None
        call = (tuple(args), dict(kwds or {}))
        job = self._submit(func, CALL, (call,), 1, asks)
        return ApplyResult(self, job, name_of(func), callback, error_callback)

    def _submit(
        self, func: Callable[..., Any], mode: int, items: Iterable[Any], chunk: int, asks: bool
    ) -> "Union[_procession.PoolJob, Failure]":
        try:
            return self._core.submit(func, mode, items, chunk, asks)
        except Exception as error:
            self._check_running()
            # What does not pickle is this call's failure.
            return Failure(error)

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
        items = iterable if isinstance(iterable, Sized) else list(iterable)
        asks = callback is not None or error_callback is not None
        # What counts as one task: the workers share the elements by themselves.
        chunk = self._chunk_for(len(items), chunksize)
        job = self._submit(func, mode, items, chunk, asks)
        return MapResult(self, job, f"map of {name_of(func)}", callback, error_callback)

    def _imap(
        self,
        ordered: bool,
        func: Callable[..., Any],
        items: Iterator[Any],
        chunk: int,
        buffersize: Optional[int],
    ) -> IMapIterator[Any]:
        kind: type[IMapIterator[Any]] = IMapIterator if ordered else IMapUnorderedIterator
        return kind(self, func, items, chunk, buffersize)

    def _input_begins(self) -> None:
        with self._guard:
            self._inputs += 1

    def _input_ended(self) -> None:
        with self._guard:
            self._inputs -= 1
            if self._told != "RUN" and self._inputs == 0:
                self._core.close()


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


def _name_for(worker: Any, method: str) -> Optional[str]:
    """What the names of workers begin with that are copies of this one; None if it was named."""
    kind = type(worker)
    if worker.name != f"{kind.__name__}-{':'.join(map(str, worker._identity))}":
        return None
    name: str = _PREFIXES[method] + "Process" if kind is Process else kind.__name__
    return name.replace("Process", "PoolWorker")


def _end(core: "_procession.PoolCore", keepers: list[Any]) -> None:
    """Ends a pool at once."""
    core.terminate(_GRACE)
    for keeper in keepers:
        if keeper._parent_pid != os.getpid():
            continue
        keeper.join(_GRACE)
        if keeper.is_alive():
            # It is stopped, or a worker is that it started since.
            core.terminate(_GRACE / 10)
            keeper.kill()
            keeper.join()


beside(__name__, standard)
