"""Connections: `Pipe` and its ends, `Listener` and `Client`, and `wait` for several of them.

The format on the wire is the standard library's, handshake included: either end of a connection may
be one of the standard library's, of any version. Reading, writing and waiting is done in Rust.
"""

import errno
import io
import os
import socket
from collections.abc import Iterable
from multiprocessing import connection as _standard
from multiprocessing import context, reduction, util
from multiprocessing.connection import (  # type: ignore[attr-defined]
    ConnectionWrapper,
    address_type,
    arbitrary_address,
    default_family,
    families,
)
from typing import Any, Optional, TypeVar, Union

from . import _procession

__all__ = [
    "Client",
    "Connection",
    "Listener",
    "Pipe",
    "XmlClient",
    "XmlListener",
    "address_type",
    "answer_challenge",
    "arbitrary_address",
    "deliver_challenge",
    "families",
    "wait",
]

_Address = Union[str, bytes, tuple[Any, ...]]
_T = TypeVar("_T")

AuthenticationError = context.AuthenticationError
BufferTooShort = context.BufferTooShort

_ConnectionBase: type[Any] = _standard._ConnectionBase
_validate_family: Any = _standard._validate_family  # type: ignore[attr-defined]

# How many seconds a client may take to prove its key, while `Listener.accept` waits; a slow peer on
# a loaded machine needs less, and whoever is silent for longer is dropped.
HANDSHAKE_TIMEOUT = 10.0

# The words of the handshake, and the most that one of its messages has.
MESSAGE_LENGTH = 40
CHALLENGE = _CHALLENGE = b"#CHALLENGE#"
WELCOME = _WELCOME = b"#WELCOME#"
FAILURE = _FAILURE = b"#FAILURE#"
_MOST = 256
_ALLOWED_DIGESTS = frozenset({b"md5", b"sha256", b"sha384", b"sha3_256", b"sha3_384"})


class Connection(_standard.Connection):
    """One end of a pipe or a socket; the other may be one of the standard library's."""

    _handle: int

    def _send_bytes(self, buf: Any) -> None:
        _procession.write_message(self._handle, buf)

    def _recv_bytes(self, maxsize: Optional[int] = None) -> Optional[io.BytesIO]:
        data = _procession.read_message(self._handle, maxsize)
        if data is None:
            return None
        buffer = io.BytesIO(data)
        buffer.seek(len(data))
        return buffer

    def _poll(self, timeout: Optional[float]) -> bool:
        return _procession.poll(self._handle, timeout)


def Pipe(duplex: bool = True) -> tuple[Connection, Connection]:
    """Two connected ends; unless `duplex` the first only receives and the second only sends."""
    if duplex:
        one, other = socket.socketpair()
        # The program's default time limit for sockets is none for pipes.
        one.setblocking(True)
        other.setblocking(True)
        return Connection(one.detach()), Connection(other.detach())
    reader, writer = os.pipe()
    return Connection(reader, writable=False), Connection(writer, readable=False)


def wait(object_list: Iterable[_T], timeout: Optional[float] = None) -> list[_T]:
    """Waits until some of the objects have something to read or are at their end; returns those.

    The objects: connections, sockets, the sentinels of processes, descriptors, and what has a
    `fileno()`. Waits for ever if `timeout` is None, else for so many seconds; the list is empty if
    nothing came meanwhile.

    >>> one, other = Pipe()
    >>> other.send("here")
    >>> wait([one], timeout=10) == [one]
    True
    """
    objects = list(object_list)
    return [objects[place] for place in _procession.wait(list(map(_descriptor, objects)), timeout)]


def _descriptor(waited: Any) -> int:
    if isinstance(waited, int):
        return waited
    try:
        return int(waited.fileno())
    except (AttributeError, TypeError):
        kind = type(waited).__name__
        message = f"a descriptor, or an object with a fileno(), is waited for, not {kind}"
        raise ValueError(message) from None


def _check_key(authkey: Any) -> None:
    if authkey is not None and not isinstance(authkey, bytes):
        raise TypeError(f"authkey must be bytes, not {type(authkey).__name__}")


