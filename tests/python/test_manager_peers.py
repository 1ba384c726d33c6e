"""Managers between procession and the standard library of several versions, in both directions."""

import ast
import contextlib
import subprocess
import sys

import pytest
from deadline import GUARD, eventually
from interpreters import interpreter
from under_test import METHODS, NAME, mp

managers = __import__(f"{NAME}.managers", fromlist=["*"])

pytestmark = pytest.mark.skipif(NAME == "multiprocessing", reason="procession's table")

VERSIONS = ["3.9", "3.11", "3.13"]
KEY = b"the right key"
ADDRESSES = {"unix": None, "tcp": ("127.0.0.1", 0)}

# What runs in another interpreter, with nothing but the standard library.
SERVER = """
import ast, sys
from multiprocessing.managers import ListProxy, SyncManager

class Manager(SyncManager):
    pass

the_list = ["ours"]
Manager.register("the_list", lambda: the_list, ListProxy)
manager = Manager(ast.literal_eval(sys.argv[1]), sys.argv[2].encode())
server = manager.get_server()
print(ascii(server.address), flush=True)
server.serve_forever()
"""

CLIENT = """
import ast, sys
from multiprocessing import AuthenticationError, current_process
from multiprocessing.managers import RemoteError, SyncManager

# By which theirs connect for a proxy that is within something else.
current_process().authkey = sys.argv[2].encode()

class Manager(SyncManager):
    pass

Manager.register("the_list")
manager = Manager(ast.literal_eval(sys.argv[1]), sys.argv[2].encode())
try:
    manager.connect()
except AuthenticationError:
    sys.exit("refused")
items = manager.list([1])
items.append(2)
assert items[:] == [1, 2], items
words = manager.dict(items=items)
del items
assert words["items"][1] == 2
words["items"].append(3)
assert len(words["items"]) == 3
assert sorted(words.keys()) == ["items"]
try:
    words["nothing"]
    raise SystemExit("no KeyError")
except KeyError:
    pass
queue = manager.Queue()
queue.put(words)
again = queue.get()
assert again["items"][2] == 3
with manager.Lock():
    pass
value = manager.Value("i", 4)
value.value += 1
assert value.value == 5
assert list(iter(manager.dict(a=1))) == ["a"]
event = manager.Event()
event.set()
assert event.wait(1) and event.is_set()
namespace = manager.Namespace(a=1)
namespace.b = 2
assert (namespace.a, namespace.b, hasattr(namespace, "c")) == (1, 2, False)
array = manager.Array("i", [1, 2])
array[0] = 5
assert (array[0], len(array)) == (5, 2)
barrier = manager.Barrier(1)
assert (barrier.wait(), barrier.parties, barrier.broken) == (0, 1, False)
semaphore = manager.BoundedSemaphore(1)
assert (semaphore.acquire(), semaphore.acquire(False)) == (True, False)
semaphore.release()
condition = manager.Condition()
with condition:
    condition.notify_all()
    assert not condition.wait(0)
    assert condition.wait_for(lambda: "here", 1) == "here"
with manager.Pool(1) as pool:
    assert pool.map(abs, [-1, 2]) == [1, 2]
    assert pool.apply_async(divmod, (7, 2)).get(30) == (3, 1)
    assert list(pool.imap(abs, [-3])) == [3]
for wrong, error in [
    (lambda: manager.list()[5], IndexError),
    (lambda: semaphore.release(), ValueError),
    (lambda: manager.Lock().release(), RuntimeError),
    (lambda: manager.list(5), RemoteError),
    (lambda: manager.list()._callmethod("nosuch"), RemoteError),
]:
    try:
        wrong()
        raise SystemExit("no " + error.__name__)
    except error:
        pass
print(manager._number_of_objects() >= 3, flush=True)
shared = manager.the_list()
shared.append("theirs")
assert shared.pop(0) == "ours"
del words, queue, again, value, shared, event, namespace, array, barrier, semaphore, condition, pool
del wrong
input()
"""


# `multiprocessing` is procession there.
INSTALLED = [sys.executable, "-I", "-m", "procession", "run"]


@contextlib.contextmanager
def running(version, program, *args):
    start = INSTALLED if version == "installed" else [interpreter(version), "-I"]
    command = [*start, "-c", program, *args]
    other = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield other
    finally:
        other.kill()
        other.communicate()


