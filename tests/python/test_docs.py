"""The documents: each test and each path that they name is there, each noun has its file."""

import ast
import re

import pytest
from under_test import HERE, REPOSITORY

TABLE = REPOSITORY / "docs" / "lecture-table.md"
STATEMENTS = REPOSITORY / "docs" / "lecture-statements.md"
PAINS = REPOSITORY / "docs" / "pains.md"
ARCHITECTURE = REPOSITORY / "ARCHITECTURE.md"
RUST_TESTS = tuple(
    f"crates/procession/tests/{name}.rs" for name in ("lecture/main", "pool/main", "template")
)

# What the lecture speaks of, as the first column of the table has it.
ROWS = [
    "how many cores",
    "Process with target, args, name; start",
    "a process from a thread",
    "asking for a specific processor",
    "join, join with a timer, is_alive",
    "pid, names",
    "exit codes",
    "fork / spawn / the main guard",
    "separate memory",
    "data crosses as bytes",
    "pipes and sockets",
    "Event",
    "Lock",
    "RLock",
    "Semaphore, BoundedSemaphore",
    "Condition",
    "Barrier",
    "Mutex",
    "Queue",
    "a pool of N workers",
    "map",
    "apply_async",
    "the rest of a pool's words",
    "CPU-bound work on all cores",
]


def rows(text):
    """The rows of the document's tables, without heads and rules: lists of cells."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    rules = [i for i, row in enumerate(cells) if set("".join(row)) <= set("-: ")]
    heads = {i - 1 for i in rules}
    return [row for i, row in enumerate(cells) if i not in heads and i not in rules]


def names_of_tests(path):
    """The names of the test functions of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def under_both_methods(path, name):
    """Whether the test is run under fork and spawn, as far as its source tells."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    fixtures = {
        node.name: node
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and any("fixture" in ast.unparse(decorator) for decorator in node.decorator_list)
    }

    def needs(node, seen=()):
        arguments = {argument.arg for argument in node.args.args}
        if arguments & {"ctx", "method"}:
            return True
        return any(
            needs(fixtures[argument], (*seen, argument))
            for argument in arguments - set(seen)
            if argument in fixtures
        )

    [test] = [node for node in tree.body if getattr(node, "name", "") == name]
    code = ast.unparse(test)
    return needs(test) or "METHODS" in code or ("Fork" in code and "Spawn" in code)


def python_tests(document):
    """The tests that a document names: file, name, and what follows in parentheses if not all
    start methods show it."""
    text = document.read_text(encoding="utf-8") if document.exists() else ""
    return re.findall(r"`(test_\w+\.py)::(test_\w+)`(?: \(([a-z ]+)\))?", text)


def test_lecture_table_has_each_row():
    assert [row[0] for row in rows(TABLE.read_text(encoding="utf-8"))] == ROWS


@pytest.mark.parametrize("column", [2, 3])
def test_each_row_names_a_test(column):
    for row in rows(TABLE.read_text(encoding="utf-8")):
        if row[column] == "\N{EN DASH}":
            assert row[0] == "Mutex", f"no test for {row[0]}"
        else:
            assert "`" in row[column], f"no test for {row[0]}"


@pytest.mark.parametrize(("file", "name"), [test[:2] for test in python_tests(TABLE)])
def test_each_python_test_of_the_table_exists(file, name):
    assert name in names_of_tests(HERE / file)
    assert under_both_methods(HERE / file, name) or name == "test_is_the_systems"


def test_each_rust_test_of_the_table_exists():
    text = TABLE.read_text(encoding="utf-8")
    found = 0
    for path in RUST_TESTS:
        names = re.findall(rf"`{re.escape(path)}: (\w+)`", text)
        source = (REPOSITORY / path).read_text(encoding="utf-8")
        # With a harness of its own, a test is a function in a list, by its name there.
        assert not [name for name in names if f'"{name}"' not in source]
        found += len(names)
    assert found >= len(ROWS)


def test_each_statement_of_the_lecture_has_its_tests():
    table = rows(STATEMENTS.read_text(encoding="utf-8"))
    assert [row[0] for row in table] == [str(number) for number in range(1, 39)]
    rust = REPOSITORY / "crates" / "procession" / "tests"
    for _, says, python, in_rust in table:
        file, name = python.strip("`").split("::")
        assert name in names_of_tests(HERE / file), says
        assert under_both_methods(HERE / file, name) or name == "test_is_the_systems", says
        if in_rust != "\N{EN DASH}":
            file, name = in_rust.strip("`").split(": ")
            assert f'"{name}"' in (rust / file).read_text(encoding="utf-8"), says


@pytest.mark.parametrize(("file", "name", "only"), python_tests(PAINS))
def test_each_pain_has_tests_that_exist(file, name, only):
    assert name in names_of_tests(HERE / file)
    assert only in ("", "forkserver", "default", "one process", "all in turn")
    if not only:
        assert under_both_methods(HERE / file, name)


def test_each_pain_names_a_test():
    table = rows(PAINS.read_text(encoding="utf-8"))
    assert len(table) > 30
    for pain, here, shown_by in table:
        assert here, pain
        assert "::test_" in shown_by, pain


def paths_in(text):
    """What stands in backticks and looks like a path of this repository."""
    return re.findall(r"`([\w.-]+(?:/[\w.-]*)+)`", text)


DOCUMENTS = sorted(
    path for pattern in ("*.md", "docs/*.md", "bench/*.md") for path in REPOSITORY.glob(pattern)
)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_each_path_named_exists(document):
    missing = [
        path
        for path in paths_in(document.read_text(encoding="utf-8"))
        if not (REPOSITORY / path).exists() and not (document.parent / path).exists()
    ]
    assert not missing


def test_architecture_names_paths():
    assert len(paths_in(ARCHITECTURE.read_text(encoding="utf-8"))) > 20


def nouns_of_architecture():
    """The table of ARCHITECTURE.md whose head begins with "noun": {noun: paths}."""
    text = ARCHITECTURE.read_text(encoding="utf-8")
    table = re.search(r"^\| noun \|.*?(?=\n\n|\Z)", text, re.M | re.S)
    assert table, "ARCHITECTURE.md has no table of nouns"
    found = {}
    for row in rows(table[0]):
        for noun in row[0].split(", "):
            found[noun] = [path for cell in row[1:] for path in re.findall(r"`([^`]+)`", cell)]
    return found


def test_each_noun_has_its_file():
    nouns = nouns_of_architecture()
    for row in rows(TABLE.read_text(encoding="utf-8")):
        for noun in row[1].split(", "):
            assert noun in nouns, f"{noun} is not in ARCHITECTURE.md's table of nouns"
    for noun, paths in nouns.items():
        assert paths, f"no file for {noun}"
        for path in paths:
            assert (REPOSITORY / path).is_file(), f"{noun}: {path} is not there"


def test_each_shared_noun_has_a_file_of_its_name():
    nouns = nouns_of_architecture()
    for noun in "Process", "Lock", "Semaphore", "Event", "Condition", "Barrier", "Queue", "Pipe":
        name = noun.lower()
        assert any(name in re.split(r"[/.]", path) for path in nouns[noun]), noun
