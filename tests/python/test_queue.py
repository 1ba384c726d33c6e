"""Queue: FIFO, many to many, bounded or not; what was put is there when put returns."""

import queue as standard_queue
import time

import pytest
from deadline import GUARD
from processes import finish, start, wait_asleep
from program import run_program
from under_test import METHODS, mp

Empty, Full = standard_queue.Empty, standard_queue.Full


def put_all(queue, items):
    for item in items:
        queue.put(item)


def get_until_none(queue, results):
    got = []
    while (item := queue.get()) is not None:
        got.append(item)
    results.put(got)


def echo(inbox, outbox):
    """Give everything back, until None comes."""
    while (item := inbox.get()) is not None:
        outbox.put(item)


def test_block_is_yes_or_no(ctx):
    queue = ctx.Queue(1)
    queue.put("item", 1)
    with pytest.raises(Full):
        queue.put("other", 0)
    assert queue.get(1, GUARD) == "item"
    with pytest.raises(Empty):
        queue.get(0)


# --- order


def test_fifo(ctx):
    queue = ctx.Queue()
    put_all(queue, range(100))
    assert [queue.get(timeout=GUARD) for _ in range(100)] == list(range(100))


def test_fifo_per_producer(ctx):
    queue = ctx.Queue()
    producers = [start(ctx, put_all, queue, [(i, n) for n in range(500)]) for i in range(3)]
    got = [queue.get(timeout=GUARD) for _ in range(1500)]
    finish(*producers)
    assert queue.empty()
    for i in range(3):
        assert [n for producer, n in got if producer == i] == list(range(500))


def put_in_turn(queue, mine, others, items):
    for item in items:
        mine.acquire()
        queue.put(item)
        others.release()


def test_fifo_over_all_producers(ctx):
    # What was put before another's put began is got before it, whoever put it.
    queue, even, odd = ctx.Queue(), ctx.Semaphore(1), ctx.Semaphore(0)
    one = start(ctx, put_in_turn, queue, even, odd, range(0, 200, 2))
    other = start(ctx, put_in_turn, queue, odd, even, range(1, 200, 2))
    assert [queue.get(timeout=GUARD) for _ in range(200)] == list(range(200))
    finish(one, other)


@pytest.mark.parametrize("maxsize", [0, 3])
def test_many_to_many_each_exactly_once(ctx, maxsize):
    queue, results = ctx.Queue(maxsize), ctx.Queue()
    producers = [start(ctx, put_all, queue, [(i, n) for n in range(400)]) for i in range(3)]
    consumers = [start(ctx, get_until_none, queue, results) for _ in range(2)]
    finish(*producers)
    for _ in consumers:
        queue.put(None)
    got = [results.get(timeout=GUARD) for _ in consumers]
    finish(*consumers)
    assert sorted(got[0] + got[1]) == [(i, n) for i in range(3) for n in range(400)]
    for one in got:  # and each consumer sees each producer's items in order
        for i in range(3):
            numbers = [n for producer, n in one if producer == i]
            assert numbers == sorted(numbers)


# --- what it tells, bounds and timeouts


def test_tells_the_truth_at_once(ctx):
    queue = ctx.Queue(maxsize=2)
    assert (queue.empty(), queue.full(), queue.qsize()) == (True, False, 0)
    queue.put("a")
    assert (queue.empty(), queue.full(), queue.qsize()) == (False, False, 1)
    queue.put("b")
    assert (queue.empty(), queue.full(), queue.qsize()) == (False, True, 2)
    assert queue.get_nowait() == "a"
    assert (queue.empty(), queue.full(), queue.qsize()) == (False, False, 1)
    assert queue.get_nowait() == "b"
    assert (queue.empty(), queue.full(), queue.qsize()) == (True, False, 0)


def test_unbounded_is_never_full(ctx):
    for queue in ctx.Queue(), ctx.Queue(0), ctx.Queue(-1):
        put_all(queue, range(5000))
        assert queue.qsize() == 5000
        assert not queue.full()
        assert [queue.get() for _ in range(5000)] == list(range(5000))


