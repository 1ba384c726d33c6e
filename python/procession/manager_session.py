"""A process's connections to servers of managers: one for each of its threads and each server.

A server that is of this program, and of procession, hands out *references* (see `Reference` of the
runtime): they need no word to the server when a proxy is copied, travels, or ends with its process.
One that is not of this program counts for each process what it has, and takes it back when the
process's *link* to it, a connection for this alone, is gone. A server of the standard library is
told of each proxy.
"""

import collections
import contextlib
import os
import threading
import weakref
from multiprocessing import managers as standard
from multiprocessing import process
from multiprocessing.context import AuthenticationError
from typing import Any, Optional

from . import connection as _connection
from ._procession import Reference
from .manager_message import OURS, TAKEN, Passage, dispatch, error_of, prepare, receive, send

Address = Any
# What a fork waits for a thread that tells a server something, in seconds.
_PATIENCE = 1.0

# For each serializer: the classes that listen and connect.
listener_client: dict[str, tuple[Any, Any]] = {
    "pickle": (_connection.Listener, _connection.Client),
    "xmlrpclib": (_connection.XmlListener, _connection.XmlClient),
}

# Keys of servers whose key is not the process's own.
_keys: dict[Address, bytes] = {}
# All connections of this process to servers, and a server's to its clients.
_open: "weakref.WeakSet[Any]" = weakref.WeakSet()
_links: dict[Address, "Link"] = {}
_linking = threading.Lock()
_shares: "weakref.WeakSet[Share]" = weakref.WeakSet()
_thread = threading.local()


def remember_key(address: Address, authkey: bytes) -> None:
    """Notes the key of a server, for proxies of it that arrive without one."""
    if bytes(authkey) != bytes(process.current_process().authkey):
        _keys[address] = authkey


def key_of(address: Address) -> bytes:
    """The key of a server, as far as this process knows: else its own."""
    return _keys.get(address) or process.current_process().authkey


def opened(connection: Any) -> Any:
    """Notes a connection: a process that is forked does not keep it open, so that its end is
    seen."""
    _open.add(connection)
    return connection


def close(connection: Any) -> None:
    """Closes a connection that was opened."""
    with contextlib.suppress(OSError):
        connection.close()


def is_closed(connection: Any) -> bool:
    """Whether a connection was closed."""
    return bool(getattr(connection, "_conn", connection).closed)


def ask_once(
    client: Any,
    address: Address,
    authkey: bytes,
    name: str,
    args: tuple[Any, ...] = (),
    kwds: Optional[dict[str, Any]] = None,
) -> Any:
    """What a server answers to a request that has a connection for itself."""
    with contextlib.closing(client(address, authkey=authkey)) as connection:
        return dispatch(connection, None, name, args, kwds)


def is_answering(address: Address, timeout: float) -> bool:
    """Whether a server says something to one who connects, within `timeout` seconds."""
    with _connection.SocketClient(address) as connection:
        return connection.poll(timeout)


def _name() -> str:
    name: str = process.current_process().name
    thread = threading.current_thread().name
    return name if thread == "MainThread" else f"{name}|{thread}"


class Session:
    """A connection to a server, used by one thread at a time."""

    def __init__(
        self, address: Address, serializer: str, authkey: bytes, ours: Optional[bool]
    ) -> None:
        self.address = address
        self.authkey = authkey
        # How the server calls its own address: "any" of a machine's addresses may be one.
        self.theirs = address
        self.busy = False
        self._arrived = False
        self.link: Optional[Link] = None
        make = listener_client[serializer][1]
        self.connection = opened(make(address, authkey=authkey))
        try:
            if ours is None or ours:
                ours = self._attend(make, ours is None)
            if not ours:
                dispatch(self.connection, None, "accept_connection", (_name(),))
        except BaseException:
            self.close()
            raise
        self.ours = ours

    def _attend(self, make: Any, may_be_other: bool) -> bool:
        """Asks for what servers of ours can do more; False if this is none."""
        try:
            self.theirs, same = dispatch(
                self.connection, None, "attend", (_name(), Reference.program())
            )
        except standard.RemoteError:
            if not may_be_other:
                raise
            close(self.connection)
            self.connection = opened(make(self.address, authkey=self.authkey))
            return False
        if not same:
            self.link = Link.to(self.address, self.authkey)
            self._exchange(None, "join", (self.link.number,), {})
        return True

    def is_over(self) -> bool:
        """Whether the server has closed the connection. It says nothing unless it is asked."""
        return not self.busy and bool(self.connection.poll())

    def close(self) -> None:
        """Closes the connection; the server gives up what it does for it."""
        close(self.connection)

    def call(
        self,
        ident: Optional[str],
        method: str,
        args: tuple[Any, ...] = (),
        kwds: Optional[dict[str, Any]] = None,
    ) -> tuple[str, Any]:
        """The answer to a call of an object's method, or of the server's own."""
        self.busy = True
        try:
            return self._exchange(ident, method, args, kwds or {})
        finally:
            self.busy = False

    def _exchange(
        self, ident: Optional[str], method: str, args: tuple[Any, ...], kwds: dict[str, Any]
    ) -> tuple[str, Any]:
        deliver, data = prepare(self.connection, (ident, method, args, kwds), self)
        try:
            deliver(data)
            try:
                kind, result = receive(self.connection, self)
            finally:
                arrived, self._arrived = self._arrived, False
            if arrived:
                self._taken()
        except BaseException:
            # The answer that may come yet would be taken for the next one's.
            self.close()
            raise
        return kind, result

    def ask(
        self, method: str, args: tuple[Any, ...] = (), kwds: Optional[dict[str, Any]] = None
    ) -> Any:
        """What the server itself answers."""
        kind, result = self.call(None, method, args, kwds)
        if kind == "#RETURN":
            return result
        try:
            raise error_of(kind, result)
        finally:
            del result

    # Proxies in messages

    def address_of(self, address: Address) -> Address:
        """The address of a server that this one named, as it is reached from here."""
        return self.address if address == self.theirs else address

    def hold(self, ident: str, passage: Optional[Passage]) -> Any:
        """What keeps an object alive from now on, when a proxy of it arrived or was made."""
        if passage is None:
            return self.hold(ident, self.ask("lease", (ident,)))
        if passage.how == "counted":
            assert self.link is not None, "the server counts for links alone"
            return Share(self.link, ident)
        found = Reference.find(passage.what)
        if found is None:
            raise ValueError(f"the manager's object {ident} is gone")
        if self.busy:
            self._arrived = True
        else:
            self._taken()
        return found

    def _taken(self) -> None:
        """The server need not keep any more for us what its answer named."""
        with contextlib.suppress(OSError):
            send(self.connection, (None, TAKEN, (), {}), self)

    def name_of(self, address: Address) -> Address:
        """How this server calls the address of a server."""
        return self.theirs if address == self.address else address

    def passage_of(self, proxy: Any) -> Optional[Passage]:
        """What keeps a proxy's object while it is on its way to the server: who sends it, until the
        answer has come."""
        hold = proxy._hold
        return Passage("name", hold.name) if isinstance(hold, Reference) else None


