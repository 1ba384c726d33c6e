"""`Process`: the standard library's BaseProcess, started by our own Popen classes."""

import os
from collections.abc import Iterable, Mapping
from multiprocessing import process
from multiprocessing.process import BaseProcess
from typing import Any, Callable, Optional

from .affinity import checked_or_none
from .beside import beside


class Process(BaseProcess):
    """A process that calls `target(*args, **kwargs)`, as multiprocessing.Process does.

    It is started by the start method of the context that it is of; `affinity` are the processors
    that it may run on. It ends when the program's root ends, in whatever way.
    """

    _start_method: Optional[str] = None

    def __init__(
        self,
        group: None = None,
        target: Optional[Callable[..., object]] = None,
        name: Optional[str] = None,
        args: Iterable[Any] = (),
        kwargs: Optional[Mapping[str, Any]] = None,
        *,
        daemon: Optional[bool] = None,
        affinity: Optional[Iterable[int]] = None,
    ) -> None:
        super().__init__(group, target, name, args, kwargs or {}, daemon=daemon)
        self._affinity = checked_or_none(affinity)

    def interrupt(self) -> None:
        """Sends SIGINT: KeyboardInterrupt in the process, unless it handles the signal."""
        self._check_closed()  # type: ignore[attr-defined]
        self._popen.interrupt()  # type: ignore[attr-defined]

    @staticmethod
    def _Popen(process_obj: "Process") -> Any:
        from .context import get_start_method, is_chosen

        method = process_obj._start_method or get_start_method()
        if method == "fork" and not (process_obj._start_method or is_chosen()):
            from .popen_default import start

            return start(process_obj)
        if method == "spawn":
            from .popen_spawn import Popen as SpawnPopen

            return SpawnPopen(process_obj)
        if method == "forkserver":
            from .popen_forkserver import Popen as ForkserverPopen

            return ForkserverPopen(process_obj)
        from .popen_fork import Popen as ForkPopen

        return ForkPopen(process_obj)

    def _bootstrap(self, parent_sentinel: Optional[int] = None) -> int:
        if self._affinity is not None:
            os.sched_setaffinity(0, self._affinity)
        # BaseProcess calls self.run(), which a subclass may have overridden.
        self.__dict__["run"] = _QuietOnInterrupt(self.run)
        code: int = super()._bootstrap(parent_sentinel)  # type: ignore[misc]
        return code


class _QuietOnInterrupt:
    """Calls `run`; Ctrl-C, which all processes of the program get, is the root's to report."""

    def __init__(self, run: Callable[[], object]) -> None:
        self._run = run

    def __call__(self) -> None:
        try:
            self._run()
        except KeyboardInterrupt:
            raise SystemExit(1) from None


class ForkProcess(Process):
    """A process started by fork."""

    _start_method = "fork"


class SpawnProcess(Process):
    """A process started by running the program again."""

    _start_method = "spawn"


class ForkServerProcess(Process):
    """A process started from the template, where the main module was imported already."""

    _start_method = "forkserver"


beside(__name__, process)
