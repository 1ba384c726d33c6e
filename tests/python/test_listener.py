"""Listener and Client: with and without a key, with each other and with the standard library's."""

import ast
import contextlib
import gc
import os
import socket
import struct
import subprocess
import threading
import time
import warnings
from multiprocessing import connection as standard

import pytest
from deadline import GUARD, eventually
from interpreters import interpreter
from processes import finish, start
from program import run_program
from under_test import METHODS, NAME, mp

connection = __import__(f"{NAME}.connection", fromlist=["*"])
Listener, Client = connection.Listener, connection.Client

pytestmark = pytest.mark.timeout(60)

FAMILIES = ["AF_UNIX", "AF_INET"]
KEY = b"the right key"


@pytest.fixture(params=FAMILIES)
def family(request):
    """A family of addresses."""
    return request.param


class Thread(threading.Thread):
    """A call in another thread; `result()` gives what it returned, or raises what it raised."""

    def __init__(self, call, *args, **options):
        super().__init__(daemon=True)
        self.call = lambda: call(*args, **options)
        self.start()

    def run(self):
        try:
            self.returned, self.raised = self.call(), None
        except BaseException as error:
            self.raised = error

    def result(self):
        self.join(GUARD)
        assert not self.is_alive(), "it still runs"
        if self.raised is not None:
            raise self.raised
        return self.returned


def served(listener, key=KEY):
    """Accept the client of another thread; both ends."""
    client = Thread(Client, listener.address, authkey=key)
    return listener.accept(), client.result()


# --- between programs

# What runs in another interpreter, with nothing but the standard library.
PEER = """
import ast, sys
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Listener

role, family, key = sys.argv[1], sys.argv[3], sys.argv[4].encode()
try:
    if role == "client":
        connection = Client(ast.literal_eval(sys.argv[2]), authkey=key)
    else:
        listener = Listener(family=family, authkey=key)
        print(ascii(listener.address), flush=True)
        connection = listener.accept()
    connection.send(["from", role])
    print(connection.recv(), flush=True)
except AuthenticationError:
    print("refused", flush=True)
"""


@contextlib.contextmanager
def peer(version, role, address, family, key):
    """The other program, and the lines that it prints."""
    command = [interpreter(version), "-c", PEER, role, ascii(address), family, key.decode()]
    other = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield lambda: other.stdout.readline().strip()
        assert other.wait(GUARD) == 0
    finally:
        other.kill()
        other.wait()
        other.stdout.close()


@pytest.mark.parametrize("version", ["3.9", "3.11", "3.13"])
@pytest.mark.parametrize("key", [KEY, b"a wrong key"], ids=["right", "wrong"])
class TestWithTheStandardLibrary:
    def test_their_client(self, version, key, family):
        listener = Listener(family=family, authkey=KEY)
        with listener, peer(version, "client", listener.address, family, key) as line:
            if key == KEY:
                with listener.accept() as accepted:
                    assert accepted.recv() == ["from", "client"]
                    accepted.send("welcome")
                    assert line() == "welcome"
            else:
                with pytest.raises(mp.AuthenticationError):
                    listener.accept()
                assert line() == "refused"

    def test_their_listener(self, version, key, family):
        with peer(version, "listener", None, family, key) as line:
            address = ast.literal_eval(line())
            if key == KEY:
                with Client(address, authkey=KEY) as client:
                    assert client.recv() == ["from", "listener"]
                    client.send("hello")
                    assert line() == "hello"
            else:
                with pytest.raises(mp.AuthenticationError):
                    Client(address, authkey=KEY)
                assert line() == "refused"


@pytest.mark.parametrize("key", [KEY, b"", None], ids=["key", "empty", "none"])
def test_with_ours(family, key):
    with Listener(family=family, authkey=key) as listener:
        ours, client = served(listener, key)
        with ours, client:
            client.send({"a": 1})
            assert ours.recv() == {"a": 1}
            ours.send_bytes(b"back")
            assert client.recv_bytes() == b"back"
        assert type(ours) is type(client) is connection.Connection


