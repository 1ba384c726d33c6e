"""Pools as objects: how they show themselves, and workers of a class of the program's own."""

import importlib

from deadline import GUARD
from pooled import square
from under_test import METHODS, NAME, mp

pool_module = importlib.import_module(f"{NAME}.pool")


RAN = None


def never_a_daemon(base):
    """A process of this kind that may have children of its own, as a worker too."""

    class NoDaemon(base):
        @property
        def daemon(self):
            return False

        @daemon.setter
        def daemon(self, value):
            pass

    return NoDaemon


def told_that_it_ran(base):
    """A process of this kind whose run() does something first."""

    class Prepared(base):
        def run(self):
            global RAN
            RAN = type(self).__name__
            super().run()

    return Prepared


def context_of(method, kind):
    """A context of this method, whose processes are of this class."""
    base = type(mp.get_context(method))
    return type(f"{kind.__name__}{method}", (base,), {"Process": kind})


# Where a child finds them that imports this module.
NO_DAEMON, PREPARED, NO_DAEMON_CONTEXT, PREPARED_CONTEXT = {}, {}, {}, {}
for _method in METHODS:
    for _make, _kinds, _contexts in (
        (never_a_daemon, NO_DAEMON, NO_DAEMON_CONTEXT),
        (told_that_it_ran, PREPARED, PREPARED_CONTEXT),
    ):
        _kind = _make(mp.get_context(_method).Process)
        _kind.__qualname__ = _kind.__name__ = f"{_kind.__name__}_{_method}"
        _kinds[_method] = globals()[_kind.__name__] = _kind
        _contexts[_method] = context_of(_method, _kind)


def squares_by_a_pool(method, count):
    with mp.get_context(method).Pool(2) as pool:
        return pool.map(square, range(count))


def is_daemon(_):
    return mp.current_process().daemon


def test_workers_that_are_no_daemons_may_have_pools(method):
    context = NO_DAEMON_CONTEXT[method]()
    assert context.get_start_method() == method
    with pool_module.Pool(2, context=context) as pool:
        assert pool.map(is_daemon, range(2)) == [False, False]
        found = pool.starmap_async(squares_by_a_pool, [(method, 3), (method, 4)]).get(GUARD)
        assert found == [[0, 1, 4], [0, 1, 4, 9]]
        pool.close()
        pool.join()


def what_ran(_):
    return RAN, type(mp.current_process()).__name__


def test_workers_run_as_their_class_says(method):
    with pool_module.Pool(1, context=PREPARED_CONTEXT[method]()) as pool:
        name = PREPARED[method].__name__
        assert pool.map_async(what_ran, [0]).get(GUARD) == [(name, name)]


def test_how_a_pool_shows_itself(ctx):
    def shown(state):
        return f"<{type(pool).__module__}.{type(pool).__qualname__} state={state} pool_size=2>"

    pool = ctx.Pool(2)
    assert repr(pool) == shown("RUN")
    pool.close()
    assert repr(pool) == shown("CLOSE")
    pool.join()
    assert repr(pool) == shown("CLOSE")
    pool.terminate()
    assert repr(pool) == shown("TERMINATE")
    pool.join()
    pool.close()
    assert repr(pool) == shown("TERMINATE")


class MakesItsWorkers(pool_module.Pool):
    """A pool with a factory of its own."""

    @staticmethod
    def Process(ctx, *args, **kwargs):
        return PREPARED[ctx.get_start_method()](*args, **kwargs)


def test_a_pool_may_make_its_workers(ctx, method):
    with MakesItsWorkers(2, context=ctx) as pool:
        name = PREPARED[method].__name__
        assert pool.map_async(what_ran, range(4)).get(GUARD) == [(name, name)] * 4


def name_of(_):
    return mp.current_process().name


class NamesItsWorkers(pool_module.Pool):
    """A pool whose workers have a name of its own."""

    @staticmethod
    def Process(ctx, *args, **kwargs):
        process = ctx.Process(*args, **kwargs)
        process.name = "worker bee"
        return process


def test_a_pool_may_name_its_workers(ctx):
    with NamesItsWorkers(1, context=ctx) as pool:
        assert pool.apply_async(name_of, (0,)).get(GUARD) == "worker bee"
