"""Contexts: the package's words with one start method, for the standard library's clients too."""

from collections.abc import Iterable
from multiprocessing import context
from multiprocessing.context import (  # noqa: F401  (they are looked for here)
    AuthenticationError,
    BaseContext,
    BufferTooShort,
    ProcessError,
    TimeoutError,
    assert_spawning,
    get_spawning_popen,
    set_spawning_popen,
)
from typing import TYPE_CHECKING, Any, Callable, Optional

from . import _procession, pickling  # noqa: F401  (the pickler is set when it is imported)
from .beside import beside
from .process import ForkProcess, ForkServerProcess, Process, SpawnProcess

if TYPE_CHECKING:
    from . import queues, synchronize
    from .connection import Connection
    from .managers import SyncManager
    from .pool import Pool

# The interpreter's own default is the first.
METHODS = tuple(
    sorted(
        ("fork", "spawn", "forkserver"),
        key=lambda method: method != context._default_context.get_all_start_methods()[0],
    )
)


class Context(BaseContext):
    """The words of the package; `Process` is started by this context's method."""

    Process: type[Process] = Process
    # Its start method, if it is of one.
    _name: Optional[str] = None

    def Lock(self) -> "synchronize.Lock":  # type: ignore[override]
        """A lock."""
        return _procession.Lock()

    def RLock(self) -> "synchronize.RLock":  # type: ignore[override]
        """A lock that its holder may acquire again."""
        return _procession.RLock()

    def Semaphore(self, value: int = 1) -> "synchronize.Semaphore":  # type: ignore[override]
        """A semaphore."""
        return _procession.Semaphore(value)

    def BoundedSemaphore(self, value: int = 1) -> "synchronize.BoundedSemaphore":  # type: ignore[override]
        """A semaphore whose value never passes what it was made with."""
        return _procession.BoundedSemaphore(value)

    def Event(self) -> "synchronize.Event":  # type: ignore[override]
        """An event."""
        return _procession.Event()

    def Condition(self, lock: Any = None) -> "synchronize.Condition":  # type: ignore[override]
        """A condition."""
        return _procession.Condition(lock)

    def Barrier(  # type: ignore[override]
        self,
        parties: int,
        action: Optional[Callable[[], object]] = None,
        timeout: Optional[float] = None,
    ) -> "synchronize.Barrier":
        """A barrier."""
        return _procession.Barrier(parties, action, timeout)

    def Queue(self, maxsize: int = 0) -> "queues.Queue[Any]":  # type: ignore[override]
        """A queue."""
        return _procession.Queue(maxsize)

    def JoinableQueue(self, maxsize: int = 0) -> "queues.JoinableQueue[Any]":  # type: ignore[override]
        """A queue that knows which of its items' work is not done."""
        return _procession.JoinableQueue(maxsize)

    def SimpleQueue(self) -> "queues.SimpleQueue[Any]":  # type: ignore[override]
        """A queue with the fewest words."""
        return _procession.SimpleQueue()

    def Pipe(self, duplex: bool = True) -> tuple["Connection", "Connection"]:
        """Two connected ends."""
        from .connection import Pipe

        return Pipe(duplex)

    def Pool(
        self,
        processes: Optional[int] = None,
        initializer: Optional[Callable[..., object]] = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: Optional[int] = None,
    ) -> "Pool":
        """A pool of workers."""
        from .pool import Pool

        return Pool(processes, initializer, initargs, maxtasksperchild, context=self)

    def Value(self, typecode_or_type: Any, *args: Any, lock: Any = True) -> Any:
        """A ctypes object in shared memory, with a lock around it unless `lock` is False."""
        from .sharedctypes import Value

        return Value(typecode_or_type, *args, lock=lock, ctx=self.get_context())

    def Array(self, typecode_or_type: Any, size_or_initializer: Any, *, lock: Any = True) -> Any:
        """A ctypes array in shared memory, with a lock around it unless `lock` is False."""
        from .sharedctypes import Array

        return Array(typecode_or_type, size_or_initializer, lock=lock, ctx=self.get_context())

    def RawValue(self, typecode_or_type: Any, *args: Any) -> Any:
        """A ctypes object in shared memory, without a lock."""
        from .sharedctypes import RawValue

        return RawValue(typecode_or_type, *args)

    def RawArray(self, typecode_or_type: Any, size_or_initializer: Any) -> Any:
        """A ctypes array in shared memory, without a lock."""
        from .sharedctypes import RawArray

        return RawArray(typecode_or_type, size_or_initializer)

    def Manager(self) -> "SyncManager":
        """A started manager: a process that keeps lists, dictionaries, queues and locks.

        Others use them by proxies. It ends by its `shutdown()`, at the end of a `with` block, or
        with the program.
        """
        from .managers import SyncManager

        manager = SyncManager(ctx=self.get_context())
        manager.start()
        return manager

    def get_context(self, method: Optional[str] = None) -> "Context":  # type: ignore[override]
        """The context of a start method; of this one's if None."""
        return self if method is None else get_context(method)

    def get_start_method(self, allow_none: bool = False) -> str:
        """The start method of this context."""
        return self._name or get_start_method()

    def set_start_method(self, method: Optional[str], force: bool = False) -> None:
        """Refused: a context of one method has this method."""
        raise ValueError("cannot set start method of concrete context")

    def set_forkserver_preload(
        self, module_names: Iterable[str], *, on_error: str = "ignore"
    ) -> None:
        """The modules that the template of `forkserver` imports once, for all its processes.

        One that can't be found or imported is left out; with `on_error="warn"` an ImportWarning
        tells of it, with "fail" it makes each start from the template a ConnectionError.
        """
        from .popen_forkserver import set_forkserver_preload

        set_forkserver_preload(module_names, on_error=on_error)

    def _check_available(self) -> None:
        pass


