"""`install()`: `import multiprocessing` gives procession from then on, here and in all children.

Each module of ours is put in the place of the standard library's of the same name. Ours have taken
what they need of the standard library's when they were imported, so all of them are imported first.
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, Optional

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

_THEIRS = "multiprocessing"
_OURS = __package__

MODULES = (
    "connection",
    "context",
    "dummy",
    "dummy.connection",
    "forkserver",
    "heap",
    "managers",
    "pool",
    "popen_fork",
    "popen_forkserver",
    "popen_spawn_posix",
    "process",
    "queues",
    "reduction",
    "resource_sharer",
    "resource_tracker",
    "shared_memory",
    "sharedctypes",
    "spawn",
    "synchronize",
    "util",
)


class _Finder:
    """Finds what else is imported from multiprocessing: no module of ours is loaded twice."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> "Optional[ModuleSpec]":
        package, _, module = name.partition(".")
        if package != _THEIRS or not module:
            return None
        from importlib.machinery import ModuleSpec

        return ModuleSpec(name, _Finder)  # type: ignore[arg-type]  # it has what a loader needs

    @staticmethod
    def create_module(spec: "ModuleSpec") -> None:
        return None

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        from importlib import import_module

        name = module.__name__
        try:
            sys.modules[name] = import_module(_OURS + name[len(_THEIRS) :])
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name) from error


def install() -> None:
    """Puts procession in the place of multiprocessing, for what is imported from now on.

    Children have it too, under each start method. Call it before anything else imports
    multiprocessing: who has imported it keeps what he has. A second call does nothing.

    >>> import procession
    >>> procession.install()
    >>> import multiprocessing
    >>> multiprocessing.Queue is procession.Queue
    True
    """
    if is_installed():
        return
    from importlib import import_module

    # All before the first takes its place: they import each other's counterparts.
    modules = {name: import_module(f".{name}", _OURS) for name in MODULES}
    for name, module in modules.items():
        sys.modules[f"{_THEIRS}.{name}"] = module
    sys.modules[_THEIRS] = sys.modules[_OURS]
    sys.meta_path.insert(0, _Finder)


def is_installed() -> bool:
    """Whether procession has the place of multiprocessing."""
    return sys.modules.get(_THEIRS) is sys.modules[_OURS]
