"""Leads through the tour: the same job in one process, then in several, and what comes of it.

What there is to explain goes to `say`, a line at a time.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Optional

from . import report
from .files import File, text_files
from .parallel import LAST_CALL, Crew, cores, ending
from .pooled import Team
from .progress import Figures, Progress
from .similarity import ALIKE, SHINGLE, Pair
from .work import Finding, Task, carry_out, near_duplicates

GLANCE = 0.01
"""The first look at a worker, which cannot be done yet."""

SHOWN = 10
"""So many of the pairs are shown."""

Say = Callable[[str], None]


class NothingToDo(Exception):
    """The directory holds no text files."""


@dataclass
class Tour:
    """What was asked for, and what the tour found."""

    directory: str
    start_method: str
    workers: int
    report: Optional[str] = None
    files: list[File] = field(default_factory=list)
    pairs: list[Pair] = field(default_factory=list)
    figures: list[Figures] = field(default_factory=list)
    serial_seconds: float = 0.0
    parallel_seconds: float = 0.0
    pool_seconds: float = 0.0
    equal: bool = False

    @property
    def speedup(self) -> float:
        """How many times faster the crew was than the one process."""
        return self.serial_seconds / self.parallel_seconds


def lead(tour: Tour, say: Say, progress: Callable[[], Progress]) -> None:
    """The whole way. A report without a place of its own is only looked at."""
    tour.files = text_files(tour.directory)
    if not tour.files:
        raise NothingToDo(f"no text files under {tour.directory!r}")
    say(f"Which of the {len(tour.files)} text files under {tour.directory} are nearly the same?")
    say(f"Near duplicates share at least {ALIKE:.0%} of their runs of {SHINGLE} words.")
    with tempfile.TemporaryDirectory(prefix="procession-tour-") as folder:
        place = tour.report or os.path.join(folder, "report")
        report.begin(place)
        say("\n1. One process does all the work.")
        serial = in_one_process(tour, progress())
        say(f"  {len(serial)} pairs in {tour.serial_seconds:.2f} s")
        say(f"\n2. {tour.workers} processes do the same work (start method {tour.start_method}).")
        say(f"  cpu_count: {cores()} can run truly at the same time here.")
        in_processes(tour, place, say, progress())
        say(f"  {len(tour.pairs)} pairs in {tour.parallel_seconds:.2f} s")
        tour.equal = serial == tour.pairs and report.holds(place, tour.pairs)
        say(f"\n3. A pool of {tour.workers} workers does the same work once more.")
        pooled = in_pool(tour, say, progress())
        say(f"  {len(pooled)} pairs in {tour.pool_seconds:.2f} s")
        tour.equal = tour.equal and serial == pooled
    say("\n4. The near duplicates.")
    for pair in tour.pairs[:SHOWN]:
        say(report.line(pair))
    if len(tour.pairs) > SHOWN:
        where = f"are in {tour.report}" if tour.report else "are kept with --report FILE"
        say(f"  and {len(tour.pairs) - SHOWN} more; all {where}")


def in_one_process(tour: Tour, progress: Progress) -> list[Pair]:
    """Do the job here, one task after the other."""

    def do(tasks: Sequence[Task]) -> Iterator[Finding]:
        findings = (carry_out(task, tour.directory, "serial") for task in tasks)
        return progress.watch(tasks, findings)

    progress.expect("serial", os.getpid())
    start = time.perf_counter()
    pairs = near_duplicates(tour.files, do)
    tour.serial_seconds = time.perf_counter() - start
    return pairs


def in_processes(tour: Tour, place: str, say: Say, progress: Progress) -> None:
    """Have the job done by a crew. What is timed includes its start and its end."""
    start = time.perf_counter()
    with Crew(tour.directory, place, tour.workers, tour.start_method) as crew:
        crew.start()
        say("  Process: its own memory, its own pid; the system finds a core for each.")
        for worker in crew.workers:
            progress.expect(worker.name, worker.pid)
            say(f"    {worker.name} has pid {worker.pid}")
        say("  Queue: batches of files go out by one, findings come back by another to this")
        say("    process, the only one that collects. Only bytes cross: names there, hashes back.")
        say("  Lock: whoever finds near duplicates holds it while writing to the shared report.")
        first = crew.workers[0]
        first.join(GLANCE)
        say(f"  join({GLANCE}): waits so long at most; {first.name} {ending(first.exitcode)}.")
        tour.pairs = near_duplicates(
            tour.files, lambda tasks: progress.watch(tasks, crew.do(tasks))
        )
        say("  Event: set now, it tells all workers that no more will come.")
        crew.dismiss()
        for worker in crew.workers:
            say(f"    join({LAST_CALL}): {worker.name} {ending(worker.exitcode)}")
    tour.parallel_seconds = time.perf_counter() - start
    tour.figures = list(progress.figures.values())
    for figures in tour.figures:
        say(f"  {figures}")


def in_pool(tour: Tour, say: Say, progress: Progress) -> list[Pair]:
    """Have the job done by a pool. What is timed includes its start, but not its end."""
    start = time.perf_counter()
    with Team(tour.directory, tour.workers, tour.start_method) as team:
        say("  map: hands the runs out and waits; the results stand in the order of the tasks.")
        say("  imap: the results come one after the other while others are still worked on.")
        pairs = near_duplicates(tour.files, lambda tasks: progress.watch(tasks, team.do(tasks)))
        tour.pool_seconds = time.perf_counter() - start
        say("  apply_async: does not wait; a callback says each result as soon as it is there:")
        team.ask(tour.files, pairs, lambda fact: say(f"    {fact}"))
        team.dismiss()
        say("  close, join: no more tasks; all workers and callbacks are done.")
    return pairs
