"""Starting a process by fork."""

import os
from multiprocessing import util
from typing import TYPE_CHECKING, Callable, NoReturn

from . import _procession
from .popen import Popen as _Popen
from .popen import own_exit, watch_parent

if TYPE_CHECKING:
    from .process import Process


class Popen(_Popen):
    """A child that is a copy of its starter."""

    method = "fork"

    def __init__(self, process_obj: "Process") -> None:
        util._flush_std_streams()  # type: ignore[attr-defined]
        parent = os.getpid()
        pid, child = _procession.fork()
        if child is None:
            run(process_obj, lambda: watch_parent(parent))
        else:
            assert pid == child.pid
            self._started(child)

    def duplicate_for_child(self, fd: int) -> int:
        """The descriptor that the child knows this one by: the same."""
        return fd


def run(process_obj: "Process", watch: Callable[[], int]) -> NoReturn:
    """The child: runs the process and never returns. `watch` gives a descriptor that becomes
    readable when the process ends that started it."""
    code = 1
    try:
        with own_exit():
            code = process_obj._bootstrap(parent_sentinel=watch())
    finally:
        _procession.end_process(code)
        os._exit(code)
