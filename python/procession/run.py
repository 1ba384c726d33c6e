"""`python -m procession run`: a program as it is, where multiprocessing is procession."""

import os
import pkgutil
import runpy
import sys
from types import ModuleType

from .install import install

USAGE = """\
usage: python -m procession run [-c CODE | -m MODULE | PATH] [ARGUMENT...]

Runs a program as python does, a script, a folder, an archive, a module or code, where
`import multiprocessing` gives procession, in the program's children too.
"""


def main(words: list[str]) -> int:
    """Runs what the words of the command line name, as the interpreter itself does."""
    if not words or words[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0 if words else 2
    if words[0] in ("-c", "-m"):
        if len(words) < 2:
            print(f"{USAGE}\nrun: {words[0]} needs an argument", file=sys.stderr)
            return 2
        kind, what, arguments = words[0], words[1], words[2:]
    elif words[0].startswith("-"):
        print(
            f"{USAGE}\nrun: there is no option {words[0]}; options of the interpreter come before "
            "its -m: python -X dev -m procession run ...",
            file=sys.stderr,
        )
        return 2
    else:
        kind, what, arguments = "", words[0], words[1:]
    install()
    if kind == "-c":
        _run_code(what, arguments)
    elif kind == "-m":
        _fresh_main()
        sys.argv[:] = ["-m", *arguments]
        runpy._run_module_as_main(what)  # type: ignore[attr-defined]
    elif pkgutil.get_importer(what) is not None:  # a folder or an archive with a __main__
        _fresh_main()
        sys.argv[:] = [what, *arguments]
        _search(what, always=True)
        runpy._run_module_as_main("__main__", alter_argv=False)  # type: ignore[attr-defined]
    else:
        _run_script(what, arguments)
    return 0


def _run_script(path: str, arguments: list[str]) -> None:
    import io
    from importlib.machinery import SourceFileLoader

    full = os.path.abspath(path)
    try:
        with io.open_code(full) as file:
            source = file.read()
    except OSError as error:
        print(f"{sys.executable}: can't open file {full!r}: {error.strerror}", file=sys.stderr)
        sys.exit(2)
    module = _fresh_main()
    module.__file__ = full
    module.__loader__ = SourceFileLoader("__main__", full)
    vars(module)["__cached__"] = None
    sys.argv[:] = [path, *arguments]
    _search(os.path.dirname(os.path.realpath(path)))
    exec(compile(source, full, "exec", dont_inherit=True), vars(module))


def _run_code(code: str, arguments: list[str]) -> None:
    module = _fresh_main()
    sys.argv[:] = ["-c", *arguments]
    _search("")
    exec(compile(code, "<string>", "exec", dont_inherit=True), vars(module))


def _fresh_main() -> ModuleType:
    """A `__main__` that has nothing of this one."""
    import builtins

    module = ModuleType("__main__")
    vars(module).update(__builtins__=builtins, __annotations__={})
    sys.modules["__main__"] = sys.modules["__mp_main__"] = module
    return module


def _search(folder: str, *, always: bool = False) -> None:
    """Puts the program's folder where the interpreter put its own: first, if it puts any."""
    if not (sys.flags.isolated or getattr(sys.flags, "safe_path", False)):
        sys.path[0] = folder
    elif always:
        sys.path.insert(0, folder)
