"""The processes of a pool: the keeper, which starts and replaces its workers, and the workers."""

import itertools
import os
import signal
import sys
from multiprocessing import process, util
from typing import Any, Callable, NamedTuple, Optional

from . import _procession
from .fitness import culprit
from .popen_fork import run
from .process import Process
from .remote import pack


class Plan(NamedTuple):
    """What a pool's workers are started with."""

    name: str
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
        worker = Worker(core, plan, number, owner, is_copy, mask)
        if unfit is not None:
            from .popen_spawn import Popen as SpawnPopen

            keeper.started(SpawnPopen(worker)._child)
            continue
        util._flush_std_streams()  # type: ignore[attr-defined]
        _, child = _procession.fork()
        if child is None:
            run(worker, lambda: os.dup(owner.sentinel))
        keeper.started(child)


class Worker(Process):
    """A process that does a pool's tasks."""

    def __init__(
        self,
        core: "_procession.PoolCore",
        plan: Plan,
        number: int,
        owner: Any,
        is_copy: bool,
        mask: set[int],
    ) -> None:
        super().__init__(name=f"{plan.name}-{number}", daemon=True)
        self._core = core
        self._plan = plan
        self._identity = (*plan.identity, number)
        # It is the owner's child, for all that it can see.
        self._is_copy = is_copy
        # The signals that it blocks: as the pool's owner did.
        self._mask = mask
        self._parent_pid = owner.pid
        self._parent_name = owner.name

    def run(self) -> None:
        """Does tasks until there are no more."""
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        _procession.work(self._core, self._prepare, self._plan.limit)

    def _prepare(self) -> None:
        if self._plan.reseed or not self._is_copy:
            reseed()
        if self._plan.initializer is None:
            return
        try:
            self._plan.initializer(*self._plan.initargs)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self._core.set_error(pack(error))
            raise SystemExit(1) from None


def reseed() -> None:
    """Global random generators that a fork leaves as they are get seeds of their own."""
    random = sys.modules.get("numpy.random")
    if random is not None:
        random.seed()
