"""A manager's server: it keeps objects, and calls their methods for those who have proxies of
them."""

import contextlib
import gc
import itertools
import secrets
import signal
import sys
import threading
import time
import traceback
import weakref
from collections import Counter
from multiprocessing import process, util
from multiprocessing.context import AuthenticationError
from multiprocessing.managers import Token, public_methods  # type: ignore[attr-defined]
from typing import Any, Callable, ClassVar, Optional

from . import _procession
from ._procession import Reference
from .manager_calls import ClientGone, serving
from .manager_message import LEASED, OURS, RAISED, TAKEN, Answer, Passage, receive, send
from .manager_session import Address, close, listener_client, opened
from .remote import pack

# How long the server keeps for a child that is being forked what its parent had, in seconds.
_HEIR_COMES = 60.0
# How long a ticket that nobody shows keeps its object, in seconds: a proxy sent by a pipe may never
# be received. Who shows it later still gets the object, if something else has kept it.
_TICKET_KEEPS = 3600.0
# References that were given up without a word, by the dead, are looked for so often.
_LOOK = 1.0
# A look at all objects costs at most this share of the time.
_SHARE = 0.05
# What is done when too many descriptors are open: a try again after so many seconds.
_NO_DESCRIPTOR = 0.02


class Entry:
    """An object, and who wants it kept. The server's own proxies of it, within other objects, have
    the entry itself: so what is nested ends with what it is in, and cycles with a collection."""

    def __init__(
        self, ident: str, typeid: str, obj: Any, exposed: set[str], types: dict[str, str]
    ) -> None:
        self.ident, self.typeid, self.obj = ident, typeid, obj
        self.exposed, self.types = exposed, types
        # References that clients of the standard library have counted.
        self.count = 0
        # Those of processes of other programs, by the numbers of their links.
        self.links: Counter[int] = Counter()
        # Proxies on their way, by way of what we can't see, and how long each keeps the object.
        self.tickets: dict[str, float] = {}
        # Those of this program.
        self._name: Any = None

    def reference(self, bell: Any) -> Reference:
        """A reference for this program, the same for all its processes."""
        found = None if self._name is None else Reference.find(self._name)
        if found is None:
            found = Reference(bell)
            self._name = found.name
        return found

    def is_wanted(self) -> bool:
        """Whether somebody outside of the server wants it."""
        if self.count or self.tickets or self.links:
            return True
        return self._name is not None and Reference.is_held(self._name)

    def wanted_by(self) -> int:
        """By how many, of those that are counted."""
        held = self._name is not None and Reference.is_held(self._name)
        return self.count + len(self.tickets) + sum(self.links.values()) + held


class Visitor:
    """A connection, as the server sees it: for one request, or for all of a client's thread."""

    # Whether it is one of ours, of this program, and of which link.
    ours = False
    same = False
    link: Optional[int] = None

    def __init__(self, server: "Server", connection: Any) -> None:
        self.server, self.connection = server, connection
        # What the last answer named is kept until the next message: by then it has arrived.
        self.granted: list[Any] = []
        self.at_end: list[Callable[[], None]] = []

    def address_of(self, address: Address) -> Address:
        """Where a server is that this client named."""
        return address

    def hold(self, ident: str, passage: Any) -> Any:
        """What keeps another server's object alive whose proxy this client sent: who sends it keeps
        it until the answer."""
        return None if passage is None or passage.how != "name" else Reference.find(passage.what)

    def name_of(self, address: Address) -> Address:
        """What the client is told of where a server is."""
        return address

    def passage_of(self, proxy: Any) -> Optional[Passage]:
        """What keeps a proxy's object while it is on its way to the client."""
        hold = proxy._hold
        if isinstance(hold, Entry):
            if self.ours:
                return self.server.grant(self, hold)
            self.granted.append(hold)
            return None
        self.granted.append(proxy)
        return Passage("name", hold.name) if isinstance(hold, Reference) else None


