"""Managers: objects that live in a process of their own, and are used from others by proxies.

>>> from procession.managers import SyncManager
>>> with SyncManager() as manager:
...     shared = manager.dict(answer=42)
...     shared["answer"]
42

The messages are the standard library's, so its managers serve proxies of ours, and ours its own. A
proxy keeps its object wherever it is, in a queue, in a pipe, within another object, too. What a
client had is given up when it ends in whatever way; a call in which it waited takes nothing any
more. A manager that was started ends with the program.
"""

import contextlib
from collections.abc import Iterable, Mapping
from multiprocessing import managers as standard
from multiprocessing import process, util
from multiprocessing.context import BaseContext, ProcessError
from multiprocessing.managers import (  # type: ignore[attr-defined]
    Array,
    Namespace,
    RemoteError,
    State,
    Token,
    Value,
    all_methods,  # noqa: F401  (looked for here, as the others so marked)
    convert_to_error,  # noqa: F401
    dispatch,  # noqa: F401
    public_methods,  # noqa: F401
)
from typing import Any, Callable, ClassVar, Optional

from . import manager_calls as _calls
from . import pool as _pool
from .connection import Pipe, wait
from .manager_message import arrival
from .manager_proxies import (
    AcquirerProxy,
    ArrayProxy,
    BarrierProxy,
    BaseListProxy,  # noqa: F401
    BasePoolProxy,  # noqa: F401
    ConditionProxy,
    DictProxy,
    EventProxy,
    IteratorProxy,
    ListProxy,
    NamespaceProxy,
    PoolProxy,
    SetProxy,
    ValueProxy,
)
from .manager_proxy import (
    AutoProxy,
    BaseProxy,
    MakeProxyType,  # noqa: F401
    RebuildProxy,  # noqa: F401
)
from .manager_server import Server, run_server
from .manager_session import ask_once, is_answering, listener_client, remember_key, session

__all__ = [
    "BaseManager",
    "BaseProxy",
    "Namespace",
    "RemoteError",
    "SharedMemoryManager",
    "SyncManager",
    "Token",
]


