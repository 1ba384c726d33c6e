"""Deaths and stops of a pool's workers and of its keeper: a death costs one task."""

import contextlib
import functools
import os
import random
import signal
import threading

import pytest
from deadline import GUARD, eventually
from pooled import begin, begin_or_square, kill_oneself, leave_hard, own_pid_at, pids, square
from processes import gone, wait_stopped
from seed import SEED
from under_test import NAME, mp

pytestmark = pytest.mark.skipif(NAME == "multiprocessing", reason="promises of ours")

SQUARES = [x * x for x in range(100)]
LARGE = 64 << 20


@pytest.fixture
def pool(ctx):
    with ctx.Pool(2) as pool:
        yield pool


def whole(pool):
    """The pool has all its workers, and does what it is asked."""
    found = pids(pool)
    assert all(not gone(pid) for pid in found)
    assert pool.map(square, range(20)) == SQUARES[:20]
    return found


def until_gone(pids):
    """Who was killed a moment ago may be about to die still."""
    return eventually(lambda: all(map(gone, pids)))


def kill(pid, number=signal.SIGKILL):
    os.kill(pid, number)


def died(result):
    with pytest.raises(mp.WorkerDied) as caught:
        result.get(GUARD)
    return caught.value


# --- a worker in mid-task


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP, signal.SIGTERM])
def test_killed_in_mid_task(ctx, pool, number):
    begun, event = ctx.Queue(), ctx.Event()
    failed = []
    result = pool.apply_async(begin, (begun, event), error_callback=failed.append)
    others = pool.map_async(square, range(100))
    pid = begun.get(timeout=GUARD)
    kill(pid, number)
    error = died(result)
    assert (error.pid, error.exitcode, error.signal, error.task) == (pid, -number, number, "begin")
    assert str(pid) in str(error)
    assert number.name in str(error)
    assert failed == [error]
    assert others.get(GUARD) == SQUARES
    assert pid not in whole(pool)


def test_exit_code_of_a_hard_exit(pool):
    for code in 0, 1, 77:
        error = died(pool.apply_async(leave_hard, (code,)))
        assert (error.exitcode, error.signal) == (code, None)
        assert f"exit code {code}" in str(error)
    whole(pool)


def test_tasks_that_kill_each_worker(pool):
    # More deaths than any number of starts after which a pool is given up.
    results = [pool.apply_async(kill_oneself) for _ in range(40)]
    last = pool.apply_async(square, (3,))
    assert {died(result).signal for result in results} == {signal.SIGKILL}
    assert last.get(GUARD) == 9
    whole(pool)


def test_close_and_join_after_a_death(ctx):
    begun, event = ctx.Queue(), ctx.Event()
    with ctx.Pool(2) as pool:
        result = pool.apply_async(begin, (begun, event))
        rest = pool.map_async(square, range(100), 1)
        pool.close()
        kill(begun.get(timeout=GUARD))
        pool.join()
        died(result)
        assert rest.get(0) == SQUARES


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_in_a_chunk_of_100_it_costs_one_element(ctx, pool, number):
    begun, event = ctx.Queue(), ctx.Event()
    task = functools.partial(begin_or_square, begun, event, waits=10)
    for imap in pool.imap, pool.imap_unordered:
        event.clear()
        results = imap(task, range(100), chunksize=100)
        pid = begun.get(timeout=GUARD)
        kill(pid, number)
        if number == signal.SIGSTOP:
            wait_stopped(pid)
            eventually(lambda: settled_of(results) == 99)  # noqa: B023
            kill(pid, signal.SIGCONT)
            event.set()
            assert list(results) == SQUARES
            continue
        found, errors = [], []
        while True:
            try:
                found.append(next(results))
            except StopIteration:
                break
            except mp.WorkerDied as error:
                errors.append(error)
        assert found == SQUARES[:10] + SQUARES[11:]
        [error] = errors
        assert error.pid == pid
        assert "element 10" in error.task
    whole(pool)


def settled_of(results):
    [job] = results._flow.jobs.values()
    return sum(job.is_settled(index) for index in range(len(job)))


def test_map_names_the_element(ctx, pool):
    begun, done = ctx.Queue(), ctx.Queue()
    result = pool.map_async(functools.partial(put_or_die, done), range(100), chunksize=100)
    error = died(result)
    assert error.task == "map of partial, element 10"
    assert sorted(done.get(timeout=GUARD) for _ in range(99)) == [x for x in range(100) if x != 10]
    assert begun.empty()


def put_or_die(queue, x):
    if x == 10:
        kill_oneself()
    queue.put(x)


