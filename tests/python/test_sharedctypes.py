"""Value, Array, RawValue, RawArray: one memory for all processes, with a lock or without."""

import ctypes
import os
import pickle
import signal

import pytest
from deadline import GUARD, eventually
from processes import finish, gone, start
from procession import heap, sharedctypes
from under_test import mp


class Point(ctypes.Structure):
    _fields_ = [("x", ctypes.c_double), ("n", ctypes.c_int)]


class Place(Point):
    _fields_ = [("height", ctypes.c_longdouble)]


def write(value, array, point, raw, numbers):
    with value.get_lock():
        value.value += 1
    array[1] = 7.5
    point.x, point.n = 2.5, 3
    raw[0] = 9
    numbers.value = 11


def made(ctx):
    return (
        ctx.Value("i", 5),
        ctx.Array("d", 3),
        ctx.Value(Point, 1.0, 2),
        ctx.RawArray("l", 4),
        ctx.RawValue("q", 10),
    )


def assert_written(value, array, point, raw, number):
    assert value.value == 6
    assert array[:] == [0.0, 7.5, 0.0]
    assert (point.x, point.n) == (2.5, 3)
    assert list(raw) == [9, 0, 0, 0]
    assert number.value == 11


def test_what_a_child_writes_is_seen(ctx):
    shared = made(ctx)
    finish(start(ctx, write, *shared))
    assert_written(*shared)


def write_what_is_sent(queue, answers):
    write(*queue.get())
    answers.put(None)


def test_they_travel_through_queues_at_any_time(ctx):
    queue, answers = ctx.Queue(), ctx.Queue()
    child = start(ctx, write_what_is_sent, queue, answers)
    shared = made(ctx)
    queue.put(shared)
    answers.get(timeout=GUARD)
    finish(child)
    assert_written(*shared)


def make_and_send(queue):
    value, array = mp.Value("i", 41), mp.RawArray("d", [1.5, 2.5])
    queue.put({"nested": [value, (array,)]})
    queue.put([element for element in array])


def test_they_outlive_the_process_that_made_them(ctx):
    queue = ctx.Queue()
    child = start(ctx, make_and_send, queue)
    nested = queue.get(timeout=GUARD)["nested"]
    finish(child)
    value, (array,) = nested
    value.value += 1
    assert (value.value, list(array)) == (42, [1.5, 2.5])


def add(value):
    for _ in range(100):
        with value.get_lock():
            value.value += 1


def test_the_lock_keeps_others_out(ctx):
    value = ctx.Value("i")
    finish(*[start(ctx, add, value) for _ in range(3)])
    assert value.value == 300


def bump(shared, index):
    shared.get_lock()
    with shared:
        shared[index] += index
    return shared[index]


def test_they_are_arguments_of_pool_tasks(ctx):
    array = ctx.Array("i", range(8))
    with ctx.Pool(2) as pool:
        assert pool.starmap(bump, [(array, i) for i in range(8)]) == [2 * i for i in range(8)]
    assert array[:] == [2 * i for i in range(8)]


def echo(end):
    end.send(end.recv())


def test_what_comes_back_is_the_same_memory(ctx):
    near, far = ctx.Pipe()
    child = start(ctx, echo, far)
    number = ctx.RawValue("i", 1)
    near.send(number)
    again = near.recv()
    finish(child)
    again.value = 2
    assert number.value == 2


def test_writable_memory_stays_shared_through_any_fork(ctx):
    large = ctx.RawArray("B", 1 << 20)
    pid = os.fork()
    if not pid:
        large[12345] = 77
        os._exit(0)
    os.waitpid(pid, 0)
    assert large[12345] == 77
    finish(start(ctx, set_byte, large))
    assert large[54321] == 78


def set_byte(array):
    array[54321] = 78


def hold(value, ready):
    with value.get_lock():
        value.value = 1
        ready.set()
        signal.pause()


def test_the_lock_of_a_killed_writer_is_broken(ctx):
    value, ready = ctx.Value("i"), ctx.Event()
    child = start(ctx, hold, value, ready)
    assert ready.wait(GUARD)
    child.kill()
    with pytest.raises(mp.BrokenLockError) as raised:
        value.value = 2
    assert raised.value.pid == child.pid
    child.join()
    assert value.get_obj().value == 1
    assert value.get_lock().reset()
    value.value = 2
    assert value.value == 2


def write_for_ever(array, ready):
    number = 0
    while True:
        number += 1
        array[:] = [number] * len(array)
        ready.set()


def test_a_writer_killed_amid_leaves_what_it_had_written(ctx):
    array, ready = ctx.RawArray("l", 1000), ctx.Event()
    child = start(ctx, write_for_ever, array, ready)
    assert ready.wait(GUARD)
    child.kill()
    child.join()
    found = list(array)
    assert set(found) <= {found[0], found[0] - 1}
    array[0] = -1
    assert array[0] == -1


def leave_with(queue):
    queue.put(mp.RawArray("i", [1, 2, 3]))
    queue.put(os.getpid())
    signal.pause()


