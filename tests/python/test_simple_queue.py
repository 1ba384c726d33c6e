"""SimpleQueue, and the ends of queues that others poll."""

import os
import signal
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection as standard

import pytest
from deadline import GUARD, eventually
from processes import finish, start, wait_asleep
from program import run_program
from under_test import METHODS, mp


def double(inbox, outbox):
    while (item := inbox.get()) is not None:
        outbox.put(item * 2)


def test_there_and_back(ctx):
    inbox, outbox = ctx.SimpleQueue(), ctx.SimpleQueue()
    assert inbox.empty()
    process = start(ctx, double, inbox, outbox)
    for item in 21, "ab", [1, 2], b"x" * 1_000_000:
        inbox.put(item)
        assert outbox.get() == item * 2
    inbox.put(None)
    finish(process)
    assert outbox.empty()


def test_many_items_before_anybody_gets(ctx):
    # More than a pipe takes: put never waits.
    queue = ctx.SimpleQueue()
    for n in range(2000):
        queue.put(b"%d" % n * 100)
    assert [queue.get() for _ in range(2000)] == [b"%d" % n * 100 for n in range(2000)]


def test_closed(ctx):
    queue = ctx.SimpleQueue()
    queue.put(1)
    queue.close()
    queue.close()
    for call in queue.get, lambda: queue.put(2):
        with pytest.raises(OSError, match="closed"):
            call()


def put_one(queue, item):
    queue.put(item)


@pytest.mark.parametrize("kind", ["SimpleQueue", "Queue", "JoinableQueue"])
def test_its_reader_is_waited_for_with_others(ctx, kind):
    queue, other = getattr(ctx, kind)(), getattr(ctx, kind)()
    reader = queue._reader
    assert standard.wait([reader, other._reader], timeout=0) == []
    assert not reader.poll()
    for item in "first", "second":
        process = start(ctx, put_one, queue, item)
        assert standard.wait([other._reader, reader], timeout=GUARD) == [reader]
        assert reader.poll(GUARD)
        assert reader.recv() == item
        assert standard.wait([reader], timeout=0) == []
        finish(process)
    assert reader == queue._reader
    assert reader != other._reader


def test_the_descriptor_tells_what_there_is(ctx):
    queue = ctx.SimpleQueue()
    descriptor = queue._reader.fileno()
    assert queue._reader.fileno() == descriptor
    assert standard.wait([descriptor], timeout=0) == []
    for count in 1, 2, 3:
        for n in range(count):
            queue.put(n)
        for n in range(count):
            assert standard.wait([descriptor], timeout=GUARD) == [descriptor]
            assert queue.get() == n
        assert standard.wait([descriptor], timeout=0) == []


def wait_and_get(queue, results):
    assert standard.wait([queue._reader], timeout=GUARD)
    results.put(queue.get())


@pytest.mark.parametrize("method", METHODS)
def test_each_process_has_a_descriptor_of_its_own(method):
    # A child that was forked from one that polls, polls as well.
    ctx = mp.get_context(method)
    queue, results = ctx.SimpleQueue(), ctx.SimpleQueue()
    assert standard.wait([queue._reader], timeout=0) == []
    process = start(ctx, wait_and_get, queue, results)
    wait_asleep(process.pid)
    queue.put("for the child")
    assert results.get() == "for the child"
    finish(process)
    queue.put("for us")
    assert standard.wait([queue._reader], timeout=GUARD) == [queue._reader]
    assert queue.get() == "for us"


def put_for_ever(queue):
    while True:
        queue.put(b"x" * 3000)


def test_a_killed_writer_leaves_no_half_message(ctx):
    queue = ctx.SimpleQueue()
    for _ in range(5):
        writer = start(ctx, put_for_ever, queue)
        assert standard.wait([queue._reader], timeout=GUARD)
        os.kill(writer.pid, signal.SIGKILL)
        writer.join(GUARD)
        queue.put("after it")
        while (item := queue.get()) != "after it":
            assert item == b"x" * 3000
        assert queue.empty()
        assert standard.wait([queue._reader], timeout=0) == []


