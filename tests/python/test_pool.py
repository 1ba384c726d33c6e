"""Pool: map and apply, what they give and when, and the pool's own words."""

import functools
import multiprocessing.pool
import os
import pickle
import sys
import threading
from pathlib import Path

import pytest
from deadline import GUARD, eventually
from pooled import add, own_pid_at, pid_of, pids, square, wait_for
from processes import gone
from program import run_program
from under_test import mp

# A program that has threads is warned by Python itself when it forks, from 3.12 on.
threads_of_the_test = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")


@pytest.fixture
def pool(ctx):
    with ctx.Pool(2) as pool:
        yield pool


# --- map


@pytest.mark.parametrize("chunksize", [None, 1, 7, 1000])
def test_map_is_ordered(pool, chunksize):
    expected = [x * x for x in range(50)]
    assert pool.map(square, range(50), chunksize) == expected
    assert pool.map(square, list(range(50)), chunksize=chunksize) == expected


@pytest.mark.parametrize("count", [0, 1, 2, 3, 200])
def test_map_with_fewer_and_more_tasks_than_workers(pool, count):
    assert pool.map(square, range(count)) == [x * x for x in range(count)]


def test_map_runs_as_often_as_the_list_is_long(ctx, pool):
    queue = ctx.Queue()
    assert pool.map(queue.put, ["same"] * 23) == [None] * 23
    assert queue.qsize() == 23


def test_map_takes_any_iterable(pool):
    assert pool.map(square, (x for x in (1, 2, 3))) == [1, 4, 9]
    assert sorted(pool.map(square, {1, 2, 3})) == [1, 4, 9]
    assert pool.map(ord, "ab") == [97, 98]


def test_map_blocks_until_all_are_done(ctx, pool):
    event = ctx.Event()
    result = pool.map_async(functools.partial(wait_for, event), [1, 2, 3])
    with pytest.raises(mp.TimeoutError):
        result.get(timeout=0.05)
    assert not result.ready()
    event.set()
    assert result.get(GUARD) == [1, 2, 3]
    assert result.ready()
    assert result.successful()


def test_starmap(pool):
    pairs = [(1, 2), [3, 4], (5,)]
    assert pool.starmap(add, pairs) == [3, 7, 5]
    assert pool.starmap(add, iter(pairs), 2) == [3, 7, 5]
    assert pool.starmap_async(add, pairs, chunksize=1).get(GUARD) == [3, 7, 5]


class Adder:
    def __init__(self, to):
        self.to = to

    def add(self, x):
        return self.to + x

    __call__ = add


def test_functions_of_all_kinds(pool):
    assert pool.map(Adder(10).add, [1, 2]) == [11, 12]
    assert pool.map(Adder(10), [1, 2]) == [11, 12]
    assert pool.map(functools.partial(add, 1, c=2), [3]) == [6]
    assert pool.map(len, ["abc"]) == [3]


# --- apply


def test_apply(pool):
    assert pool.apply(add, (1,)) == 1
    assert pool.apply(add, (1, 2), {"c": 3}) == 6
    assert pool.apply(add, args=[4], kwds={"b": 5}) == 9
    assert pool.apply(pid_of) in pids(pool)


def test_apply_async(ctx, pool):
    event = ctx.Event()
    result = pool.apply_async(wait_for, (event,), {"answer": 42})
    assert isinstance(result, multiprocessing.pool.ApplyResult)
    result.wait(0.05)
    assert not result.ready()
    with pytest.raises(ValueError, match="not ready"):
        result.successful()
    with pytest.raises(mp.TimeoutError):
        result.get(0)
    event.set()
    assert result.wait(GUARD) is None
    assert result.ready()
    assert result.successful()
    assert [result.get(), result.get(timeout=0)] == [42, 42]


def test_values_of_all_sizes(pool):
    values = [None, True, -1, 2**70, 1.5, "ä", b"", b"x" * 17, "y" * 10**6, bytes(5 * 10**6), [()]]
    assert pool.map(same, values) == values
    assert pool.apply(same, (values,)) == values


def same(value):
    return value


def test_objects_of_ours_as_arguments_and_results(ctx, pool):
    queue, lock = ctx.Queue(), ctx.Lock()
    back = pool.apply(put_under_lock, (queue, lock, "first"))
    back.put("second")
    assert [queue.get(timeout=GUARD), queue.get(timeout=GUARD)] == ["first", "second"]


def put_under_lock(queue, lock, value):
    with lock:
        queue.put(value)
    return queue


# --- the pool itself


def test_is_a_pool_of_the_standard_library(ctx, pool):
    assert isinstance(pool, multiprocessing.pool.Pool)
    assert isinstance(mp.pool.Pool, type)
    assert pool._processes == 2
    assert pool._ctx.get_start_method() == ctx.get_start_method()
    assert "pool_size=2" in repr(pool)
    assert "state=RUN" in repr(pool)
    with pytest.raises(NotImplementedError):
        pickle.dumps(pool)


