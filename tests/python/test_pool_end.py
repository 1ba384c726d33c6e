"""The end of a pool: terminate, forgotten, in a forked child; what is delivered before."""

import functools
import gc
import os
import signal
import threading
import time

import pytest
from deadline import GUARD, eventually
from pooled import begin, pids, square, wait_for
from processes import finish, gone, start, wait_stopped
from program import run_program
from under_test import NAME, mp

pytestmark = pytest.mark.skipif(NAME == "multiprocessing", reason="promises of ours")

# What terminate() takes at most: a second for those that SIGTERM ends, and a second for the others.
BOUND = 4.0


def terminate(pool):
    """Terminates the pool, in bounded time; its workers and its keeper are gone then."""
    workers, keeper = pool._core.workers(), pool._keepers[-1].pid
    began = time.monotonic()
    pool.terminate()
    pool.join()
    seconds = time.monotonic() - began
    assert seconds < BOUND
    assert all(map(gone, [*workers, keeper, *pool._core.workers()]))
    return seconds


def terminated(call, *args):
    with pytest.raises(mp.PoolTerminated):
        call(*args)


def test_terminate_settles_every_result(ctx):
    event, begun, said = ctx.Event(), ctx.Queue(), []
    pool = ctx.Pool(2)
    done = [pool.apply_async(square, (x,)) for x in range(10)]
    done[-1].wait(GUARD)
    results = [pool.apply_async(begin, (begun, event), callback=said.append) for _ in range(5)]
    results += [pool.map_async(square, [1, 2]), pool.starmap_async(square, [(1,)] * 5)]
    iterators = [pool.imap(square, range(50)), pool.imap_unordered(square, range(50))]
    for _ in range(2):
        begun.get(timeout=GUARD)
    waiting, found = [], []
    for call in results[0].get, results[2].get, results[5].get, iterators[0].next:
        waiting.append(threading.Thread(target=lambda call=call: found.append(raised(call))))
        waiting[-1].start()
    assert terminate(pool) < 1.0  # none of them needs to be killed
    for thread in waiting:
        thread.join(GUARD)
    assert [type(error) for error in found] == [mp.PoolTerminated] * 4
    for result in results:
        terminated(result.get)
        assert result.ready()
        assert not result.successful()
    for iterator in iterators:
        terminated(next, iterator)
    assert [result.get(0) for result in done] == [x * x for x in range(10)]
    assert said == []
    for call in pool.map, pool.imap, pool.apply_async:
        with pytest.raises(ValueError, match="not running"):
            call(square, [1])
    pool.terminate()
    pool.join()


def raised(call):
    try:
        call()
    except BaseException as error:
        return error


def test_terminate_right_after_submit(ctx):
    for _ in range(10):
        pool = ctx.Pool(2)
        results = [
            pool.apply_async(square, (3,)),
            pool.map_async(square, range(100)),
            pool.apply_async(square, (4,), callback=square),
        ]
        iterator = pool.imap(square, iter(range(5)))
        terminate(pool)
        for get in *(result.get for result in results), iterator.next:
            assert isinstance(raised(get), (mp.PoolTerminated, type(None)))


def test_terminate_at_once(ctx):
    for _ in range(5):
        terminate(ctx.Pool(2))


def test_terminate_with_a_blocked_input(ctx):
    def blocked(gate):
        yield 1
        gate.wait()
        yield 2

    gate = threading.Event()
    with ctx.Pool(2) as pool:
        iterators = [pool.imap(square, blocked(gate)), pool.imap_unordered(square, blocked(gate))]
        assert [next(iterator) for iterator in iterators] == [1, 1]
        terminate(pool)
        for iterator in iterators:
            terminated(next, iterator)
    gate.set()


def test_terminate_with_a_stopped_worker(ctx):
    for busy in True, False:
        event, begun = ctx.Event(), ctx.Queue()
        pool = ctx.Pool(2)
        result = pool.apply_async(begin, (begun, event)) if busy else None
        victim = begun.get(timeout=GUARD) if busy else pids(pool)[0]
        os.kill(victim, signal.SIGSTOP)
        wait_stopped(victim)
        terminate(pool)
        if busy:
            terminated(result.get)


def deaf(begun, event):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    begin(begun, event)


def test_terminate_with_a_worker_that_ignores_it(ctx):
    event, begun = ctx.Event(), ctx.Queue()
    pool = ctx.Pool(2)
    result = pool.apply_async(deaf, (begun, event))
    begun.get(timeout=GUARD)
    terminate(pool)
    terminated(result.get)


def test_terminate_amid_the_initializer(ctx):
    event, begun = ctx.Event(), ctx.Queue()
    pool = ctx.Pool(2, begin, (begun, event))
    result = pool.map_async(square, range(5))
    begun.get(timeout=GUARD)
    terminate(pool)
    terminated(result.get)


def test_terminate_from_another_thread_while_join_waits(ctx):
    event, begun = ctx.Event(), ctx.Queue()
    pool = ctx.Pool(2)
    result = pool.apply_async(begin, (begun, event))
    begun.get(timeout=GUARD)
    pool.close()
    thread = threading.Thread(target=pool.join)
    thread.start()
    terminate(pool)
    thread.join(GUARD)
    assert not thread.is_alive()
    terminated(result.get)