@pytest.mark.parametrize("theirs", ["listener", "client"])
def test_wrong_key(family, theirs):
    with Listener(family=family, authkey=KEY) as listener:
        client = Thread(Client, listener.address, authkey=b"another")
        with pytest.raises(mp.AuthenticationError):
            listener.accept()
        with pytest.raises(mp.AuthenticationError):
            client.result()
        # All goes on.
        ours, client = served(listener)
        ours.close()
        client.close()


def test_a_client_without_a_key_is_not_let_in(family):
    with Listener(family=family, authkey=KEY) as listener:
        accepting = Thread(listener.accept)
        # It takes the challenge for a message; what it sends is no answer.
        with Client(listener.address) as client:
            assert client.recv_bytes().startswith(b"#CHALLENGE#")
            client.send("not an answer, but long enough")
            with pytest.raises(mp.AuthenticationError):
                accepting.result()


def test_a_listener_without_a_key_is_not_believed():
    with Listener() as listener:
        client = Thread(Client, listener.address, authkey=KEY)
        with listener.accept() as accepted:
            accepted.send_bytes(b"no challenge")
            with pytest.raises(mp.AuthenticationError):
                client.result()


def call_back(address, key):
    with Client(address, authkey=key) as client:
        client.send(os.getpid())


def test_a_child_connects(ctx, family):
    with Listener(family=family, authkey=KEY) as listener:
        process = start(ctx, call_back, listener.address, KEY)
        with listener.accept() as accepted:
            assert accepted.recv() == process.pid
        finish(process)


def test_the_processs_key_serves(ctx):
    with Listener(authkey=mp.current_process().authkey) as listener:
        process = start(ctx, call_back_with_its_own_key, listener.address)
        with listener.accept() as accepted:
            assert accepted.recv() == process.pid
        finish(process)


def call_back_with_its_own_key(address):
    call_back(address, bytes(mp.current_process().authkey))


# --- those who are silent


def connect_silently(listener):
    family = socket.AF_UNIX if isinstance(listener.address, str) else socket.AF_INET
    silent = socket.socket(family)
    silent.settimeout(GUARD)
    silent.connect(listener.address)
    return silent


def test_100_silent_clients(family):
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(Listener(family=family, backlog=128, authkey=KEY))
        for _ in range(100):
            stack.enter_context(connect_silently(listener))
        client = Thread(Client, listener.address, authkey=KEY)
        began = time.monotonic()
        with listener.accept() as accepted, client.result() as client:
            assert time.monotonic() - began < 1.0
            client.send("served")
            assert accepted.recv() == "served"


def test_a_silent_client_is_dropped_at_its_limit(monkeypatch):
    monkeypatch.setattr(connection, "HANDSHAKE_TIMEOUT", 0.2)
    with Listener(authkey=KEY) as listener:
        accepting = Thread(listener.accept)
        with connect_silently(listener) as silent:
            began = time.monotonic()
            received = b""
            while piece := silent.recv(100):  # the challenge, then the end
                received += piece
            assert b"#CHALLENGE#" in received
            assert 0.15 < time.monotonic() - began < 5
        assert accepting.is_alive()
        Client(listener.address, authkey=KEY).close()
        accepting.result().close()


def test_half_way_while_another_is_accepted(monkeypatch):
    with Listener(backlog=5, authkey=KEY) as listener, connect_silently(listener) as slow:
        ours, client = served(listener)
        ours.close()
        client.close()
        # The slow one was not dropped: it has its challenge, and now answers it.
        slow.settimeout(None)
        end = connection.Connection(slow.detach())
        accepting = Thread(listener.accept)
        connection.answer_challenge(end, KEY)
        connection.deliver_challenge(end, KEY)
        accepting.result().close()
        end.close()


def test_time_counts_while_somebody_accepts(monkeypatch):
    monkeypatch.setattr(connection, "HANDSHAKE_TIMEOUT", 1.0)
    with Listener(backlog=5, authkey=KEY) as listener, connect_silently(listener) as slow:
        ours, client = served(listener)
        ours.close()
        client.close()
        time.sleep(1.2)  # nobody accepts meanwhile
        slow.settimeout(None)
        end = connection.Connection(slow.detach())
        accepting = Thread(listener.accept)
        connection.answer_challenge(end, KEY)
        connection.deliver_challenge(end, KEY)
        accepting.result().close()
        end.close()