class BaseManager(standard.BaseManager):
    """Makes objects in a server's process, and proxies of them here.

    Types are registered with a subclass by `register`. Then either `start()` starts a process that
    serves, or `get_server()` gives a server that this process runs, or `connect()` connects to the
    server at `address`. Who connects has to know `authkey`, by default that of the current process.
    `address` is chosen if it is None: a socket in the file system. A pair (host, port) is TCP.
    """

    _registry: ClassVar[dict[str, Any]] = {}
    _Server: type[Any] = Server

    def __init__(
        self,
        address: Any = None,
        authkey: Optional[bytes] = None,
        serializer: str = "pickle",
        ctx: Optional[BaseContext] = None,
        *,
        shutdown_timeout: float = 1.0,
    ) -> None:
        if authkey is None:
            authkey = process.current_process().authkey
        if serializer not in listener_client:
            known = ", ".join(map(repr, listener_client))
            raise KeyError(f"serializer must be one of {known}, not {serializer!r}")
        if ctx is None:
            from .context import default_context

            ctx = default_context().get_context()
        self._address = address
        self._authkey = process.AuthenticationString(authkey)  # type: ignore[attr-defined]
        self._state = State()
        self._state.value = State.INITIAL
        self._serializer = serializer
        self._Listener, self._Client = listener_client[serializer]
        self._ctx: Any = ctx
        self._shutdown_timeout = shutdown_timeout
        # Whether the server is of ours: None if that is not known.
        self._ours: Optional[bool] = None if serializer == "pickle" else False

    # States

    def _check_initial(self) -> None:
        if self._state.value == State.STARTED:
            raise ProcessError("Already started server")
        if self._state.value == State.SHUTDOWN:
            raise ProcessError("Manager has shut down")
        if self._state.value != State.INITIAL:
            raise ProcessError(f"Unknown state {self._state.value!r}")

    def get_server(self) -> Any:
        """A server for this process to run: see its `serve_forever`."""
        self._check_initial()
        return self._Server(self._registry, self._address, self._authkey, self._serializer)

    def connect(self) -> None:
        """Connects to the server at `address`, which another one runs. Raises AuthenticationError
        if it has another key, and OSError if there is none."""
        ask_once(self._Client, self._address, self._authkey, "dummy")
        remember_key(self._address, self._authkey)
        self._state.value = State.STARTED

    def start(
        self,
        initializer: Optional[Callable[..., object]] = None,
        initargs: Iterable[Any] = (),
    ) -> None:
        """Starts a process that serves; it calls `initializer(*initargs)` first. It ends by
        `shutdown()`, or with this program. Raises EOFError if it ends before it serves."""
        self._check_initial()
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        reader, writer = Pipe(duplex=False)
        self._process: Any = self._ctx.Process(
            target=type(self)._run_server,
            args=(
                self._registry,
                self._address,
                bytes(self._authkey),
                self._serializer,
                writer,
                initializer,
                tuple(initargs),
            ),
        )
        identity = ":".join(str(number) for number in self._process._identity)
        self._process.name = f"{type(self).__name__}-{identity}"
        with reader:
            self._process.start()
            writer.close()
            wait([reader, self._process.sentinel])
            try:
                if not reader.poll():
                    raise EOFError
                self._address = reader.recv()
            except EOFError:
                self._process.join()
                code = self._process.exitcode
                raise EOFError(
                    f"the manager's process ended before it served: exit code {code}"
                ) from None
        remember_key(self._address, self._authkey)
        if self._ours is None and issubclass(self._Server, Server):
            self._ours = True
        self._state.value = State.STARTED
        self.shutdown = util.Finalize(
            self,
            type(self)._finalize_manager,
            args=(
                self._process,
                self._address,
                self._authkey,
                self._state,
                self._Client,
                self._shutdown_timeout,
            ),
            exitpriority=0,
        )

    @classmethod
    def _run_server(
        cls,
        registry: dict[str, Any],
        address: Any,
        authkey: bytes,
        serializer: str,
        writer: Any,
        initializer: Optional[Callable[..., object]] = None,
        initargs: tuple[Any, ...] = (),
    ) -> None:
        run_server(
            cls._Server, registry, address, authkey, serializer, writer, initializer, initargs
        )

    @staticmethod
    def _finalize_manager(
        process: Any,
        address: Any,
        authkey: bytes,
        state: Any,
        client: Any,
        shutdown_timeout: float,
    ) -> None:
        """Ends the server's process: asks it, and if that does not help, in the end kills it."""
        if process.is_alive():
            util.info("sending shutdown message to manager")
            try:
                # One that is stopped would not answer.
                if is_answering(address, shutdown_timeout):
                    ask_once(client, address, authkey, "shutdown")
            except Exception as error:
                util.debug("the manager does not answer: %s", error)
            process.join(timeout=shutdown_timeout)
            for end in process.terminate, process.kill:
                if process.is_alive():
                    util.info("manager still alive after %s s", shutdown_timeout)
                    end()
                    process.join(timeout=shutdown_timeout)
        state.value = State.SHUTDOWN

    def join(self, timeout: Optional[float] = None) -> None:
        """Waits for the end of the manager's process, for `timeout` seconds at most."""
        if self._process is not None:
            self._process.join(timeout)
            if not self._process.is_alive():
                self._process = None

    def __enter__(self) -> Any:
        if self._state.value == State.INITIAL:
            self.start()
        if self._state.value != State.STARTED:
            self._check_initial()
        return self

    def __exit__(self, *error: object) -> None:
        self.shutdown()

    @property
    def address(self) -> Any:
        """Where the server is."""
        return self._address

    # Objects

    @property
    def _session(self) -> Any:
        end = session(self._address, self._serializer, self._authkey, self._ours)
        if end.is_over():
            # The server has ended; another may have its address by now, and be of another kind.
            end.close()
            end = session(self._address, self._serializer, self._authkey)
        if self._serializer == "pickle":
            self._ours = end.ours
        return end

    def _create(self, typeid: str, /, *args: Any, **kwds: Any) -> tuple[Any, Any]:
        token, exposed, _ = self._make(typeid, args, kwds)
        return token, exposed

    def _make(
        self, typeid: str, args: tuple[Any, ...], kwds: dict[str, Any]
    ) -> tuple[Any, Any, Any]:
        """Has the server make an object: token, exposed methods, and what keeps it, if the server
        is ours."""
        assert self._state.value == State.STARTED, "server not yet started"
        if self._serializer == "pickle" and self._session.ours:
            end = self._session
            ident, exposed, passage = end.ask("create", (typeid, *args), kwds)
            return Token(typeid, self._address, ident), exposed, end.hold(ident, passage)
        ident, exposed = ask_once(
            self._Client, self._address, self._authkey, "create", (typeid, *args), kwds
        )
        return Token(typeid, self._address, ident), exposed, None

    def _proxy(self, typeid: str, args: tuple[Any, ...], kwds: dict[str, Any]) -> Any:
        util.debug("requesting creation of a shared %r object", typeid)
        token, exposed, hold = self._make(typeid, args, kwds)
        with arrival(token.id, hold):
            proxy = self._registry[typeid][-1](
                token, self._serializer, manager=self, authkey=self._authkey, exposed=exposed
            )
        if hold is None:
            self._ask("decref", token.id)
        return proxy

    def _ask(self, name: str, *args: Any) -> Any:
        if self._serializer == "pickle" and self._session.ours:
            return self._session.ask(name, args)
        return ask_once(self._Client, self._address, self._authkey, name, args)

    def _debug_info(self) -> str:
        """A text about all objects of the server."""
        return str(self._ask("debug_info"))

    def _number_of_objects(self) -> int:
        """How many objects the server has."""
        return int(self._ask("number_of_objects"))

    @classmethod
    def register(
        cls,
        typeid: str,
        callable: Optional[Callable[..., Any]] = None,
        proxytype: Any = None,
        exposed: Optional[Iterable[str]] = None,
        method_to_typeid: Optional[Mapping[str, str]] = None,
        create_method: bool = True,
    ) -> None:
        """Registers a type with this class of managers, under the name `typeid`.

        `callable` makes an object of it, in the server; where only clients are, it is not needed.
        `proxytype` makes its proxies: a subclass of BaseProxy, or AutoProxy if it is None.
        `exposed` are the methods that may be called: if it is None those that `proxytype` says, or
        all public ones. `method_to_typeid` are those whose results stay in the server, and the
        types of these; it has to know them. Unless `create_method` is false, managers have a method
        of this name, which makes an object and returns a proxy.
        """
        if "_registry" not in cls.__dict__:
            cls._registry = cls._registry.copy()
        if proxytype is None:
            proxytype = AutoProxy
        exposed = exposed or getattr(proxytype, "_exposed_", None)
        method_to_typeid = method_to_typeid or getattr(proxytype, "_method_to_typeid_", None)
        for key, value in (method_to_typeid or {}).items():
            assert type(key) is str, f"{key!r} is not a string"
            assert type(value) is str, f"{value!r} is not a string"
        cls._registry[typeid] = (callable, exposed, method_to_typeid, proxytype)
        if create_method:

            def make(self: Any, /, *args: Any, **kwds: Any) -> Any:
                return self._proxy(typeid, args, kwds)

            make.__name__ = typeid
            make.__qualname__ = f"{cls.__qualname__}.{typeid}"
            make.__doc__ = f"Makes an object of the type {typeid!r} in the server; a proxy of it."
            setattr(cls, typeid, make)


