"""Items of a queue: plain types, large ones, shared objects, and what others taught to pickle."""

import copyreg
import enum
import functools
import math
import multiprocessing.reduction
import os

import pytest
from deadline import GUARD
from processes import finish, start


def echo(inbox, outbox):
    """Give everything back, until None comes."""
    while (item := inbox.get()) is not None:
        outbox.put(item)


# --- plain types


class Number(int):
    pass


class Text(str):
    __slots__ = ()


class Blob(bytes):
    pass


class Colour(enum.IntEnum):
    RED = 1


PLAIN = [
    None,
    True,
    False,
    0,
    -1,
    2**31,
    -(2**31) - 1,
    2**63 - 1,
    2**63,
    -(2**63),
    -(2**63) - 1,
    2**64,
    10**500,
    -(10**5000),
    0.0,
    -0.0,
    1.5,
    math.inf,
    5e-324,
    "",
    "text",
    "ünïcödé ☃ 🐍",
    "nul \0 within",
    "lone \ud800 surrogate",
    "\udcff",
    "x" * 100_000,
    b"",
    b"bytes \0\xff",
    b"x" * 100_000,
    (),
    (1, "two", (3.0, None, (b"four", True))),
    Number(7),
    Number(10**30),
    Text("text"),
    Blob(b"bytes"),
    Colour.RED,
    [],
    {},
    set(),
    frozenset({1}),
    bytearray(b"array"),
    complex(1, -2),
    range(3),
    Ellipsis,
    int,
]


def exactly(value):
    """The value with all its types, and the sign of a zero."""
    if isinstance(value, tuple):
        return tuple(map(exactly, value))
    return type(value), value, repr(value)[:100] if isinstance(value, float) else None


def same(one, other):
    return exactly(one) == exactly(other)


def test_types_are_kept(ctx):
    queue = ctx.Queue()
    for item in PLAIN:
        queue.put(item)
        assert same(queue.get(timeout=GUARD), item)
    queue.put(math.nan)
    assert math.isnan(queue.get(timeout=GUARD))


def test_types_are_kept_between_processes(ctx):
    inbox, outbox = ctx.Queue(), ctx.Queue()
    process = start(ctx, echo, inbox, outbox)
    for item in PLAIN[1:]:
        inbox.put(item)
        assert same(outbox.get(timeout=GUARD), item)
    inbox.put(None)
    finish(process)


def test_subclass_keeps_its_attributes(ctx):
    queue = ctx.Queue()
    number = Number(3)
    number.unit = "m"
    queue.put(number)
    got = queue.get(timeout=GUARD)
    assert (type(got), got, got.unit) == (Number, 3, "m")


# --- large ones