def test_workers_by_their_pids(ctx, pool):
    workers = pool._pool
    assert len(workers) == 2
    assert all(worker.is_alive() and worker.exitcode is None for worker in workers)
    found = pool.map(own_pid_at, [ctx.Barrier(2)] * 2, 1)
    assert sorted(found) == sorted(worker.pid for worker in workers)
    assert os.getpid() not in found
    assert mp.active_children() == []


def who(barrier):
    barrier.wait(GUARD)
    process = mp.current_process()
    return process.name, process.daemon, mp.parent_process().pid


def test_workers_names_and_parent(ctx, method, pool):
    prefix = {"fork": "Fork", "spawn": "Spawn", "forkserver": "ForkServer"}[method]
    assert sorted(pool.map(who, [ctx.Barrier(2)] * 2, 1)) == [
        (f"{prefix}PoolWorker-{n}", True, os.getpid()) for n in (1, 2)
    ]


def remember(*values):
    global REMEMBERED
    REMEMBERED = (*globals().get("REMEMBERED", ()), *values)


def remembered(barrier):
    barrier.wait(GUARD)
    return REMEMBERED


def test_initializer_runs_once_in_each_worker(ctx):
    with ctx.Pool(3, remember, ("a", "b")) as pool:
        assert pool.map(remembered, [ctx.Barrier(3)] * 3, 1) == [("a", "b")] * 3
    with ctx.Pool(1, initializer=remember, initargs=[ctx.Event()]) as pool:
        [event] = pool.apply(remembered, (ctx.Barrier(1),))
        assert not event.is_set()


@pytest.mark.parametrize("limit", [1, 3])
def test_maxtasksperchild(ctx, limit):
    with ctx.Pool(2, maxtasksperchild=limit) as pool:
        found = pool.map(pid_of, range(24), chunksize=1)
        assert max(map(found.count, found)) <= limit
        assert len(set(found)) >= 24 // limit
        pool.close()
        pool.join()


@pytest.fixture
def half_a_processor():
    """A folder of processes that together get half of one processor, as a container has it."""
    folder = Path(f"/sys/fs/cgroup/cpu/procession-test-{os.getpid()}")
    try:
        folder.mkdir()
        (folder / "cpu.cfs_period_us").write_text("100000")
        (folder / "cpu.cfs_quota_us").write_text("50000")
    except OSError as error:
        pytest.skip(f"no quota can be set here: {error}")
    yield folder
    eventually(lambda: not (folder / "cgroup.procs").read_text(), what="the processes ended")
    folder.rmdir()


def test_number_of_workers_respects_a_containers_quota(half_a_processor):
    program = """
        import os
        import sys
        import procession as mp

        if __name__ == "__main__":
            with open(sys.argv[1], "w") as file:
                file.write(str(os.getpid()))
            with mp.Pool() as pool:
                print(pool._processes, pool.apply(abs, (-1,)))
    """
    ended = run_program(program, str(half_a_processor / "cgroup.procs"))
    assert ended.stdout.split() == ["1", "1"]


@pytest.mark.skipif(sys.version_info < (3, 13), reason="the interpreter does not know it")
def test_number_of_workers_as_the_interpreter_was_told():
    program = """
        import procession as mp

        if __name__ == "__main__":
            with mp.Pool() as pool:
                print(pool._processes)
    """
    assert run_program(program, interpreter=["-X", "cpu_count=3"]).stdout.strip() == "3"


def test_number_of_workers_respects_affinity():
    source = """
        import os
        import procession as mp

        if __name__ == "__main__":
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
            with mp.Pool() as pool, mp.get_context("spawn").Pool(None) as other:
                print(len(pool._pool), len(other._pool))
    """
    assert run_program(source).lines == ["1 1"]


def use(ctx):
    with ctx.Pool(2) as pool:
        return pool.map(square, range(5))


@threads_of_the_test
def test_used_from_any_thread(ctx):
    pools, found = [], []
    thread = threading.Thread(target=lambda: pools.append(ctx.Pool(2)))
    thread.start()
    thread.join()  # the thread that started it has ended
    with pools[0] as pool:
        callers = [
            threading.Thread(target=lambda: found.append(pool.map(square, range(5))))
            for _ in range(4)
        ]
        callers += [threading.Thread(target=lambda: found.append(use(ctx))) for _ in range(2)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join(GUARD)
    assert found == [[0, 1, 4, 9, 16]] * 6


def test_close_and_join(ctx):
    event = ctx.Event()
    with ctx.Pool(2) as pool:
        workers = pids(pool)
        result = pool.map_async(functools.partial(wait_for, event), range(5))
        with pytest.raises(ValueError, match="still running"):
            pool.join()
        pool.close()
        pool.close()
        for call in pool.map, pool.imap, pool.apply_async, pool.starmap_async:
            with pytest.raises(ValueError, match="not running"):
                call(square, [1])
        with pytest.raises(ValueError, match="not running"):
            pool.__enter__()
        event.set()
        pool.join()
        pool.join()
        assert all(map(gone, workers))
        assert result.get(0) == list(range(5))
    assert len(pool._pool) == 0


def test_initializers_run_though_it_is_closed_at_once(ctx):
    queue = ctx.Queue()
    with ctx.Pool(2, queue.put, ("begun",)) as pool:
        pool.close()
        pool.join()
    assert [queue.get(timeout=0) for _ in range(2)] == ["begun"] * 2


def test_with_ends_the_workers(ctx):
    with ctx.Pool(3) as pool:
        workers = pids(pool)
        assert pool.map(square, [2]) == [4]
    assert all(map(gone, workers))
    pool.join()
    with pytest.raises(ValueError, match="not running"):
        pool.map(square, [2])


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"processes": 0}, ValueError),
        ({"processes": -1}, ValueError),
        ({"processes": "2"}, TypeError),
        ({"initializer": 5}, TypeError),
        ({"initializer": square, "initargs": 5}, TypeError),
        ({"maxtasksperchild": 0}, ValueError),
        ({"maxtasksperchild": -1}, ValueError),
        ({"maxtasksperchild": 1.5}, ValueError),
        ({"maxtasksperchild": "1"}, ValueError),
    ],
)
def test_wrong_arguments(ctx, options, error):
    with pytest.raises(error):
        ctx.Pool(**{"processes": 1, **options})


