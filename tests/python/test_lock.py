"""Lock and RLock: one at a time, with timeouts; who may release."""

import mmap
import os
import struct
import threading
import time

import pytest
from deadline import GUARD
from processes import finish, start, wait_asleep
from under_test import METHODS, mp


@pytest.fixture(params=["Lock", "RLock"])
def lock(request, ctx):
    """A lock of either kind."""
    return getattr(ctx, request.param)()


# --- both


def test_acquire_and_release(lock):
    assert lock.acquire() is True
    assert lock.release() is None
    assert lock.acquire(True) is True
    lock.release()
    assert lock.acquire(block=True, timeout=None) is True
    lock.release()
    assert lock.acquire(False) is True
    lock.release()
    assert lock.acquire(True, 2.5) is True
    lock.release()


def test_block_is_yes_or_no(lock):
    for yes in 1, 2:
        assert lock.acquire(yes) is True
        lock.release()
    assert lock.acquire(0) is True
    thread = threading.Thread(target=lambda: taken.append(lock.acquire(0)))
    taken = []
    thread.start()
    thread.join()
    assert taken == [False]
    lock.release()


def test_exit_needs_no_arguments(lock):
    lock.acquire()
    lock.__exit__()
    assert lock.acquire(False)
    lock.__exit__(None, None, None)


def show(lock, queue):
    queue.put(repr(lock))


def test_how_a_lock_shows_its_owner(ctx):
    lock, queue, seen = ctx.Lock(), ctx.Queue(), []
    assert repr(lock) == "<Lock(owner=None)>"
    lock.acquire()
    assert repr(lock) == "<Lock(owner=MainProcess)>"
    finish(start(ctx, show, lock, queue))
    assert queue.get(timeout=GUARD) == "<Lock(owner=SomeOtherProcess)>"
    own = ctx.Lock()

    def look():
        own.acquire()
        seen.extend([repr(lock), repr(own)])

    thread = threading.Thread(target=look, name="second")
    thread.start()
    thread.join()
    assert seen == ["<Lock(owner=SomeOtherThread)>", "<Lock(owner=MainProcess|second)>"]


def test_how_an_rlock_shows_its_owner(ctx):
    lock, queue, seen = ctx.RLock(), ctx.Queue(), []
    assert repr(lock) == "<RLock(None, 0)>"
    lock.acquire()
    lock.acquire()
    assert repr(lock) == "<RLock(MainProcess, 2)>"
    finish(start(ctx, show, lock, queue))
    assert queue.get(timeout=GUARD) == "<RLock(SomeOtherProcess, nonzero)>"

    def look():
        with ctx.RLock() as _, (own := ctx.RLock()):
            seen.extend([repr(lock), repr(own)])

    thread = threading.Thread(target=look, name="second")
    thread.start()
    thread.join()
    assert seen == ["<RLock(SomeOtherThread, nonzero)>", "<RLock(MainProcess|second, 1)>"]


def test_with(lock, ctx):
    queue = ctx.Queue()
    with lock:
        finish(start(ctx, try_lock, lock, queue))
        assert queue.get(timeout=GUARD) is False
    finish(start(ctx, try_lock, lock, queue))
    assert queue.get(timeout=GUARD) is True


def try_lock(lock, queue):
    got = lock.acquire(block=False)
    queue.put(got)
    if got:
        lock.release()


def test_with_releases_after_an_exception(lock, ctx):
    queue = ctx.Queue()
    with pytest.raises(LookupError), lock:
        raise LookupError
    finish(start(ctx, try_lock, lock, queue))
    assert queue.get(timeout=GUARD) is True


def try_in_vain(lock, queue):
    queue.put(lock.acquire(False))
    queue.put(lock.acquire(block=False, timeout=GUARD))
    queue.put(lock.acquire(True, 0))
    queue.put(lock.acquire(timeout=-1))
    queue.put(lock.acquire(True, -0.5))
    began = time.monotonic()
    queue.put(lock.acquire(timeout=0.1))
    queue.put(time.monotonic() - began)


def test_acquire_in_vain(lock, ctx):
    queue = ctx.Queue()
    with lock:
        process = start(ctx, try_in_vain, lock, queue)
        assert [queue.get(timeout=GUARD) for _ in range(6)] == [False] * 6
        assert queue.get(timeout=GUARD) >= 0.1
        finish(process)


@pytest.mark.parametrize("timeout", [0, -1, -0.5])
def test_timeouts_that_do_not_wait_take_a_free_lock(lock, timeout):
    assert lock.acquire(True, timeout) is True
    lock.release()


def acquire_and_tell(lock, queue, name):
    queue.put(f"{name} tries")
    with lock:
        queue.put(f"{name} has it")


def test_acquire_blocks_until_release(lock, ctx):
    queue = ctx.Queue()
    lock.acquire()
    processes = [start(ctx, acquire_and_tell, lock, queue, i) for i in range(2)]
    assert sorted(queue.get(timeout=GUARD) for _ in processes) == ["0 tries", "1 tries"]
    for process in processes:
        wait_asleep(process.pid)
    queue.put("released")
    lock.release()
    assert queue.get(timeout=GUARD) == "released"
    assert sorted(queue.get(timeout=GUARD) for _ in processes) == ["0 has it", "1 has it"]
    finish(*processes)