@pytest.mark.parametrize(
    "says",
    [
        b"",
        b"\0\0",
        b"\0\0\0\x08half",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff\xff\xff\xff" + b"\x7f" * 8,
        b"\x80\0\0\0",
    ],
    ids=["nothing", "half a header", "half a message", "http", "giant", "negative"],
)
def test_who_talks_something_else_is_dropped(says):
    with Listener(backlog=5, authkey=KEY) as listener, connect_silently(listener) as other:
        other.sendall(says)
        other.shutdown(socket.SHUT_WR)
        ours, client = served(listener)
        ours.close()
        client.close()
        listener.close()  # else it is dropped by the next `accept`, if not yet
        with contextlib.suppress(ConnectionResetError):  # it did not read all
            while other.recv(100):
                pass


def test_two_threads_accept(family):
    listener = Listener(family=family, backlog=8, authkey=KEY)
    with listener, connect_silently(listener):
        accepting = [Thread(accept_some, listener, 10) for _ in range(2)]
        for number in range(20):
            with Client(listener.address, authkey=KEY) as client:
                client.send(number)
        got = [number for thread in accepting for number in thread.result()]
        assert sorted(got) == list(range(20))


def accept_some(listener, count):
    got = []
    for _ in range(count):
        with listener.accept() as accepted:
            got.append(accepted.recv())
    return got


def accept_one(listener, told):
    told.set()
    with listener.accept() as accepted:
        accepted.send(os.getpid())


def test_forked_children_accept():
    ctx = mp.get_context("fork")
    with Listener(backlog=8, authkey=KEY) as listener, connect_silently(listener) as silent:
        ours, client = served(listener)  # the silent one is half-way here
        ours.close()
        client.close()
        told = [ctx.Event() for _ in range(3)]
        processes = [start(ctx, accept_one, listener, event) for event in told]
        for event in told:
            event.wait(GUARD)
        pids = set()
        for _ in processes:
            with Client(listener.address, authkey=KEY) as client:
                pids.add(client.recv())
        assert pids == {process.pid for process in processes}
        finish(*processes)
        silent.close()


def test_many_half_way_make_room_for_new_ones():
    program = """
        import socket, threading
        import procession as mp
        from procession.connection import Client, Listener

        with Listener(backlog=400, authkey=b"k") as listener:
            sockets = []
            for _ in range(300):
                sockets.append(socket.socket(socket.AF_UNIX))
                sockets[-1].connect(listener.address)
            client = threading.Thread(target=lambda: Client(listener.address, authkey=b"k").close())
            client.start()
            listener.accept().close()
            client.join()
            print("served")
    """
    assert run_program(program).lines == ["served"]


# --- addresses


def test_address_is_chosen(family):
    with Listener(family=family) as listener:
        if family == "AF_INET":
            host, port = listener.address
            assert host == "127.0.0.1"
            assert port > 0
        else:
            assert os.path.exists(listener.address)
            assert os.stat(os.path.dirname(listener.address)).st_mode & 0o077 == 0
        assert connection.address_type(listener.address) == family
    assert set(FAMILIES) <= set(connection.families)


def test_family_follows_the_address(tmp_path):
    with Listener(str(tmp_path / "here")) as listener:
        assert listener.address == str(tmp_path / "here")
    assert not (tmp_path / "here").exists()
    with Listener(("localhost", 0)) as listener:
        assert listener.address[0] == "127.0.0.1"
    with Listener() as listener:
        assert connection.address_type(listener.address) == "AF_UNIX"


def test_abstract_address():
    name = f"\0procession-{os.getpid()}"
    with Listener(name, authkey=KEY) as listener:
        ours, client = served(listener)
        with ours, client:
            client.send(1)
            assert ours.recv() == 1


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_ipv6():
    try:
        listener = Listener(("::1", 0), "AF_INET6", authkey=KEY)
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    with listener:
        client = Thread(Client, listener.address, "AF_INET6", KEY)
        listener.accept().close()
        client.result().close()


def test_the_address_is_taken(family):
    with Listener(family=family) as listener, pytest.raises(OSError, match="in use"):
        Listener(listener.address, family)


