"""Waiting in tests: always with a deadline, and never a sleep in place of synchronisation."""

import os
import time

# Longer than any step takes on a loaded machine, or on one that its host stops for a minute: it
# ends a test that would hang and promises nothing.
GUARD = float(os.environ.get("PROCESSION_TEST_GUARD", "100"))


def eventually(predicate, timeout=GUARD, *, step=0.001, what=""):
    """Poll state outside this process until `predicate` gives something true, and return that."""
    deadline = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {timeout} s: {what or predicate}")
        time.sleep(step)
