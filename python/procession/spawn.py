"""The child that ran the program again: from its command line to its process."""

import os
import pickle
import sys
from multiprocessing import process, resource_tracker, spawn
from typing import NoReturn, Optional

from . import _procession, popen_spawn
from .beside import beside
from .fitness import importing
from .popen import watch_parent


def spawn_main(
    arena: int,
    root: int,
    record: int,
    generation: int,
    mail: int,
    parent: int,
    tracker: Optional[int] = None,
    send: Optional[int] = None,
    receive: Optional[int] = None,
    standing: Optional[int] = None,
) -> NoReturn:
    """Runs the process that its starter asked for. The arguments are descriptors and numbers that
    only a starter of ours can give."""
    # First of all: whatever the main module makes when it is imported belongs to this program.
    _procession.attach(arena, root, record, generation)
    if send is not None and receive is not None and standing is not None:
        _procession.adopt_ends(send, receive, standing)
    if tracker is not None:
        resource_tracker._resource_tracker._fd = tracker  # type: ignore[attr-defined]
    current = process.current_process()
    with os.fdopen(mail, "rb") as file:
        current._inheriting = True  # type: ignore[attr-defined]
        try:
            preparation, handles = pickle.load(file)
            with importing():
                popen_spawn.prepare(preparation)
            child = pickle.load(file)
        finally:
            del current._inheriting  # type: ignore[attr-defined]
    _procession.arrived(handles)
    code = child._bootstrap(watch_parent(parent))
    _procession.end_process(code)
    sys.exit(code)


beside(__name__, spawn)