def test_full(ctx):
    queue = ctx.Queue(maxsize=1)
    queue.put("a", True, 2.5)
    for put in (
        lambda: queue.put_nowait("b"),
        lambda: queue.put("b", False),
        lambda: queue.put("b", block=False, timeout=GUARD),
        lambda: queue.put("b", True, 0),
        lambda: queue.put("b", timeout=-1),
        lambda: queue.put("b", timeout=0.05),
    ):
        with pytest.raises(Full):
            put()
    assert queue.qsize() == 1
    assert queue.get() == "a"
    queue.put_nowait("c")
    assert queue.get() == "c"


def test_empty(ctx):
    queue = ctx.Queue()
    for get in (
        queue.get_nowait,
        lambda: queue.get(False),
        lambda: queue.get(block=False, timeout=GUARD),
        lambda: queue.get(True, 0),
        lambda: queue.get(timeout=-1),
        lambda: queue.get(timeout=0.05),
    ):
        with pytest.raises(Empty):
            get()


def test_timeouts_are_waited_for(ctx):
    queue = ctx.Queue(1)
    began = time.monotonic()
    with pytest.raises(Empty):
        queue.get(timeout=0.1)
    assert time.monotonic() - began >= 0.1
    queue.put(1)
    began = time.monotonic()
    with pytest.raises(Full):
        queue.put(2, timeout=0.1)
    assert time.monotonic() - began >= 0.1


def test_put_waits_for_room(ctx):
    queue = ctx.Queue(maxsize=1)
    process = start(ctx, put_all, queue, range(3))
    for expected in range(3):
        wait_asleep(process.pid) if expected < 2 else None
        assert queue.qsize() == 1 or expected == 2
        assert queue.get(timeout=GUARD) == expected
    finish(process)


def test_get_waits_for_an_item(ctx):
    queue, results = ctx.Queue(), ctx.Queue()
    process = start(ctx, get_until_none, queue, results)
    for item in "abc":
        wait_asleep(process.pid)
        queue.put(item)
    queue.put(None)
    assert results.get(timeout=GUARD) == ["a", "b", "c"]
    finish(process)


def test_each_item_wakes_one(ctx):
    queue, results = ctx.Queue(), ctx.Queue()
    consumers = [start(ctx, get_until_none, queue, results) for _ in range(3)]
    for consumer in consumers:
        wait_asleep(consumer.pid)
    for _ in consumers:
        queue.put(None)
    assert [results.get(timeout=GUARD) for _ in consumers] == [[], [], []]
    finish(*consumers)


@pytest.mark.parametrize("timeout", ["1", [1], {}])
def test_wrong_timeouts(ctx, timeout):
    queue = ctx.Queue(1)
    with pytest.raises(TypeError):
        queue.get(timeout=timeout)
    queue.put(1)
    with pytest.raises(TypeError):
        queue.put(2, timeout=timeout)
    assert (queue.get(), queue.qsize()) == (1, 0)


def test_wrong_arguments(ctx):
    with pytest.raises(TypeError):
        ctx.Queue("1")
    with pytest.raises(TypeError):
        ctx.Queue(1.5)
    queue = ctx.Queue()
    with pytest.raises(TypeError):
        queue.put()
    with pytest.raises(TypeError):
        queue.get(unknown=1)
    assert queue.empty()


# --- many at a time


def test_put_many_and_get_many(ctx):
    queue = ctx.Queue()
    queue.put_many(range(10))
    assert queue.qsize() == 10
    queue.put("single")
    queue.put_many(iter("ab"))
    queue.put_many([])
    assert queue.get_many(4) == [0, 1, 2, 3]
    assert queue.get() == 4
    assert queue.get_many(100) == [5, 6, 7, 8, 9, "single", "a", "b"]
    assert queue.empty()


