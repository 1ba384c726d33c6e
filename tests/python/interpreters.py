"""Other interpreters of this machine, for what must work between them."""

import functools
import os
import shutil
import subprocess
from pathlib import Path

import pytest


@functools.cache
def _find(version):
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    pyenvs = sorted(root.glob(f"{version}.*/bin/python"), reverse=True)
    for candidate in filter(None, [shutil.which(f"python{version}"), *pyenvs]):
        command = [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        if found.stdout.strip() == version:
            return str(candidate)
    return None


def interpreter(version):
    """The path of a CPython of this version; skips the test where there is none."""
    found = _find(version)
    if found is None:
        pytest.skip(f"there is no Python {version} here")
    return found