def add(lock, path, times):
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 8) as memory:
        for _ in range(times):
            with lock:
                (value,) = struct.unpack("Q", memory[:])
                memory[:] = struct.pack("Q", value + 1)


def test_excludes(lock, ctx, tmp_path):
    path = tmp_path / "counter"
    path.write_bytes(bytes(8))
    processes = [start(ctx, add, lock, path, 3000) for _ in range(3)]
    add(lock, path, 3000)
    finish(*processes)
    assert struct.unpack("Q", path.read_bytes()) == (12_000,)


@pytest.mark.parametrize("timeout", ["1", [1], {}])
def test_wrong_timeouts(lock, timeout):
    with pytest.raises(TypeError):
        lock.acquire(True, timeout)
    assert lock.acquire(False) is True  # it is free still
    lock.release()


def test_wrong_arguments(ctx):
    for make in ctx.Lock, ctx.RLock:
        with pytest.raises(TypeError):
            make(1)
        with pytest.raises(TypeError):
            make().acquire(unknown=1)


def test_threads_wait_without_the_interpreter_lock(lock):
    order = []

    def other():
        with lock:
            order.append("other")

    with lock:
        thread = threading.Thread(target=other)
        thread.start()
        wait_asleep("self", thread.native_id)
        order.append("main")
    thread.join(GUARD)
    assert order == ["main", "other"]


# --- Lock


def test_lock_is_not_recursive(ctx):
    lock = ctx.Lock()
    lock.acquire()
    assert lock.acquire(False) is False
    assert lock.acquire(timeout=0.05) is False
    lock.release()


def test_release_of_an_unlocked_lock(ctx):
    lock = ctx.Lock()
    with pytest.raises(ValueError, match="released too many times"):
        lock.release()
    with lock:
        pass
    with pytest.raises(ValueError, match="released too many times"):
        lock.release()
    assert lock.acquire(False) is True
    lock.release()


def release_it(lock):
    lock.release()


def test_another_process_may_release_a_lock(ctx):
    lock = ctx.Lock()
    lock.acquire()
    finish(start(ctx, release_it, lock))
    assert lock.acquire(False) is True
    lock.release()


def test_another_thread_may_release_a_lock(ctx):
    lock = ctx.Lock()
    lock.acquire()
    thread = threading.Thread(target=lock.release)
    thread.start()
    thread.join(GUARD)
    assert lock.acquire(False) is True
    lock.release()


def acquire_it(lock, how):
    lock.acquire()
    if how == "raise":
        raise SystemExit(3)
    if how == "exit hard":
        os._exit(3)


@pytest.mark.parametrize("how", ["return", "raise"])
def test_a_lock_left_locked_by_one_that_ended_normally_stays_locked(ctx, how):
    # It may be a signal to another: only a killed holder breaks a lock.
    lock = ctx.Lock()
    finish(start(ctx, acquire_it, lock, how), codes=[0 if how == "return" else 3])
    assert lock.acquire(timeout=0.1) is False
    lock.release()
    assert lock.acquire(False) is True
    lock.release()


def test_a_lock_left_locked_by_a_thread_that_ended_stays_locked(ctx):
    lock = ctx.Lock()
    thread = threading.Thread(target=lock.acquire)
    thread.start()
    thread.join(GUARD)
    assert lock.acquire(timeout=0.1) is False
    lock.release()


# --- RLock


def test_rlock_is_recursive(ctx):
    lock, queue = ctx.RLock(), ctx.Queue()
    for _ in range(3):
        assert lock.acquire() is True
    for expected in (False, False, True):
        lock.release()
        process = start(ctx, try_lock, lock, queue)
        assert queue.get(timeout=GUARD) is expected
        finish(process)


def test_rlock_is_recursive_without_waiting(ctx):
    lock = ctx.RLock()
    with lock:
        assert lock.acquire(False) is True
        assert lock.acquire(True, 0) is True
        lock.release()
        lock.release()
    with pytest.raises(AssertionError):
        lock.release()


def test_rlock_release_when_nobody_has_it(ctx):
    with pytest.raises(AssertionError):
        ctx.RLock().release()


def release_in_vain(lock, queue):
    try:
        lock.release()
    except AssertionError:
        queue.put("AssertionError")
    else:
        queue.put("released")


def test_rlock_release_by_another_process(ctx):
    lock, queue = ctx.RLock(), ctx.Queue()
    with lock:
        process = start(ctx, release_in_vain, lock, queue)
        assert queue.get(timeout=GUARD) == "AssertionError"
        finish(process)
        process = start(ctx, try_lock, lock, queue)
        assert queue.get(timeout=GUARD) is False
        finish(process)


def test_rlock_release_by_another_thread(ctx):
    lock, seen = ctx.RLock(), []

    def other():
        try:
            lock.release()
        except AssertionError as error:
            seen.append(error)
        seen.append(lock.acquire(False))

    with lock:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(GUARD)
    assert [type(thing) for thing in seen] == [AssertionError, bool]
    assert seen[1] is False


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["Lock", "RLock", "Semaphore"])
def test_a_lock_held_at_fork_is_the_parents(kind, method):
    # The child of a fork has a slot of its own: it holds nothing that the parent holds.
    ctx = mp.get_context(method)
    lock, queue = getattr(ctx, kind)(), ctx.Queue()
    with lock:
        process = start(ctx, try_lock, lock, queue)
        assert queue.get(timeout=GUARD) is False
        finish(process)