def test_the_creator_is_killed(ctx):
    queue = ctx.Queue()
    child = start(ctx, leave_with, queue)
    array, pid = queue.get(timeout=GUARD), queue.get(timeout=GUARD)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: gone(pid))
    child.join()
    assert list(array) == [1, 2, 3]


def test_each_typecode_has_its_type_and_is_zero():
    for code, kind in sharedctypes.typecode_to_type.items():
        value, array = mp.RawValue(code), mp.RawArray(code, 5)
        assert type(value) is kind
        assert bytes(value) == bytes(ctypes.sizeof(kind))
        assert bytes(array) == bytes(5 * ctypes.sizeof(kind))
        assert ctypes.addressof(value) % ctypes.alignment(kind) == 0


def test_memory_is_zero_and_aligned_though_used_before():
    for size in (1, 8, 100, 5000, 70_000, 1 << 20):
        for _ in range(3):
            block = mp.RawArray("B", size)
            assert bytes(block) == bytes(size)
            assert ctypes.addressof(block) % 64 == 0
            ctypes.memset(block, 255, size)
            del block


def test_structures_and_arrays_of_them():
    points = mp.Array(Point, [(1.0, 2), (3.0, 4)])
    assert [(point.x, point.n) for point in points] == [(1.0, 2), (3.0, 4)]
    place = mp.Value(Place, 1.0, 2, 3.0)
    assert (place.x, place.n, place.height) == (1.0, 2, 3.0)
    grid = mp.RawArray(ctypes.c_int * 3, 2)
    grid[1][2] = 5
    assert [list(row) for row in grid] == [[0, 0, 0], [0, 0, 5]]


def test_the_lock_may_be_given_or_left_out(ctx):
    lock = ctx.Lock()
    assert ctx.Value("i", 1, lock=lock).get_lock() is lock
    assert ctx.Array("i", 1, lock=lock).get_lock() is lock
    assert not hasattr(ctx.Value("i", lock=False), "get_lock")
    assert not hasattr(ctx.Array("i", 2, lock=False), "get_lock")
    assert isinstance(ctx.Value("i").get_lock(), type(ctx.RLock()))


def test_strings():
    text = mp.Array("c", b"hello, there")
    text.value = b"hi"
    assert text.value == b"hi"
    assert text.raw[:2] == b"hi"
    assert len(text) == 12
    assert text[:2] == b"hi"
    assert mp.RawArray("u", "word").value == "word"


def test_copy_and_synchronized():
    point = Point(1.5, 2)
    shared = sharedctypes.copy(point)
    point.x = 0
    assert (shared.x, shared.n) == (1.5, 2)
    wrapped = sharedctypes.synchronized(shared)
    with wrapped:
        wrapped.n += 1
    assert wrapped.get_obj() is shared
    assert shared.n == 3
    with pytest.raises(AssertionError):
        sharedctypes.synchronized(wrapped)


def test_what_is_not_shared_travels_as_a_copy(ctx):
    mp.RawValue("i")
    queue, number = ctx.Queue(), ctypes.c_int(3)
    queue.put(number)
    again = queue.get(timeout=GUARD)
    again.value = 4
    assert number.value == 3


@pytest.mark.parametrize(
    ("call", "error", "names"),
    [
        (lambda: mp.Value("x"), TypeError, "'x'"),
        (lambda: mp.RawArray("x", 3), TypeError, "'x'"),
        (lambda: mp.Value(int), TypeError, "int"),
        (lambda: mp.Value(None), TypeError, "None"),
        (lambda: mp.Array("i", -1), ValueError, "-1"),
        (lambda: mp.RawArray("i", 2.5), TypeError, "float"),
        (lambda: mp.RawArray("i", ["a"]), TypeError, "str"),
        (lambda: mp.Value("i", "a"), TypeError, "str"),
        (lambda: mp.Value("i", lock=3), AttributeError, "3"),
        (lambda: mp.Array("i", 3, lock="no"), AttributeError, "no"),
        (lambda: sharedctypes.synchronized(5), AttributeError, "int"),
        (lambda: heap.BufferWrapper(-1), ValueError, "-1"),
        (lambda: pickle.dumps(mp.RawValue("i")), RuntimeError, "private copy"),
    ],
)
def test_wrong_calls(call, error, names):
    with pytest.raises(error, match=names):
        call()


def test_the_words_of_heap(ctx):
    wrapper = heap.BufferWrapper(100)
    view = wrapper.create_memoryview()
    assert (len(view), bytes(view)) == (100, bytes(100))
    arena = heap.Arena(5000)
    queue = ctx.Queue()
    queue.put(arena)
    again = queue.get(timeout=GUARD)
    again.buffer[:2] = b"ok"
    assert (arena.size, bytes(arena.buffer[:2])) == (5000, b"ok")


def test_memory_goes_with_its_last_name():
    # More than the arena would hold if each stayed.
    for _ in range(2000):
        mp.RawArray("B", 64 << 20)[0] = 1
