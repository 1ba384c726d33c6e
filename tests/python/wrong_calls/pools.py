"""Wrong calls: pools."""

import multiprocessing
import pickle
import threading

from .table import fail, nothing, unpicklable, wrong


@wrong(ValueError)
def pool_of_no_workers(m):
    m.Pool(0)


@wrong(ValueError)
def pool_of_less_than_no_workers(m):
    m.Pool(-2)


@wrong(TypeError)
def pool_of_a_string(m):
    m.Pool("two")


@wrong(TypeError)
def initializer_that_can_not_be_called(m):
    m.Pool(1, initializer=5)


@wrong(ValueError, since=(3, 11))
def maxtasksperchild_of_none(m):
    m.Pool(1, maxtasksperchild=0)


@wrong(ValueError)
def apply_on_a_closed_pool(m):
    with m.Pool(1) as pool:
        pool.close()
        pool.apply(nothing)


@wrong(ValueError)
def map_on_a_terminated_pool(m):
    pool = m.Pool(1)
    pool.terminate()
    pool.join()
    pool.map(abs, [1])


@wrong(ValueError)
def imap_on_a_closed_pool(m):
    with m.Pool(1) as pool:
        pool.close()
        pool.imap(abs, [1])


@wrong(ValueError)
def join_of_a_running_pool(m):
    with m.Pool(1) as pool:
        pool.join()


@wrong(ValueError)
def with_a_closed_pool(m):
    pool = m.Pool(1)
    try:
        pool.close()
        with pool:
            pass
    finally:
        pool.terminate()
        pool.join()


@wrong(ValueError)
def imap_with_chunks_of_none(m):
    with m.Pool(1) as pool:
        pool.imap(abs, [1], chunksize=0)


@wrong(ValueError)
def imap_unordered_with_negative_chunks(m):
    with m.Pool(1) as pool:
        pool.imap_unordered(abs, [1], chunksize=-1)


@wrong(TypeError)
def map_over_what_is_no_iterable(m):
    with m.Pool(1) as pool:
        pool.map(abs, 5)


@wrong(TypeError)
def starmap_over_what_are_no_arguments(m):
    with m.Pool(1) as pool:
        pool.starmap(abs, [1, 2])


@wrong(LookupError)
def apply_of_what_raises(m):
    with m.Pool(1) as pool:
        pool.apply(fail)


@wrong(multiprocessing.TimeoutError)
def result_that_is_not_there_in_time(m):
    with m.Pool(1) as pool:
        pool.apply_async(sleep_long).get(timeout=0.01)


def sleep_long():
    threading.Event().wait(30)


@wrong(ValueError)
def successful_before_it_is_ready(m):
    with m.Pool(1) as pool:
        pool.apply_async(sleep_long).successful()


@wrong((AttributeError, pickle.PicklingError))
def task_that_does_not_pickle(m):
    with m.Pool(1) as pool:
        pool.apply(unpicklable)


@wrong(NotImplementedError)
def pickled_pool(m):
    with m.Pool(1) as pool:
        pickle.dumps(pool)


@wrong(TypeError)
def apply_with_args_that_are_none(m):
    with m.Pool(1) as pool:
        pool.apply(nothing, 5)
