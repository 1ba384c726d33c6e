"""Deaths beside managers: of a client, of the server, of the root."""

import os
import queue
import signal
import threading

import managed
import pytest
from deadline import GUARD, eventually
from managed import managers
from processes import finish, gone, marked, start, wait_asleep, wait_stopped
from program import Program
from under_test import METHODS, NAME

pytestmark = pytest.mark.skipif(NAME == "multiprocessing", reason="promises of ours")

# The promise: within this after a death the others know.
PROMISED = 2.0


@pytest.fixture
def manager(ctx):
    with ctx.Manager() as manager:
        yield manager


def killed(process):
    process.kill()
    process.join(GUARD)
    assert process.exitcode == -signal.SIGKILL


def objects(manager, expected):
    eventually(
        lambda: manager._number_of_objects() == expected, PROMISED, what=f"{expected} objects"
    )


# --- a client


def test_a_dead_clients_get_takes_nothing(ctx, manager):
    shared, got = manager.Queue(), ctx.Queue()
    children = [start(ctx, managed.get_and_put, shared, got) for _ in range(3)]
    for number in range(9):
        shared.put(number)
    assert sorted(got.get(timeout=GUARD) for _ in range(9)) == list(range(9))
    for child in children:
        # It waits for an answer.
        wait_asleep(child.pid)
        killed(child)
    for number in range(5):
        shared.put(number)
    assert [shared.get(timeout=GUARD) for _ in range(5)] == list(range(5))
    with pytest.raises(queue.Empty):
        shared.get_nowait()


def test_a_dead_clients_put_puts_nothing(ctx, manager):
    shared, said = manager.Queue(1), ctx.Queue()
    shared.put("first")
    child = start(ctx, put_and_tell, shared, "dead", said)
    assert said.get(timeout=GUARD) == "puts"
    wait_asleep(child.pid)
    killed(child)
    assert shared.get() == "first"
    shared.put("second")
    assert shared.get() == "second"
    assert shared.empty()


def put_and_tell(shared, item, said):
    said.put("puts")
    shared.put(item)


@pytest.mark.parametrize("kind", ["Lock", "RLock", "Semaphore", "Condition"])
def test_a_dead_clients_acquire_takes_nothing(ctx, manager, kind):
    lock, ready = getattr(manager, kind)(), ctx.Event()
    lock.acquire()
    child = start(ctx, managed.acquire_and_wait, lock, ready)
    wait_waiting(manager, child)
    killed(child)
    lock.release()
    assert lock.acquire(True, PROMISED)
    assert not ready.is_set()


def wait_waiting(manager, child):
    """Waits until the child sleeps in a call: it has a connection, and so a thread."""
    # Besides: the main one, those that accept and look after, and ours.
    eventually(lambda: len(threads_of(manager)) == 5, what="the child calls")
    wait_asleep(child.pid)


def threads_of(manager):
    return os.listdir(f"/proc/{manager._process.pid}/task")


def test_a_killed_holders_rlock_is_free(ctx, manager):
    lock, ready = manager.RLock(), ctx.Event()
    child = start(ctx, managed.acquire_and_wait, lock, ready)
    assert ready.wait(GUARD)
    assert not lock.acquire(False)
    killed(child)
    assert lock.acquire(True, PROMISED)


def test_a_dead_party_of_a_barrier_has_not_come(ctx, manager):
    barrier = manager.Barrier(2)
    child = start(ctx, wait_at, barrier)
    eventually(lambda: barrier.n_waiting == 1)
    killed(child)
    eventually(lambda: barrier.n_waiting == 0, PROMISED)
    other = start(ctx, wait_at, barrier)
    barrier.wait(GUARD)
    finish(other)


def wait_at(barrier):
    barrier.wait()


def test_a_dead_clients_threads_end(ctx, manager):
    shared, said = manager.Queue(), ctx.Queue()
    before = 4  # the main one, who accepts, who looks after the clients, and ours
    eventually(lambda: len(threads_of(manager)) == before)
    children = [start(ctx, managed.get_until_gone, shared, said) for _ in range(3)]
    for _ in children:
        assert said.get(timeout=GUARD) == "gets"
    eventually(lambda: len(threads_of(manager)) == before + 3)
    for child in children:
        killed(child)
    eventually(lambda: len(threads_of(manager)) == before, PROMISED)


def test_what_a_dead_client_had_is_given_back(ctx, manager):
    ready = ctx.Queue()
    key = bytes(manager._authkey)
    child = start(ctx, managed.make_and_wait, manager.address, key, ready)
    assert ready.get(timeout=GUARD) == 10
    assert manager._number_of_objects() == 10
    killed(child)
    objects(manager, 0)


def test_what_others_have_too_stays(ctx, manager):
    items, ready, event = manager.list([1]), ctx.Event(), ctx.Event()
    child = start(ctx, managed.hold_and_wait, items, ready, event)
    assert ready.wait(GUARD)
    killed(child)
    assert items[:] == [1]
    # The other way round: the child's alone.
    ready.clear()
    child = start(ctx, managed.hold_and_wait, items, ready, event)
    assert ready.wait(GUARD)
    del items
    assert manager._number_of_objects() == 1
    event.set()
    finish(child)
    objects(manager, 0)


