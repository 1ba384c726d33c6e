"""Callbacks of a pool's results: which, in which order, and what they may do."""

import threading

import pytest
from deadline import GUARD
from pooled import add, begin, square


@pytest.fixture
def pool(ctx):
    with ctx.Pool(2) as pool:
        yield pool


def test_callbacks_in_order_of_completion(ctx):
    events, said, begun = [ctx.Event() for _ in range(4)], [], ctx.Queue()
    with ctx.Pool(4) as pool:
        results = [
            pool.apply_async(begin, (begun, event, n), callback=said.append)
            for n, event in enumerate(events)
        ]
        for _ in events:
            begun.get(timeout=GUARD)
        for n in 2, 0, 3, 1:
            events[n].set()
            results[n].wait(GUARD)
            assert results[n].ready()
        assert said == [2, 0, 3, 1]


def test_many_callbacks_each_once_before_get_returns(pool):
    said = []
    results = [pool.apply_async(square, (n,), callback=said.append) for n in range(200)]
    for n, result in enumerate(results):
        assert result.get(GUARD) == n * n
        assert n * n in said
    assert sorted(said) == [n * n for n in range(200)]


def test_callbacks_are_called_before_join_returns(ctx):
    for _ in range(10):
        said = []
        with ctx.Pool(2) as pool:
            for n in range(20):
                pool.apply_async(square, (n,), callback=said.append)
            pool.close()
            pool.join()
            assert sorted(said) == [n * n for n in range(20)]


def test_callback_of_map_gets_the_list(pool):
    said, failed = [], []
    for call, items in (pool.map_async, [1, 2]), (pool.starmap_async, [(1,), (2,)]):
        call(square, items, callback=said.append, error_callback=failed.append).get(GUARD)
    assert said == [[1, 4], [1, 4]]
    pool.map_async(square, [2, "a"], 1, said.append, failed.append).wait(GUARD)
    assert len(said) == 2
    assert [type(error) for error in failed] == [TypeError]


def test_a_callback_asks_for_results(pool):
    # Of its own call, and of another one: as far as they are there.
    first = pool.apply_async(square, (3,))
    first.wait(GUARD)
    said = []
    second = pool.apply_async(square, (4,), callback=lambda _: said.append(first.get(GUARD)))
    second.wait(GUARD)
    third = pool.apply_async(square, (5,), callback=lambda _: said.append(second.get(GUARD)))
    third.wait(GUARD)
    assert said == [9, 16]


def test_a_callback_submits(pool):
    done, said = threading.Event(), []

    def go_on(result):
        said.append(result)
        if len(said) < 5:
            pool.apply_async(add, (result, 1), callback=go_on)
        else:
            done.set()

    pool.apply_async(add, (0,), callback=go_on)
    assert done.wait(GUARD)
    assert said == [0, 1, 2, 3, 4]
