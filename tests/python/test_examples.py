"""The examples: each does what it says, under each start method."""

import subprocess
import sys

import pytest
from under_test import METHODS, REPOSITORY

EXAMPLES = REPOSITORY / "examples"

SAYS = {
    "bakery": """
        12 orders wait, the ovens are cold
        all orders are done, 12 batches are on the shelf
        order 0: 1500 g of rye bread
        order 1: 2000 g of spelt bread
        order 2: 1000 g of wheat bread
        order 3: 1500 g of rye bread
        in all 18000 g
        everybody has gone home: True
    """,
    "relay_race": """
        8 runners stand at the line; finished: False
        4 teams arrived, each once: True
        team 0 ran 6 legs, in turn: True
        team 1 ran 6 legs, in turn: True
        team 2 ran 6 legs, in turn: True
        team 3 ran 6 legs, in turn: True
        free in the end: True 2
    """,
    "pool_calls": """
        apply: 40
        map: [0, 10, 20, 30, 40, 50]
        starmap: [256, 27, 25]
        imap: [0, 10, 20, 30, 40, 50]
        imap_unordered: [0, 10, 20, 30, 40, 50]
        apply_async: 343 True
        callback: [10, 20, 30]
        a task that fails: division by zero
        imap goes on behind it: [0.25, 'no reciprocal', 0.5]
        a task that ends its worker: WorkerDied
        and the pool goes on: [10, 20]
        a task that takes too long: nobody has to wait for it
        a pool that is over: Pool not running
    """,
    "ballot_box": """
        1200 ballots were counted; all clerks have signed: True
        apples: 480 votes, 40%
        pears: 480 votes, 40%
        plums: 240 votes, 20%
        turnout: 60.0%
    """,
    "guest_book": """
        in the book: ['Euler', 'Gauss', 'Noether']
        rooms taken: 3 by ['Euler', 'Gauss', 'Noether']
        pages: [100, 101, 102, 103, 104]
        what a method raises comes back: a guest needs a name
        private methods are not exposed: True
        unless they are named: []
        namespace: come in 3
    """,
    "far_workers": """
        498 numbers were looked at by 3 workers over TCP
        perfect: [6, 28, 496]
        who has another key is not let in
    """,
}
# What an example stands on beside the package itself.
NEEDS = {
    "ballot_box": "procession.sharedctypes",
    "guest_book": "procession.managers",
    "far_workers": "procession.managers",
}


def test_each_example_is_tested_and_told_of():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == SAYS.keys()
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert not [name for name in SAYS if f"`{name}.py`" not in text]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", SAYS)
def test_example(name, method):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    command = [sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py"), "--method", method]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert ended.stderr == ""
    assert ended.stdout.splitlines() == [line.strip() for line in SAYS[name].strip().splitlines()]
    assert ended.returncode == 0
