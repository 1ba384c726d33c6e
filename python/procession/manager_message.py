"""Messages between a manager's server and its clients: the standard library's, and who reads them.

What a proxy has to say when it is pickled depends on where the message goes, and what it does when
it is unpickled on where the message came from. So each thread knows which end it is talking to.
"""

import contextlib
import io
import pickle
import threading
from collections.abc import Iterator
from multiprocessing import managers as standard
from multiprocessing.reduction import ForkingPickler
from typing import Any, Callable, NamedTuple, Optional

# Managers of ours name objects so; what another server calls its objects does not begin like this.
OURS = "procession-"

# Answers that servers of ours give to clients of ours, beside the standard library's.
LEASED = "#LEASED"
RAISED = "#RAISED"
# Said without an answer: what the last answer named has arrived.
TAKEN = "#TAKEN"

Request = tuple[Optional[str], str, tuple[Any, ...], dict[str, Any]]
Answer = tuple[str, Any]


class Passage(NamedTuple):
    """How an object is kept for a proxy that is on its way in a message of a manager."""

    # "name": by the sender, until the receiver has taken a reference of this name; "counted": the
    # server counts it as the receiver's already; "ticket": by the server, until this is shown.
    how: str
    what: Any


class _Here(threading.local):
    sends_to: Any = None
    reads_from: Any = None
    # What keeps the object alive whose proxy is made next: (its name, that).
    arriving: Optional[tuple[str, Any]] = None


here = _Here()


@contextlib.contextmanager
def arrival(ident: str, hold: Any) -> Iterator[None]:
    """While the proxy is made that has `hold` to keep its object."""
    before, here.arriving = here.arriving, (ident, hold)
    try:
        yield
    finally:
        here.arriving = before


def arrived(ident: str) -> Any:
    """What keeps the object of this name alive for the proxy that is made at this moment."""
    if here.arriving is None or here.arriving[0] != ident:
        return None
    hold, here.arriving = here.arriving[1], None
    return hold


class _Unpickler(pickle.Unpickler):
    """Reads the standard library's proxies as ours."""

    def find_class(self, module: str, name: str) -> Any:
        if module == standard.__name__ and name.endswith("Proxy"):
            from . import managers

            with contextlib.suppress(AttributeError):
                return getattr(managers, name)
        return super().find_class(module, name)


def prepare(connection: Any, message: Any, end: Any) -> tuple[Callable[[Any], None], Any]:
    """What sends a message to `end`, and what it is to be called with. What does not pickle raises
    here, before anything is sent."""
    if hasattr(connection, "_dumps"):
        # Not pickled, but written as XML.
        return connection.send, message
    before, here.sends_to = here.sends_to, end
    try:
        return connection.send_bytes, ForkingPickler.dumps(message)
    finally:
        here.sends_to = before


def send(connection: Any, message: Any, end: Any) -> None:
    """Sends a message to `end`."""
    deliver, data = prepare(connection, message, end)
    deliver(data)


def receive(connection: Any, end: Any) -> Any:
    """The next message, of `end`."""
    before, here.reads_from = here.reads_from, end
    try:
        if hasattr(connection, "_loads"):
            return connection.recv()
        return _Unpickler(io.BytesIO(connection.recv_bytes())).load()
    finally:
        here.reads_from = before


class _Stranger:
    """A server of which it is known only that it talks as the standard library's do."""

    ours = False

    @staticmethod
    def address_of(address: Any) -> Any:
        """Where a server is that this one named."""
        return address

    name_of = address_of

    @staticmethod
    def passage_of(proxy: Any) -> None:
        """What keeps a proxy's object on its way: who sends it, until the answer has come."""


def error_of(kind: str, result: Any) -> BaseException:
    """The exception that an answer stands for."""
    if kind == RAISED:
        from .remote import unpack

        return unpack(result)
    convert: Callable[[str, Any], BaseException] = standard.convert_to_error  # type: ignore[attr-defined]
    return convert(kind, result)


def dispatch(
    connection: Any,
    ident: Optional[str],
    name: str,
    args: tuple[Any, ...] = (),
    kwds: Optional[dict[str, Any]] = None,
) -> Any:
    """Sends a request and returns its answer, or raises it if that is an exception."""
    send(connection, (ident, name, args, kwds or {}), _Stranger)
    kind, result = receive(connection, _Stranger)
    if kind == "#RETURN":
        return result
    try:
        raise error_of(kind, result)
    finally:
        del result
