"""Condition: waiting for a change that a lock guards; notify(n) wakes n, no more."""

import time

import pytest
from deadline import GUARD
from processes import finish, start, wait_asleep


def wait_and_tell(condition, queue, number, timeout=None):
    with condition:
        queue.put(("waits", number))  # the lock is free only once this one waits
        woken = condition.wait(timeout)
        queue.put((woken, number))


def waiters(ctx, condition, queue, count):
    """Start processes, and return when each of them waits: in order of their numbers."""
    processes = []
    for number in range(count):
        processes.append(start(ctx, wait_and_tell, condition, queue, number))
        assert queue.get(timeout=GUARD) == ("waits", number)
    with condition:
        pass  # had: so the last one waits
    return processes


def test_how_it_shows_itself(ctx):
    condition, queue = ctx.Condition(), ctx.Queue()
    assert repr(condition) == "<Condition(<RLock(None, 0)>, 0)>"
    processes = waiters(ctx, condition, queue, 2)
    with condition:
        assert repr(condition) == "<Condition(<RLock(MainProcess, 1)>, 2)>"
        condition.notify_all()
    finish(*processes)
    assert repr(condition) == "<Condition(<RLock(None, 0)>, 0)>"


def settled(processes):
    """Return when each of the processes that still wait sleeps: a wrong wake would have shown."""
    for process in processes:
        wait_asleep(process.pid)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_notify_wakes_exactly_so_many(ctx, count):
    condition, queue = ctx.Condition(), ctx.Queue()
    processes = waiters(ctx, condition, queue, 4)
    with condition:
        if count == 1:
            condition.notify()
        else:
            condition.notify(count)
    woken = [queue.get(timeout=GUARD) for _ in range(count)]
    assert all(how is True for how, _ in woken)
    numbers = {number for _, number in woken}
    assert len(numbers) == count
    settled(process for i, process in enumerate(processes) if i not in numbers)
    assert queue.empty()
    with condition:
        condition.notify_all()
    rest = [queue.get(timeout=GUARD) for _ in range(4 - count)]
    assert {number for _, number in rest} == set(range(4)) - numbers
    finish(*processes)


def test_notify_wakes_the_oldest(ctx):
    condition, queue = ctx.Condition(), ctx.Queue()
    processes = waiters(ctx, condition, queue, 3)
    for number in range(3):
        with condition:
            condition.notify()
        assert queue.get(timeout=GUARD) == (True, number)
    finish(*processes)


def test_notify_all(ctx):
    condition, queue = ctx.Condition(), ctx.Queue()
    processes = waiters(ctx, condition, queue, 3)
    with condition:
        condition.notify_all()
    assert sorted(queue.get(timeout=GUARD) for _ in processes) == [(True, i) for i in range(3)]
    finish(*processes)


def test_notify_more_than_wait(ctx):
    condition, queue = ctx.Condition(), ctx.Queue()
    processes = waiters(ctx, condition, queue, 2)
    with condition:
        condition.notify(10)
    assert sorted(queue.get(timeout=GUARD) for _ in processes) == [(True, 0), (True, 1)]
    finish(*processes)


def test_notify_without_waiters_is_not_kept(ctx):
    condition = ctx.Condition()
    with condition:
        condition.notify()
        condition.notify_all()
        assert condition.wait(0.05) is False


def test_wait_with_a_timer(ctx):
    condition = ctx.Condition()
    with condition:
        began = time.monotonic()
        assert condition.wait(0.1) is False
        assert time.monotonic() - began >= 0.1
        assert condition.wait(timeout=0) is False


def test_one_that_timed_out_takes_no_wake(ctx):
    condition, queue = ctx.Condition(), ctx.Queue()
    impatient = start(ctx, wait_and_tell, condition, queue, "impatient", 0.01)
    assert queue.get(timeout=GUARD) == ("waits", "impatient")
    assert queue.get(timeout=GUARD) == (False, "impatient")
    processes = waiters(ctx, condition, queue, 1)
    with condition:
        condition.notify(1)
    assert queue.get(timeout=GUARD) == (True, 0)
    finish(impatient, *processes)