@pytest.mark.parametrize("size", [65_535, 65_536, 1_000_001, 20_000_000])
def test_large_bytes(ctx, size):
    inbox, outbox = ctx.Queue(), ctx.Queue()
    process = start(ctx, echo, inbox, outbox)
    data = os.urandom(1000) * (size // 1000) + b"x" * (size % 1000)
    inbox.put(data)
    got = outbox.get(timeout=GUARD)
    assert type(got) is bytes
    assert got == data
    inbox.put(None)
    finish(process)


def test_numpy_arrays(ctx):
    np = pytest.importorskip("numpy")
    inbox, outbox = ctx.Queue(), ctx.Queue()
    process = start(ctx, echo, inbox, outbox)
    for array in (
        np.arange(3),
        np.arange(1_000_000, dtype=np.float64).reshape(1000, 1000),
        np.asfortranarray(np.arange(200_000, dtype=np.int32).reshape(400, 500)),
        np.arange(400_000)[::2],
        np.zeros((0, 5)),
        np.array(["a", "bc"]),
        np.array([None, [1]], dtype=object),
        np.zeros(100_000, dtype=[("x", "i4"), ("y", "f8")]),
    ):
        inbox.put(array)
        got = outbox.get(timeout=GUARD)
        assert got.dtype == array.dtype
        assert got.shape == array.shape
        assert np.array_equal(got, array)
        assert got.flags.writeable
        before = array.copy()
        got[...] = got[...][..., ::-1]  # writing into it harms nobody
        assert np.array_equal(array, before)
    inbox.put(None)
    finish(process)


def test_numpy_arrays_outlive_the_queue_and_its_later_items(ctx):
    np = pytest.importorskip("numpy")
    queue = ctx.Queue()
    kept = []
    for i in range(20):
        queue.put(np.full(50_000, i))
        kept.append(queue.get(timeout=GUARD))
    del queue
    assert [int(array[0]) for array in kept] == list(range(20))
    assert all((array == array[0]).all() for array in kept)


def test_one_buffer_twice_in_an_item(ctx):
    np = pytest.importorskip("numpy")
    queue = ctx.Queue()
    array = np.arange(100_000)
    queue.put({"one": array, "same": array, "part": array[10:]})
    got = queue.get(timeout=GUARD)
    assert np.array_equal(got["one"], array)
    assert got["one"] is got["same"]
    assert np.array_equal(got["part"], array[10:])


# --- shared objects as items


def answer_on(inbox):
    outbox = inbox.get()
    outbox.put("answer")


def test_a_queue_through_a_queue(ctx):
    inbox, outbox = ctx.Queue(), ctx.Queue()
    process = start(ctx, answer_on, inbox)
    inbox.put(outbox)
    assert outbox.get(timeout=GUARD) == "answer"
    finish(process)


def test_a_queue_through_itself(ctx):
    queue = ctx.Queue()
    queue.put(queue)
    same_queue = queue.get(timeout=GUARD)
    same_queue.put("through itself")
    assert queue.get(timeout=GUARD) == "through itself"


def test_an_object_that_only_its_message_keeps(ctx):
    outer = ctx.Queue()
    inner = ctx.Queue()
    inner.put("kept")
    outer.put(inner)
    del inner
    assert outer.get(timeout=GUARD).get(timeout=GUARD) == "kept"


def use_them(inbox, outbox):
    lock, rlock, semaphore, event, condition, barrier = inbox.get()
    outbox.put((lock.acquire(False), rlock.acquire(False), semaphore.get_value(), event.is_set()))
    with condition:
        condition.notify()
    barrier.wait()


def test_locks_and_events_through_a_queue(ctx):
    inbox, outbox = ctx.Queue(), ctx.Queue()
    process = start(ctx, use_them, inbox, outbox)
    lock, rlock, semaphore = ctx.Lock(), ctx.RLock(), ctx.Semaphore(5)
    event, condition, barrier = ctx.Event(), ctx.Condition(), ctx.Barrier(2)
    event.set()
    with lock, rlock, condition:
        inbox.put([lock, rlock, semaphore, event, condition, barrier])
        assert outbox.get(timeout=GUARD) == (False, False, 5, True)
        assert condition.wait(GUARD)
    barrier.wait(GUARD)
    finish(process)


# --- pickling as others taught it


class Foreign:
    """A class that pickles only by a reducer registered from outside."""

    def __init__(self, number):
        self.number = number

    def __reduce__(self):
        raise TypeError("not by myself")


def reduce_foreign(foreign):
    return Foreign, (foreign.number + 1,)


@pytest.mark.parametrize("where", ["copyreg", "ForkingPickler"])
def test_registered_reducers(ctx, where):
    queue = ctx.Queue()
    table = (
        copyreg.dispatch_table
        if where == "copyreg"
        else multiprocessing.reduction.ForkingPickler._extra_reducers
    )
    queue.put("the pickler is there before the reducer")
    if where == "copyreg":
        copyreg.pickle(Foreign, reduce_foreign)
    else:
        multiprocessing.reduction.ForkingPickler.register(Foreign, reduce_foreign)
    try:
        queue.put(Foreign(1))
        queue.put([Foreign(5)])
    finally:
        del table[Foreign]
    queue.get(timeout=GUARD)
    assert queue.get(timeout=GUARD).number == 2
    assert queue.get(timeout=GUARD)[0].number == 6
    with pytest.raises(TypeError, match="not by myself"):
        queue.put(Foreign(1))


def test_methods_and_partials(ctx):
    queue = ctx.Queue()
    queue.put(functools.partial(int, base=2))
    queue.put(Number(3).bit_length)
    assert queue.get(timeout=GUARD)("101") == 5
    assert queue.get(timeout=GUARD)() == 2
