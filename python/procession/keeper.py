"""The processes of a pool: the keeper, which starts and replaces its workers, and the workers."""

import copy
import itertools
import os
import signal
import sys
from multiprocessing import process, util
from typing import Any, Callable, NamedTuple, Optional

from . import _procession
from .fitness import culprit
from .popen_fork import run
from .remote import pack


class Plan(NamedTuple):
    """What a pool's workers are started with."""

    # Each is a copy of this process, which is of the class that the pool's context, or the pool
    # itself, has for them.
    worker: Any
    # What their names begin with, unless the pool has named them.
    name: Optional[str]
    identity: tuple[int, ...]
    initializer: Optional[Callable[..., object]]
    initargs: tuple[Any, ...]
    limit: Optional[int]
    reseed: bool


def keep(core: "_procession.PoolCore", plan: Plan) -> None:
    """What the keeper does: it is a copy of the pool's owner, or has imported its main module anew,
    and forks the workers from itself. If main leaves what a copy can't have, each worker imports
    it anew. It ends with the pool."""
    keeper = core.keep(plan.initializer is not None)
    if keeper is None:
        return
    # Ctrl-C is for those who work.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    owner: Any = process.parent_process()
    # Else it is a copy of the template.
    is_copy = os.getppid() == owner.pid
    unfit = culprit()
    if unfit is not None:
        util.info("each worker imports main anew: %s", unfit)
    for number in itertools.count(1):
        if not keeper.wait():
            return
        worker = copy.copy(plan.worker)
        worker._identity = (*plan.identity, number)
        if plan.name is not None:
            worker._name = f"{plan.name}-{number}"
        # It is the owner's child, for all that it can see.
        worker._parent_pid, worker._parent_name = owner.pid, owner.name
        worker._args = (core, plan, is_copy, mask)
        if unfit is not None:
            from .popen_spawn import Popen as SpawnPopen

            keeper.started(SpawnPopen(worker)._child)
            continue
        util._flush_std_streams()  # type: ignore[attr-defined]
        _, child = _procession.fork()
        if child is None:
            run(worker, lambda: os.dup(owner.sentinel))
        keeper.started(child)


def do_tasks(core: "_procession.PoolCore", plan: Plan, is_copy: bool, mask: set[int]) -> None:
    """What a worker does: tasks, until there are no more. `is_copy` says whether it is a copy of
    the pool's owner, `mask` which signals that one blocks."""
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    _procession.work(core, lambda: _prepare(core, plan, is_copy), plan.limit)


def _prepare(core: "_procession.PoolCore", plan: Plan, is_copy: bool) -> None:
    if plan.reseed or not is_copy:
        reseed()
    if plan.initializer is None:
        return
    try:
        plan.initializer(*plan.initargs)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        core.set_error(pack(error))
        raise SystemExit(1) from None


def reseed() -> None:
    """Global random generators that a fork leaves as they are get seeds of their own."""
    random = sys.modules.get("numpy.random")
    if random is not None:
        random.seed()
