"""Subclasses of what processes share: constructors and states of their own."""

import importlib

import pytest
from deadline import GUARD
from processes import finish, start
from under_test import NAME, mp

queues = importlib.import_module(f"{NAME}.queues")
synchronize = importlib.import_module(f"{NAME}.synchronize")


class Tagged:
    """What is common to the classes: a constructor that takes more, and a state with more in it."""

    def __init__(self, tag, *args, ctx):
        super().__init__(*args, ctx=ctx)
        self.tag = tag

    def __getstate__(self):
        return (super().__getstate__(), self.tag)

    def __setstate__(self, state):
        theirs, self.tag = state
        super().__setstate__(theirs)


class Lock(Tagged, synchronize.Lock):
    """A lock."""


class RLock(Tagged, synchronize.RLock):
    """A lock that its holder may acquire again."""


class Semaphore(Tagged, synchronize.Semaphore):
    """A semaphore."""


class BoundedSemaphore(Tagged, synchronize.BoundedSemaphore):
    """A bounded one."""


class Condition(Tagged, synchronize.Condition):
    """A condition."""


class Queue(Tagged, queues.Queue):
    """A queue."""


class JoinableQueue(Tagged, queues.JoinableQueue):
    """A queue that can be joined."""


class SimpleQueue(Tagged, queues.SimpleQueue):
    """A simple one."""


class Event(synchronize.Event):
    """What has no state of its own in multiprocessing: its attributes travel."""

    def __init__(self, tag, *, ctx):
        super().__init__(ctx=ctx)
        self.tag = tag


class Barrier(synchronize.Barrier):
    """A barrier for two."""

    def __init__(self, *, ctx):
        super().__init__(2, timeout=GUARD, ctx=ctx)


def tell(shared, answers):
    answers.put((type(shared).__name__, shared.tag))


@pytest.mark.parametrize(
    ("kind", "args"),
    [
        (Lock, ()),
        (RLock, ()),
        (Semaphore, (2,)),
        (BoundedSemaphore, (2,)),
        (Condition, ()),
        (Queue, (2,)),
        (JoinableQueue, ()),
        (SimpleQueue, ()),
        (Event, ()),
    ],
)
def test_attributes_that_a_class_says_travel(ctx, kind, args):
    shared, answers = kind("tag", *args, ctx=ctx), ctx.Queue()
    finish(start(ctx, tell, shared, answers))
    assert answers.get(timeout=GUARD) == (kind.__name__, "tag")


class Counting(queues.Queue):
    """A queue with a counter beside it, whose state is a dictionary."""

    def __init__(self, *args, ctx):
        super().__init__(*args, ctx=ctx)
        self.count = ctx.Value("i", 0)

    def __getstate__(self):
        return {"queue": super().__getstate__(), "count": self.count}

    def __setstate__(self, state):
        super().__setstate__(state["queue"])
        self.count = state["count"]

    def put(self, *args, **kwargs):
        with self.count.get_lock():
            self.count.value += 1
        super().put(*args, **kwargs)


def put_two(queue):
    queue.put("one")
    queue.put("two")


def test_a_queue_with_a_counter(ctx):
    queue = Counting(5, ctx=ctx)
    finish(start(ctx, put_two, queue))
    assert [queue.get(timeout=GUARD) for _ in range(2)] == ["one", "two"]
    assert queue.count.value == 2


def meet(barrier):
    barrier.wait()


def test_a_barrier_with_a_constructor_of_its_own(ctx):
    if NAME == "multiprocessing":
        pytest.skip("its barrier knows no subclasses")
    barrier = Barrier(ctx=ctx)
    process = start(ctx, meet, barrier)
    barrier.wait()
    finish(process)
    assert barrier.parties == 2


@pytest.mark.skipif(NAME == "multiprocessing", reason="says it in other words")
@pytest.mark.parametrize(
    "kind", [mp.Queue, mp.SimpleQueue, mp.Semaphore, mp.BoundedSemaphore, mp.Condition, mp.Barrier]
)
def test_a_constructor_that_forgets_its_base(kind):
    class Forgets(kind):
        def __init__(self):
            pass

    with pytest.raises(RuntimeError, match="call that of its base"):
        repr(Forgets()) if not hasattr(kind, "put") else Forgets().put(1)
