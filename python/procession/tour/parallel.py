"""The tour's processes: a crew of named workers around two queues, a lock and an event."""

import queue
import signal
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import NamedTuple, Optional

import procession as mp

from . import report
from .work import Finding, Task, carry_out

LOOK_UP = 0.01
"""Who waits at an empty queue looks up after so many seconds."""

LAST_CALL = 5.0
"""A worker without work that has not ended after so many seconds is stuck."""


class WorkerFailed(Exception):
    """A worker ended otherwise than it should."""


class Desk(NamedTuple):
    """What all workers share."""

    root: str
    report: str
    tasks: "mp.Queue[Task]"
    findings: "mp.Queue[Finding]"
    no_more: "mp.Event"
    lock: "mp.Lock"


def work(desk: Desk) -> None:
    """A worker's life: take a task, do it, hand in what was found; until no more will come."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who leads the crew
    name = mp.current_process().name
    while True:
        last = desk.no_more.is_set()  # asked first: what was put before the event is still found
        try:
            task = desk.tasks.get(timeout=LOOK_UP)
        except queue.Empty:
            if last:
                return
            continue
        finding = carry_out(task, desk.root, name)
        report.append(desk.report, desk.lock, finding.found.pairs)
        desk.findings.put(finding)


class Crew:
    """So many workers; when its `with` block is left, none of them is left behind."""

    def __init__(self, root: str, report: str, workers: int, method: str) -> None:
        context = mp.get_context(method)
        self._desk = Desk(
            root, report, context.Queue(), context.Queue(), context.Event(), context.Lock()
        )
        self.workers = [
            context.Process(target=work, args=(self._desk,), name=f"tour-{number}")
            for number in range(1, workers + 1)
        ]

    def __enter__(self) -> "Crew":
        return self

    def start(self) -> None:
        """Start all workers. They find nothing to do yet."""
        for worker in self.workers:
            worker.start()

    def do(self, tasks: Sequence[Task]) -> Iterator[Finding]:
        """Have these tasks done; this process is the one that gets what is found."""
        for task in tasks:
            self._desk.tasks.put(task)
        for _ in tasks:
            yield self._next()

    def _next(self) -> Finding:
        while True:
            try:
                return self._desk.findings.get(timeout=LOOK_UP)
            except queue.Empty:
                _check([worker for worker in self.workers if not worker.is_alive()])

    def dismiss(self) -> None:
        """Say that no more will come, and see every worker off."""
        self._desk.no_more.set()
        for worker in self.workers:
            worker.join(LAST_CALL)
        _check([worker for worker in self.workers if worker.exitcode != 0])

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        for worker in self.workers:
            if worker.pid is not None:
                worker.kill()
                worker.join()


def _check(fallen: "list[mp.Process]") -> None:
    if fallen:
        causes = [f"{worker.name} {ending(worker.exitcode)}" for worker in fallen]
        raise WorkerFailed(", ".join(causes))


def ending(exitcode: Optional[int]) -> str:
    """What an exit code says, in words."""
    if exitcode is None:
        return "is still running"
    killed = f" (killed by signal {-exitcode})" if exitcode < 0 else ""
    return f"ended with exit code {exitcode}{killed}"


def cores() -> int:
    """As many as can run truly at the same time."""
    return mp.cpu_count()