def test_get_many_waits_for_one(ctx):
    queue = ctx.Queue()
    with pytest.raises(Empty):
        queue.get_many(10, block=False)
    with pytest.raises(Empty):
        queue.get_many(10, timeout=0.05)
    with pytest.raises(Empty):
        queue.get_many(10, False, GUARD)
    process = start(ctx, put_all, queue, ["only"])
    assert queue.get_many(10) == ["only"]
    finish(process)


def test_get_many_asks_for_at_least_one(ctx):
    queue = ctx.Queue()
    queue.put(1)
    for wrong in 0, -1:
        with pytest.raises(ValueError):  # noqa: PT011 - the text is free
            queue.get_many(wrong)
    assert queue.get() == 1


def put_by_many(queue, producer, count, size):
    for first in range(0, count, size):
        queue.put_many((producer, n) for n in range(first, first + size))


def get_many_until_none(queue, results):
    got = []
    while True:
        got += queue.get_many(7)
        assert got
        if None in got:
            queue.put_many([None] * (got.count(None) - 1))  # those for others
            results.put([item for item in got if item is not None])
            return


@pytest.mark.parametrize("maxsize", [0, 5])
def test_many_at_a_time_each_exactly_once(ctx, maxsize):
    queue, results = ctx.Queue(maxsize), ctx.Queue()
    producers = [start(ctx, put_by_many, queue, i, 600, 20) for i in range(2)]
    consumers = [start(ctx, get_many_until_none, queue, results) for _ in range(2)]
    finish(*producers)
    for _ in consumers:
        queue.put(None)
    got = [results.get(timeout=GUARD) for _ in consumers]
    finish(*consumers)
    assert sorted(got[0] + got[1]) == [(i, n) for i in range(2) for n in range(600)]
    for one in got:
        for i in range(2):
            numbers = [n for producer, n in one if producer == i]
            assert numbers == sorted(numbers)


# --- what was put


def test_join_before_draining(ctx):
    queue = ctx.Queue()
    process = start(ctx, put_all, queue, [bytes([i]) * 1_000_000 for i in range(5)])
    process.join(GUARD)
    assert process.exitcode == 0
    assert queue.qsize() == 5
    assert [queue.get(timeout=GUARD) for _ in range(5)] == [
        bytes([i]) * 1_000_000 for i in range(5)
    ]


@pytest.mark.parametrize("method", METHODS)
def test_a_program_with_unread_items_can_end(method):
    program = """
        import sys
        import procession as mp

        def child(queue):
            queue.put(b"y" * 1_000_000)

        if __name__ == "__main__":
            ctx = mp.get_context(sys.argv[1])
            queue = ctx.Queue()
            queue.put(b"x" * 1_000_000)
            process = ctx.Process(target=child, args=(queue,))
            process.start()
            process.join()
            print(process.exitcode, queue.qsize())
    """
    ended = run_program(program, method)
    assert ended.lines == ["0 2"]
    assert ended.stderr == ""


def test_a_later_change_changes_nothing(ctx):
    queue = ctx.Queue()
    things = [1, [2], {"three": 3}]
    data = bytearray(b"x" * 500_000)
    queue.put(things)
    queue.put(data)
    things[1].append("changed")
    things.clear()
    data[:3] = b"new"
    assert queue.get(timeout=GUARD) == [1, [2], {"three": 3}]
    assert queue.get(timeout=GUARD) == b"x" * 500_000


def test_what_is_got_is_ones_own(ctx):
    queue = ctx.Queue()
    thing = [bytearray(b"x" * 500_000), [1]]
    queue.put(thing)
    queue.put(thing)
    first, second = queue.get(timeout=GUARD), queue.get(timeout=GUARD)
    assert first == second == thing
    first[0][:3] = b"new"
    first[1].append(2)
    assert second == thing == [bytearray(b"x" * 500_000), [1]]


class Unpicklable:
    def __init__(self, error):
        self.error = error

    def __reduce__(self):
        raise self.error