def test_last_accepted():
    with Listener(("localhost", 0)) as listener:
        assert listener.last_accepted is None
        with Client(listener.address) as client, listener.accept():
            mine = socket.socket(fileno=os.dup(client.fileno()))
            with mine:
                assert listener.last_accepted == mine.getsockname()


def test_nobody_listens(tmp_path):
    with pytest.raises(FileNotFoundError):
        Client(str(tmp_path / "nobody"))
    with Listener(("localhost", 0)) as listener:
        address = listener.address
    with pytest.raises(ConnectionRefusedError):
        Client(address)


def test_a_full_backlog_is_waited_for():
    with Listener(backlog=0) as listener:
        clients = [Thread(Client, listener.address) for _ in range(10)]
        for _ in clients:
            listener.accept().close()
        for client in clients:
            client.result().close()


def test_a_listener_that_hangs_up():
    with socket.create_server(("localhost", 0)) as server:
        client = Thread(Client, server.getsockname(), authkey=KEY)
        server.accept()[0].close()
        with pytest.raises((EOFError, ConnectionResetError)):
            client.result()


# --- ends and errors


def test_close(family):
    listener = Listener(family=family)
    address = listener.address
    with listener as entered:
        assert entered is listener
        first = Thread(Client, address)
        accepted = listener.accept()
    listener.close()
    for use in listener.accept, lambda: listener.address, lambda: listener.last_accepted:
        with pytest.raises(OSError, match="closed"):
            use()
    with pytest.raises(OSError):  # noqa: PT011 - refused, or no such file
        Client(address)
    accepted.send("what was accepted stays")
    assert first.result().recv() == "what was accepted stays"
    accepted.close()


def test_wrong_arguments():
    for make in (
        lambda: Listener(authkey="text"),
        lambda: Client("/nowhere", authkey="text"),
        lambda: Client(7),
        Client,
    ):
        with pytest.raises(TypeError):
            make()
    for make in (
        lambda: Listener(family="AF_PIPE"),
        lambda: connection.deliver_challenge(None, "text"),
        lambda: connection.answer_challenge(None, "text"),
    ):
        with pytest.raises(ValueError):  # noqa: PT011 - there is one text for each
            make()


def test_wrong_arguments_are_what_the_standard_library_refuses():
    """Each call raises the same here and there."""
    calls = [
        lambda module: module.Listener(authkey="text"),
        lambda module: module.Listener(family="AF_PIPE"),
        lambda module: module.Listener(("localhost", -1)),
        lambda module: module.Listener(("localhost", "port")),
        lambda module: module.Listener("x" * 200),
        lambda module: module.Listener(("no such host.invalid", 1)),
        lambda module: module.Client("/no/such/file"),
        lambda module: module.Client(("localhost", -1)),
        lambda module: module.Client(7),
        lambda module: module.Client(None),
        lambda module: module.deliver_challenge(None, "text"),
        lambda module: module.answer_challenge(None, "text"),
        lambda module: module.wait([-1], 0),
        lambda module: module.wait([object()], 0),
        lambda module: module.wait(5, 0),
    ]
    for call in calls:
        expected = raised_by(call, standard)
        # The standard library leaves sockets open.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
        assert issubclass(raised_by(call, connection), expected)
    gc.collect()


def raised_by(call, module):
    with pytest.raises(Exception) as caught:  # noqa: PT011
        call(module)
    return caught.type


def test_a_timeout_of_its_socket():
    # It is a way to end `accept` that many programs know.
    with Listener() as listener:
        listener._listener._socket.settimeout(0.05)
        with pytest.raises(TimeoutError):
            listener.accept()
        listener._listener._socket.settimeout(None)
        ours, client = served(listener, None)
        ours.close()
        client.close()


@pytest.mark.parametrize("key", [KEY, None], ids=["key", "none"])
def test_its_socket_does_not_block(key):
    with Listener(backlog=5, authkey=key) as listener:
        listener._listener._socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
        client = Thread(Client, listener.address, authkey=key)
        assert connection.wait([listener._listener._socket], GUARD)
        listener.accept().close()
        client.result().close()


def prove(end):
    connection.answer_challenge(end, KEY)
    connection.deliver_challenge(end, KEY)