class SocketListener:
    """A socket that listens, and who was accepted last."""

    def __init__(self, address: Any, family: str, backlog: int = 1) -> None:
        self._socket = socket.socket(getattr(socket, family))
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind(address)
            self._socket.listen(backlog)
            # The program's default for sockets is none for listeners and connections.
            self._socket.setblocking(True)
            self._address: Any = self._socket.getsockname()
        except BaseException:
            self._socket.close()
            raise
        self._family = family
        self._last_accepted: Any = None
        self._acceptor = _procession.Acceptor()
        self._unlink: Any = None
        if family == "AF_UNIX" and not util.is_abstract_socket_namespace(address):
            self._unlink = util.Finalize(self, os.unlink, args=(address,), exitpriority=0)

    def accept(self, authkey: Optional[bytes] = None) -> Connection:
        """The next one who connects and, with a key, proves that he has it."""
        timeout = self._socket.gettimeout()
        try:
            descriptor = self._acceptor.accept(
                self._socket.fileno(), authkey, HANDSHAKE_TIMEOUT, timeout
            )
        except TimeoutError:
            if timeout == 0:
                # As sockets say it that do not block.
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from None
            raise
        accepted = socket.socket(
            self._socket.family, self._socket.type, self._socket.proto, descriptor
        )
        with accepted:
            accepted.setblocking(True)
            try:
                self._last_accepted = accepted.getpeername()
            except OSError:  # gone already
                self._last_accepted = None
            return Connection(accepted.detach())

    def close(self) -> None:
        """Closes the socket, and removes its file."""
        try:
            self._socket.close()
        finally:
            unlink, self._unlink = self._unlink, None
            if unlink is not None:
                unlink()


