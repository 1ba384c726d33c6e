"""Affinity: asking for specific processors, for a child and for oneself."""

import os

import pytest
from deadline import GUARD
from processes import finish, start
from targets import nothing
from under_test import mp


def say_affinity(queue):
    queue.put(os.sched_getaffinity(0))


def test_affinity_of_a_child(ctx):
    mine = os.sched_getaffinity(0)
    one = {max(mine)}
    queue = ctx.Queue()
    process = ctx.Process(target=say_affinity, args=(queue,), affinity=one)
    process.start()
    assert queue.get(timeout=GUARD) == one
    finish(process)
    assert os.sched_getaffinity(0) == mine


def test_affinity_of_several_processors(ctx):
    mine = os.sched_getaffinity(0)
    queue = ctx.Queue()
    process = ctx.Process(target=say_affinity, args=(queue,), affinity=sorted(mine))
    process.start()
    assert queue.get(timeout=GUARD) == mine
    finish(process)


def bind_oneself(method, queue):
    one = {min(os.sched_getaffinity(0))}
    os.sched_setaffinity(0, one)
    queue.put(one)
    process = mp.get_context(method).Process(target=say_affinity, args=(queue,))
    process.start()
    process.join()


def test_affinity_for_oneself_is_inherited(ctx, method):
    mine = os.sched_getaffinity(0)
    queue = ctx.Queue()
    process = start(ctx, bind_oneself, method, queue)
    one = queue.get(timeout=GUARD)
    assert len(one) == 1
    assert queue.get(timeout=GUARD) == one
    finish(process)
    assert os.sched_getaffinity(0) == mine


@pytest.mark.parametrize(
    ("affinity", "error"),
    [
        (3, TypeError),
        (["0"], TypeError),
        ([], ValueError),
        ({-1}, ValueError),
        ({100_000}, (ValueError, OSError)),
    ],
)
def test_wrong_affinity(ctx, affinity, error):
    def make_and_start():
        ctx.Process(target=nothing, affinity=affinity).start()

    with pytest.raises(error):
        make_and_start()
