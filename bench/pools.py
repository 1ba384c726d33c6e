"""What is measured of pools: see cases.py."""

import os
import signal
import time
from itertools import repeat
from typing import Any, Callable

Measure = Callable[[], float]

WORKERS = 4
MEGABYTES_8 = 8 << 20


def identity(value: Any) -> Any:
    """Does nothing."""
    return value


def element(value: Any) -> float:
    """Reads little of a large argument."""
    return float(value[0] + value[-1])


def zeros(size: int) -> Any:
    """A large result."""
    import numpy as np

    return np.zeros(size // 8)


def busy(seconds: float) -> float:
    """Computes for so long, on this processor's own clock."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
    return seconds


def mapping(ctx: Any, count: int) -> Measure:
    """Pool.map of a function that does nothing, an element at a time."""
    pool = ctx.Pool(WORKERS)
    numbers = list(range(count))

    def measure() -> float:
        start = time.perf_counter()
        assert pool.map(identity, numbers, chunksize=1) == numbers
        return time.perf_counter() - start

    return measure


def call(ctx: Any, count: int) -> Measure:
    """The median time of one call and its result."""
    from statistics import median  # not at the top: workers import this file

    pool = ctx.Pool(WORKERS)

    def one(n: int) -> float:
        start = time.perf_counter()
        pool.apply(identity, (n,))
        return time.perf_counter() - start

    return lambda: median([one(n) for n in range(count)]) * count


def first_result(ctx: Any, count: int) -> Measure:
    """A pool is made, has a first result, and is closed; its end is not measured."""

    def one() -> float:
        start = time.perf_counter()
        pool = ctx.Pool(WORKERS)
        pool.apply(identity, (1,))
        pool.close()
        taken = time.perf_counter() - start
        pool.join()
        return taken

    return lambda: sum(one() for _ in range(count))


def whole_life(ctx: Any, count: int) -> Measure:
    """A pool is made, has a first result, is closed and joined."""

    def measure() -> float:
        start = time.perf_counter()
        for _ in repeat(None, count):
            pool = ctx.Pool(WORKERS)
            pool.apply(identity, (1,))
            pool.close()
            pool.join()
        return time.perf_counter() - start

    return measure


def skewed(ctx: Any, count: int) -> Measure:
    """Tasks of very different lengths, default chunks: how many times the ideal time it takes."""
    workers = len(os.sched_getaffinity(0))
    pool = ctx.Pool(workers)
    # A few are long, and they stand together: whoever hands out large chunks gives them to one.
    tasks = [0.05] * 8 + [0.002] * 200
    ideal = sum(tasks) / workers

    def measure() -> float:
        start = time.perf_counter()
        pool.map(busy, tasks)
        return (time.perf_counter() - start) / ideal * count

    return measure


def arguments(ctx: Any, count: int) -> Measure:
    """map over arrays of 8 MB."""
    pool = ctx.Pool(WORKERS)
    arrays = [zeros(MEGABYTES_8) for _ in range(count)]

    def measure() -> float:
        start = time.perf_counter()
        assert pool.map(element, arrays, chunksize=1) == [0.0] * count
        return time.perf_counter() - start

    return measure


def results(ctx: Any, count: int) -> Measure:
    """map whose results are arrays of 8 MB."""
    pool = ctx.Pool(WORKERS)

    def measure() -> float:
        start = time.perf_counter()
        arrays = pool.map(zeros, [MEGABYTES_8] * count, chunksize=1)
        assert len(arrays) == count
        return time.perf_counter() - start

    return measure


def die(_: int) -> None:
    """Is killed amid its task."""
    os.kill(os.getpid(), signal.SIGKILL)


def time_to_worker_died(rounds: int) -> list[float]:
    """Seconds from a call whose worker is killed to its WorkerDied; elsewhere it never comes."""
    import procession

    times = []
    with procession.get_context("fork").Pool(WORKERS) as pool:
        for _ in range(rounds):
            pool.map(identity, range(100))
            start = time.perf_counter()
            try:
                pool.apply(die, (0,))
            except procession.WorkerDied:
                times.append(time.perf_counter() - start)
    return times


if __name__ == "__main__":
    seconds = sorted(time_to_worker_died(101))
    print(
        f"a killed worker's get() raises after {seconds[50] * 1e3:.2f} ms at the median of "
        f"{len(seconds)} ({seconds[0] * 1e3:.2f} - {seconds[-1] * 1e3:.2f})"
    )
