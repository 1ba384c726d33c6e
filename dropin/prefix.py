"""A throw-away prefix: an interpreter whose `multiprocessing` is procession, whatever its flags.

CPython's tests start children with -I, -E and -S, which no environment variable and no site
customization reaches. So the interpreter is copied beside links to all of its standard library, and
what shall be different stands among the links.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

METHODS = ("fork", "spawn", "forkserver")

_ASK = """
import _multiprocessing, json, os, sys, sysconfig
print(json.dumps({
    "executable": os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable),
    "version": "%d.%d" % sys.version_info[:2],
    "release": "%d.%d.%d" % sys.version_info[:3],
    "library": sysconfig.get_path("stdlib"),
    "semaphores": getattr(_multiprocessing, "__file__", None),
}))
"""

# Every lock of the standard library's that is made is noted, with who made it.
_SEMAPHORES = '''\
"""The extension module of this name, whose locks are counted."""
import importlib.machinery, importlib.util, os, sys, traceback
_loader = importlib.machinery.ExtensionFileLoader("_multiprocessing", {extension!r})
_spec = importlib.util.spec_from_file_location("_multiprocessing", {extension!r}, loader=_loader)
_module = importlib.util.module_from_spec(_spec)
_loader.exec_module(_module)
globals().update((k, v) for k, v in vars(_module).items() if not k.startswith("__"))

class SemLock(_module.SemLock):
    __slots__ = ()

    def __new__(cls, *args, **options):
        with open({log!r}, "a") as file:
            file.write(" < ".join(
                "%s:%d" % (os.path.basename(f.filename), f.lineno)
                for f in reversed(traceback.extract_stack()[:-1])) + "\\n")
        return super().__new__(cls, *args, **options)
'''

_PACKAGE = '''\
"""The standard library's multiprocessing, from its own place; then procession in its stead."""
import sys as _sys
__path__ = [{folder!r}]
__file__ = {folder!r} + "/__init__.py"
with open(__file__, "rb") as _file:
    exec(compile(_file.read(), __file__, "exec"))
# A child of ours imports procession first, and installs it as its starter told it to.
if "procession" not in _sys.modules:
    import procession as _procession
    _procession.install()
'''

_TESTS = """\
from test import _test_multiprocessing
_test_multiprocessing.install_tests_in_module_dict(globals(), {method!r})
"""


class Prefix:
    """The prefix of an interpreter; with `package`, the folder of procession, in which that is
    multiprocessing, else one that has the standard library's own."""

    def __init__(self, interpreter, folder, package=None):
        asked = subprocess.run(
            [interpreter, "-c", _ASK], check=True, stdout=subprocess.PIPE, cwd="/"
        )
        about = json.loads(asked.stdout)
        self.version, self.release = about["version"], about["release"]
        self.folder = Path(folder)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.python = self.folder / "bin" / f"python{self.version}"
        self.python.parent.mkdir(parents=True)
        shutil.copy2(about["executable"], self.python)
        self.semaphores = self.folder / "semaphores.log"
        theirs = Path(about["library"])
        ours = self.folder / "lib" / theirs.name
        ours.mkdir(parents=True)
        different = {"site-packages", "__pycache__", *(["multiprocessing"] if package else [])}
        for entry in theirs.iterdir():
            if entry.name not in different:
                (ours / entry.name).symlink_to(entry)
        # Compiled again otherwise, for each link.
        shutil.copytree(theirs / "__pycache__", ours / "__pycache__")
        self._write(
            ours / "_multiprocessing.py",
            _SEMAPHORES.format(extension=about["semaphores"], log=str(self.semaphores)),
        )
        if package is not None:
            (ours / "procession").symlink_to(package)
            folder = str(theirs / "multiprocessing")
            self._write(ours / "multiprocessing" / "__init__.py", _PACKAGE.format(folder=folder))
        for method in METHODS:
            self._write(ours / f"dropin_{method}.py", _TESTS.format(method=method))

    @staticmethod
    def _write(path, text):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def count_semaphores(self):
        """How many locks of the standard library's were made since the last call, and where."""
        try:
            lines = self.semaphores.read_text(encoding="utf-8").splitlines()
            os.unlink(self.semaphores)
        except FileNotFoundError:
            lines = []
        return lines