class SyncManager(BaseManager, standard.SyncManager):
    """A manager of lists, dictionaries, queues, locks and the like: what `Manager()` starts."""

    _registry: ClassVar[dict[str, Any]] = {}


SyncManager.register("Queue", _calls.Queue)
SyncManager.register("JoinableQueue", _calls.Queue)
SyncManager.register("Event", _calls.Event, EventProxy)
SyncManager.register("Lock", _calls.Lock, AcquirerProxy)
SyncManager.register("RLock", _calls.RLock, AcquirerProxy)
SyncManager.register("Semaphore", _calls.Semaphore, AcquirerProxy)
SyncManager.register("BoundedSemaphore", _calls.BoundedSemaphore, AcquirerProxy)
SyncManager.register("Condition", _calls.condition, ConditionProxy)
SyncManager.register("Barrier", _calls.Barrier, BarrierProxy)
SyncManager.register("Pool", _pool.Pool, PoolProxy)
SyncManager.register("list", list, ListProxy)
SyncManager.register("dict", dict, DictProxy)
SyncManager.register("set", set, SetProxy)
SyncManager.register("Value", Value, ValueProxy)
SyncManager.register("Array", Array, ArrayProxy)
SyncManager.register("Namespace", Namespace, NamespaceProxy)
# Types of what methods of others return.
SyncManager.register("Iterator", proxytype=IteratorProxy, create_method=False)
SyncManager.register("AsyncResult", create_method=False)