class ForkContext(Context):
    """The words of the package, and processes that are forked."""

    _name = "fork"
    Process = ForkProcess


class SpawnContext(Context):
    """The words of the package, and processes that run the program again."""

    _name = "spawn"
    Process = SpawnProcess


class ForkServerContext(Context):
    """The words of the package, and processes from the template."""

    _name = "forkserver"
    Process = ForkServerProcess


class DefaultContext(Context):
    """The context whose start method can be set, once."""

    _chosen: Optional[str] = None
    # Whether somebody chose it: else fork is not insisted on.
    _explicitly = False

    def get_context(self, method: Optional[str] = None) -> Context:  # type: ignore[override]
        """The context of a method, of the chosen one if None; ValueError for an unknown one."""
        if method is None:
            return _concrete_contexts[self.get_start_method()]
        try:
            return _concrete_contexts[method]
        except KeyError:
            known = ", ".join(METHODS)
            raise ValueError(f"cannot find context for {method!r}; there are: {known}") from None

    def get_start_method(self, allow_none: bool = False) -> Any:
        """The start method that was chosen; if none was, the default, or None if `allow_none`."""
        if self._chosen is None:
            if allow_none:
                return None
            self._chosen = METHODS[0]
        return self._chosen

    def set_start_method(self, method: Optional[str], force: bool = False) -> None:
        """Chooses the start method, once: RuntimeError if one was chosen, unless `force`."""
        if self._chosen is not None and not force:
            raise RuntimeError("context has already been set")
        if method is not None:
            self.get_context(method)
        elif not force:
            raise ValueError(f"cannot find context for None; there are: {', '.join(METHODS)}")
        self._chosen, self._explicitly = method, method is not None

    def is_chosen(self) -> bool:
        """Whether the program has set the start method."""
        return self._explicitly

    def get_all_start_methods(self) -> list[str]:
        """The start methods that there are, the default one first."""
        return list(METHODS)


_concrete_contexts: dict[str, Context] = {
    method: kind()
    for method, kind in (
        ("fork", ForkContext),
        ("spawn", SpawnContext),
        ("forkserver", ForkServerContext),
    )
}
_default_context = DefaultContext()


def default_context() -> Context:
    """The context of who names none."""
    return _default_context


def _force_start_method(method: str) -> None:
    _default_context.set_start_method(method, force=True)


get_context = _default_context.get_context
get_start_method = _default_context.get_start_method
set_start_method = _default_context.set_start_method
is_chosen = _default_context.is_chosen
get_all_start_methods = _default_context.get_all_start_methods
cpu_count = _default_context.cpu_count
freeze_support = _default_context.freeze_support
get_logger = _default_context.get_logger
log_to_stderr = _default_context.log_to_stderr
set_executable = _default_context.set_executable
set_forkserver_preload = _default_context.set_forkserver_preload
allow_connection_pickling = _default_context.allow_connection_pickling
Manager = _default_context.Manager

beside(__name__, context)