def test_what_a_dead_client_of_another_program_had_is_given_back(ctx, manager):
    source = f"""
        import os, sys, signal, procession as mp
        from procession.managers import SyncManager

        def child(items):
            items.append("child")
            print("ready", flush=True)
            signal.pause()

        if __name__ == "__main__":
            manager = SyncManager({manager.address!r}, {bytes(manager._authkey)!r})
            manager.connect()
            items = [manager.list([n]) for n in range(5)]
            del items[3:]
            assert manager._number_of_objects() == 3, manager._debug_info()
            ctx = mp.get_context(sys.argv[1])
            process = ctx.Process(target=child, args=(manager.list(["given"]),))
            process.start()
            signal.pause()
    """
    with Program(source, ctx.get_start_method()) as program:
        assert program.line() == "ready"
        assert manager._number_of_objects() == 4
        program.kill_tree()
        objects(manager, 0)


def test_a_client_killed_amid_its_calls(ctx, manager):
    said = ctx.Queue()
    items = manager.list()
    for _ in range(5):
        child = start(ctx, managed.call_until_gone, items, said)
        assert said.get(timeout=GUARD) == "called"
        killed(child)
    items.append(1)
    assert items[:] == [1]
    del items
    objects(manager, 0)


def test_a_stopped_client_holds_up_nobody(ctx, manager):
    shared, said = manager.Queue(), ctx.Queue()
    child = start(ctx, managed.get_until_gone, shared, said)
    assert said.get(timeout=GUARD) == "gets"
    wait_asleep(child.pid)
    os.kill(child.pid, signal.SIGSTOP)
    wait_stopped(child.pid)
    others = manager.Queue()
    others.put(1)
    assert others.get(timeout=GUARD) == 1
    killed(child)


# --- the server


@pytest.mark.parametrize("target", ["call_until_gone", "get_until_gone"])
def test_the_server_is_killed(ctx, target):
    manager = ctx.Manager()
    said = ctx.Queue()
    proxy = manager.list() if target == "call_until_gone" else manager.Queue()
    child = start(ctx, getattr(managed, target), proxy, said)
    assert said.get(timeout=GUARD) in ("called", "gets")
    wait = threading.Timer(0, os.kill, (manager._process.pid, signal.SIGKILL))
    wait.start()
    eventually(lambda: said.get(timeout=PROMISED).startswith("ended by"))
    finish(child)
    with pytest.raises((EOFError, ConnectionError)):
        proxy._callmethod("__str__")
    with pytest.raises((EOFError, OSError)):
        manager.list()
    manager.shutdown()
    assert manager._process.exitcode == -signal.SIGKILL


def test_a_stopped_server_is_shut_down(ctx):
    manager = managers.SyncManager(ctx=ctx, shutdown_timeout=0.2)
    manager.start()
    os.kill(manager._process.pid, signal.SIGSTOP)
    wait_stopped(manager._process.pid)
    thread = threading.Thread(target=manager._finalize_manager, args=arguments_of(manager))
    thread.start()
    thread.join(GUARD)
    assert not thread.is_alive()
    assert gone(manager._process.pid)
    manager.shutdown()


def arguments_of(manager):
    return (
        manager._process,
        manager._address,
        manager._authkey,
        manager._state,
        manager._Client,
        manager._shutdown_timeout,
    )


# --- the root


ROOT = """
    import os, signal, sys, procession as mp
    from procession.managers import SharedMemoryManager

    def client(items, queue):
        items.append(1)
        queue.get()

    if __name__ == "__main__":
        ctx = mp.get_context(sys.argv[1])
        manager = ctx.Manager()
        items, queue = manager.list(), manager.Queue()
        process = ctx.Process(target=client, args=(items, queue))
        process.start()
        while not items:
            pass
        print(manager._process.pid, process.pid, flush=True)
        {last}
"""


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "last",
    [
        pytest.param("signal.pause()", id="killed"),
        pytest.param("os._exit(0)", id="_exit"),
        pytest.param("process.kill(); process.join()", id="ends"),
        pytest.param("process.kill(); process.join(); raise KeyError", id="raises"),
    ],
)
def test_a_manager_ends_with_its_root(method, last):
    with Program(ROOT.replace("{last}", last), method) as program:
        pids = [int(word) for word in program.line().split()]
        if last == "signal.pause()":
            program.kill_root()
        program.popen.wait(GUARD)
        eventually(lambda: all(map(gone, pids)), PROMISED, what="all gone")
        eventually(lambda: not marked(program.mark), PROMISED)


def test_ctrl_c_is_not_the_managers(method):
    source = """
        import sys, procession as mp

        if __name__ == "__main__":
            manager = mp.get_context(sys.argv[1]).Manager()
            items = manager.list([1])
            try:
                print("waits", flush=True)
                manager.Queue().get()
            except KeyboardInterrupt:
                pass
            # What the interrupted call left behind disturbs no later one.
            items.append(2)
            print(items, flush=True)
            # Its thread in the server gives up what it waits for.
            while manager._number_of_objects() != 1:
                pass
            manager.shutdown()
    """
    with Program(source, method) as program:
        assert program.line() == "waits"
        wait_asleep(program.pid)
        program.interrupt()
        assert program.line() == "[1, 2]"
        assert program.wait() == 0, program.report()
        assert program.stderr == ""
