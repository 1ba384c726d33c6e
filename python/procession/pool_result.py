"""The results of a pool's calls: ApplyResult, MapResult."""

import threading
from multiprocessing import pool as standard
from multiprocessing.context import TimeoutError
from time import monotonic
from typing import TYPE_CHECKING, Any, Callable, Optional, TypeVar, Union

if TYPE_CHECKING:
    from . import _procession
    from .pool import Pool

_T = TypeVar("_T")

# So often, in seconds, those look after the keeper who wait for more than one job.
LOOK_AFTER = 0.1
# The states in which nothing more is done.
OVER = ("ended", "terminated", "broken")


def name_of(func: Callable[..., Any]) -> str:
    """How a function is called in messages."""
    name = getattr(func, "__qualname__", None)
    return name if isinstance(name, str) else type(func).__name__


class Failure:
    """Stands for a job that could not be handed over."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


class ApplyResult(standard.ApplyResult[_T]):
    """The result of a call that is made by a worker."""

    def __init__(
        self,
        pool: "Pool",
        job: "Union[_procession.PoolJob, Failure]",
        what: str,
        callback: Optional[Callable[[_T], object]] = None,
        error_callback: Optional[Callable[[BaseException], object]] = None,
    ) -> None:
        self._pool = pool
        self._job: Optional[_procession.PoolJob] = None
        self._what = what
        self._callback = callback
        self._error_callback = error_callback
        self._success: Optional[bool] = None
        self._value: Any = None
        if isinstance(job, Failure):
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

    def get(self, timeout: Optional[float] = None) -> _T:
        """The result; raises what the call raised, or WorkerDied if its worker died, or
        TimeoutError if it is not ready in `timeout` seconds."""
        if self._success is None or self._called is not None:
            self.wait(timeout)
            if not self.ready():
                raise TimeoutError
        if self._success:
            result: _T = self._value
            return result
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


class MapResult(ApplyResult[list[_T]], standard.MapResult[_T]):
    """The results of a call that is made once for each element of a list."""

    def _outcome(self, job: "_procession.PoolJob") -> tuple[bool, Any]:
        results = job.results()
        if isinstance(results, list):
            return True, results
        return self._pool._outcome(job, results, self._what)
