"""Deaths and stops: of holders, waiters, producers and consumers. The others go on."""

import contextlib
import itertools
import json
import os
import signal
import threading
import time

import pytest
from deadline import GUARD, eventually
from processes import finish, start, wait_asleep, wait_stopped
from program import run_program
from seed import SEED
from under_test import HERE, METHODS, mp

INSTANTS = int(os.environ.get("PROCESSION_INSTANTS", "1000"))
# The promise: who waits learns of a death within this.
PROMISED = 2.0


def hold(lock, ready, leave):
    lock.acquire()
    ready.set()
    leave.wait()
    lock.release()


@pytest.fixture(params=["Lock", "RLock"])
def kind(request):
    """Which lock."""
    return request.param


@pytest.fixture
def held(ctx, kind):
    """A lock that another process holds, that process, and the event that makes it release."""
    lock, ready, leave = getattr(ctx, kind)(), ctx.Event(), ctx.Event()
    holder = start(ctx, hold, lock, ready, leave)
    assert ready.wait(GUARD)
    return lock, holder, leave


def kill(process):
    process.kill()
    process.join(GUARD)
    assert process.exitcode == -signal.SIGKILL


def stop(process):
    os.kill(process.pid, signal.SIGSTOP)
    wait_stopped(process.pid)


def proceed(process):
    os.kill(process.pid, signal.SIGCONT)


# --- a holder is killed


def test_broken_lock_error_is_an_error_of_ours():
    assert issubclass(mp.BrokenLockError, Exception)


@pytest.mark.parametrize("method", METHODS)
def test_a_killed_holder_breaks_its_lock(method):
    ctx = mp.get_context(method)
    lock, ready, leave = ctx.Lock(), ctx.Event(), ctx.Event()
    holder = start(ctx, hold, lock, ready, leave)
    assert ready.wait(GUARD)
    assert lock.acquire(timeout=0.05) is False
    kill(holder)
    for acquire in (
        lambda: lock.acquire(timeout=PROMISED),
        lock.acquire,
        lambda: lock.acquire(False),
        lambda: lock.acquire(True, 0),
        lock.__enter__,
    ):  # in every acquire, until reset
        with pytest.raises(mp.BrokenLockError) as caught:
            acquire()
        assert caught.value.pid == holder.pid
        assert str(holder.pid) in str(caught.value)
    lock.reset()
    assert lock.acquire(timeout=GUARD) is True
    assert lock.acquire(False) is False
    lock.release()
    finish(start(ctx, acquire_and_release, lock))


def acquire_and_release(lock):
    assert lock.acquire(timeout=GUARD)
    lock.release()


def test_a_killed_holders_lock_can_be_had_again(held, ctx, kind):
    lock, holder, _ = held
    kill(holder)
    try:
        got = lock.acquire(timeout=PROMISED)
    except mp.BrokenLockError as error:
        assert error.pid == holder.pid  # noqa: PT017
        lock.reset()
        got = lock.acquire(timeout=GUARD)
    else:
        assert kind == "RLock", "a Lock breaks"  # an RLock may be taken over
    assert got is True
    lock.release()
    finish(start(ctx, acquire_and_release, lock))


def acquire_and_tell(lock, queue, timeout):
    queue.put("tries")
    try:
        queue.put(lock.acquire(timeout=timeout))
    except mp.BrokenLockError as error:
        queue.put(("broken", error.pid))
    else:
        lock.release()


@pytest.mark.parametrize("timeout", [None, GUARD])
def test_those_who_wait_learn_of_the_holders_death(held, ctx, kind, timeout):
    lock, holder, _ = held
    queue = ctx.Queue()
    waiters = [start(ctx, acquire_and_tell, lock, queue, timeout) for _ in range(3)]
    for _ in waiters:
        assert queue.get(timeout=GUARD) == "tries"
    for waiter in waiters:
        wait_asleep(waiter.pid)
    assert queue.empty()
    kill(holder)
    told = [queue.get(timeout=PROMISED) for _ in waiters]
    if kind == "Lock":
        assert told == [("broken", holder.pid)] * 3
    else:
        assert all(one is True or one == ("broken", holder.pid) for one in told)
    finish(*waiters)


def hold_twice(lock, ready):
    with lock, lock:
        ready.set()
        signal.pause()


