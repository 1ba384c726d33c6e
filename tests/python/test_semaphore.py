"""Semaphore and BoundedSemaphore: so many at a time."""

import threading
import time

import pytest
from deadline import GUARD
from processes import finish, start, wait_asleep


@pytest.fixture(params=["Semaphore", "BoundedSemaphore"])
def make(request, ctx):
    """The maker of either kind."""
    return getattr(ctx, request.param)


def test_block_is_yes_or_no(make):
    semaphore = make(1)
    assert semaphore.acquire(1) is True
    assert semaphore.acquire(0) is False
    assert semaphore.acquire(1, 0) is False


def test_how_it_shows_itself(ctx):
    semaphore, bounded = ctx.Semaphore(2), ctx.BoundedSemaphore(3)
    bounded.acquire()
    assert repr(semaphore) == "<Semaphore(value=2)>"
    assert repr(bounded) == "<BoundedSemaphore(value=2, maxvalue=3)>"


def test_counts_down_and_up(make):
    semaphore = make(2)
    assert semaphore.get_value() == 2
    assert semaphore.acquire() is True
    assert semaphore.acquire(True, 2.5) is True
    assert semaphore.get_value() == 0
    assert semaphore.acquire(False) is False
    assert semaphore.release() is None
    assert semaphore.get_value() == 1
    assert semaphore.acquire(block=False) is True
    assert semaphore.get_value() == 0


def test_starts_at_one(make):
    assert make().get_value() == 1


def test_may_start_at_zero(ctx):
    semaphore = ctx.Semaphore(0)
    assert semaphore.acquire(False) is False
    semaphore.release()
    assert semaphore.acquire(False) is True


def test_with(make):
    semaphore = make(3)
    with semaphore, semaphore:
        assert semaphore.get_value() == 1
    assert semaphore.get_value() == 3
    with pytest.raises(LookupError), semaphore:
        raise LookupError
    assert semaphore.get_value() == 3


def test_semaphore_has_no_upper_bound(ctx):
    semaphore = ctx.Semaphore(1)
    for _ in range(5):
        semaphore.release()
    assert semaphore.get_value() == 6


def test_bounded_semaphore_has_one(ctx):
    semaphore = ctx.BoundedSemaphore(2)
    with pytest.raises(ValueError, match="released too many times"):
        semaphore.release()
    with semaphore:
        pass
    with pytest.raises(ValueError, match="released too many times"):
        semaphore.release()
    assert semaphore.get_value() == 2


@pytest.mark.parametrize("timeout", [0, -1, -0.5])
def test_timeouts_that_do_not_wait(make, timeout):
    semaphore = make(1)
    assert semaphore.acquire(True, timeout) is True
    assert semaphore.acquire(True, timeout) is False


def test_timeout(make):
    semaphore = make(1)
    semaphore.acquire()
    began = time.monotonic()
    assert semaphore.acquire(timeout=0.1) is False
    assert time.monotonic() - began >= 0.1


def test_wrong_arguments(make):
    with pytest.raises((ValueError, OSError)):  # the standard library's is an OSError, EINVAL
        make(-1)
    with pytest.raises(TypeError):
        make("1")
    with pytest.raises(TypeError):
        make(1).acquire(True, "1")


def acquire_and_tell(semaphore, queue, number):
    queue.put(("tries", number))
    semaphore.acquire()
    queue.put(("has it", number))


def test_each_release_lets_one_in(ctx, make):
    semaphore, queue = make(2), ctx.Queue()
    semaphore.acquire()
    semaphore.acquire()
    processes = [start(ctx, acquire_and_tell, semaphore, queue, i) for i in range(2)]
    assert sorted(queue.get(timeout=GUARD) for _ in processes) == [("tries", 0), ("tries", 1)]
    for process in processes:
        wait_asleep(process.pid)
    assert queue.empty()
    semaphore.release()
    what, first = queue.get(timeout=GUARD)
    assert what == "has it"
    wait_asleep(processes[1 - first].pid)
    assert queue.empty()
    semaphore.release()
    assert queue.get(timeout=GUARD) == ("has it", 1 - first)
    finish(*processes)
    assert semaphore.get_value() == 0


def release_it(semaphore):
    semaphore.release()


def test_another_process_may_release(ctx, make):
    semaphore = make(1)
    semaphore.acquire()
    process = start(ctx, release_it, semaphore)
    assert semaphore.acquire(timeout=GUARD) is True
    finish(process)


def test_between_threads(make):
    semaphore, order = make(1), []

    def other():
        semaphore.acquire()
        order.append("other")

    semaphore.acquire()
    thread = threading.Thread(target=other)
    thread.start()
    wait_asleep("self", thread.native_id)
    order.append("main")
    semaphore.release()
    thread.join(GUARD)
    assert order == ["main", "other"]