def test_a_polled_queue_wakes_its_other_consumers(ctx):
    queue, results = ctx.SimpleQueue(), ctx.Queue()
    queue._reader.fileno()
    process = start(ctx, double, queue, results)
    for n in range(100):
        queue.put(n)
        assert results.get(timeout=GUARD) == 2 * n
    queue.put(None)
    finish(process)


def test_the_writers_end(ctx):
    queue = ctx.SimpleQueue()
    queue._writer.send(5)
    assert (queue._writer.writable, queue._writer.readable) == (True, False)
    assert (queue._reader.writable, queue._reader.readable) == (False, True)
    with pytest.raises(OSError, match="write-only"):
        queue._writer.recv()
    with pytest.raises(OSError, match="read-only"):
        queue._reader.send(1)
    with queue._rlock:
        assert queue._reader.recv() == 5
    reader = queue._reader
    reader.close()
    with pytest.raises(OSError, match="closed"):
        reader.recv()
    queue.put(6)
    assert queue.get() == 6
    queue.close()
    assert queue._reader.closed


# --- the executor of the standard library


def square(n):
    return n * n


def end_hard():
    os._exit(3)


def test_the_standard_librarys_executor_works_on_it(ctx):
    with ProcessPoolExecutor(2, mp_context=ctx) as executor:
        assert list(executor.map(square, range(50))) == [n * n for n in range(50)]
        with pytest.raises(BrokenProcessPool):
            executor.submit(end_hard).result(GUARD)


# The same, where its own queues are ours too.
INSTALLED = """
    import os
    import sys
    import procession

    procession.install()
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    def square(n):
        return n * n

    def end_hard():
        os._exit(3)

    if __name__ == "__main__":
        ctx = multiprocessing.get_context(sys.argv[1])
        with ProcessPoolExecutor(2, mp_context=ctx) as executor:
            print(type(executor._call_queue).__mro__[1] is procession.Queue)
            print(sum(executor.map(square, range(300), chunksize=3)))
            try:
                executor.submit(lambda: None).result(30)
            except Exception as error:
                print("Can't pickle" in str(error))
            print(executor.submit(square, 3).result(30))
            try:
                executor.submit(end_hard).result(30)
            except BrokenProcessPool:
                print("broken")
"""


@pytest.mark.parametrize("method", METHODS)
def test_the_executors_own_queues_may_be_ours(method):
    ended = run_program(INSTALLED, method)
    assert ended.lines == ["True", "8955050", "True", "9", "broken"]
    assert ended.stderr == ""


class Reporting(mp.Queue):
    """A queue that is told of what can't be pickled, as the executor's is."""

    def __init__(self, size, *, ctx, told):
        self.told = told
        super().__init__(size, ctx=ctx)

    def _on_queue_feeder_error(self, e, obj):
        self.told.append((type(e), obj))


def test_a_subclass_with_a_signature_of_its_own_is_told_what_does_not_pickle(ctx):
    told = []
    queue = Reporting(2, ctx=ctx, told=told)
    unpicklable = lambda: None  # noqa: E731
    queue.put(unpicklable)
    assert [obj for _, obj in told] == [unpicklable]
    queue.put(1)
    queue.put(2)
    assert queue.full()
    assert (queue.get(), queue.get()) == (1, 2)


class Forgetful(mp.Queue):
    """Does not call its base's __init__."""

    def __init__(self):
        pass


def test_a_subclass_that_forgets_its_base_is_told_so():
    with pytest.raises(RuntimeError, match="__init__"):
        Forgetful().put(1)


def test_interrupt_ends_a_process(ctx):
    ready = ctx.Event()
    process = start(ctx, wait_long, ready)
    assert ready.wait(GUARD)
    process.interrupt()
    process.join(GUARD)
    assert process.exitcode == 1
    process.close()
    with pytest.raises(ValueError, match="closed"):
        process.interrupt()


def wait_long(ready):
    ready.set()
    mp.Event().wait()


def test_a_thread_that_polls_ends_with_its_queue(ctx):
    def threads():
        return len(os.listdir("/proc/self/task"))

    before = threads()
    queue = ctx.SimpleQueue()
    queue._reader.fileno()
    assert threads() == before + 1
    del queue
    eventually(lambda: threads() == before, what="its thread has ended")
