"""What workers of pools run in the tests of several files."""

import os
import signal

from deadline import GUARD


def square(x):
    return x * x


def add(a, b=0, *, c=0):
    return a + b + c


def pid_of(_=None):
    return os.getpid()


def own_pid_at(barrier):
    """The worker's pid; with as many tasks as workers each worker does one."""
    barrier.wait(GUARD)
    return os.getpid()


def wait_for(event, answer=None):
    event.wait()
    return answer


def begin(begun, event, answer=None):
    """Says that it has begun, and ends when it may."""
    begun.put(os.getpid())
    event.wait()
    return answer


def begin_or_square(begun, event, x, waits):
    """The square; the element `waits` says that it has begun, and ends when it may."""
    if x == waits:
        begin(begun, event)
    return x * x


def kill_oneself(number=signal.SIGKILL):
    os.kill(os.getpid(), number)


def leave_hard(code):
    os._exit(code)


def pids(pool):
    """The pids of the pool's workers, once there are as many as there are to be."""
    found = [worker.pid for worker in pool._pool]
    assert len(found) == pool._processes == len(set(found))
    return found
