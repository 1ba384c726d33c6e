"""The job of finding near duplicates, cut into tasks that anybody can do on their own.

A task carries names, not contents: who does it reads the files and works on data of its own.
`near_duplicates` is the whole job; where its tasks are done is its caller's choice.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Union

from .files import File, read
from .similarity import (
    ALIKE,
    Pair,
    Sketch,
    candidates,
    families,
    keys,
    shingles,
    similarity,
)

BATCH_BYTES = 128 << 10
"""A task sketches files of about this size together: some 15 ms of work."""

BATCH_PAIRS = 10_000
"""A task compares this many pairs at most."""


class Found(NamedTuple):
    """What a task brings to light."""

    sketches: tuple[Sketch, ...] = ()
    pairs: tuple[Pair, ...] = ()
    compared: int = 0


@dataclass(frozen=True)
class SketchFiles:
    """Read these files and sketch each."""

    files: tuple[File, ...]
    done = "sketched"

    def run(self, root: str) -> Found:
        """The sketches, one for each file."""
        paths = [file.path for file in self.files]
        return Found(sketches=tuple(Sketch(p, keys(shingles(read(root, p)))) for p in paths))


@dataclass(frozen=True)
class ComparePairs:
    """Read these files and compare those that are paired."""

    files: tuple[File, ...]
    pairs: tuple[tuple[str, str], ...]
    done = "compared"

    def run(self, root: str) -> Found:
        """The pairs that are near duplicates."""
        texts = {file.path: shingles(read(root, file.path)) for file in self.files}
        pairs = (Pair(a, b, similarity(texts[a], texts[b])) for a, b in self.pairs)
        alike = tuple(pair for pair in pairs if pair.similarity >= ALIKE)
        return Found(pairs=alike, compared=len(self.pairs))


Task = Union[SketchFiles, ComparePairs]


class Finding(NamedTuple):
    """What came of one task, and who did it, in how many seconds, from how many bytes."""

    worker: str
    pid: int
    seconds: float
    size: int
    found: Found


def carry_out(task: Task, root: str, worker: str) -> Finding:
    """Do one task, in whatever process this is."""
    start = time.perf_counter()
    found = task.run(root)
    return Finding(worker, os.getpid(), time.perf_counter() - start, total(task.files), found)


def near_duplicates(
    files: list[File], do: Callable[[Sequence[Task]], Iterable[Finding]]
) -> list[Pair]:
    """All near duplicates among `files`, the most alike first.

    `do` has the tasks of a list done, in any order, and gives what came of each as it comes.
    """
    sketches = (sketch for it in do(sketching(files)) for sketch in it.found.sketches)
    tasks = comparing(files, candidates(sketches))
    pairs = (pair for it in do(tasks) for pair in it.found.pairs)
    return sorted(pairs, key=lambda pair: (-pair.similarity, pair))


def sketching(files: list[File]) -> list[SketchFiles]:
    """Tasks that sketch all files; the large files come first, so that the last task is short."""
    tasks: list[SketchFiles] = []
    batch: list[File] = []
    for file in sorted(files, key=lambda file: (-file.size, file)):
        if batch and total(batch) + file.size > BATCH_BYTES:
            tasks.append(SketchFiles(tuple(batch)))
            batch = []
        batch.append(file)
    if batch:
        tasks.append(SketchFiles(tuple(batch)))
    return tasks


def comparing(files: list[File], pairs: list[tuple[str, str]]) -> list[ComparePairs]:
    """Tasks that compare all pairs: one for each family, or several for a very large one."""
    known = {file.path: file for file in files}
    tasks = [
        ComparePairs(tuple(known[path] for path in sorted(set().union(*batch))), tuple(batch))
        for family in families(pairs)
        for batch in _batches(family)
    ]
    return sorted(tasks, key=lambda task: (-total(task.files), task.pairs))


def _batches(family: list[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    for start in range(0, len(family), BATCH_PAIRS):
        yield family[start : start + BATCH_PAIRS]


def total(files: Iterable[File]) -> int:
    """The size of these files together, in bytes."""
    return sum(file.size for file in files)