def test_unpicklable_raises_in_put_and_all_goes_on(ctx):
    queue = ctx.Queue(maxsize=2)
    queue.put("before")
    for wrong, error in (
        (lambda: None, Exception),
        (Unpicklable(LookupError("the cause")), LookupError),
        ([b"x" * 500_000, Unpicklable(ZeroDivisionError())], ZeroDivisionError),
        ((i for i in "generator"), TypeError),
    ):
        with pytest.raises(error):
            queue.put(wrong)
        assert queue.qsize() == 1
    queue.put_nowait("after")  # no place was lost
    assert [queue.get(timeout=GUARD), queue.get(timeout=GUARD)] == ["before", "after"]


def explode(text):
    raise LookupError(text)


class Bomb:
    def __reduce__(self):
        return explode, ("in get",)


def test_what_does_not_unpickle_raises_in_that_get_only(ctx):
    queue = ctx.Queue(maxsize=3)
    put_all(queue, ["before", Bomb(), "after"])
    assert queue.get(timeout=GUARD) == "before"
    with pytest.raises(LookupError, match="in get"):
        queue.get(timeout=GUARD)
    assert queue.qsize() == 1
    assert queue.get(timeout=GUARD) == "after"
    assert queue.empty()
    put_all(queue, [1, 2, 3])  # and its place is free
    assert queue.full()


class PutsWhilePickled:
    def __init__(self, queue):
        self.queue = queue

    def __reduce__(self):
        self.queue.put("from within")
        return str, ("from without",)


def test_put_within_put(ctx):
    queue = ctx.Queue()
    queue.put(PutsWhilePickled(queue))
    assert [queue.get(timeout=GUARD), queue.get(timeout=GUARD)] == ["from within", "from without"]


# --- close and the feeder thread that is not there


def put_and_close(queue, item):
    queue.put(item)
    queue.close()
    queue.join_thread()


def test_close_and_join_thread(ctx):
    queue = ctx.Queue()
    process = start(ctx, put_and_close, queue, "item")
    finish(process)
    assert queue.get(timeout=GUARD) == "item"
    queue.close()
    queue.close()
    queue.join_thread()
    with pytest.raises(ValueError, match="closed"):
        queue.put("more")
    with pytest.raises(ValueError, match="closed"):
        queue.get()


def put_and_cancel(queue, item):
    queue.cancel_join_thread()
    queue.put(item)
    queue.close()
    queue.cancel_join_thread()


def test_cancel_join_thread_loses_nothing(ctx):
    queue = ctx.Queue()
    process = start(ctx, put_and_cancel, queue, "x" * 200_000)
    finish(process)
    assert queue.get(timeout=GUARD) == "x" * 200_000


# --- signals


@pytest.mark.parametrize("maxsize", [0, 100_000])
def test_put_in_a_signal_handler_during_put_and_get(maxsize):
    program = """
        import signal
        import sys
        import procession as mp

        def handler(*_):
            global told, busy
            if told < 2000 and not busy:  # a slow handler may be interrupted by the next
                busy = True
                queue.put(("handler", told))
                told += 1
                busy = False

        if __name__ == "__main__":
            told = put = 0
            busy = False
            queue = mp.Queue(int(sys.argv[1]))
            signal.signal(signal.SIGALRM, handler)
            signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
            got = []
            while told < 2000:
                queue.put(("main", put))
                queue.put(("main", put + 1))
                put += 2
                got.append(queue.get())
                got.append(queue.get())
            signal.setitimer(signal.ITIMER_REAL, 0)
            while not queue.empty():
                got.append(queue.get())
            print([n for who, n in got if who == "main"] == list(range(put)))
            print([n for who, n in got if who == "handler"] == list(range(told)))
    """
    assert run_program(program, maxsize).lines == ["True", "True"]


# --- types


def test_can_be_subscripted():
    assert mp.Queue[int]

    def annotated(queue: "mp.Queue[int]") -> None: ...

    assert isinstance(mp.Queue(), mp.Queue)
