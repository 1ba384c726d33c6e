"""What is measured: each case is the same code for both libraries, which come as contexts."""

import os
import pickle
import struct
import time
import timeit
from collections.abc import Iterable
from itertools import repeat
from statistics import median
from typing import Any, Callable, NamedTuple, Optional

import pools

MEGABYTES_64 = 64 << 20
BATCH = 100
RECORD = {
    "id": 4711,
    "name": "lib/python/json/decoder.py",
    "size": 12473.5,
    "tags": ["text", "source"],
}

Measure = Callable[[], float]


class Case(NamedTuple):
    """One row of the table."""

    name: str
    prepare: Callable[[Any, int], Measure]
    """Given a context and a count: a function that does the work so often and says the seconds."""
    count: int
    slices: int = 1
    """How many measurements, in turn with the other side's, make a round (their median)."""
    target: Optional[float] = None
    """How many times as fast as multiprocessing it is to be at least."""
    method: str = "fork"
    main: str = "side.py"
    """The program that measures, and that started processes import."""
    peer: Optional[tuple[str, float]] = None
    """Another library that is measured beside, and how many times as fast as it is to be."""


class Crew:
    """Processes that work when told to and say when they did; they stay for all rounds."""

    def __init__(self, ctx: Any, works: Iterable[Callable[[], None]]) -> None:
        self.gates: list[int] = []
        self.reports, report = os.pipe()
        for work in works:
            gate, open_gate = os.pipe()
            self.gates.append(open_gate)
            ctx.Process(target=self.member, args=(gate, report, work), daemon=True).start()

    @staticmethod
    def member(gate: int, report: int, work: Callable[[], None]) -> None:
        """Works each time that a byte comes through the gate."""
        while os.read(gate, 1):
            start = time.perf_counter()
            work()
            os.write(report, struct.pack("dd", start, time.perf_counter()))

    def __call__(self) -> float:
        """From the first start to the last end, on the clock that all processes share."""
        for gate in self.gates:
            os.write(gate, b"!")
        times = [struct.unpack("dd", os.read(self.reports, 16)) for _ in self.gates]
        return max(end for _, end in times) - min(start for start, _ in times)