class Server:
    """What runs in a manager's process; `BaseManager.get_server()` makes one for this process."""

    public: ClassVar[list[str]] = [
        "shutdown",
        "create",
        "accept_connection",
        "get_methods",
        "debug_info",
        "number_of_objects",
        "dummy",
        "incref",
        "decref",
        "attend",
    ]
    # What clients of ours may ask for besides, once they are attended.
    _own = ("lease", "ticket", "redeem", "give_back", "link", "join", "heir")

    def __init__(
        self, registry: dict[str, Any], address: Address, authkey: bytes, serializer: str
    ) -> None:
        if not isinstance(authkey, bytes):
            raise TypeError(f"Authkey {authkey!r} is type {type(authkey)!s}, not bytes")
        self.registry = registry
        self.authkey = process.AuthenticationString(authkey)  # type: ignore[attr-defined]
        listener: Any = listener_client[serializer][0]
        self.listener = listener(address=address, backlog=128, authkey=self.authkey)
        self.address: Address = self.listener.address
        self.stop_event = threading.Event()
        self.mutex = threading.RLock()
        # Never a name twice, not even of a server that has this one's address later.
        self._names = map(f"{OURS}{secrets.token_hex(4)}-{{:x}}".format, itertools.count(1))
        self._numbers = itertools.count(1)
        self._entries: weakref.WeakValueDictionary[str, Entry] = weakref.WeakValueDictionary()
        self._by_object: weakref.WeakValueDictionary[Any, Entry] = weakref.WeakValueDictionary()
        self._kept: dict[str, Entry] = {}
        self._heirs: dict[int, float] = {}
        self._bell = _procession.Event()

    def serve_forever(self) -> None:
        """Serves until a client, or `shutdown()` of the manager that started it, says otherwise;
        then raises SystemExit."""
        process.current_process()._manager_server = self  # type: ignore[attr-defined]
        try:
            for work in self._accept, self._look_after:
                threading.Thread(target=work, daemon=True).start()
            with contextlib.suppress(KeyboardInterrupt):
                self.stop_event.wait()
        finally:
            self.stop_event.set()
            self._bell.set()
            sys.stdout = sys.__stdout__
            sys.stderr = sys.__stderr__
            sys.exit(0)

    def _accept(self) -> None:
        while not self.stop_event.is_set():
            try:
                connection = self.listener.accept()
            except (AuthenticationError, EOFError, ConnectionError):
                # Who failed to show the key has been told.
                continue
            except OSError:
                self.stop_event.wait(_NO_DESCRIPTOR)
                continue
            threading.Thread(target=self._visit, args=(connection,), daemon=True).start()

    # Connections

    def _visit(self, connection: Any) -> None:
        """Serves a connection to its end."""
        visitor = serving.visitor = Visitor(self, opened(connection))
        try:
            with contextlib.suppress(EOFError, OSError, ClientGone):
                self._first(visitor)
        finally:
            for call in list(visitor.at_end):
                call()
            serving.visitor = None
            visitor.granted.clear()
            close(connection)

    def _first(self, visitor: Visitor) -> None:
        """The first request is to the server itself. For a client of the standard library it is
        also the last, unless it asks to have its connection accepted."""
        connection = visitor.connection
        try:
            _, name, args, kwds = receive(connection, visitor)
            if name not in self.public:
                raise ValueError(f"{name!r} unrecognized")
            result = getattr(self, name)(connection, *args, **kwds)
        except (EOFError, OSError, ClientGone):
            raise
        except Exception:
            send(connection, ("#TRACEBACK", traceback.format_exc()), visitor)
            return
        if name not in ("accept_connection", "attend", "shutdown"):
            self._reply(visitor, ("#RETURN", result))

    def accept_connection(self, c: Any, name: str) -> None:
        """Serves a thread of a client until it closes the connection."""
        threading.current_thread().name = name
        send(c, ("#RETURN", None), serving.visitor)
        self._serve(serving.visitor)

    def attend(self, c: Any, name: str, program: tuple[int, int]) -> None:
        """As accept_connection, for a client of ours."""
        threading.current_thread().name = name
        visitor: Visitor = serving.visitor
        visitor.ours, visitor.same = True, tuple(program) == Reference.program()
        send(c, ("#RETURN", (self.address, visitor.same)), visitor)
        self._serve(visitor)

    def _serve(self, visitor: Visitor) -> None:
        while True:
            answer = self._next(visitor)
            if answer is not None:
                self._reply(visitor, answer)
            del answer

    def _next(self, visitor: Visitor) -> Optional[Answer]:
        """The answer to the next request."""
        try:
            ident, name, args, kwds = receive(visitor.connection, visitor)
        except (EOFError, OSError):
            raise
        except Exception:
            visitor.granted.clear()
            return "#TRACEBACK", traceback.format_exc()
        visitor.granted.clear()
        if name == TAKEN:
            return None
        try:
            if ident is None:
                return self._ask(visitor, name, args, kwds)
            return self._call(visitor, self.entry(ident), name, args, kwds)
        except Exception:
            return "#TRACEBACK", traceback.format_exc()

    def _reply(self, visitor: Visitor, answer: Answer) -> None:
        try:
            send(visitor.connection, answer, visitor)
        except (OSError, EOFError):
            raise
        except Exception:
            visitor.granted.clear()
            send(visitor.connection, ("#UNSERIALIZABLE", traceback.format_exc()), visitor)

    def _ask(
        self, visitor: Visitor, name: str, args: tuple[Any, ...], kwds: dict[str, Any]
    ) -> Answer:
        """A request to the server itself, of a client of ours."""
        if visitor.ours and name in self._own:
            return "#RETURN", getattr(self, f"_{name}")(visitor, *args, **kwds)
        if name not in self.public:
            raise ValueError(f"{name!r} unrecognized")
        result = getattr(self, name)(visitor.connection, *args, **kwds)
        if name == "create" and visitor.ours:
            ident, exposed = result
            result = ident, exposed, self.grant(visitor, self.entry(ident))
        return "#RETURN", result

    def _call(
        self,
        visitor: Visitor,
        entry: Entry,
        name: str,
        args: tuple[Any, ...],
        kwds: dict[str, Any],
    ) -> Answer:
        """Calls a method of an object."""
        method = getattr(entry.obj, name, None) if name in entry.exposed else None
        if method is None:
            fallback = _FALLBACKS.get(name)
            if fallback is None:
                raise AttributeError(
                    f"{type(entry.obj)} has no method {name!r}, or it is none of those that may be "
                    f"called: {sorted(entry.exposed)}"
                )
            return "#RETURN", fallback(entry.obj)
        try:
            result = method(*args, **kwds)
        except ClientGone:
            raise
        except BaseException as error:
            return (RAISED, pack(error)) if visitor.ours else ("#ERROR", error)
        typeid = entry.types.get(name)
        if typeid is None:
            return "#RETURN", result
        ident, exposed = self.create(visitor.connection, typeid, result)
        token = Token(typeid, self.address, ident)
        if visitor.ours:
            return LEASED, (exposed, token, self.grant(visitor, self.entry(ident)))
        return "#PROXY", (exposed, token)

    # Objects

    def entry(self, ident: str) -> Entry:
        """An object that is kept, by its name."""
        found = self._entries.get(ident)
        if found is None:
            raise KeyError(f"the manager has no object {ident!r}, or no more")
        return found

    def knows(self, ident: str) -> bool:
        """Whether it keeps an object of this name."""
        return ident in self._entries

    def create(
        self, c: Any, typeid: str, /, *args: Any, **kwds: Any
    ) -> tuple[str, tuple[str, ...]]:
        """Makes an object of a registered type; its name, and the methods that may be called."""
        make, exposed, types, _ = self.registry[typeid]
        if make is None:
            if kwds or len(args) != 1:
                raise ValueError("Without callable, must have one non-keyword argument")
            obj = args[0]
        else:
            obj = make(*args, **kwds)
        if exposed is None:
            exposed = public_methods(obj)
        if types is not None:
            if not isinstance(types, dict):
                raise TypeError(f"Method_to_typeid {types!r}: type {type(types)!s}, not dict")
            exposed = [*exposed, *types]
        visitor: Optional[Visitor] = serving.visitor
        with self.mutex:
            # The same object again, where the callable gives one that it has.
            entry = self._by_object.get((typeid, id(obj)))
            if entry is None:
                entry = Entry(next(self._names), typeid, obj, set(exposed), dict(types or {}))
                self._entries[entry.ident] = self._by_object[typeid, id(obj)] = entry
            if visitor is not None and visitor.ours:
                visitor.granted.append(entry)
            else:
                # The client gives this one up when it has a proxy.
                entry.count += 1
                self._keep(entry)
        util.debug("%r callable returned object with id %r", typeid, entry.ident)
        return entry.ident, tuple(exposed)

    def grant(self, visitor: Visitor, entry: Entry) -> Passage:
        """Keeps an object for a proxy that goes to a client of ours."""
        with self.mutex:
            self._keep(entry)
            if visitor.same:
                reference = entry.reference(self._bell)
                visitor.granted.append(reference)
                return Passage("name", reference.name)
            if visitor.link is None:
                raise RuntimeError("a client of another program has a link first")
            entry.links[visitor.link] += 1
            return Passage("counted", None)

    def passage(self, entry: Entry) -> Any:
        """What keeps an object for a proxy that leaves this process by other ways than as an
        answer."""
        with self.mutex:
            self._keep(entry)
            if Reference.can_travel():
                return entry.reference(self._bell)
            return Passage("ticket", self._ticket_of(entry))

    def _keep(self, entry: Entry) -> None:
        if not self._kept:
            # From now on somebody may end without a word.
            self._bell.set()
        self._kept[entry.ident] = entry

    def _settle(self, entry: Entry) -> None:
        with self.mutex:
            if not entry.is_wanted():
                self._kept.pop(entry.ident, None)

    # What clients ask for

    def incref(self, c: Any, ident: str) -> None:
        """Counts one more proxy of a client of the standard library."""
        with self.mutex:
            entry = self.entry(ident)
            entry.count += 1
            self._keep(entry)

    def decref(self, c: Any, ident: str) -> None:
        """Counts one less."""
        with self.mutex:
            entry = self.entry(ident)
            if entry.count < 1:
                raise ValueError(f"object {ident} has refcount {entry.count}, not 1 or more")
            entry.count -= 1
            self._settle(entry)

    def _lease(self, visitor: Visitor, ident: str) -> Passage:
        return self.grant(visitor, self.entry(ident))

    def _ticket(self, visitor: Visitor, ident: str) -> str:
        with self.mutex:
            return self._ticket_of(self.entry(ident))

    def _ticket_of(self, entry: Entry) -> str:
        ticket = secrets.token_hex(8)
        entry.tickets[ticket] = time.monotonic() + _TICKET_KEEPS
        self._keep(entry)
        return ticket

    def _redeem(self, visitor: Visitor, ident: str, ticket: str) -> Passage:
        with self.mutex:
            entry = self.entry(ident)
            passage = self.grant(visitor, entry)
            entry.tickets.pop(ticket, None)
            return passage

    def _give_back(self, visitor: Visitor, ident: str) -> None:
        with self.mutex:
            entry = self._entries.get(ident)
            if entry is not None and visitor.link is not None:
                entry.links -= Counter({visitor.link: 1})
                self._settle(entry)

    def _link(self, visitor: Visitor, heir: Optional[int]) -> int:
        """This connection is a link; an heir's, if that was announced."""
        with self.mutex:
            if heir is None or self._heirs.pop(heir, None) is None:
                heir = next(self._numbers)
            visitor.link = heir
            # It is a link as long as this connection lasts; those that join it are not.
            visitor.at_end.append(lambda: self._drop_link(heir))
        return heir

    def _join(self, visitor: Visitor, link: int) -> None:
        visitor.link = link

    def _heir(self, visitor: Visitor) -> int:
        with self.mutex:
            number = next(self._numbers)
            for entry in self._kept.values():
                count = entry.links.get(visitor.link or 0, 0)
                if count:
                    entry.links[number] = count
            self._heirs[number] = time.monotonic() + _HEIR_COMES
            self._bell.set()
        return number

    def _drop_link(self, link: int) -> None:
        freed = []
        with self.mutex:
            for entry in list(self._kept.values()):
                if entry.links.pop(link, 0) and not entry.is_wanted():
                    freed.append(self._kept.pop(entry.ident))

    def get_methods(self, c: Any, token: Any) -> set[str]:
        """The methods that may be called of an object."""
        return self.entry(token.id).exposed

    def number_of_objects(self, c: Any) -> int:
        """How many objects there are."""
        self._sweep()
        gc.collect()
        return len(self._entries)

    def debug_info(self, c: Any) -> str:
        """A text about all objects."""
        self._sweep()
        with self.mutex:
            entries = sorted(self._entries.items())
        lines = []
        for ident, entry in entries:
            lines.append(
                f"  {ident}:       refcount={entry.wanted_by()}\n    {str(entry.obj)[:75]}"
            )
        return "\n".join(lines)

    def dummy(self, c: Any) -> None:
        """Nothing: to see whether the server answers."""

    def shutdown(self, c: Any) -> None:
        """Ends the server."""
        try:
            util.debug("manager received shutdown message")
            send(c, ("#RETURN", None), serving.visitor)
        finally:
            self.stop_event.set()

    # Those who ended without a word

    def _look_after(self) -> None:
        """Frees what nobody wants any more."""
        while not self.stop_event.is_set():
            self._bell.wait(_LOOK if self._kept or self._heirs else None)
            self._bell.clear()
            began = time.thread_time()
            with contextlib.suppress(Exception):
                self._sweep()
            self.stop_event.wait((time.thread_time() - began) / _SHARE)

    def _sweep(self) -> None:
        now = time.monotonic()
        for heir, until in list(self._heirs.items()):
            if now > until and self._heirs.pop(heir, None) is not None:
                self._drop_link(heir)
        Reference.take_from_the_dead()
        # What they are is freed without the mutex: it may be anything.
        freed = []
        with self.mutex:
            for ident, entry in list(self._kept.items()):
                for ticket in [ticket for ticket, until in entry.tickets.items() if now > until]:
                    del entry.tickets[ticket]
                if not entry.is_wanted():
                    freed.append(self._kept.pop(ident))


_FALLBACKS: dict[str, Callable[[Any], Any]] = {
    "__str__": str,
    "__repr__": repr,
    "#GETVALUE": lambda obj: obj,
}


def run_server(
    kind: type[Server],
    registry: dict[str, Any],
    address: Address,
    authkey: bytes,
    serializer: str,
    writer: Any,
    initializer: Optional[Callable[..., object]] = None,
    initargs: tuple[Any, ...] = (),
) -> None:
    """The main function of a manager's process."""
    # Ctrl-C is for who started it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if initializer is not None:
        initializer(*initargs)
    server = kind(registry, address, authkey, serializer)
    writer.send(server.address)
    writer.close()
    util.info("manager serving at %r", server.address)
    server.serve_forever()
