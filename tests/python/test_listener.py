"""Listener and Client: addresses, ends and errors."""

import contextlib
import gc
import os
import socket
import struct
import time
import warnings
from multiprocessing import connection as standard

import pytest
from deadline import GUARD, eventually
from listening import FAMILIES, KEY, Client, Listener, Thread, connect_silently, connection, served
from processes import finish, start
from under_test import METHODS, mp


@pytest.fixture(params=FAMILIES)
def family(request):
    """A family of addresses."""
    return request.param


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
            time.sleep(0.1)  # longer than the default
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