def queue_of(item: Any, pairs: int = 1, maxsize: int = 0, use: Callable[[Any], Any] = id) -> Any:
    """A case: `pairs` producers put an item, as many consumers get and `use` it; `count` in all."""

    def prepare(ctx: Any, count: int) -> Measure:
        queue = ctx.Queue(maxsize)
        sent = item() if callable(item) else item

        def produce() -> None:
            for _ in repeat(None, count // pairs):
                queue.put(sent)

        def consume() -> None:
            for _ in repeat(None, count // pairs):
                use(queue.get())

        return Crew(ctx, [produce, consume] * pairs)

    return prepare


def batches(ctx: Any, count: int) -> Measure:
    """put_many and get_many of 100 where there are such; items one by one elsewhere."""
    queue = ctx.Queue()
    if not hasattr(queue, "put_many"):
        return queue_of(4711)(ctx, count)
    batch = [4711] * BATCH

    def produce() -> None:
        for _ in repeat(None, count // BATCH):
            queue.put_many(batch)

    def consume() -> None:
        left = count
        while left:
            left -= len(queue.get_many(BATCH))

    return Crew(ctx, [produce, consume])


def array() -> Any:
    """64 MB of float64."""
    import numpy as np

    return np.arange(MEGABYTES_64 // 8, dtype=np.float64)


def look_at(received: Any) -> None:
    """Checks first, middle and last element: what is read in place is paid for when it is read."""
    middle = len(received) // 2
    assert (received[0], received[middle], received[-1]) == (0, middle, len(received) - 1)


def sum_up(received: Any) -> None:
    """Reads every element."""
    assert received.sum() == len(received) * (len(received) - 1) / 2


def ping_pong(ctx: Any, count: int) -> Measure:
    """The median time of an item's way there and back, over two queues."""
    there, back = ctx.Queue(), ctx.Queue()

    def echo() -> None:
        while True:
            back.put(there.get())

    ctx.Process(target=echo, daemon=True).start()

    def one(item: int) -> float:
        start = time.perf_counter()
        there.put(item)
        back.get()
        return time.perf_counter() - start

    return lambda: median([one(n) for n in range(count)]) * count


def statement(kind: str, code: str, setup: str = "pass") -> Any:
    """A case: a statement about `x`, a Lock, Event ..., in a loop whose own time is subtracted.

    Both sides on one core: two that differ in speed at the moment would decide, not the code.
    """

    def prepare(ctx: Any, count: int) -> Measure:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        timer = timeit.Timer(code, setup, globals={"x": getattr(ctx, kind)()})
        empty = timeit.Timer("pass")
        return lambda: timer.timeit(count) - empty.timeit(count)

    return prepare


def start_and_join(ctx: Any, count: int) -> Measure:
    """Processes that do nothing, one after the other."""

    def measure() -> float:
        start = time.perf_counter()
        for _ in repeat(None, count):
            process = ctx.Process(target=os.getpid)
            process.start()
            process.join()
        return time.perf_counter() - start

    return measure


CASES: list[Case] = [
    Case("Queue of ints 1-1", queue_of(4711), 30_000, target=5),
    Case("Queue of ints 2-2", queue_of(4711, pairs=2), 30_000, target=4),
    Case(f"Queue of {len(pickle.dumps(RECORD))}-byte dicts 1-1", queue_of(RECORD), 30_000),
    Case("put_many/get_many of 100 ints 1-1", batches, 30_000),
    Case("two Queues ping-pong p50", ping_pong, 1000),
    Case(
        "64 MB bytes through a Queue", queue_of(lambda: bytes(MEGABYTES_64), maxsize=2), 8, target=3
    ),
    Case("64 MB numpy, 3 elements checked", queue_of(array, maxsize=2, use=look_at), 8, target=10),
    Case("64 MB numpy, summed", queue_of(array, maxsize=2, use=sum_up), 8),
    Case("Lock acquire+release", statement("Lock", "x.acquire(); x.release()"), 5000, 25, 0.95),
    Case(
        "Lock acquire+release, bound methods",
        statement("Lock", "a(); r()", "a, r = x.acquire, x.release"),
        5000,
        25,
        0.95,
    ),
    Case("with lock", statement("Lock", "with x: pass"), 5000, 25),
    Case("Event.is_set", statement("Event", "x.is_set()"), 5000, 25, 5),
    Case("Event set+clear", statement("Event", "x.set(); x.clear()"), 5000, 25),
    Case("Process start+join, fork", start_and_join, 5, 5),
    Case("Process start+join, spawn", start_and_join, 1, 5, method="spawn"),
]
CASES += [
    Case("Process start+join, forkserver", start_and_join, 5, 5, method="forkserver"),
    Case(
        "Process start+join, forkserver, heavy main",
        start_and_join,
        3,
        3,
        target=20,
        method="forkserver",
        main="heavy_side.py",
    ),
    Case(
        "Pool of 4, forkserver: create, first result, close",
        pools.first_result,
        1,
        5,
        target=4,
        method="forkserver",
        main="pool_side.py",
    ),
    Case(
        "Pool of 4, forkserver: the same and join",
        pools.whole_life,
        1,
        5,
        method="forkserver",
        main="pool_side.py",
    ),
    Case("Pool.map chunksize=1", pools.mapping, 2000, 3, target=3, peer=("billiard", 1.5)),
    Case("Pool: one call and its result p50", pools.call, 200, 3, target=3),
    Case("Pool of 4, fork: create, first result, close, join", pools.whole_life, 1, 5),
    Case("Pool: skewed tasks, actual/ideal", pools.skewed, 1),
    Case("Pool.map over 8 MB arrays", pools.arguments, 16, target=4),
    Case("Pool.map with 8 MB arrays as results", pools.results, 16, target=4),
]
