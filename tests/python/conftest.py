"""What all tests share: the module under test, its contexts, and an end for stray children."""

import sys
from pathlib import Path

import pytest

# The helpers beside this file are plain modules; spawned children inherit sys.path and find them.
sys.path.insert(0, str(Path(__file__).resolve().parent))
pytest.register_assert_rewrite("deadline", "processes", "program")

from under_test import METHODS, mp  # noqa: E402


def pytest_configure(config):
    # With --import-mode=importlib a test module is named tests.python.test_x: it is by that name
    # that a spawned child imports its target.
    sys.path.append(str(config.rootpath))


@pytest.fixture(params=METHODS)
def method(request):
    """A start method's name."""
    return request.param


@pytest.fixture
def ctx(method):
    """The context of a start method."""
    return mp.get_context(method)


@pytest.fixture(autouse=True)
def _no_strays():
    """A test that fails leaves no children behind for the next."""
    yield
    for process in mp.active_children():
        process.kill()
        process.join()
