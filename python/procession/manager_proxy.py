"""Proxies: what a manager's clients have of its objects."""

import pkgutil
import sys
from multiprocessing import context, process, util
from multiprocessing import managers as standard
from multiprocessing.managers import Token
from typing import Any, Callable, Optional

from ._procession import Reference
from .manager_message import LEASED, Passage, arrival, arrived, error_of, here
from .manager_session import (
    Share,
    ask_once,
    is_ours,
    key_of,
    listener_client,
    remember_key,
    session,
)


class BaseProxy(standard.BaseProxy):
    """Stands for an object that a manager's server keeps, as long as there is a proxy of it.

    It may be handed to any process, in whatever way: on its way it keeps the object too. When the
    server has ended, calls raise EOFError, or an OSError such as ConnectionRefusedError.
    """

    _isauto = False

    def __init__(
        self,
        token: Any,
        serializer: str,
        manager: Any = None,
        authkey: Optional[bytes] = None,
        exposed: Any = None,
        incref: bool = True,
        manager_owned: bool = False,
    ) -> None:
        self._token = token
        self._id: str = token.id
        self._manager = manager
        self._serializer = serializer
        self._Client = listener_client[serializer][1]
        self._owned_by_manager = manager_owned
        if authkey is None:
            authkey = key_of(token.address) if manager is None else manager._authkey
        elif not manager_owned:
            remember_key(token.address, authkey)
        self._authkey = process.AuthenticationString(authkey)  # type: ignore[attr-defined]
        self._close: Any = None
        self._hold: Any = arrived(self._id)
        if self._hold is None and incref and not manager_owned:
            self._incref()

    def _session(self) -> Any:
        address, ours = self._token.address, is_ours(self._id)
        return session(address, self._serializer, self._authkey, ours and self._has_own_words())

    def _has_own_words(self) -> bool:
        # Written as XML, only the standard library's messages pass.
        return self._serializer == "pickle"

    def _callmethod(
        self, methodname: str, args: tuple[Any, ...] = (), kwds: Optional[dict[str, Any]] = None
    ) -> Any:
        """Calls a method of the object, and returns what it returns or raises what it raises."""
        end = self._session()
        kind, result = end.call(self._id, methodname, args, kwds)
        if kind == "#RETURN":
            return result
        if kind in ("#PROXY", LEASED):
            return self._proxy_of(end, *result)
        try:
            raise error_of(kind, result)
        finally:
            del result

    def _proxy_of(
        self, end: Any, exposed: Any, token: Any, passage: Optional[Passage] = None
    ) -> Any:
        """A proxy of what a method returned."""
        hold = None if passage is None else end.hold(token.id, passage)
        registry = self._manager._registry if self._manager is not None else _registry()
        make = registry[token.typeid][-1] if token.typeid in registry else AutoProxy
        token.address = self._token.address
        with arrival(token.id, hold):
            proxy = make(
                token,
                self._serializer,
                manager=self._manager,
                authkey=self._authkey,
                exposed=exposed,
            )
        if passage is None:
            # The server counted one until there is a proxy that is counted.
            ask_once(self._Client, token.address, self._authkey, "decref", (token.id,))
        return proxy

    def _getvalue(self) -> Any:
        """A copy of the object."""
        return self._callmethod("#GETVALUE")

    # What keeps the object

    def _incref(self) -> None:
        if is_ours(self._id) and self._has_own_words():
            self._hold = self._session().hold(self._id, None)
            return
        ask_once(self._Client, self._token.address, self._authkey, "incref", (self._id,))
        self._close = util.Finalize(
            self,
            _decref,
            args=(self._Client, self._token.address, self._authkey, self._id),
            exitpriority=10,
        )
        util.register_after_fork(self, type(self)._after_fork)

    def _after_fork(self) -> None:
        # Counted by a server of the standard library, which is told of each process.
        self._manager = None
        try:
            self._incref()
        except Exception as error:
            util.info("incref of %s failed: %s", self._id, error)

    def _passage(self) -> Any:
        """What keeps the object while a proxy is on its way, other than in a manager's message."""
        server = getattr(process.current_process(), "_manager_server", None)
        if self._owned_by_manager:
            return server.passage(self._hold)  # type: ignore[union-attr]
        if isinstance(self._hold, Reference) and Reference.can_travel():
            return self._hold
        if isinstance(self._hold, (Reference, Share)):
            return Passage("ticket", self._session().ask("ticket", (self._id,)))
        return None

    def __reduce__(self) -> tuple[Any, ...]:
        make: Any = AutoProxy if self._isauto else type(self)
        kwds = {"exposed": self._exposed_} if self._isauto else {}  # type: ignore[attr-defined]
        end = here.sends_to
        if end is None:
            passage = self._passage()
            if Reference.can_travel():
                # By memory that only processes of the program see.
                kwds["authkey"] = bytes(self._authkey)
            elif context.get_spawning_popen() is not None:
                kwds["authkey"] = self._authkey
            return RebuildProxy, (make, self._token, self._serializer, kwds, passage)
        passage = end.passage_of(self)
        token = Token(self._token.typeid, end.name_of(self._token.address), self._id)
        if end.ours:
            return RebuildProxy, (make, token, self._serializer, kwds, passage)
        if self._isauto or make.__module__.startswith(f"{__package__}."):
            # It may know none of ours, and has its own.
            make = _theirs(make.__name__) if hasattr(standard, make.__name__) else make
        return _theirs("RebuildProxy"), (make, token, self._serializer, kwds)

    def __deepcopy__(self, memo: Any) -> Any:
        return self._getvalue()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} object, typeid {self._token.typeid!r} at {id(self):#x}>"

    def __str__(self) -> str:
        """What the object says of itself; or what the proxy does, with a remark."""
        try:
            return str(self._callmethod("__repr__"))
        except Exception:
            return repr(self)[:-1] + "; '__str__()' failed>"


class _ByName:
    """What has this name in `multiprocessing.managers` there where it is unpickled. The name leads
    to ours in this process after `install()`, so that pickle would not write it for theirs."""

    def __init__(self, name: str) -> None:
        self._path = f"{standard.__name__}:{name}"

    def __reduce__(self) -> tuple[Any, ...]:
        return pkgutil.resolve_name, (self._path,)

    def __call__(self, *args: Any) -> Any:
        # Pickle wants something that can be called in the place of RebuildProxy.
        return pkgutil.resolve_name(self._path)(*args)


def _theirs(name: str) -> Any:
    """What a server or client of the standard library finds under this name in its `managers`."""
    if sys.modules.get(standard.__name__) is standard:
        return getattr(standard, name)
    return _ByName(name)


def _registry() -> dict[str, Any]:
    from .managers import SyncManager

    return SyncManager._registry


def _decref(client: Any, address: Any, authkey: bytes, ident: str) -> None:
    try:
        ask_once(client, address, authkey, "decref", (ident,))
    except Exception as error:
        # The server may have ended.
        util.debug("decref of %s failed: %s", ident, error)


def RebuildProxy(
    func: Callable[..., Any],
    token: Any,
    serializer: str,
    kwds: dict[str, Any],
    passage: Any = None,
) -> Any:
    """Makes a proxy that was pickled. In the object's own server it is one that does not count:
    what is nested there ends with what it is in."""
    server = getattr(process.current_process(), "_manager_server", None)
    kwds = dict(kwds)
    hold: Any
    if hasattr(server, "knows") and server.knows(token.id):  # type: ignore[union-attr]
        hold = server.entry(token.id)  # type: ignore[union-attr]
        token.address = server.address  # type: ignore[union-attr]
        kwds.update(manager_owned=True, authkey=server.authkey)  # type: ignore[union-attr]
    else:
        end = here.reads_from
        if end is not None:
            token.address = end.address_of(token.address)
        hold = _hold_of(end, token, serializer, kwds, passage)
    if getattr(process.current_process(), "_inheriting", False) and hold is None:
        # As the standard library does: its starter keeps it until the child has its own.
        kwds.setdefault("incref", True)
    with arrival(token.id, hold):
        return func(token, serializer, **kwds)


def _hold_of(end: Any, token: Any, serializer: str, kwds: dict[str, Any], passage: Any) -> Any:
    if passage is None or isinstance(passage, Reference):
        return passage
    if passage.how == "ticket":
        authkey = kwds.get("authkey") or key_of(token.address)
        mine = session(token.address, serializer, authkey, True)
        return mine.hold(token.id, mine.ask("redeem", (token.id, passage.what)))
    if getattr(end, "address", None) == token.address:
        kwds.setdefault("authkey", end.authkey)
        return end.hold(token.id, passage)
    return Reference.find(passage.what) if passage.how == "name" else None


def MakeProxyType(
    name: str,
    exposed: Any,
    _cache: dict[Any, type[BaseProxy]] = {},  # noqa: B006
) -> type[BaseProxy]:
    """A class of proxies whose methods are those that are exposed."""
    exposed = tuple(exposed)
    try:
        return _cache[name, exposed]
    except KeyError:
        pass
    words: dict[str, Any] = {method: _forward(method) for method in exposed}
    made = type(name, (BaseProxy,), words)
    made._exposed_ = exposed  # type: ignore[attr-defined]
    # So that it can be pickled by its name there.
    made.__module__ = sys._getframe(1).f_globals.get("__name__", __name__)
    _cache[name, exposed] = made
    return made


def _forward(name: str) -> Callable[..., Any]:
    def method(self: BaseProxy, /, *args: Any, **kwds: Any) -> Any:
        return self._callmethod(name, args, kwds)

    method.__name__ = name
    method.__doc__ = f"Calls {name} of the object."
    return method


def AutoProxy(
    token: Any,
    serializer: str,
    manager: Any = None,
    authkey: Optional[bytes] = None,
    exposed: Any = None,
    incref: bool = True,
    manager_owned: bool = False,
) -> BaseProxy:
    """A proxy with the methods that the object's server exposes."""
    if exposed is None:
        client = listener_client[serializer][1]
        key = authkey or (key_of(token.address) if manager is None else manager._authkey)
        exposed = ask_once(client, token.address, key, "get_methods", (token,))
    kind = MakeProxyType(f"AutoProxy[{token.typeid}]", tuple(exposed))
    proxy = kind(
        token,
        serializer,
        manager=manager,
        authkey=authkey,
        incref=incref,
        manager_owned=manager_owned,
    )
    proxy._isauto = True
    return proxy
