"""Objects travel through each other at any time, and are the same object at the other end."""

import pytest
from deadline import GUARD
from processes import finish, start
from under_test import mp

KINDS = [
    "Barrier",
    "BoundedSemaphore",
    "Condition",
    "Event",
    "JoinableQueue",
    "Lock",
    "Queue",
    "RLock",
    "Semaphore",
    "SimpleQueue",
]


QUEUES = ["Queue", "JoinableQueue", "SimpleQueue"]


def make(ctx, kind):
    return ctx.Barrier(2) if kind == "Barrier" else getattr(ctx, kind)()


def use(kind, shared, other):
    """What one process does with it, and the other sees."""
    if kind in QUEUES:
        return shared.put("from there") if other else shared.get()
    if kind == "Event":
        return shared.set() if other else shared.wait(GUARD)
    if kind in ("Lock", "RLock"):
        with shared:
            return shared.locked()
    if kind == "Condition":
        with shared:
            shared.notify_all()
        return True
    if kind == "Barrier":
        return shared.wait(GUARD) in (0, 1)
    # One waits for the permit that the other gives back.
    with shared:
        return shared.get_value() == 0


def take_from(inbox, kind, results):
    shared = inbox.get()
    use(kind, shared, True)
    results.put(type(shared).__name__)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("carrier", QUEUES)
def test_through_a_queue_of_a_running_process(ctx, carrier, kind):
    inbox, results = getattr(ctx, carrier)(), ctx.Queue()
    process = start(ctx, take_from, inbox, kind, results)
    shared = make(ctx, kind)
    inbox.put(shared)
    use(kind, shared, False)
    assert results.get(timeout=GUARD) == kind
    finish(process)


def put_a_new_one(outbox, kind):
    shared = make(mp, kind)
    if kind in QUEUES:
        shared.put("made there")
    outbox.put([shared, {"again": shared}])


@pytest.mark.parametrize("kind", KINDS)
def test_out_of_a_child_that_has_ended(ctx, kind):
    # What a queue holds lives, whoever made it.
    outbox = ctx.Queue()
    finish(start(ctx, put_a_new_one, outbox, kind))
    shared, again = outbox.get(timeout=GUARD)
    assert type(shared).__name__ == kind
    assert again["again"] is shared
    if kind in QUEUES:
        assert shared.get() == "made there"


def test_a_queue_in_a_queue_in_a_queue(ctx):
    outer, middle, inner = ctx.Queue(), ctx.SimpleQueue(), ctx.JoinableQueue()
    inner.put("innermost")
    middle.put(inner)
    outer.put(middle)
    del middle, inner
    found = outer.get().get()
    assert found.get() == "innermost"
    found.task_done()
    found.join()


def locked_sum(lock, numbers, total):
    with lock:
        total.put(total.get() + sum(numbers))
    return sum(numbers)


def use_in_a_task(kind, shared):
    use(kind, shared, True)
    return type(shared).__name__


@pytest.mark.parametrize("kind", KINDS)
def test_as_the_argument_of_a_task(ctx, kind):
    with ctx.Pool(2) as pool:
        shared = make(ctx, kind)
        task = pool.apply_async(use_in_a_task, (kind, shared))
        use(kind, shared, False)
        assert task.get(GUARD) == kind


def test_a_lock_guards_what_tasks_share(ctx):
    with ctx.Pool(3) as pool:
        lock, total = ctx.Lock(), ctx.Queue()
        total.put(0)
        sums = pool.starmap(locked_sum, [(lock, range(n), total) for n in range(40)])
        assert total.get(timeout=GUARD) == sum(sums)


def make_in_a_task(kind):
    shared = make(mp, kind)
    if kind == "Queue":
        shared.put("made there")
    return shared


@pytest.mark.parametrize("kind", KINDS)
def test_as_the_result_of_a_task(ctx, kind):
    with ctx.Pool(1) as pool:
        shared = pool.apply(make_in_a_task, (kind,))
    assert type(shared).__name__ == kind
    if kind == "Queue":
        assert shared.get(timeout=GUARD) == "made there"


def send_through(connection, kind):
    shared = connection.recv()
    use(kind, shared, True)
    connection.send(type(shared).__name__)


@pytest.mark.parametrize("kind", KINDS)
def test_through_a_pipe(ctx, kind):
    mine, theirs = ctx.Pipe()
    process = start(ctx, send_through, theirs, kind)
    shared = make(ctx, kind)
    mine.send(shared)
    use(kind, shared, False)
    assert mine.poll(GUARD)
    assert mine.recv() == kind
    finish(process)
