"""Keys, and who proves them side by side: with each other and with the standard library's."""

import ast
import contextlib
import os
import socket
import subprocess
import time

import pytest
from deadline import GUARD
from interpreters import interpreter
from listening import FAMILIES, KEY, Client, Listener, Thread, connect_silently, connection, served
from processes import finish, start
from program import run_program
from under_test import mp


@pytest.fixture(params=FAMILIES)
def family(request):
    """A family of addresses."""
    return request.param


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
        began = time.monotonic()
        with connect_silently(listener) as silent:
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