class Listener:
    """A socket that others connect to, by `Client`.

    Unless `authkey` is None, both ends prove to each other that they have it. Those who connect do
    so side by side: one who is silent keeps nobody from being accepted, and is dropped after
    HANDSHAKE_TIMEOUT seconds.

    >>> with Listener(authkey=b"secret") as listener:
    ...     listener.address is not None
    True
    """

    def __init__(
        self,
        address: Optional[_Address] = None,
        family: Optional[str] = None,
        backlog: int = 1,
        authkey: Optional[bytes] = None,
    ) -> None:
        family = family or (address and address_type(address)) or default_family
        _validate_family(family)
        _check_key(authkey)
        self._listener: Optional[SocketListener] = SocketListener(
            address or arbitrary_address(family), family, backlog
        )
        self._authkey = authkey

    def accept(self) -> Connection:
        """Waits for the next one who connects, and returns the connection to it.

        One who has another key is an AuthenticationError, after which others can be accepted. One
        who hangs up before it has proved its key, or talks something else, is dropped.
        """
        return self._open().accept(self._authkey)

    def close(self) -> None:
        """Stops listening. The connections that were accepted stay as they are."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()

    @property
    def address(self) -> Any:
        """Where it listens: what `Client` takes."""
        return self._open()._address

    @property
    def last_accepted(self) -> Any:
        """The address of the one that was accepted last; None if it is not known."""
        return self._open()._last_accepted

    def __enter__(self) -> "Listener":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> SocketListener:
        listener = self._listener
        if listener is None:
            raise OSError("listener is closed")
        return listener


def SocketClient(address: _Address, family: Optional[str] = None) -> Connection:
    """A connection to the listener at an address, without a key."""
    with socket.socket(getattr(socket, family or address_type(address))) as connecting:
        connecting.setblocking(False)
        _procession.connect(connecting.fileno(), lambda: connecting.connect_ex(address))
        connecting.setblocking(True)
        return Connection(connecting.detach())


def Client(
    address: _Address, family: Optional[str] = None, authkey: Optional[bytes] = None
) -> Connection:
    """Connects to the Listener at an address, and returns the connection.

    With an `authkey` both ends prove to each other that they have it: waits until the listener
    accepts. AuthenticationError if it has another key; EOFError if it hangs up.
    """
    family = family or address_type(address)
    _validate_family(family)
    _check_key(authkey)
    connection = SocketClient(address, family)
    if authkey is not None:
        try:
            answer_challenge(connection, authkey)
            deliver_challenge(connection, authkey)
        except BaseException:
            connection.close()
            raise
    return connection


def deliver_challenge(connection: Any, authkey: bytes, digest_name: str = "sha256") -> None:
    """Asks the other end of a connection to prove that it has the key.

    Sends a random message and waits for the answer. AuthenticationError if it is wrong.
    """
    _check_bytes(authkey)
    challenge = _procession.challenge(digest_name)
    connection.send_bytes(CHALLENGE + challenge)
    answer = connection.recv_bytes(_MOST)
    try:
        _procession.verify(authkey, challenge, answer)
    except AuthenticationError:
        connection.send_bytes(FAILURE)
        raise
    connection.send_bytes(WELCOME)


def answer_challenge(connection: Any, authkey: bytes) -> None:
    """Proves to the other end of a connection, which asks for it, that this one has the key.

    Waits for the other end's random message and for its verdict: AuthenticationError if it
    refuses.
    """
    _check_bytes(authkey)
    message = connection.recv_bytes(_MOST)
    if not message.startswith(CHALLENGE):
        raise AuthenticationError("the other end sent no challenge: it asks for no key")
    challenge = message[len(CHALLENGE) :]
    if len(challenge) < 20:
        raise AuthenticationError(f"the other end's challenge is too short: {len(challenge)} bytes")
    connection.send_bytes(_procession.answer(authkey, challenge))
    if connection.recv_bytes(_MOST) != WELCOME:
        raise AuthenticationError(
            "the other end refused our answer to its challenge: it has another key"
        )


def _check_bytes(authkey: Any) -> None:
    if not isinstance(authkey, bytes):
        raise ValueError(f"authkey must be bytes, not {type(authkey).__name__}")


def _create_response(authkey: bytes, message: bytes) -> bytes:
    return _procession.answer(authkey, message)


def _verify_challenge(authkey: bytes, message: bytes, response: bytes) -> None:
    _procession.verify(authkey, message, response)


def _get_digest_name_and_payload(message: bytes) -> tuple[str, bytes]:
    return _procession.split(message)


def _xml_dumps(value: Any) -> bytes:
    from xmlrpc import client

    return client.dumps((value,), allow_none=True).encode("utf-8")


def _xml_loads(data: bytes) -> Any:
    from xmlrpc import client

    ((value,), _method) = client.loads(data.decode("utf-8"))
    return value


class XmlListener(Listener):
    """A Listener whose connections carry XML-RPC values instead of pickles."""

    def accept(self) -> Any:
        """As `Listener.accept`."""
        return ConnectionWrapper(super().accept(), _xml_dumps, _xml_loads)


def XmlClient(*args: Any, **kwds: Any) -> Any:
    """As `Client`, for an XmlListener."""
    return ConnectionWrapper(Client(*args, **kwds), _xml_dumps, _xml_loads)


def _receive(parcel: Any, readable: bool, writable: bool) -> Connection:
    return Connection(_procession.receive_parcel(parcel), readable, writable)


def rebuild_connection(df: Any, readable: bool, writable: bool) -> Connection:
    """The connection whose descriptor came as the standard library's connections do."""
    return Connection(df.detach(), readable, writable)


def reduce_connection(conn: Connection) -> tuple[Any, ...]:
    """How a connection is pickled."""
    descriptor = conn.fileno()
    if context.get_spawning_popen() is None:
        # On its way it needs neither this end nor this process.
        parcel = _procession.send_parcel(descriptor)
        if parcel is not None:
            return _receive, (parcel, conn.readable, conn.writable)
    # As the standard library does it: a child that is starting inherits it; else there are too many
    # on their way, and a thread of this process hands it out.
    return rebuild_connection, (reduction.DupFd(descriptor), conn.readable, conn.writable)


reduction.register(Connection, reduce_connection)