def test_wait_gives_the_lock_back_and_takes_it_again(ctx):
    condition, queue = ctx.Condition(), ctx.Queue()
    processes = waiters(ctx, condition, queue, 1)
    with condition:  # free, though the other is inside its `with`
        condition.notify()
        wait_asleep(processes[0].pid)  # woken or not, it cannot have the lock
        assert queue.empty()
    assert queue.get(timeout=GUARD) == (True, 0)
    finish(*processes)


def test_wait_gives_a_recursive_lock_back_whole(ctx):
    condition, queue = ctx.Condition(), ctx.Queue()
    with condition, condition:
        process = start(ctx, notify_it, condition)
        assert condition.wait(GUARD) is True
        finish(start(ctx, try_lock, condition, queue))  # both levels are held again
        assert queue.get(timeout=GUARD) is False
    finish(start(ctx, try_lock, condition, queue))
    assert queue.get(timeout=GUARD) is True
    finish(process)


def notify_it(condition):
    with condition:
        condition.notify()


def try_lock(condition, queue):
    got = condition.acquire(False)
    queue.put(got)
    if got:
        condition.release()


def wait_for_count(condition, seen, wanted, queue):
    with condition:
        queue.put(condition.wait_for(lambda: seen.get_value() >= wanted and "enough"))


def test_wait_for(ctx):
    condition, seen, queue = ctx.Condition(), ctx.Semaphore(0), ctx.Queue()
    process = start(ctx, wait_for_count, condition, seen, 3, queue)
    for _ in range(3):
        with condition:
            assert queue.empty()
            seen.release()
            condition.notify_all()
    assert queue.get(timeout=GUARD) == "enough"
    finish(process)


def test_wait_for_returns_what_the_predicate_gives(ctx):
    condition = ctx.Condition()
    with condition:
        assert condition.wait_for(lambda: 7) == 7
        assert condition.wait_for(lambda: "", timeout=0.05) == ""
        assert condition.wait_for(lambda: 0, 0) == 0


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_with_a_lock_of_ones_own(ctx, kind):
    lock = getattr(ctx, kind)()
    condition, queue = ctx.Condition(lock), ctx.Queue()
    with lock:
        finish(start(ctx, try_lock, condition, queue))
        assert queue.get(timeout=GUARD) is False
    processes = waiters(ctx, condition, queue, 2)
    with lock:
        condition.notify_all()
    assert sorted(queue.get(timeout=GUARD) for _ in processes) == [(True, 0), (True, 1)]
    finish(*processes)


def test_two_conditions_on_one_lock(ctx):
    lock, queue = ctx.Lock(), ctx.Queue()
    one, two = ctx.Condition(lock), ctx.Condition(lock)
    [process] = waiters(ctx, one, queue, 1)
    with lock:
        two.notify_all()
    wait_asleep(process.pid)
    assert queue.empty()
    with lock:
        one.notify_all()
    assert queue.get(timeout=GUARD) == (True, 0)
    finish(process)


def test_acquire_and_release(ctx):
    condition = ctx.Condition()
    assert condition.acquire() is True
    assert condition.acquire(False) is True  # an RLock, by default
    condition.release()
    condition.release()


@pytest.mark.parametrize(
    "use",
    [
        lambda condition: condition.wait(0),
        lambda condition: condition.notify(),
        lambda condition: condition.notify_all(),
        lambda condition: condition.release(),
    ],
    ids=["wait", "notify", "notify_all", "release"],
)
def test_without_the_lock(ctx, use):
    with pytest.raises((AssertionError, RuntimeError)):
        use(ctx.Condition())


def test_wrong_timeouts(ctx):
    condition = ctx.Condition()
    with condition, pytest.raises(TypeError):
        condition.wait("1")
    with condition:  # in order still
        assert condition.wait(0) is False


def take_turns(condition, turn, mine, rounds):
    for _ in range(rounds):
        with condition:
            condition.wait_for(lambda: turn.get_value() == mine)
            turn.acquire() if mine else turn.release()
            condition.notify_all()


def test_turns(ctx):
    condition, turn = ctx.Condition(), ctx.Semaphore(0)
    processes = [start(ctx, take_turns, condition, turn, mine, 100) for mine in (0, 1)]
    finish(*processes)
    assert turn.get_value() == 0
