"""Barrier: all parties meet, or all learn that it is broken."""

import sys
import threading

import pytest
from deadline import GUARD, eventually
from processes import finish, start


def pass_through(barrier, queue, rounds=1, timeout=None):
    for _ in range(rounds):
        try:
            queue.put(barrier.wait(timeout))
        except threading.BrokenBarrierError:
            queue.put("broken")


def answers(queue, count):
    return [queue.get(timeout=GUARD) for _ in range(count)]


def test_fields(ctx):
    barrier = ctx.Barrier(3)
    assert (barrier.parties, barrier.n_waiting, barrier.broken) == (3, 0, False)


@pytest.mark.skipif(sys.version_info < (3, 10), reason="it does not show more there")
def test_how_it_shows_itself(ctx):
    barrier = ctx.Barrier(3)
    kind = f"{type(barrier).__module__}.Barrier"
    assert repr(barrier) == f"<{kind} at {id(barrier):#x}: waiters=0/3>"
    barrier.abort()
    assert repr(barrier) == f"<{kind} at {id(barrier):#x}: broken>"


def test_each_gets_a_number_of_its_own(ctx):
    barrier, queue = ctx.Barrier(3), ctx.Queue()
    processes = [start(ctx, pass_through, barrier, queue, 5) for _ in range(2)]
    mine = [barrier.wait(GUARD) for _ in range(5)]
    finish(*processes)
    numbers = mine + answers(queue, 10)
    assert sorted(numbers) == sorted([0, 1, 2] * 5)
    assert not barrier.broken


def test_one_party(ctx):
    barrier = ctx.Barrier(1)
    assert [barrier.wait(), barrier.wait(0), barrier.wait(timeout=1)] == [0, 0, 0]


def test_nobody_passes_before_the_last(ctx):
    barrier, queue = ctx.Barrier(3), ctx.Queue()
    processes = [start(ctx, pass_through, barrier, queue) for _ in range(2)]
    eventually(lambda: barrier.n_waiting == 2)
    assert queue.empty()
    queue.put("the last comes")
    barrier.wait(GUARD)
    assert queue.get(timeout=GUARD) == "the last comes"
    answers(queue, 2)
    finish(*processes)
    assert barrier.n_waiting == 0


class Tell:
    """An action that tells who ran it."""

    def __init__(self, queue):
        self.queue = queue

    def __call__(self):
        self.queue.put("action")


def test_action_is_run_once_a_round_and_first(ctx):
    queue = ctx.Queue()
    barrier = ctx.Barrier(3, action=Tell(queue))
    processes = [start(ctx, pass_through, barrier, queue) for _ in range(3)]
    finish(*processes)
    first, *rest = answers(queue, 4)
    assert first == "action"
    assert sorted(rest) == [0, 1, 2]
    assert queue.empty()


def fail():
    raise LookupError("the action")


def test_action_that_raises_breaks_it(ctx):
    barrier, queue = ctx.Barrier(2, fail), ctx.Queue()
    process = start(ctx, pass_through, barrier, queue)
    eventually(lambda: barrier.n_waiting == 1)
    with pytest.raises(LookupError, match="the action"):
        barrier.wait(GUARD)
    assert barrier.broken
    assert queue.get(timeout=GUARD) == "broken"
    finish(process)


def test_abort(ctx):
    barrier, queue = ctx.Barrier(3), ctx.Queue()
    processes = [start(ctx, pass_through, barrier, queue) for _ in range(2)]
    eventually(lambda: barrier.n_waiting == 2)
    barrier.abort()
    assert answers(queue, 2) == ["broken", "broken"]
    assert barrier.broken
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait(GUARD)
    finish(*processes)


def test_reset_of_a_broken_one(ctx):
    barrier, queue = ctx.Barrier(2), ctx.Queue()
    barrier.abort()
    barrier.reset()
    assert not barrier.broken
    process = start(ctx, pass_through, barrier, queue)
    assert sorted([barrier.wait(GUARD), queue.get(timeout=GUARD)]) == [0, 1]
    finish(process)


def test_reset_sends_the_waiting_away(ctx):
    barrier, queue = ctx.Barrier(3), ctx.Queue()
    processes = [start(ctx, pass_through, barrier, queue, 2) for _ in range(2)]
    eventually(lambda: barrier.n_waiting == 2)
    barrier.reset()
    assert answers(queue, 2) == ["broken", "broken"]
    numbers = [barrier.wait(GUARD), *answers(queue, 2)]
    assert sorted(numbers) == [0, 1, 2]
    finish(*processes)
    assert not barrier.broken


def test_timeout_breaks_it(ctx):
    barrier, queue = ctx.Barrier(3), ctx.Queue()
    process = start(ctx, pass_through, barrier, queue)
    eventually(lambda: barrier.n_waiting == 1)
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait(0.05)
    assert barrier.broken
    assert queue.get(timeout=GUARD) == "broken"
    finish(process)


def test_default_timeout(ctx):
    barrier = ctx.Barrier(2, timeout=0.05)
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait()
    assert barrier.broken


def test_between_threads(ctx):
    barrier, numbers = ctx.Barrier(2), []
    thread = threading.Thread(target=lambda: numbers.append(barrier.wait(GUARD)))
    thread.start()
    numbers.append(barrier.wait(GUARD))
    thread.join(GUARD)
    assert sorted(numbers) == [0, 1]


def test_wrong_arguments(ctx):
    with pytest.raises(TypeError):
        ctx.Barrier()
    with pytest.raises(TypeError):
        ctx.Barrier(2).wait("1")