class SharedMemoryServer(Server):
    """The server of a SharedMemoryManager: it knows what memory was made, and unlinks it at its
    end."""

    public: ClassVar[list[str]] = [
        *Server.public,
        "track_segment",
        "release_segment",
        "list_segments",
    ]

    def __init__(self, *args: Any, **kwds: Any) -> None:
        super().__init__(*args, **kwds)
        self._segments: dict[str, None] = {}

    def track_segment(self, c: Any, segment_name: str) -> None:
        """Notes memory of this name, which ends with the server."""
        self._segments[segment_name] = None

    def release_segment(self, c: Any, segment_name: str) -> None:
        """Unlinks the memory of this name."""
        del self._segments[segment_name]
        _unlink(segment_name)

    def list_segments(self, c: Any) -> list[str]:
        """The names of all memory that it knows."""
        return list(self._segments)

    def shutdown(self, c: Any) -> None:
        """Unlinks all memory, and ends the server."""
        while self._segments:
            _unlink(self._segments.popitem()[0])
        super().shutdown(c)


def _unlink(name: str) -> None:
    from .shared_memory import SharedMemory

    # Somebody may have unlinked it.
    with contextlib.suppress(FileNotFoundError):
        memory = SharedMemory(name)
        memory.close()
        memory.unlink()


class SharedMemoryManager(BaseManager, standard.SharedMemoryManager):
    """A manager of shared memory: what was made by it is unlinked when it shuts down, or with the
    program."""

    _Server = SharedMemoryServer

    def SharedMemory(self, size: int) -> Any:
        """New shared memory of `size` bytes."""
        from .shared_memory import SharedMemory

        return self._tracked(lambda: SharedMemory(None, create=True, size=size), lambda made: made)

    def ShareableList(self, sequence: Optional[Iterable[Any]]) -> Any:
        """A new list in shared memory, with the elements of `sequence`."""
        from .shared_memory import ShareableList

        return self._tracked(lambda: ShareableList(sequence), lambda made: made.shm)

    def _tracked(self, make: Callable[[], Any], memory_of: Callable[[Any], Any]) -> Any:
        if self._state.value == State.INITIAL:
            raise ValueError("the manager has no server yet: call start() or connect() first")
        made = make()
        memory = memory_of(made)
        try:
            self._ask("track_segment", memory.name)
        except BaseException:
            memory.unlink()
            raise
        return made
