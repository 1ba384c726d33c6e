"""JoinableQueue: who waits for all work waits for neither more nor less, whoever dies."""

import os
import signal

import pytest
from deadline import GUARD, eventually
from processes import finish, start, wait_asleep
from under_test import METHODS, mp


def work(queue, done):
    """Do items until None comes, each once its answer is out."""
    while True:
        item = queue.get()
        if item is not None:
            done.put(item * item)
        queue.task_done()
        if item is None:
            return


def test_join_waits_for_all_work(ctx):
    queue, done = ctx.JoinableQueue(), ctx.Queue()
    workers = [start(ctx, work, queue, done) for _ in range(3)]
    for number in range(200):
        queue.put(number)
    queue.join()
    assert done.qsize() == 200
    assert sorted(done.get() for _ in range(200)) == [n * n for n in range(200)]
    for _ in workers:
        queue.put(None)
    queue.join()
    finish(*workers)


def test_join_of_a_queue_into_which_nothing_was_put(ctx):
    queue = ctx.JoinableQueue()
    queue.join()
    with pytest.raises(ValueError, match="task_done"):
        queue.task_done()


def test_each_item_is_done_once(ctx):
    queue = ctx.JoinableQueue(5)
    for item in "a", b"b" * 1000, [3], None:
        queue.put(item)
    for _ in range(4):
        queue.get()
        queue.task_done()
    with pytest.raises(ValueError, match="more often"):
        queue.task_done()
    queue.join()


def join_and_say(queue, joined):
    queue.join()
    joined.put("joined")


def test_task_done_before_get_counts_as_well(ctx):
    # The count is of items put, as in multiprocessing; nobody asks which item is done.
    queue = ctx.JoinableQueue()
    queue.put(1)
    queue.task_done()
    queue.join()
    assert queue.get() == 1


def test_many_wait_for_the_last_item(ctx):
    queue, joined = ctx.JoinableQueue(), ctx.Queue()
    queue.put(1)
    queue.put(2)
    waiting = [start(ctx, join_and_say, queue, joined) for _ in range(3)]
    for process in waiting:
        wait_asleep(process.pid)
    queue.task_done()
    assert joined.empty()
    queue.task_done()
    assert [joined.get(timeout=GUARD) for _ in waiting] == ["joined"] * 3
    finish(*waiting)


def take_and_wait(queue, taken, leave):
    taken.put(queue.get())
    leave.wait()


def test_the_work_of_a_killed_consumer_stays_unfinished(ctx):
    # How far it had come nobody can know; who does says that it is done, and all go on.
    queue, joined, taken = ctx.JoinableQueue(), ctx.Queue(), ctx.Queue()
    queue.put("work")
    consumer = start(ctx, take_and_wait, queue, taken, ctx.Event())
    assert taken.get(timeout=GUARD) == "work"
    waiting = start(ctx, join_and_say, queue, joined)
    wait_asleep(waiting.pid)
    consumer.kill()
    consumer.join(GUARD)
    wait_asleep(waiting.pid)
    assert joined.empty()
    queue.task_done()
    assert joined.get(timeout=GUARD) == "joined"
    finish(waiting)
    with pytest.raises(ValueError, match="task_done"):
        queue.task_done()


def put_for_ever(queue):
    number = 0
    while True:
        queue.put(number)
        number += 1


def finish_for_ever(queue):
    while True:
        queue.get()
        queue.task_done()


@pytest.mark.parametrize("method", METHODS)
def test_counts_stay_right_when_processes_are_killed_at_any_moment(method):
    ctx = mp.get_context(method)
    for _ in range(10):
        queue = ctx.JoinableQueue(50)
        producer = start(ctx, put_for_ever, queue)
        consumer = start(ctx, finish_for_ever, queue)
        eventually(lambda q=queue: q.qsize() > 0)
        os.kill(consumer.pid, signal.SIGKILL)
        consumer.join(GUARD)
        os.kill(producer.pid, signal.SIGKILL)
        producer.join(GUARD)
        left = queue.qsize()
        for _ in range(left):
            queue.get(timeout=GUARD)
            queue.task_done()
        # At most the one item in the hands of the killed consumer is unfinished.
        try:
            queue.task_done()
        except ValueError:
            pass
        else:
            with pytest.raises(ValueError, match="task_done"):
                queue.task_done()
        queue.join()


def test_is_a_queue(ctx):
    queue = ctx.JoinableQueue(maxsize=2)
    assert isinstance(queue, mp.Queue)
    queue.put_nowait(1)
    queue.put_nowait([2])
    assert queue.full()
    assert queue.qsize() == 2
    assert (queue.get(), queue.get_nowait()) == (1, [2])