def test_a_recursive_holder_is_killed(ctx):
    lock, ready = ctx.RLock(), ctx.Event()
    holder = start(ctx, hold_twice, lock, ready)
    assert ready.wait(GUARD)
    kill(holder)
    try:
        got = lock.acquire(timeout=PROMISED)
    except mp.BrokenLockError:
        lock.reset()
        got = lock.acquire(timeout=GUARD)
    assert got
    lock.release()
    finish(start(ctx, acquire_and_release, lock))  # one release was enough


def hold_and_tell_from_a_thread(lock, ready):
    thread = threading.Thread(target=hold, args=(lock, ready, mp.Event()), daemon=True)
    thread.start()
    signal.pause()


def test_the_holder_is_a_thread_of_a_killed_process():
    ctx = mp.get_context("spawn")
    lock, ready = ctx.Lock(), ctx.Event()
    holder = start(ctx, hold_and_tell_from_a_thread, lock, ready)
    assert ready.wait(GUARD)
    kill(holder)
    with pytest.raises(mp.BrokenLockError) as caught:
        lock.acquire(timeout=PROMISED)
    assert caught.value.pid == holder.pid


def test_a_lock_breaks_again_after_reset(ctx):
    lock = ctx.Lock()
    for _ in range(3):
        ready, leave = ctx.Event(), ctx.Event()
        holder = start(ctx, hold, lock, ready, leave)
        assert ready.wait(GUARD)
        kill(holder)
        with pytest.raises(mp.BrokenLockError) as caught:
            lock.acquire()
        assert caught.value.pid == holder.pid
        lock.reset()
    with lock:
        pass


def test_a_killed_process_that_holds_nothing_breaks_nothing(ctx, kind):
    lock, ready, leave = getattr(ctx, kind)(), ctx.Event(), ctx.Event()
    process = start(ctx, release_then_wait, lock, ready)
    assert ready.wait(GUARD)
    kill(process)
    assert lock.acquire(timeout=GUARD) is True
    lock.release()
    leave.set()


def release_then_wait(lock, ready):
    with lock:
        pass
    ready.set()
    signal.pause()


@pytest.mark.parametrize(
    "how",
    [lambda: os._exit(3), lambda: os.kill(os.getpid(), signal.SIGTERM)],
    ids=["os._exit", "SIGTERM"],
)
def test_a_holder_that_ends_hard_blocks_nobody_for_ever(how):
    # Whether that is a death or an end, the docs say; that acquire comes back with a timeout, all
    # say.
    ctx = mp.get_context("fork")
    lock = ctx.Lock()

    def target():
        lock.acquire()
        how()

    process = ctx.Process(target=target)
    process.start()
    process.join(GUARD)
    try:
        lock.acquire(timeout=0.2)
    except mp.BrokenLockError as error:
        assert error.pid == process.pid  # noqa: PT017
    lock.reset()
    assert lock.acquire(timeout=GUARD) is True
    lock.release()


# --- a holder is stopped


def test_a_stopped_holder_keeps_its_lock(held):
    lock, holder, leave = held
    stop(holder)
    began = time.monotonic()
    assert lock.acquire(timeout=0.2) is False
    seconds = time.monotonic() - began
    assert 0.2 <= seconds < 0.2 + 1.0  # it ends at its time
    assert lock.acquire(False) is False
    leave.set()
    assert lock.acquire(timeout=0.05) is False
    proceed(holder)
    assert lock.acquire(timeout=GUARD) is True
    lock.release()
    finish(holder)


def test_a_stopped_waiter_holds_up_nobody(held, ctx):
    lock, holder, leave = held
    queue = ctx.Queue()
    waiters = [start(ctx, acquire_and_tell, lock, queue, None) for _ in range(2)]
    for _ in waiters:
        assert queue.get(timeout=GUARD) == "tries"
    for waiter in waiters:
        wait_asleep(waiter.pid)
    stop(waiters[0])  # it may have been the next
    leave.set()
    assert queue.get(timeout=PROMISED) is True
    finish(holder, waiters[1])
    assert lock.acquire(timeout=PROMISED) is True
    lock.release()
    proceed(waiters[0])
    assert queue.get(timeout=GUARD) is True
    finish(waiters[0])