def test_who_polls_its_socket_hears_of_each(family):
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(Listener(family=family, backlog=5, authkey=KEY))
        sockets = [stack.enter_context(connect_silently(listener)) for _ in range(5)]
        proving = []
        for each in sockets:
            each.settimeout(None)
            end = stack.enter_context(connection.Connection(each.detach()))
            proving.append(Thread(prove, end))
        for _ in sockets:
            assert connection.wait([listener._listener._socket], GUARD)
            listener.accept().close()
        for thread in proving:
            thread.result()


def test_the_default_timeout_of_sockets_is_not_its_own():
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(0.05)
    try:
        with Listener(family="AF_INET") as listener:
            accepting = Thread(listener.accept)
            client = Client(listener.address)
            accepted = accepting.result()
            receiving = Thread(accepted.recv)
            time.sleep(0.1)  # longer than the default
            client.send(456)
            assert receiving.result() == 456
            accepted.close()
            client.close()
    finally:
        socket.setdefaulttimeout(before)


# --- the pieces of the handshake


class Script:
    """An end that says what it was told to, whatever it is sent."""

    def __init__(self, *says):
        self.says, self.sent = list(says), []

    def recv_bytes(self, maxlength=None):
        return self.says.pop(0)

    def send_bytes(self, data):
        self.sent.append(bytes(data))


@pytest.mark.parametrize("digest", ["md5", "sha256", "sha384", "sha3_256", "sha3_384"])
def test_digests(digest):
    one, other = connection.Pipe()
    with one, other:
        answering = Thread(connection.answer_challenge, other, KEY)
        connection.deliver_challenge(one, KEY, digest)
        answering.result()


def test_what_is_no_handshake():
    with pytest.raises(mp.AuthenticationError):
        connection.deliver_challenge(Script(b"something bogus"), KEY)
    refused = Script(b"#CHALLENGE#" + b"20 bytes, exactly so", b"something bogus")
    with pytest.raises(mp.AuthenticationError):
        connection.answer_challenge(refused, KEY)
    assert len(refused.sent[0]) == 16  # as an old one does it
    for challenge in b"hello", b"#CHALLENGE#short", b"#CHALLENGE#{sha1}" + b"x" * 40:
        with pytest.raises(mp.AuthenticationError):
            connection.answer_challenge(Script(challenge), KEY)


def test_an_unknown_digest():
    with pytest.raises(ValueError, match="digest"):
        connection.deliver_challenge(Script(), KEY, "sha1")


# --- giant headers


@pytest.mark.parametrize(
    ("header", "length"),
    [
        (struct.pack("!iQ", -1, 2**60), 2**60),
        (struct.pack("!iQ", -1, 2**64 - 1), 2**64 - 1),
        (struct.pack("!iQ", -1, 2**33), 2**33),
        (struct.pack("!i", 2**31 - 1), 2**31 - 1),
        (struct.pack("!i", -2), -2),
    ],
    ids=str,
)
def test_a_giant_header_is_an_error_that_names_the_length(header, length):
    raw, other = socket.socketpair()
    with raw, connection.Connection(other.detach()) as end:
        raw.sendall(header + b"a few bytes")
        raw.shutdown(socket.SHUT_WR)
        before = high_water()
        with pytest.raises(OSError, match=str(length)):
            end.recv_bytes()
        assert high_water() - before < 16 << 10  # KiB


def high_water():
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


# --- XML


def test_xml():
    with connection.XmlListener(authkey=KEY) as listener:
        client = Thread(connection.XmlClient, listener.address, authkey=KEY)
        accepted = listener.accept()
        client = client.result()
        client.send([1, "two", None, {"three": 3.0}])
        assert accepted.recv() == [1, "two", None, {"three": 3.0}]
        accepted.close()
        client.close()


# --- nobody is left


@pytest.mark.parametrize("method", METHODS)
def test_the_socket_file_of_a_child_that_ends_is_removed(method):
    ctx = mp.get_context(method)
    queue = ctx.Queue()
    process = start(ctx, listen_and_leave, queue)
    address = queue.get(timeout=GUARD)
    finish(process)
    eventually(lambda: not os.path.exists(address), what="the file is removed")


def listen_and_leave(queue):
    listener = Listener()
    queue.put(listener.address)
    globals()["kept"] = listener