@pytest.mark.parametrize("family", ADDRESSES)
@pytest.mark.parametrize("version", VERSIONS)
def test_theirs_serves_ours(version, family):
    with running(version, SERVER, repr(ADDRESSES[family]), KEY.decode()) as other:
        address = ast.literal_eval(other.stdout.readline())
        manager = managers.SyncManager(address, KEY)
        manager.connect()
        items = manager.list([1])
        assert isinstance(items, managers.ListProxy)
        items.append(2)
        words = manager.dict(items=items)
        assert words["items"][:] == [1, 2]
        assert isinstance(words["items"], managers.ListProxy)
        assert list(words) == ["items"]
        with pytest.raises(KeyError, match="nothing"):
            words["nothing"]
        with pytest.raises(managers.RemoteError):
            items._callmethod("nosuch")
        queue = manager.Queue()
        queue.put(words)
        assert queue.get()["items"][1] == 2
        with manager.RLock(), manager.Condition() as got:
            assert got
        assert manager._number_of_objects() >= 3
        copies = [manager.list([number]) for number in range(5)]
        before = manager._number_of_objects()
        del copies
        eventually(lambda: manager._number_of_objects() == before - 5)


@pytest.mark.parametrize("method", METHODS)
def test_theirs_serves_our_children(method):
    with running("3.11", SERVER, "None", KEY.decode()) as other:
        address = ast.literal_eval(other.stdout.readline())
        manager = managers.SyncManager(address, KEY)
        manager.connect()
        items = manager.list([1])
        ctx = mp.get_context(method)
        queue = ctx.Queue()
        queue.put(items)
        process = ctx.Process(target=append_twice, args=(items, queue))
        process.start()
        process.join(GUARD)
        assert process.exitcode == 0
        assert items[:] == [1, "argument", "queue"]


def append_twice(items, queue):
    items.append("argument")
    queue.get().append("queue")


@pytest.mark.parametrize("family", ADDRESSES)
@pytest.mark.parametrize("version", VERSIONS)
def test_theirs_refuses_another_key(version, family):
    with running(version, SERVER, repr(ADDRESSES[family]), KEY.decode()) as other:
        address = ast.literal_eval(other.stdout.readline())
        with pytest.raises(mp.AuthenticationError):
            managers.SyncManager(address, b"another key").connect()
        manager = managers.SyncManager(address, KEY)
        manager.connect()
        assert manager.list([1])[:] == [1]


def the_list():
    return THE_LIST


class OurManager(managers.SyncManager):
    """With one list for all."""


THE_LIST = ["ours"]
OurManager.register("the_list", the_list, managers.ListProxy)


@pytest.fixture(params=ADDRESSES)
def served(request):
    """A manager of ours, started."""
    with OurManager(ADDRESSES[request.param], KEY) as manager:
        yield manager


@pytest.mark.parametrize("version", VERSIONS)
def test_ours_serves_theirs(version, served):
    before = served._number_of_objects()
    with running(version, CLIENT, repr(served.address), KEY.decode()) as other:
        said = other.stdout.readline()
        assert said == "True\n", other.stderr.read()
        _, error = other.communicate("\n", GUARD)
        assert (other.returncode, error) == (0, "")
    assert served.the_list()[:] == ["theirs"]
    # What they gave up is freed, what was nested too.
    eventually(lambda: served._number_of_objects() == before)


@pytest.mark.parametrize("version", VERSIONS)
def test_ours_refuses_another_key(version, served):
    with running(version, CLIENT, repr(served.address), "another key") as other:
        _, error = other.communicate(timeout=GUARD)
        assert error.strip() == "refused"
    assert served.list([1])[:] == [1]


@pytest.mark.parametrize("family", ADDRESSES)
@pytest.mark.parametrize(
    ("serves", "asks"),
    [(version, "installed") for version in VERSIONS]
    + [("installed", version) for version in VERSIONS],
)
def test_ours_in_the_place_of_theirs(serves, asks, family):
    with running(serves, SERVER, repr(ADDRESSES[family]), KEY.decode()) as server:
        address = server.stdout.readline().strip()
        with running(asks, CLIENT, address, "another key") as client:
            _, error = client.communicate(timeout=GUARD)
            assert error.strip() == "refused"
        with running(asks, CLIENT, address, KEY.decode()) as client:
            assert client.communicate("\n", GUARD) == ("True\n", "")
            assert client.returncode == 0


def test_silent_clients_hold_up_nobody(served):
    connection = __import__(f"{NAME}.connection", fromlist=["*"])
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(connection.SocketClient(served.address))
        items = served.list([1])
        items.append(2)
        assert items[:] == [1, 2]