def test_wrong_arguments_of_calls(pool):
    with pytest.raises(TypeError, match="not iterable"):
        pool.map(square, 5)
    for imap in pool.imap, pool.imap_unordered:
        with pytest.raises(TypeError, match="not iterable"):
            next(imap(square, 5))
        for chunksize in 0, -1:
            with pytest.raises(ValueError, match="Chunksize must be 1"):
                imap(square, [1], chunksize)
    for args in (5,), ((), 5):
        with pytest.raises(TypeError):
            pool.apply_async(square, *args).get(GUARD)
    with pytest.raises(TypeError, match="not callable"):
        pool.map(5, [1])


# --- random numbers


def draw(barrier):
    import random

    import numpy

    barrier.wait(GUARD)
    return random.random(), numpy.random.random()


def test_unseeded_draws_differ(ctx, method):
    with ctx.Pool(4) as pool:
        draws = pool.map(draw, [ctx.Barrier(4)] * 4, 1)
    assert len({first for first, _ in draws}) == 4
    if method != "fork":
        assert len({second for _, second in draws}) == 4


# Main itself has drawn before, so copies of it would draw alike.
MONTE_CARLO = """
    import random
    import sys
    import numpy
    import procession as mp

    random.random(), numpy.random.random()
    {own}

    def draw(barrier):
        barrier.wait(20)
        return random.random(), numpy.random.random(){draws}

    def put(queue, barrier):
        queue.put(draw(barrier))

    if __name__ == "__main__":
        ctx = mp.get_context(sys.argv[1])
        queue, barriers = ctx.Queue(), [ctx.Barrier(4)] * 4
        with ctx.Pool(4) as pool:
            pooled = pool.map(draw, barriers, 1)
        processes = [ctx.Process(target=put, args=(queue, barrier)) for barrier in barriers]
        for process in processes:
            process.start()
        for found in pooled, [queue.get() for _ in processes]:
            print(*[len(set(draws)) for draws in zip(*found)])
        for process in processes:
            process.join()
"""


def test_unseeded_draws_of_a_main_that_drew_before(method):
    pytest.importorskip("numpy")
    # Under fork numpy is as the interpreter leaves it: alike in all copies.
    streams = "4 1" if method == "fork" else "4 4"
    program = MONTE_CARLO.format(own="", draws="")
    assert run_program(program, method).lines == [streams] * 2


def test_unseeded_draws_of_mains_own_generators(method):
    pytest.importorskip("numpy")
    own = "a, b, c = random.Random(), numpy.random.default_rng(), numpy.random.RandomState()"
    draws = ", a.random(), b.random(), c.random_sample()"
    # Where main is imported it makes them anew; under fork they are copies.
    streams = "4 1 1 1 1" if method == "fork" else "4 4 4 4 4"
    program = MONTE_CARLO.format(own=own, draws=draws)
    assert run_program(program, method).lines == [streams] * 2


# --- replaced workers


AMID_AN_IMPORT = """
    import os
    import sys
    import procession as mp

    def use(number):
        import imported
        return number * 2

    if __name__ == "__main__":
        root = os.getpid()
        pool = mp.get_context(sys.argv[1]).Pool(2, maxtasksperchild=1)
        import imported
        print(imported.found)
        pool.close()
        pool.join()
"""

IMPORTED = """
import os
import sys

main = sys.modules["__main__"]
if getattr(main, "root", None) == os.getpid():
    found = main.pool.map(main.use, range(6), 1)
"""


def test_workers_replaced_amid_an_import_import_the_same(method, tmp_path):
    # A copy of main, made now by another thread of it, would wait for the import's end for ever.
    (tmp_path / "imported.py").write_text(IMPORTED, encoding="utf-8")
    ended = run_program(AMID_AN_IMPORT, method, env={"PYTHONPATH": str(tmp_path)})
    assert ended.lines == ["[0, 2, 4, 6, 8, 10]"]
