"""Wrong calls: locks and their like."""

import threading

from .table import NONE, wrong


@wrong(ValueError)
def release_of_a_lock_that_nobody_holds(m):
    m.Lock().release()


@wrong(AssertionError)
def release_of_an_rlock_that_nobody_holds(m):
    m.RLock().release()


@wrong(AssertionError)
def release_of_an_rlock_that_another_thread_holds(m):
    lock = m.RLock()
    thread = threading.Thread(target=lock.acquire)
    thread.start()
    thread.join()
    lock.release()


@wrong(ValueError)
def release_of_a_bounded_semaphore_above_its_bound(m):
    m.BoundedSemaphore(2).release()


NEGATIVE = "an error of the value, as threading has it, not one of the system"


@wrong(OSError, ValueError, NEGATIVE)
def semaphore_of_a_negative_value(m):
    m.Semaphore(-1)


@wrong(OSError, ValueError, NEGATIVE)
def bounded_semaphore_of_a_negative_value(m):
    m.BoundedSemaphore(-1)


@wrong(TypeError)
def semaphore_of_a_string(m):
    m.Semaphore("two")


@wrong((OverflowError, ValueError))
def semaphore_of_a_giant_value(m):
    m.Semaphore(1 << 70)


@wrong(TypeError)
def acquire_with_a_string_as_timeout(m):
    m.Lock().acquire(True, "soon")


@wrong(TypeError)
def acquire_with_an_unknown_keyword(m):
    m.Lock().acquire(blocking=False)


@wrong(AssertionError)
def notify_without_the_lock(m):
    m.Condition().notify()


@wrong(AssertionError)
def notify_all_without_the_lock(m):
    m.Condition().notify_all()


@wrong(AssertionError)
def wait_at_a_condition_without_its_lock(m):
    m.Condition().wait()


@wrong(AssertionError)
def wait_for_at_a_condition_without_its_lock(m):
    m.Condition().wait_for(lambda: False)


@wrong(AssertionError)
def release_of_a_condition_that_nobody_holds(m):
    m.Condition().release()


@wrong(AttributeError, TypeError, "said at once, and what it needs")
def condition_on_what_is_no_lock(m):
    m.Condition(5)


@wrong(threading.BrokenBarrierError)
def wait_at_an_aborted_barrier(m):
    barrier = m.Barrier(2)
    barrier.abort()
    barrier.wait()


@wrong(threading.BrokenBarrierError)
def wait_at_a_barrier_that_nobody_else_reaches(m):
    m.Barrier(2).wait(0.01)


@wrong((NONE, ValueError), ValueError, "as with threading of later Pythons, on each")
def barrier_of_nobody(m):
    m.Barrier(0)


@wrong(NONE, TypeError, "said at once, and not when somebody waits")
def barrier_of_a_string(m):
    m.Barrier("two")


@wrong(ZeroDivisionError)
def barrier_whose_action_raises(m):
    m.Barrier(1, lambda: 1 / 0).wait()


@wrong(TypeError)
def event_wait_with_a_string(m):
    m.Event().wait("soon")
