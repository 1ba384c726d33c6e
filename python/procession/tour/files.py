"""Which files the tour looks at: the text and source files under a directory."""

import os
import re
import stat
from typing import NamedTuple

MAX_BYTES = 1 << 20
"""Larger files are data rather than something that somebody wrote."""

SKIPPED = {"__pycache__", "site-packages", "dist-packages"}
"""Directories that hold what a tool put there; so do those whose name begins with a dot."""

UNSHOWABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""What keeps a name from standing on a line of UTF-8: control characters, stray bytes."""


class File(NamedTuple):
    """A file by its path from the root, with `/`, and its size in bytes."""

    path: str
    size: int


def read(root: str, path: str) -> bytes:
    """The content of a file by its path from the root."""
    with open(os.path.join(root, path), "rb") as file:
        return file.read()


def text_files(root: str) -> list[File]:
    """The text files under `root`, by path.

    Left out are links, empty and too large files, those that hold a NUL byte (binary) and those
    that cannot be read. Each is read to its end, so that no run that follows waits for the disk.
    OSError if `root` is no directory that can be listed.
    """
    os.scandir(root).close()
    files = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in SKIPPED and name[0] != "."]
        for name in names:
            path = os.path.relpath(os.path.join(folder, name), root).replace(os.sep, "/")
            size = _text_size(os.path.join(folder, name))
            if size and not UNSHOWABLE.search(path):
                files.append(File(path, size))
    return sorted(files)


def _text_size(path: str) -> int:
    """The size of a text file; 0 for anything else."""
    try:
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES:
            return 0
        with open(path, "rb") as file:
            content = file.read()
    except OSError:
        return 0
    return 0 if b"\0" in content else len(content)