def test_a_stopped_worker_holds_up_its_element_alone(ctx, pool):
    begun, event = ctx.Queue(), ctx.Event()
    task = functools.partial(begin_or_square, begun, event, waits=3)
    results = pool.imap_unordered(task, range(20))
    pid = begun.get(timeout=GUARD)
    kill(pid, signal.SIGSTOP)
    wait_stopped(pid)
    event.set()
    found = [results.next(GUARD) for _ in range(19)]
    assert sorted(found) == sorted(SQUARES[:3] + SQUARES[4:20])
    with pytest.raises(mp.TimeoutError):
        results.next(0.05)
    assert pool.map(square, range(100)) == SQUARES
    kill(pid, signal.SIGCONT)
    assert list(results) == [9]
    assert pid in whole(pool)


# --- a worker that sends a large result


class DeadlyToPickle:
    def __reduce__(self):
        kill_oneself()


def large(begun, size):
    begun.put(os.getpid())
    return bytes(size)


def large_and_deadly(size):
    return [bytes(size), bytearray(size), DeadlyToPickle()]


def test_killed_amid_a_large_result(ctx, pool):
    others = [pool.apply_async(square, (x,)) for x in range(50)]
    assert died(pool.apply_async(large_and_deadly, (LARGE,))).signal == signal.SIGKILL
    assert [result.get(GUARD) for result in others] == SQUARES[:50]
    generator, begun, arrived = random.Random(SEED), ctx.Queue(), 0
    for _ in range(8):
        result = pool.apply_async(large, (begun, LARGE))
        pid = begun.get(timeout=GUARD)
        result.wait(generator.random() * 0.05)
        kill(pid)
        try:
            assert len(result.get(GUARD)) == LARGE, f"seed {SEED}"
            arrived += 1
        except mp.WorkerDied as error:
            assert error.pid == pid, f"seed {SEED}"  # noqa: PT017
        del result
        assert pool.apply(square, (3,)) == 9
    whole(pool)


def test_stopped_amid_a_large_result(ctx, pool):
    generator, begun = random.Random(SEED), ctx.Queue()
    for _ in range(5):
        result = pool.apply_async(large, (begun, LARGE))
        pid = begun.get(timeout=GUARD)
        result.wait(generator.random() * 0.05)
        kill(pid, signal.SIGSTOP)
        wait_stopped(pid)
        assert len(pool.apply(bytes, (LARGE,))) == LARGE, f"seed {SEED}"
        assert pool.map(square, range(100)) == SQUARES, f"seed {SEED}"
        kill(pid, signal.SIGCONT)
        assert len(result.get(GUARD)) == LARGE, f"seed {SEED}"
        del result
    whole(pool)


# --- a worker that runs no task


def test_idle_workers_killed(pool):
    for _ in range(3):
        before = pids(pool)
        for pid in before:
            kill(pid)
        assert pool.map(square, range(100)) == SQUARES
        eventually(lambda: not set(before) & set(pids(pool)))  # noqa: B023
    whole(pool)


def test_an_idle_worker_stopped(pool):
    [first, _] = pids(pool)
    kill(first, signal.SIGSTOP)
    wait_stopped(first)
    assert pool.map(square, range(100)) == SQUARES
    kill(first, signal.SIGCONT)
    whole(pool)


def begin_to_work(begun, event):
    begun.put(os.getpid())
    event.wait()


def test_killed_in_the_initializer(ctx):
    begun, event = ctx.Queue(), ctx.Event()
    with ctx.Pool(2, begin_to_work, (begun, event)) as pool:
        result = pool.map_async(square, range(100))
        victims = [begun.get(timeout=GUARD) for _ in range(2)]
        for pid in victims:
            kill(pid)
            eventually(lambda: gone(pid))  # noqa: B023
        event.set()
        assert result.get(GUARD) == SQUARES
        assert not set(victims) & set(whole(pool))


def die_at_start(go, queue):
    assert go.wait(GUARD)
    queue.put(os.getpid())
    kill_oneself()


def test_workers_that_always_die_at_the_start(ctx):
    go, queue = ctx.Event(), ctx.Queue()
    with ctx.Pool(2, die_at_start, (go, queue)) as pool:
        pending = pool.apply_async(square, (1,))
        go.set()
        for call in (lambda: pending.get(GUARD)), (lambda: pool.map(square, [1])):
            with pytest.raises(RuntimeError, match="died again and again"):
                call()
        assert queue.qsize() < 50
        pool.join()


