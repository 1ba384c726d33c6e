"""Starting a process where nobody chose how: by fork, unless threads make that unsafe.

A thread that runs in the parent at the moment of a fork is not in the child, but the locks that it
held there are. So a program with threads gets its children from the template, as under forkserver,
if they can come from there: what is started must pickle, and main must be one that can be imported.
Only Python's threads count; those of numeric libraries end before a fork.
"""

import pickle
import sys
from multiprocessing import util
from typing import TYPE_CHECKING, Union

from .popen_fork import Popen as ForkPopen
from .popen_forkserver import Popen as ForkserverPopen
from .popen_spawn import preparation_of

if TYPE_CHECKING:
    from .process import Process

_warned = False


def start(process_obj: "Process") -> Union[ForkPopen, ForkserverPopen]:
    """Starts the process."""
    if len(sys._current_frames()) == 1:
        return ForkPopen(process_obj)
    preparation = preparation_of(process_obj)
    if not preparation.keys() & {"init_main_from_name", "init_main_from_path"}:
        return _fork(process_obj, "the main module can't be imported")
    try:
        return ForkserverPopen(process_obj)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        return _fork(process_obj, f"what it runs does not pickle: {error}")


def _fork(process_obj: "Process", why: str) -> ForkPopen:
    global _warned
    if not _warned:
        _warned = True
        util.sub_warning(
            "%s is forked from a program with threads, whose locks may stay locked in it: %s",
            process_obj.name,
            why,
        )
    return ForkPopen(process_obj)
