"""cpu_count: how many cores."""

import os

from deadline import GUARD
from processes import finish, start
from under_test import mp


def test_is_the_systems():
    assert mp.cpu_count() == os.cpu_count()
    assert isinstance(mp.cpu_count(), int)
    assert mp.cpu_count() >= 1


def count(queue, method):
    queue.put((mp.cpu_count(), mp.get_context(method).cpu_count()))


def test_is_the_same_in_context_and_child(ctx, method):
    assert ctx.cpu_count() == mp.cpu_count()
    queue = ctx.Queue()
    process = start(ctx, count, queue, method)
    assert queue.get(timeout=GUARD) == (mp.cpu_count(), mp.cpu_count())
    finish(process)
