"""Whether a process that imported main may be forked: what imports leave that a copy can't have."""

import contextlib
import os
import stat
import sys
import warnings
from collections.abc import Iterator
from typing import Optional

# Devices that a child may have of its parent's.
_HARMLESS = {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"}

# The process that imported main, and what it has open since.
_imported: tuple[int, dict[int, str]] = 0, {}


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Main is imported within the block."""
    global _imported
    before = _descriptors()
    yield
    _imported = os.getpid(), dict(_descriptors().items() - before.items())


def culprit() -> Optional[str]:
    """What the import of main left in this process that a forked child can't have, if anything.
    Nothing in a process that is a copy, and did not import main itself."""
    pid, opened = _imported
    if pid != os.getpid():
        return None
    names = _threads()
    if names:
        # Some libraries end their threads around a fork, and start others when they need them.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pid = os.fork()
        if not pid:
            os._exit(0)
        os.waitpid(pid, 0)
        names = _threads()
    if names:
        return f"an import started a thread ({', '.join(names)})"
    main = sys.modules.get("__mp_main__")
    for name, value in vars(main).items() if main else ():
        if _draws(value):
            return f"main has made a random generator ({name})"
    for number, name in sorted(opened.items() & _descriptors().items()):
        mode = os.fstat(number).st_mode
        if stat.S_ISSOCK(mode):
            return f"an import opened a socket (descriptor {number}, {name})"
        device = stat.S_ISCHR(mode) or stat.S_ISBLK(mode)
        if device and name not in _HARMLESS and not name.startswith("/dev/pts/"):
            return f"an import opened a device (descriptor {number}, {name})"
    return None


def _draws(value: object) -> bool:
    """Whether it draws random numbers from a state of its own: copies would draw alike."""
    random = sys.modules.get("random")
    if random is not None and isinstance(value, random.Random):
        return not isinstance(value, random.SystemRandom)
    numpy = sys.modules.get("numpy.random")
    if numpy is None:
        return False
    # The global one is seeded anew in each copy.
    is_global = value is numpy.mtrand._rand
    kinds = numpy.Generator, numpy.RandomState, numpy.BitGenerator
    return isinstance(value, kinds) and not is_global


def _descriptors() -> dict[int, str]:
    """The open descriptors, and what each is of."""
    found = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            found[int(number)] = os.readlink(f"/proc/self/fd/{number}")
        except OSError:  # it was for the listing
            continue
    return found


def _threads() -> list[str]:
    """The names of this process's threads but the first: Python's, or else the kernel's."""
    threading = sys.modules.get("threading")
    known = {t.native_id: t.name for t in threading.enumerate()} if threading else {}
    names = []
    for task in os.listdir("/proc/self/task"):
        if int(task) != os.getpid():
            try:
                with open(f"/proc/self/task/{task}/comm", encoding="utf-8") as file:
                    names.append(known.get(int(task)) or file.read().strip())
            except OSError:  # it has just ended
                continue
    return names