def session(
    address: Address, serializer: str, authkey: bytes, ours: Optional[bool] = None
) -> Session:
    """This thread's connection to a server. `ours` says whether it is one of ours, if that is
    known."""
    sessions: dict[Any, Session] = vars(_thread).setdefault("sessions", {})
    key = address, serializer, ours
    found = sessions.get(key)
    if found is not None and found.busy:
        # A signal's handler, amid a call of the same thread.
        return Session(address, serializer, authkey, ours)
    if found is None or is_closed(found.connection):
        found = sessions[key] = Session(address, serializer, authkey, ours)
    return found


def is_ours(ident: str) -> bool:
    """Whether an object is one that a server of ours keeps, by its name."""
    return ident.startswith(OURS)


class Link:
    """What a process has of a server of another program ends with this connection."""

    def __init__(self, address: Address, authkey: bytes, heir_of: Optional[int] = None) -> None:
        self.address, self.authkey = address, authkey
        # What the server counts for a child that is about to be forked.
        self.heir: Optional[int] = None
        self._returned: collections.deque[str] = collections.deque()
        self._using = threading.Lock()
        self._connection = opened(listener_client["pickle"][1](address, authkey=authkey))
        try:
            dispatch(self._connection, None, "attend", (f"link of {_name()}", Reference.program()))
            self.number: int = self._ask("link", heir_of)
        except BaseException:
            close(self._connection)
            raise

    @classmethod
    def to(cls, address: Address, authkey: bytes) -> "Link":
        """This process's link to a server."""
        with _linking:
            found = _links.get(address)
            if found is None or is_closed(found._connection):
                found = _links[address] = cls(address, authkey)
        return found

    def _ask(self, method: str, *args: Any) -> Any:
        return dispatch(self._connection, None, method, args)

    def give_back(self, ident: str) -> None:
        """Says that a proxy is gone. May be called within any other call, by the garbage
        collector."""
        self._returned.append(ident)
        while self._returned and self._using.acquire(blocking=False):
            try:
                while self._returned:
                    self._ask("give_back", self._returned.popleft())
            except (OSError, EOFError):
                # So all is given back.
                close(self._connection)
                self._returned.clear()
            finally:
                self._using.release()

    def before_fork(self) -> None:
        """Has the server count for the child too what this process has: it may be gone here before
        the child has said a word."""
        self.heir = None
        if self._using.acquire(timeout=_PATIENCE):
            try:
                self.heir = self._ask("heir")
            except (OSError, EOFError, RuntimeError):
                close(self._connection)
            finally:
                self._using.release()

    def inherited(self) -> "Link":
        """The link of a forked child, which has all that its parent's had."""
        return Link(self.address, self.authkey, self.heir)


class Share:
    """A server of another program counts that this process has a proxy."""

    def __init__(self, link: Link, ident: str) -> None:
        self.link, self.ident = link, ident
        _shares.add(self)

    def __del__(self) -> None:
        if "ident" in vars(self):
            self.link.give_back(self.ident)


def _before_fork() -> None:
    if _shares:
        for link in list(_links.values()):
            link.before_fork()


def _after_fork() -> None:
    global _linking, _thread
    _linking = threading.Lock()
    _thread = threading.local()
    for connection in list(_open):
        close(connection)
    if not _links:
        return
    parents = dict(_links)
    _links.clear()
    for address, link in parents.items():
        with contextlib.suppress(OSError, EOFError, AuthenticationError, RuntimeError):
            _links[address] = link.inherited()
    for share in list(_shares):
        share.link = _links.get(share.link.address, share.link)


os.register_at_fork(before=_before_fork, after_in_child=_after_fork)
