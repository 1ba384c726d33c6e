"""How alike two texts are, and which texts are worth comparing.

A text becomes the set of its *shingles*: the hashes of all runs of `SHINGLE` words. Two texts are
as alike as their sets overlap (Jaccard: shared by all). To compare every text with every other
would be quadratic; so each gets a *sketch*, and only those whose sketches meet are compared.

The sketch is MinHash with one permutation (Li, Owen and Zhang, 2012): the shingles are dealt into
`SLOTS` slots, the least of each is kept, and an empty slot borrows from its right neighbour. Two
slots are equal about as often as the texts are alike. Each `BAND` of slots is hashed into one key,
under which texts meet; those that are 60 % alike do so under `MEETINGS` of the 80 keys in all but
2 of 10,000 cases.

Nothing here depends on Python's randomised `hash`: all processes find the same.
"""

import re
import struct
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import NamedTuple

SHINGLE = 6
SLOTS = 320
BAND = 4
MEETINGS = 2
FEWEST = 16
"""Texts with fewer shingles are too short to say that one is like another."""

ALIKE = 0.6
"""From here on two texts are near duplicates."""

NEIGHBOURS = 200
"""Of many texts with the same key each is compared with so many that follow, not with all."""

_WORD = re.compile(rb"[0-9A-Za-z_\x80-\xff]+|\S")
_EMPTY = 1 << 32
_KEY = struct.Struct(f"<{1 + BAND}I")


class Sketch(NamedTuple):
    """The keys of one file, one for each band; none if its text is too short."""

    path: str
    keys: tuple[int, ...]


class Pair(NamedTuple):
    """Two files, the first by path first, and how alike they are: from 0 to 1."""

    first: str
    second: str
    similarity: float


def shingles(text: bytes) -> set[int]:
    """The hashes of all runs of `SHINGLE` words; a word is a name, a number or one sign."""
    words = _WORD.findall(text)
    runs = range(len(words) - SHINGLE + 1)
    return {zlib.crc32(b" ".join(words[start : start + SHINGLE])) for start in runs}


def keys(hashes: set[int]) -> tuple[int, ...]:
    """The keys under which a text with these shingles meets those that are like it."""
    if len(hashes) < FEWEST:
        return ()
    slots = [_EMPTY] * SLOTS
    for value in hashes:
        slots[value % SLOTS] = min(slots[value % SLOTS], value)
    for place in reversed(range(2 * SLOTS)):  # twice around: the last slot's neighbour is the first
        if slots[place % SLOTS] == _EMPTY:
            slots[place % SLOTS] = slots[(place + 1) % SLOTS]
    return tuple(
        zlib.crc32(_KEY.pack(start, *slots[start : start + BAND]))
        for start in range(0, SLOTS, BAND)
    )


def candidates(sketches: Iterable[Sketch]) -> list[tuple[str, str]]:
    """The pairs of files that meet often enough, by path; the sketches may come in any order."""
    meeting = defaultdict(list)
    for sketch in sketches:
        for key in sketch.keys:
            meeting[key].append(sketch.path)
    crowds = (sorted(paths) for paths in meeting.values() if len(paths) > 1)
    meetings = Counter(
        (first, second)
        for paths in crowds
        for index, first in enumerate(paths)
        for second in paths[index + 1 : index + 1 + NEIGHBOURS]
    )
    return sorted(pair for pair, times in meetings.items() if times >= MEETINGS)


def similarity(first: set[int], second: set[int]) -> float:
    """The shingles that both have, as a share of all that either has."""
    shared = len(first & second)
    every = len(first) + len(second) - shared
    return shared / every if every else 0.0


def families(pairs: Iterable[tuple[str, str]]) -> list[list[tuple[str, str]]]:
    """The pairs sorted into families: two that have a file in common are in the same one."""
    parent: dict[str, str] = {}

    def eldest(path: str) -> str:
        while parent.setdefault(path, path) != path:
            parent[path] = path = parent[parent[path]]
        return path

    every = sorted(pairs)
    for first, second in every:
        parent[eldest(second)] = eldest(first)
    family = defaultdict(list)
    for pair in every:
        family[eldest(pair[0])].append(pair)
    return list(family.values())
