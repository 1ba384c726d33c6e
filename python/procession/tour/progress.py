"""What is shown while tasks are done: a picture that changes, plain lines, or nothing."""

import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Optional, TextIO

from .work import Finding, Task, total

MIB = 1 << 20
_FRAME = 0.1
"""A picture is drawn again after so many seconds."""


@dataclass
class Figures:
    """What one worker has done so far."""

    worker: str
    pid: Optional[int]
    files: int = 0
    size: int = 0
    compared: int = 0
    busy: float = 0.0

    def add(self, finding: Finding) -> None:
        """Count one more task."""
        self.files += len(finding.found.sketches)
        self.size += finding.size
        self.compared += finding.found.compared
        self.busy += finding.seconds

    def __str__(self) -> str:
        return (
            f"{self.worker:<8} pid {self.pid:<8} {self.files:>6} files {self.size / MIB:>8.1f} MiB"
            f" {self.compared:>8} comparisons {self.busy:>7.2f} s busy"
        )


class Progress:
    """Counts what is done and shows nothing."""

    def __init__(self) -> None:
        self.figures: dict[str, Figures] = {}
        self.what = ""
        self.whole = self.done = 0

    def expect(self, worker: str, pid: Optional[int]) -> None:
        """Keep figures for this worker."""
        self.figures[worker] = Figures(worker, pid)

    def watch(self, tasks: Sequence[Task], findings: Iterable[Finding]) -> Iterator[Finding]:
        """Pass the findings of these tasks on, and show how far they are."""
        self.what = tasks[0].done if tasks else "nothing to do"
        self.whole, self.done = sum(total(task.files) for task in tasks), 0
        for finding in findings:
            worker = Figures(finding.worker, finding.pid)
            self.figures.setdefault(finding.worker, worker).add(finding)
            self.done += finding.size
            self.show()
            yield finding
        self.end()

    def show(self) -> None:
        """One more task is done."""

    def end(self) -> None:
        """All tasks are done."""


class Lines(Progress):
    """A line for each quarter."""

    def __init__(self, out: TextIO) -> None:
        super().__init__()
        self._out = out
        self._quarter = 0

    def show(self) -> None:
        """Print a line where another quarter is done."""
        quarter = 4 * self.done // self.whole
        if quarter > self._quarter:
            size = f"{self.whole / MIB:.1f} MiB"
            print(f"  {25 * quarter:>3} % of {size} {self.what}", file=self._out, flush=True)
        self._quarter = quarter

    def end(self) -> None:
        """Start again for the next tasks."""
        self._quarter = 0


class Picture(Progress):
    """A bar, and a line for each worker, drawn in place on a terminal."""

    def __init__(self, out: TextIO) -> None:
        super().__init__()
        self._out = out
        self._drawn = 0.0
        self._height = 0

    def show(self) -> None:
        """Draw, unless the last picture is quite new."""
        if time.perf_counter() - self._drawn >= _FRAME:
            self._draw([f"  {figures}" for figures in self.figures.values()])

    def end(self) -> None:
        """Leave only the bar."""
        self._draw([])
        self._height = 0

    def _draw(self, workers: list[str]) -> None:
        width, height = shutil.get_terminal_size()
        part = self.done / self.whole if self.whole else 1.0
        filled = round(40 * part)
        bar = f"  [{'#' * filled}{'.' * (40 - filled)}] {part:4.0%} {self.what}"
        lines = [line[: width - 1] for line in [bar, *workers][: height - 1]]
        back = f"\x1b[{self._height}F" if self._height else ""
        self._out.write(back + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J")
        self._out.flush()
        self._height = len(lines)
        self._drawn = time.perf_counter()


def for_terminal() -> Progress:
    """A picture where stdout is a terminal, else lines."""
    return Picture(sys.stdout) if sys.stdout.isatty() else Lines(sys.stdout)