def test_a_killed_waiter_takes_no_wake_along(held, ctx):
    lock, holder, leave = held
    queue = ctx.Queue()
    waiters = [start(ctx, acquire_and_tell, lock, queue, None) for _ in range(2)]
    for _ in waiters:
        assert queue.get(timeout=GUARD) == "tries"
    for waiter in waiters:
        wait_asleep(waiter.pid)
    stop(waiters[0])
    leave.set()  # the wake may go to the stopped one, which then dies with it
    finish(holder)
    kill(waiters[0])
    assert queue.get(timeout=PROMISED) is True
    finish(waiters[1])


# --- waiters of events, conditions and barriers


def wait_and_tell(event, queue):
    queue.put("waits")
    queue.put(event.wait())


def wait_for_condition(condition, queue, number):
    with condition:
        queue.put(("waits", number))
        condition.wait()
        queue.put(("woken", number))


def wait_at_barrier(barrier, queue):
    try:
        queue.put(barrier.wait())
    except threading.BrokenBarrierError:
        queue.put("broken")


@pytest.mark.parametrize("how", [kill, stop])
def test_set_does_not_wait_for_a_dead_or_stopped_waiter(ctx, how):
    event, queue = ctx.Event(), ctx.Queue()
    victim, other = (start(ctx, wait_and_tell, event, queue) for _ in range(2))
    assert [queue.get(timeout=GUARD) for _ in range(2)] == ["waits"] * 2
    wait_asleep(victim.pid)
    wait_asleep(other.pid)
    how(victim)
    event.set()
    assert queue.get(timeout=PROMISED) is True
    finish(other)
    event.clear()
    assert not event.is_set()
    victim.kill()


@pytest.mark.parametrize("how", [kill, stop])
def test_notify_does_not_wait_for_a_dead_or_stopped_waiter(ctx, how):
    condition, queue = ctx.Condition(), ctx.Queue()
    processes = []
    for number in range(3):
        processes.append(start(ctx, wait_for_condition, condition, queue, number))
        assert queue.get(timeout=GUARD) == ("waits", number)
    with condition:
        pass
    how(processes[1])
    with condition:
        condition.notify_all()
    assert sorted(queue.get(timeout=PROMISED) for _ in range(2)) == [("woken", 0), ("woken", 2)]
    finish(processes[0], processes[2])
    processes[1].kill()


def test_a_dead_waiters_notification_passes_on(ctx):
    condition, queue = ctx.Condition(), ctx.Queue()
    processes = []
    for number in range(2):
        processes.append(start(ctx, wait_for_condition, condition, queue, number))
        assert queue.get(timeout=GUARD) == ("waits", number)
    with condition:
        stop(processes[0])  # the oldest
        condition.notify(1)
    kill(processes[0])
    assert queue.get(timeout=PROMISED) == ("woken", 1)
    finish(processes[1])


def test_a_barrier_whose_party_died_ends_at_its_time(ctx):
    barrier, queue = ctx.Barrier(3), ctx.Queue()
    victim, other = (start(ctx, wait_at_barrier, barrier, queue) for _ in range(2))
    eventually(lambda: barrier.n_waiting == 2)
    kill(victim)
    with contextlib.suppress(threading.BrokenBarrierError):
        barrier.wait(1.0)  # with two living parties of three, at best
    assert queue.get(timeout=PROMISED + 1.0) in ("broken", 0, 1, 2)
    finish(other)
    barrier.reset()
    assert barrier.n_waiting == 0
    again = [start(ctx, wait_at_barrier, barrier, queue) for _ in range(3)]
    assert sorted(queue.get(timeout=GUARD) for _ in again) == [0, 1, 2]
    finish(*again)


def test_wait_with_a_timeout_ends_at_its_time_beside_a_stopped_holder(ctx):
    # A condition's wait takes its lock again: a stopped process that holds it keeps it until
    # SIGCONT.
    condition, ready, leave = ctx.Condition(), ctx.Event(), ctx.Event()
    queue = ctx.Queue()
    waiter = start(ctx, wait_for_condition, condition, queue, 0)
    assert queue.get(timeout=GUARD) == ("waits", 0)
    holder = start(ctx, hold, condition, ready, leave)
    assert ready.wait(GUARD)
    stop(holder)
    assert condition.acquire(True, 0.1) is False
    leave.set()
    proceed(holder)
    finish(holder)
    with condition:
        condition.notify_all()
    assert queue.get(timeout=GUARD) == ("woken", 0)
    finish(waiter)


# --- producers and consumers


def put_for_ever(queue, ready):
    ready.set()
    number = 0
    while True:
        queue.put(number)
        number += 1