@pytest.mark.parametrize("busy", [False, True])
def test_a_forgotten_pool_ends(ctx, busy):
    event, begun = ctx.Event(), ctx.Queue()
    pool = ctx.Pool(2)
    workers, keeper = pids(pool), pool._keepers[-1].pid
    if busy:
        pool.apply_async(begin, (begun, event))
        begun.get(timeout=GUARD)
    pool.map(square, [1])
    list(pool.imap_unordered(square, [1]))
    for thread in threading.enumerate():
        if thread.name == "PoolInput":  # it has the pool, too
            thread.join(GUARD)
    del pool
    gc.collect()
    assert all(map(gone, [*workers, keeper]))


def test_leaving_with_by_an_exception(ctx):
    event, begun = ctx.Event(), ctx.Queue()
    with pytest.raises(LookupError), ctx.Pool(2) as pool:
        result = pool.apply_async(begin, (begun, event))
        begun.get(timeout=GUARD)
        raise LookupError
    terminated(result.get)


# --- what workers put is delivered


def put_some(queue, x):
    for n in range(50):
        queue.put((x, n))


def test_what_was_put_is_delivered(ctx):
    for _ in range(3):
        queue = ctx.Queue()
        with ctx.Pool(2) as pool:
            pool.map(functools.partial(put_some, queue), range(8), 1)
        found = [queue.get(timeout=0) for _ in range(400)]
        assert sorted(found) == [(x, n) for x in range(8) for n in range(50)]


def log_something(queue, x):
    import logging
    import logging.handlers

    logger = logging.Logger("worker")
    logger.addHandler(logging.handlers.QueueHandler(queue))
    logger.error("record %d", x)


def test_log_records_are_delivered(ctx):
    queue = ctx.Queue()
    with ctx.Pool(2) as pool:
        pool.map(functools.partial(log_something, queue), range(20))
    records = [queue.get(timeout=0) for _ in range(20)]
    assert sorted(record.getMessage() for record in records) == sorted(
        f"record {x}" for x in range(20)
    )


# --- processes that are forked from the pool's


def use_in_child(pool, queue):
    queue.put(pool.map(square, range(5)))
    queue.put(pool.apply(square, (7,)))
    said = []
    pool.apply_async(square, (8,), callback=said.append).wait(GUARD)
    queue.put(said)
    queue.put(list(pool.imap(square, range(3))))


def test_used_in_a_forked_child():
    ctx = mp.get_context("fork")
    queue = ctx.Queue()
    with ctx.Pool(2) as pool:
        pool.apply_async(square, (2,), callback=square).wait(GUARD)
        children = [start(ctx, use_in_child, pool, queue) for _ in range(2)]
        mine = pool.map(square, range(100), 1)
        finish(*children)
        assert mine == [x * x for x in range(100)]
        found = [queue.get(timeout=0) for _ in range(8)]
        for answer in [0, 1, 4, 9, 16], 49, [64], [0, 1, 4]:
            assert found.count(answer) == 2
        assert len(pids(pool)) == 2


def forget(pool):
    del pool
    gc.collect()


def terminate_in_child(pool):
    pool.terminate()
    pool.join()


def test_ended_in_a_forked_child():
    ctx = mp.get_context("fork")
    with ctx.Pool(2) as pool:
        finish(start(ctx, forget, pool))
        assert pool.map(square, [3]) == [9]
        finish(start(ctx, terminate_in_child, pool))
        with pytest.raises(ValueError, match="not running"):
            pool.map(square, [3])


def fork_in_task(queue):
    pid = os.fork()
    if pid == 0:
        return "the child's"
    _, status = os.waitpid(pid, 0)
    queue.put(status)
    return "the worker's"


def test_a_task_that_forks(ctx):
    queue = ctx.Queue()
    with ctx.Pool(1) as pool:
        assert pool.apply(fork_in_task, (queue,)) == "the worker's"
        assert queue.get(timeout=GUARD) == 0
        assert pool.map(square, range(5)) == [0, 1, 4, 9, 16]


def start_in_task(event):
    thread = threading.Thread(target=wait_for, args=(event,), daemon=True)
    thread.start()
    return thread.is_alive()


def test_a_task_that_leaves_a_thread(ctx):
    with ctx.Pool(1) as pool:
        workers = pids(pool)
        assert pool.apply(start_in_task, (ctx.Event(),)) is True
        pool.close()
        pool.join()
    eventually(lambda: all(map(gone, workers)))


FORKED = """
    import os
    import sys
    import procession as mp
    from pooled import square

    def use(pool):
        assert pool.map(square, range(100), 1) == [x * x for x in range(100)]
        assert pool.apply(square, (3,)) == 9
        assert list(pool.imap(square, range(5))) == [0, 1, 4, 9, 16]

    if __name__ == "__main__":
        pool = mp.get_context(sys.argv[1]).Pool(2)
        assert pool.map(square, [2]) == [4]
        pid = os.fork()
        use(pool)  # both at once
        if not pid:
            {child}
            sys.exit(5)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        use(pool)
        pool.close()
        pool.join()
"""


@pytest.mark.parametrize("child", ["pass", "with pool: pass", "del pool"])
def test_a_fork_that_is_not_ours_uses_a_pool_and_ends(method, child):
    # Its end is not the pool's: that belongs to the process that made it.
    program = FORKED.replace("{child}", child)
    ended = run_program(program, method, interpreter=["-X", "dev", "-W", "error"])
    assert ended.lines == ["5"]
    assert ended.stderr == ""