def test_killed_while_starting(ctx):
    # As soon as its pid can be known, wherever it is then.
    for _ in range(5):
        with ctx.Pool(2) as pool:
            result = pool.map_async(square, range(100))
            victims = eventually(pool._core.workers)
            for pid in victims:
                with contextlib.suppress(ProcessLookupError):
                    kill(pid)
            try:
                assert result.get(GUARD) == SQUARES
            except mp.WorkerDied as error:
                assert error.pid in victims  # noqa: PT017
            eventually(lambda: all(map(gone, victims)))  # noqa: B023
            whole(pool)


# --- the keeper


def kill_keeper(pool):
    keeper = pool._keepers[-1]
    eventually(pool._core.has_keeper)
    with contextlib.suppress(ProcessLookupError):
        kill(keeper.pid)
    eventually(lambda: gone(keeper.pid))


def test_keeper_killed_ten_times_under_load(ctx, pool):
    before = pids(pool)
    for _ in range(10):
        results = [pool.apply_async(square, (x,)) for x in range(50)]
        mapped = pool.map_async(square, range(100), 1)
        iterated = pool.imap(square, range(100))
        kill_keeper(pool)
        assert [result.get(GUARD) for result in results] == SQUARES[:50]
        assert mapped.get(GUARD) == SQUARES
        assert list(iterated) == SQUARES
        eventually(lambda: not pool._core.is_abandoned() or pool._look_after())
    assert pids(pool) == before, "no worker ends with its keeper"
    for pid in before:
        kill(pid)
    assert pool.map(square, range(100)) == SQUARES
    eventually(lambda: not set(before) & set(pids(pool)))
    whole(pool)


def test_keeper_and_workers_killed(ctx, pool):
    for wait in (
        lambda: pool.apply(square, (3,)),
        lambda: pool.map(square, [3])[0],
        lambda: next(pool.imap(square, [3])),
        lambda: next(pool.imap_unordered(square, [3])),
        lambda: called_back(pool),
        lambda: until_gone(victims) and len(whole(pool)) and 9,  # noqa: B023
    ):
        victims = pids(pool)
        kill_keeper(pool)
        for pid in victims:
            kill(pid)
        assert wait() == 9
        until_gone(victims)


def called_back(pool):
    """The result as a callback gets it, while nobody waits for it."""
    done, said = threading.Event(), []
    pool.apply_async(square, (3,), callback=lambda value: (said.append(value), done.set()))
    assert done.wait(GUARD)
    return said[0]


def test_join_with_a_killed_keeper(ctx):
    begun, event = ctx.Queue(), ctx.Event()
    pool = ctx.Pool(2)
    result = pool.apply_async(begin, (begun, event, 5))
    begun.get(timeout=GUARD)
    pool.close()
    kill_keeper(pool)
    event.set()
    pool.join()
    assert result.get(0) == 5


def test_a_stopped_keeper_stops_nobody(ctx):
    with ctx.Pool(2) as pool:
        workers = pids(pool)
        keeper = pool._keepers[-1].pid
        kill(keeper, signal.SIGSTOP)
        wait_stopped(keeper)
        assert pool.map(square, range(100)) == SQUARES
    assert gone(keeper)
    assert all(map(gone, workers))


# --- many


def test_300_workers(ctx):
    with ctx.Pool(300) as pool:
        assert len(set(pool.map(own_pid_at, [ctx.Barrier(300)] * 300, 1))) == 300
        assert len(pids(pool)) == 300


def test_a_storm_of_deaths(ctx):
    generator, killed, ready = random.Random(SEED), [], ctx.Queue()
    with ctx.Pool(4, ready.put, ("ready",)) as pool:
        results = [pool.apply_async(square, (x % 100,)) for x in range(3000)]
        results += [pool.map_async(square, range(100)) for _ in range(20)]
        while len(killed) < 25:
            before = len(killed)
            for pid in pool._core.workers()[: generator.randrange(3)]:
                if pid not in killed:
                    with contextlib.suppress(ProcessLookupError):
                        kill(pid)
                        killed.append(pid)
            if len(killed) > before:
                # Workers that die one after the other before any is ready break the pool.
                assert ready.get(timeout=GUARD) == "ready"
            results[generator.randrange(len(results))].wait(0.01)
        deaths = 0
        for number, result in enumerate(results):
            try:
                value = result.get(GUARD)
                expected = SQUARES if number >= 3000 else SQUARES[number % 100]
                assert value == expected, f"seed {SEED}"
            except mp.WorkerDied as error:
                assert error.signal == signal.SIGKILL, f"seed {SEED}"  # noqa: PT017
                deaths += 1
        assert deaths <= len(killed), f"seed {SEED}"
        until_gone(killed)
        whole(pool)