def get_for_ever(queue, ready):
    ready.set()
    while True:
        queue.get()


@pytest.mark.parametrize("how", [kill, stop])
def test_a_producer_blocked_on_a_full_queue(ctx, how):
    queue, ready = ctx.Queue(2), ctx.Event()
    producer = start(ctx, put_for_ever, queue, ready)
    assert ready.wait(GUARD)
    eventually(queue.full)
    wait_asleep(producer.pid)
    how(producer)
    assert [queue.get(timeout=PROMISED) for _ in range(2)] == [0, 1]
    queue.put("other", timeout=PROMISED)
    got = [queue.get(timeout=PROMISED)]
    while not queue.empty():
        got.append(queue.get(timeout=PROMISED))
    # All places can be had again: a dead producer keeps none.
    assert "other" in got
    assert got in (["other"], [2, "other"], ["other", 2])
    if how is kill:
        queue.put("a", False)
        queue.put("b", False)
        assert queue.full()
        assert [queue.get(timeout=PROMISED) for _ in range(2)] == ["a", "b"]
    producer.kill()


@pytest.mark.parametrize("how", [kill, stop])
def test_a_consumer_blocked_on_an_empty_queue(ctx, how):
    queue, results, ready = ctx.Queue(), ctx.Queue(), ctx.Event()
    consumer = start(ctx, get_for_ever, queue, ready)
    assert ready.wait(GUARD)
    other = start(ctx, get_some, queue, results, 5)
    assert results.get(timeout=GUARD) == "gets"
    wait_asleep(consumer.pid)
    wait_asleep(other.pid)
    how(consumer)
    for number in range(5):
        queue.put(number)
    assert results.get(timeout=PROMISED) == [0, 1, 2, 3, 4]
    finish(other)
    consumer.kill()


def get_some(queue, results, count):
    results.put("gets")
    results.put([queue.get() for _ in range(count)])


def put_items_and_die(queue, items):
    for item in items:
        queue.put(item)
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_was_put_outlives_its_producer(ctx):
    queue = ctx.Queue()
    items = [(number, b"x" * (number * 10_000)) for number in range(30)]
    producers = [start(ctx, put_items_and_die, queue, items) for _ in range(2)]
    finish(*producers, codes=[-signal.SIGKILL])
    got = [queue.get(timeout=GUARD) for _ in range(60)]
    assert sorted(got) == sorted(2 * items)
    assert queue.empty()


def test_a_bounded_queues_places_outlive_its_consumers(ctx):
    queue, ready = ctx.Queue(3), ctx.Event()
    for _ in range(5):
        ready.clear()
        consumer = start(ctx, get_for_ever, queue, ready)
        assert ready.wait(GUARD)
        for number in range(20):
            queue.put(number, timeout=PROMISED)
        kill(consumer)
    while not queue.empty():
        queue.get(timeout=PROMISED)
    for number in range(3):
        queue.put_nowait(number)
    assert queue.full()
    assert [queue.get(timeout=PROMISED) for _ in range(3)] == [0, 1, 2]


# --- at random instants


def counts():
    """Under spawn each kill costs the start of an interpreter, so there are fewer."""
    fewer = {"fork": 1, "forkserver": 5, "spawn": 25}
    for method, how in itertools.product(fewer, ("kill", "stop")):
        for role in "producer", "consumer", "lock", "rlock":
            count = INSTANTS // (fewer[method] if how == "kill" else min(5, fewer[method]))
            yield pytest.param(role, how, method, max(1, count), id=f"{role}-{how}-{method}")


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("role", "how", "method", "count"), list(counts()))
def test_at_random_instants(role, how, method, count, record_property, capsys):
    command = [str(HERE / "random_instants.py"), role, how, method, str(count), str(SEED)]
    ended = run_program("", command=command, timeout=240)
    found = json.loads(ended.lines[-1])
    inside, violations = found["inside"], found["violations"]
    said = f"{role} {how} {method}: {count} instants, {inside} inside the operation, seed {SEED}"
    record_property("instants", said)
    with capsys.disabled():
        print(f"\n  {said}, {len(violations)} violations, {found['seconds']} s", end=" ")
    assert not violations, f"{said}: {len(violations)} violations, {violations[:20]}"
    # The control: a test whose hits all fell beside the operation would say nothing.
    assert inside >= count // 10
    assert ended.stderr == ""
