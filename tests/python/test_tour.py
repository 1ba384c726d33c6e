"""The tour: what its command line promises, and what it finds in files that are known."""

import json
import os
import pty
import random
import re
import subprocess
import sys
import zlib

import pytest
from deadline import GUARD
from procession.tour import files, similarity, work
from program import Program
from under_test import METHODS

LAST_LINES = [re.compile(r"speed-up \d+\.\d\d"), re.compile("results equal")]


def words(seed, number):
    """A text of so many words, ten a line, the same for the same seed."""
    chosen = random.Random(seed).choices([f"word{i}" for i in range(5000)], k=number)
    return "".join(word + (" " if i % 10 else "\n") for i, word in enumerate(chosen, 1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eight text files, three of them near duplicates, and much that is to be left out."""
    root = tmp_path_factory.mktemp("texts")
    original = words(1, 600)
    contents = {
        "a/original.txt": original,
        "b/copy.py": original,
        "b/edited.txt": original.replace("\n", " inserted\n", 5),
        "b/half.txt": original[: len(original) // 2] + words(2, 300),
        "c/other.txt": words(3, 600),
        "c/long.txt": words(4, 60_000),
        "c/short.txt": "too short to say\n",
        "d/short.txt": "too short to say\n",
        "d/empty.txt": "",
        "d/binary": original + "\0",
        "d/two\nlines.txt": original,
        "__pycache__/original.txt": original,
        "site-packages/original.txt": original,
        ".git/original.txt": original,
    }
    for path, text in contents.items():
        place = root / path
        place.parent.mkdir(exist_ok=True)
        place.write_text(text, encoding="utf-8")
    (root / "d/link.txt").symlink_to(root / "a/original.txt")
    (root / "d/loop").symlink_to(root)
    (root / "d/huge.txt").write_bytes(b"word " * (files.MAX_BYTES // 5 + 1))
    os.mkfifo(root / "d/pipe")
    return root


@pytest.fixture(scope="module")
def large_folder(tmp_path_factory):
    """Text for some seconds of work."""
    root = tmp_path_factory.mktemp("large")
    for seed in range(120):
        (root / f"{seed}.txt").write_text(words(seed, 20_000), encoding="utf-8")
    return root


def tour(*arguments):
    """The running tour."""
    return Program("", command=["-m", "procession", "tour", *map(str, arguments)])


def take(*arguments, code=0):
    """Take the tour to its end; stdout and stderr."""
    with tour(*arguments) as program:
        found = program.wait()
        assert found == code, f"exit code {found}\n{program.report()}"
        return program.stdout, program.stderr


def expected(pairs):
    return [(pair["first"], pair["second"]) for pair in pairs]


# --- the command line


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("method", METHODS)
def test_json(folder, method, workers):
    out, err = take(folder, "--json", "--start-method", method, "--workers", workers)
    assert err == ""
    found = json.loads(out)
    assert found["directory"] == str(folder)
    assert found["start_method"] == method
    assert found["workers"] == workers
    assert found["files"] == 8
    assert found["bytes"] == sum(file.size for file in files.text_files(str(folder)))
    assert found["equal"] is True
    assert found["serial_seconds"] > 0
    assert found["parallel_seconds"] > 0
    assert found["speedup"] == pytest.approx(found["serial_seconds"] / found["parallel_seconds"])
    assert expected(found["pairs"]) == [
        ("a/original.txt", "b/copy.py"),
        ("a/original.txt", "b/edited.txt"),
        ("b/copy.py", "b/edited.txt"),
    ]
    assert found["pairs"][0]["similarity"] == 1
    assert 0.9 < found["pairs"][1]["similarity"] < 1
    figures = found["per_worker"]
    assert [worker["worker"] for worker in figures] == [f"tour-{i + 1}" for i in range(workers)]
    assert len({worker["pid"] for worker in figures}) == workers
    assert sum(worker["files"] for worker in figures) == 8
    assert sum(worker["size"] for worker in figures) >= found["bytes"]
    assert sum(worker["compared"] for worker in figures) >= 3
    assert sum(worker["busy"] for worker in figures) > 0


@pytest.mark.parametrize("method", METHODS)
def test_what_it_says(folder, method):
    out, err = take(folder, "--start-method", method, "--workers", 2)
    assert err == ""
    lines = out.splitlines()
    assert all(map(re.fullmatch, LAST_LINES, lines[-2:])), out
    assert " 100.0%  a/original.txt  b/copy.py" in lines
    assert "\x1b" not in out
    for noun in ("cpu_count", "Process", "Queue", "Lock", "Event", "join(0.01)", "join(5.0)"):
        assert noun in out
    for worker in ("tour-1", "tour-2"):
        assert f"{worker} ended with exit code 0" in out


def test_report_is_kept_where_it_is_asked_for(folder, tmp_path):
    place = tmp_path / "report"
    out, _ = take(folder, "--report", place)
    lines = place.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 3
    assert set(lines) <= set(out.splitlines())


def test_without_near_duplicates(tmp_path):
    (tmp_path / "alone.txt").write_text(words(1, 100), encoding="utf-8")
    out, _ = take(tmp_path)
    assert out.endswith("results equal\n")
    assert "0 pairs" in out


def test_on_a_terminal_the_progress_is_live(folder):
    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "procession", "tour", str(folder)]
    with subprocess.Popen(command, stdout=terminal, stderr=subprocess.PIPE) as process:
        os.close(terminal)
        out = b""
        try:
            while piece := os.read(controller, 65536):
                out += piece
        except OSError:  # EIO: the last process has closed the terminal
            pass
        assert process.stderr.read() == b""
        assert process.wait(GUARD) == 0
    os.close(controller)
    assert b"\x1b[" in out
    assert b"[" + b"#" * 40 + b"] 100%" in out
    assert out.endswith(b"results equal\r\n")


@pytest.mark.parametrize("json_too", [[], ["--json"]])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", "No such file or directory: '{}'"),
        ("file", "Not a directory: '{}'"),
        ("empty", "no text files under '{}'"),
    ],
)
def test_a_directory_that_is_of_no_use(tmp_path, name, message, json_too):
    (tmp_path / "file").write_text("text", encoding="utf-8")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "binary").write_bytes(b"\0")
    out, err = take(tmp_path / name, *json_too, code=2)
    assert out == ""
    assert err == f"procession tour: {message.format(tmp_path / name)}\n"


def test_a_report_that_cannot_be_written(folder, tmp_path):
    place = tmp_path / "missing" / "report"
    _, err = take(folder, "--report", place, code=2)
    assert err == f"procession tour: No such file or directory: '{place}'\n"


@pytest.mark.parametrize("number", ["0", "-1", "two", "1.5", ""])
def test_wrong_number_of_workers(folder, number):
    out, err = take(folder, f"--workers={number}", code=2)
    assert out == ""
    assert f"--workers: expected a number of 1 or more, found '{number}'" in err


@pytest.mark.parametrize("arguments", [["--start-method", "magic"], ["--magic"], ["one", "two"]])
def test_wrong_arguments(arguments):
    out, err = take(*arguments, code=2)
    assert out == ""
    assert err.startswith("usage: ")


def test_no_command():
    with Program("", command=["-m", "procession"]) as program:
        assert program.wait() == 2
        assert "COMMAND" in program.stderr


# --- what may happen on the way


def pid_of(program, worker):
    """The pid of a worker, as soon as the tour says it."""
    while True:
        found = re.search(rf"{worker} has pid (\d+)", program.line())
        if found:
            return int(found[1])


@pytest.mark.parametrize("method", METHODS)
def test_a_worker_that_is_killed(large_folder, method):
    with tour(large_folder, "--start-method", method, "--workers", 2) as program:
        os.kill(pid_of(program, "tour-2"), 9)
        assert program.wait() == 1, program.report()
        assert "tour-2 ended with exit code -9 (killed by signal 9)\n" in program.stderr
        assert program.stderr.startswith("procession tour: ")
        assert "results" not in program.stdout


def test_ctrl_c(large_folder):
    with tour(large_folder, "--workers", 2) as program:
        pid_of(program, "tour-2")
        while "sketched" not in program.line():  # now the workers are at work
            pass
        program.interrupt()
        assert program.wait() == 130, program.report()
        assert program.stderr == "procession tour: interrupted\n"


def test_nobody_reads_on(large_folder):
    with tour(large_folder) as program:
        program.line()
        program.popen.stdout.close()
        assert program.popen.wait(GUARD) == 1
        assert program.stderr == ""


# --- similarity


def test_shingles():
    text = b"one two  three\n(four), five_5 six seven"
    assert similarity.shingles(text) == {
        zlib.crc32(run)
        for run in (
            b"one two three ( four )",
            b"two three ( four ) ,",
            b"three ( four ) , five_5",
            b"( four ) , five_5 six",
            b"four ) , five_5 six seven",
        )
    }


@pytest.mark.parametrize("text", [b"", b" \n", b"five words are too few"])
def test_no_shingles(text):
    assert similarity.shingles(text) == set()


def test_words_beyond_ascii_are_whole():
    assert len(similarity.shingles("größer als früher, ça va très bien".encode())) == 3


@pytest.mark.parametrize(
    ("first", "second", "alike"),
    [
        (set(), set(), 0),
        ({1}, set(), 0),
        ({1, 2}, {3}, 0),
        ({1, 2, 3}, {2, 3, 4}, 0.5),
        ({1, 2}, {1, 2}, 1),
    ],
)
def test_similarity(first, second, alike):
    assert similarity.similarity(first, second) == alike
    assert similarity.similarity(second, first) == alike


def test_keys_are_the_same_for_the_same_shingles():
    hashes = similarity.shingles(words(1, 500).encode())
    found = similarity.keys(hashes)
    assert len(set(found)) == similarity.SLOTS // similarity.BAND
    assert similarity.keys(set(sorted(hashes))) == found


def test_keys_are_the_same_everywhere():
    """As in the twin in Rust, and in every process: nothing depends on Python's `hash`."""
    found = similarity.keys(set(range(0, 1 << 32, 12_345_679)))
    assert zlib.crc32(repr(found).encode()) == 2406603472


def test_short_texts_have_no_keys():
    assert similarity.keys(set(range(similarity.FEWEST - 1))) == ()
    assert similarity.keys(set(range(similarity.FEWEST))) != ()


@pytest.mark.parametrize("seed", range(20))
def test_candidates_are_those_that_are_alike(seed):
    numbers = random.Random(seed).sample(range(1 << 32), 3000)
    sets = {
        "first": set(numbers[:1000]),
        "like it": set(numbers[125:1125]),  # 875 of 1125: 78 % alike
        "unlike": set(numbers[2000:]),
    }
    sketches = [similarity.Sketch(name, similarity.keys(sets[name])) for name in sets]
    assert similarity.candidates(sketches) == [("first", "like it")]
    assert similarity.candidates(reversed(sketches)) == [("first", "like it")]


def test_many_alike_do_not_make_a_square_of_candidates():
    sketches = [similarity.Sketch(f"{number:04}", (1, 2)) for number in range(1000)]
    assert len(similarity.candidates(sketches)) < 1000 * similarity.NEIGHBOURS


def test_families():
    pairs = [("a", "b"), ("c", "d"), ("b", "e"), ("f", "g"), ("d", "g")]
    assert similarity.families(pairs) == [
        [("a", "b"), ("b", "e")],
        [("c", "d"), ("d", "g"), ("f", "g")],
    ]
    assert similarity.families([]) == []


# --- tasks


def test_each_file_and_pair_is_in_one_task():
    chosen = [files.File(f"{number:03}", 1000 * number) for number in range(1, 200)]
    tasks = work.sketching(chosen)
    assert sorted(file for task in tasks for file in task.files) == chosen
    largest = max(file.size for file in chosen)
    assert all(work.total(task.files) <= max(work.BATCH_BYTES, largest) for task in tasks)
    pairs = [(a.path, b.path) for a in chosen for b in chosen if a < b]
    comparisons = work.comparing(chosen, pairs)
    assert sorted(pair for task in comparisons for pair in task.pairs) == pairs
    assert len(comparisons) > 1
    for task in comparisons:
        assert {file.path for file in task.files} == {path for pair in task.pairs for path in pair}


def test_text_files(folder):
    assert [file.path for file in files.text_files(str(folder))] == [
        "a/original.txt",
        "b/copy.py",
        "b/edited.txt",
        "b/half.txt",
        "c/long.txt",
        "c/other.txt",
        "c/short.txt",
        "d/short.txt",
    ]
