"""The page that compares the references: all its names exist, and it has all of the package."""

import importlib
import multiprocessing
import re

import procession
import pytest
from under_test import REPOSITORY

PAGE = (REPOSITORY / "docs" / "reference.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `([\w.]+)` \| (.+) \|$", PAGE, re.M)

# Names of dir(multiprocessing) that are modules, or that its documentation does not have.
NO_REFERENCE = {"SUBDEBUG", "SUBWARNING", "allow_connection_pickling", "reducer", "sys"}
NO_REFERENCE |= {"context", "process", "reduction"}


def find(name):
    """What the dotted name stands for, modules imported on the way."""
    found, path = procession, "procession"
    for part in name.split("."):
        path += f".{part}"
        try:
            found = getattr(found, part)
        except AttributeError:
            found = importlib.import_module(path)
    return found


# What an instance has once it is started.
LATER = {"managers.BaseManager.shutdown"}


@pytest.mark.parametrize("name", [name for name, _ in ROWS if name not in LATER])
def test_each_name_exists(name):
    find(name)


def test_a_started_manager_can_be_shut_down():
    manager = find("managers.SyncManager")()
    manager.start()
    manager.shutdown()


def test_each_row_says_how():
    for name, how in ROWS:
        assert re.fullmatch(r"same|(better|differs): \S.*", how), name


def test_no_row_is_twice():
    names = [name for name, _ in ROWS]
    assert len(set(names)) == len(names) > 150


def test_each_name_of_the_package_is_on_it():
    names = {name for name in dir(multiprocessing) if not name.startswith("_")}
    modules = {name for name in names if type(getattr(multiprocessing, name)).__name__ == "module"}
    assert not names - modules - NO_REFERENCE - {name for name, _ in ROWS}
