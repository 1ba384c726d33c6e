"""imap and imap_unordered: order, how far they read their input, and their iterators."""

import functools
import itertools
import threading

import pytest
from deadline import GUARD, eventually
from pooled import begin, square, wait_for
from under_test import NAME, mp

IMAPS = ["imap", "imap_unordered"]
ours = pytest.mark.skipif(NAME == "multiprocessing", reason="a promise of ours")


@pytest.fixture
def pool(ctx):
    with ctx.Pool(2) as pool:
        yield pool


@pytest.fixture(params=IMAPS)
def imap(request, pool):
    """A pool's method."""
    return getattr(pool, request.param)


class Counter:
    """An input that notes how far it was read."""

    def __init__(self, end=10**9):
        self.read = 0
        self.end = end

    def __iter__(self):
        return self

    def __next__(self):
        if self.read >= self.end:
            raise StopIteration
        self.read += 1
        return self.read - 1


@pytest.mark.parametrize("chunksize", [1, 3, 1000])
def test_each_result_once(imap, chunksize):
    found = list(imap(square, (x for x in range(100)), chunksize))
    assert sorted(found) == [x * x for x in range(100)]
    assert list(imap(square, [])) == []


@pytest.mark.parametrize("chunksize", [1, 3])
def test_imap_keeps_the_order(pool, chunksize):
    assert list(pool.imap(square, range(200), chunksize)) == [x * x for x in range(200)]


def wait_its_turn(events, n):
    events[n].wait(GUARD)
    return n


def test_order_of_completion(ctx):
    events = [ctx.Event() for _ in range(3)]
    with ctx.Pool(3) as pool:
        results = pool.imap_unordered(functools.partial(wait_its_turn, events), range(3))
        for n in 1, 2, 0:
            events[n].set()
            assert results.next(GUARD) == n
        ordered = pool.imap(functools.partial(wait_its_turn, events), range(3))
        assert list(ordered) == [0, 1, 2]


def test_next_with_a_timeout(ctx, imap):
    event = ctx.Event()
    results = imap(functools.partial(wait_for, event), "ab")
    for timeout in 0, 0.05:
        with pytest.raises(mp.TimeoutError):
            results.next(timeout)
    event.set()
    assert sorted([results.next(GUARD), results.next(timeout=GUARD)]) == ["a", "b"]
    for _ in range(2):
        with pytest.raises(StopIteration):
            results.next(GUARD)


def test_iterators_side_by_side(pool):
    ones = [pool.imap(square, range(50)) for _ in range(3)]
    others = [pool.imap_unordered(square, range(50)) for _ in range(3)]
    for one in ones:
        assert next(one) == 0
    for results in *ones, *others:
        rest = sorted(results)
        assert rest[-49:] == [x * x for x in range(1, 50)]


def begin_with(begun, event, x):
    return begin(begun, event, x)


@ours
def test_input_is_read_as_far_as_workers_need(ctx, imap):
    event, begun, items = ctx.Event(), ctx.Queue(), Counter()
    results = imap(functools.partial(begin_with, begun, event), items)
    for _ in range(2):
        begun.get(timeout=GUARD)
    with pytest.raises(mp.TimeoutError):
        results.next(0.2)
    assert items.read <= 4 * 2
    event.set()
    assert len(set(itertools.islice(results, 4))) == 4


@ours
@pytest.mark.parametrize(("chunksize", "buffersize"), [(1, 1), (1, 5), (2, 6), (4, 2)])
def test_buffersize_bounds_results(imap, chunksize, buffersize):
    bound, items = max(chunksize, buffersize), Counter()
    results = imap(square, items, chunksize, buffersize=buffersize)
    eventually(lambda: items.read >= bound)
    for taken in range(1, 20):
        next(results)
        # What was taken of a chunk counts when the chunk is opened.
        assert items.read <= taken + bound + chunksize - 1
    eventually(lambda: items.read >= 19 + bound - chunksize)


@ours
def test_without_buffersize_results_wait_for_nobody(imap):
    items = Counter(500)
    results = imap(square, items)
    eventually(lambda: items.read == 500)
    assert sorted(results) == [x * x for x in range(500)]


@ours
@pytest.mark.parametrize("buffersize", [0, -1])
def test_wrong_buffersize(imap, buffersize):
    with pytest.raises(ValueError, match="buffersize"):
        imap(square, [1], buffersize=buffersize)


def failing_input():
    yield from range(3)
    raise LookupError("no more input")


def test_input_that_fails(pool):
    results = pool.imap(square, failing_input())
    assert [next(results) for _ in range(3)] == [0, 1, 4]
    with pytest.raises(LookupError, match="no more input"):
        next(results)
    with pytest.raises(StopIteration):
        next(results)
    found = []
    with pytest.raises(LookupError, match="no more input"):
        found.extend(pool.imap_unordered(square, failing_input()))
    assert pool.map(square, [3]) == [9]


def test_each_failure_at_its_place(pool):
    results = pool.imap(square, [1, "a", 3, (), 5])
    assert next(results) == 1
    for expected in 9, 25:
        with pytest.raises(TypeError):
            next(results)
        assert next(results) == expected
    with pytest.raises(StopIteration):
        next(results)


@pytest.mark.parametrize("chunksize", [1, 2, 5, 50])
def test_an_argument_that_does_not_pickle_fails_alone(imap, chunksize):
    lock = threading.Lock()
    items = [lock if n in (7, 11) else n for n in range(20)]
    results, found, failed = imap(same, items, chunksize), [], 0
    while True:
        try:
            found.append(next(results))
        except StopIteration:
            break
        except TypeError as error:
            assert "pickle" in str(error)  # noqa: PT017
            failed += 1
    assert sorted(found) == [n for n in range(20) if n not in (7, 11)]
    assert failed == 2


def same(x):
    return x


def test_close_and_join_wait_for_the_input(ctx):
    for name in IMAPS:
        gate = threading.Event()

        def items(gate=gate):
            yield 1
            gate.wait(GUARD)
            yield 2

        with ctx.Pool(2) as pool:
            results = getattr(pool, name)(square, items())
            assert next(results) == 1
            pool.close()
            with pytest.raises(ValueError, match="not running"):
                pool.map(square, [1])
            gate.set()
            pool.join()
            assert list(results) == [4]


def test_an_iterator_that_nobody_reads(ctx):
    queue = ctx.Queue()
    with ctx.Pool(2) as pool:
        for name in IMAPS:
            getattr(pool, name)(queue.put, range(30))
        pool.close()
        pool.join()
    assert queue.qsize() == 60
