"""Wrong calls: queues."""

import contextlib
import pickle
import queue
import sys

from .table import NONE, unpicklable, wrong


@wrong(queue.Empty)
def get_nowait_of_an_empty_queue(m):
    m.Queue().get_nowait()


@wrong(queue.Empty)
def get_with_a_negative_timeout(m):
    m.Queue().get(timeout=-1)


@wrong(queue.Full)
def put_nowait_on_a_full_queue(m):
    full = m.Queue(1)
    full.put(1)
    full.cancel_join_thread()
    full.put_nowait(2)


@wrong(queue.Full)
def put_with_a_negative_timeout(m):
    full = m.Queue(1)
    full.put(1)
    full.cancel_join_thread()
    full.put(2, timeout=-1)


@wrong(ValueError)
def put_on_a_closed_queue(m):
    closed = m.Queue()
    closed.close()
    closed.put(1)


@wrong(ValueError)
def get_from_a_closed_queue(m):
    closed = m.Queue()
    closed.close()
    closed.get()


@wrong(ValueError)
def get_nowait_from_a_closed_queue(m):
    closed = m.Queue()
    closed.close()
    closed.get_nowait()


@wrong(TypeError)
def maxsize_that_is_a_string(m):
    m.Queue("3")


@wrong(TypeError)
def timeout_of_get_that_is_a_string(m):
    m.Queue().get(True, "soon")


@wrong(TypeError)
def put_of_nothing(m):
    m.Queue().put()


@wrong(AssertionError)
def join_thread_before_close(m):
    m.Queue().join_thread()


@wrong(
    NONE,
    (AttributeError, pickle.PicklingError),
    "put() itself raises; there the item is lost and a thread prints a traceback",
)
def put_of_what_does_not_pickle(m):
    lossy = m.Queue()
    with quiet():
        lossy.put(unpicklable)
        lossy.close()
        lossy.join_thread()


@contextlib.contextmanager
def quiet():
    """What a thread prints is no matter here."""
    stderr, sys.stderr = sys.stderr, open("/dev/null", "w")  # noqa: SIM115
    try:
        yield
    finally:
        sys.stderr.close()
        sys.stderr = stderr


@wrong(ValueError)
def task_done_without_items(m):
    m.JoinableQueue().task_done()


@wrong(ValueError)
def task_done_too_often(m):
    work = m.JoinableQueue()
    work.put(1)
    work.get()
    work.task_done()
    work.task_done()


@wrong(OSError)
def put_on_a_closed_simple_queue(m):
    closed = m.SimpleQueue()
    closed.close()
    closed.put(1)


@wrong(OSError)
def get_from_a_closed_simple_queue(m):
    closed = m.SimpleQueue()
    closed.close()
    closed.get()


@wrong((AttributeError, pickle.PicklingError))
def put_of_what_does_not_pickle_on_a_simple_queue(m):
    m.SimpleQueue().put(unpicklable)


@wrong(TypeError)
def bound_of_a_simple_queue(m):
    m.SimpleQueue(3)


SHARED = "it may be pickled at any time: shared objects travel through each other"


@wrong(RuntimeError, NONE, SHARED)
def pickled_queue(m):
    pickle.dumps(m.Queue())


@wrong(RuntimeError, NONE, SHARED)
def pickled_lock(m):
    pickle.dumps(m.Lock())


@wrong(RuntimeError, NONE, SHARED)
def pickled_condition(m):
    pickle.dumps(m.Condition())


@wrong(RuntimeError, NONE, SHARED)
def pickled_simple_queue(m):
    pickle.dumps(m.SimpleQueue())
