"""What a pool's worker comes to in the tests of its life: killed, left by a hard exit, stopped."""

import contextlib
import multiprocessing
import os
import signal
from pathlib import Path

from deadline import eventually
from pooled import pids, square
from processes import gone, wait_stopped

SQUARES = [x * x for x in range(100)]
CODE = 7

MISHAPS = {
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "left": lambda: os._exit(CODE),
    "stopped": lambda: os.kill(os.getpid(), signal.SIGSTOP),
}


def come_to(how, told):
    """Says who, and comes to it."""
    told.put(os.getpid())
    MISHAPS[how]()
    return "done"


def goes_on(pool, pid, how):
    """The others do what there is to do, and then there are as many workers as before."""
    if how == "stopped":
        wait_stopped(pid)
        assert pool.map(square, range(100)) == SQUARES
        os.kill(pid, signal.SIGCONT)
        assert pid in pids(pool)
    else:
        eventually(lambda: gone(pid))
        assert pool.map(square, range(100)) == SQUARES
        assert pid not in pids(pool)
    assert pool.map(square, range(100)) == SQUARES


class AtStart:
    """The first workers that start come to it before they run a line of the pool's.

    Made when main is imported: what is registered for after a fork runs first of all in a worker.
    Who forks workers has a parent of the program, which main and the template have not.
    """

    def __init__(self, how, times, folder):
        self.how = how
        self.times = times
        self.folder = Path(folder)
        os.register_at_fork(after_in_child=self._come_to)

    def _come_to(self):
        if multiprocessing.parent_process() is None:
            return
        for number in range(self.times):
            with contextlib.suppress(FileExistsError):
                os.symlink(str(os.getpid()), self.folder / str(number))
                MISHAPS[self.how]()
                return

    def pids(self):
        """Those that came to it so far."""
        return [int(os.readlink(path)) for path in self.folder.iterdir()]
