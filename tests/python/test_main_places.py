"""Where main may come from: what is defined there runs in children, or fails as in multiprocessing.

A script, a module by -m, and what unittest, pytest and pdb run: children find it, under each start
method. The prompt, IPython's too, a notebook, -c and standard input: a forked child has it, another
one says what it lacks.
`test_start_methods.py` has packages, folders and archives.
"""

import pytest
from program import run_program, source_of
from under_test import METHODS

BODY = """
import os
import procession as mp

def child(queue):
    queue.put(__name__)

def ask(method):
    ctx = mp.get_context(method)
    queue = ctx.Queue()
    process = ctx.Process(target=child, args=(queue,))
    process.start()
    process.join()
    with ctx.Pool(1) as pool:
        return process.exitcode, queue.get() if not process.exitcode else "", pool.apply(abs, (-3,))
"""

SCRIPT = f"""
{BODY}
import sys

if __name__ == "__main__":
    print("answer:", *ask(sys.argv[1]), flush=True)
"""

UNITTEST = f"""
{BODY}
import unittest

class Tests(unittest.TestCase):
    def test_it(self):
        print("answer:", *ask(os.environ["METHOD"]), flush=True)

if __name__ == "__main__":
    unittest.main()
"""

PYTEST = f"""
{BODY}
def test_it(capsys):
    with capsys.disabled():
        print("\\nanswer:", *ask(os.environ["METHOD"]), flush=True)
"""

# What an embedded console does: a main module of its own making, with no file and no spec.
CONSOLE = f"""
import code, sys, types

sys.modules["__main__"] = types.ModuleType("__main__")
console = code.InteractiveConsole(sys.modules["__main__"].__dict__)
console.runsource({BODY!r}, "<cell 1>", "exec")
console.runsource("print('answer:', *ask(%r), flush=True)" % sys.argv[1], "<cell 2>")
"""

# What Jupyter does: a kernel in a process of its own gets cells, and what they print comes back.
NOTEBOOK = f"""
import sys
from jupyter_client.manager import start_new_kernel

kernel, client = start_new_kernel(kernel_name="python3")
for cell in {BODY!r}, "print('answer:', *ask(%r), flush=True)" % sys.argv[1]:
    client.execute_interactive(cell, timeout=60)
client.stop_channels()
kernel.shutdown_kernel(now=True)
"""

WHO = {"fork": "__main__", "spawn": "__mp_main__", "forkserver": "__mp_main__"}


def answer_of(said):
    """What the program answered, wherever it stands in what it said."""
    found = [line.partition("answer: ")[2] for line in said.lines if "answer: " in line]
    assert len(found) == 1, said.report
    return found[0]


def run_file(tmp_path, text, name, command, method, **options):
    (tmp_path / name).write_text(source_of(text), encoding="utf-8")
    env = {"METHOD": method, "PYTHONPATH": str(tmp_path)}
    return run_program("", command=[str(word) for word in command], env=env, **options)


@pytest.mark.parametrize("method", METHODS)
def test_a_script(method, tmp_path):
    path = tmp_path / "the_script.py"
    said = run_file(tmp_path, SCRIPT, path.name, [path, method], method)
    assert answer_of(said) == f"0 {WHO[method]} 3"


@pytest.mark.parametrize("method", METHODS)
def test_a_module(method, tmp_path):
    said = run_file(tmp_path, SCRIPT, "the_module.py", ["-m", "the_module", method], method)
    assert answer_of(said) == f"0 {WHO[method]} 3"


@pytest.mark.parametrize("method", METHODS)
def test_pdb(method, tmp_path):
    path = tmp_path / "the_script.py"
    command = ["-m", "pdb", "-c", "continue", "-c", "quit", path, method]
    said = run_file(tmp_path, SCRIPT, path.name, command, method)
    assert answer_of(said) == f"0 {WHO[method]} 3"


@pytest.mark.parametrize("method", METHODS)
def test_unittest(method, tmp_path):
    command = ["-m", "unittest", "the_tests"]
    said = run_file(tmp_path, UNITTEST, "the_tests.py", command, method)
    assert answer_of(said) == "0 the_tests 3"


@pytest.mark.parametrize("method", METHODS)
def test_a_script_of_unittest(method, tmp_path):
    path = tmp_path / "the_tests.py"
    said = run_file(tmp_path, UNITTEST, path.name, [path], method)
    assert answer_of(said) == f"0 {WHO[method]} 3"


@pytest.mark.parametrize("method", METHODS)
def test_pytest(method, tmp_path):
    path = tmp_path / "test_the_module.py"
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", path]
    said = run_file(tmp_path, PYTEST, path.name, command, method)
    assert answer_of(said) == "0 test_the_module 3"


def as_code(method):
    return {"command": ["-c", source_of(SCRIPT), method]}


def as_stdin(method):
    return {"command": ["-", method], "stdin": SCRIPT}


def as_prompt(method):
    # A blank line ends what the prompt has taken for one definition.
    lines = BODY.replace("\n\ndef", "\n\n\ndef").replace("\ndef", "\n\ndef")
    text = f"{lines}\n\nprint('answer:', *ask({method!r}), flush=True)\n"
    return {"command": ["-i", "-q"], "stdin": text}


def as_console(method):
    return {"command": ["-c", source_of(CONSOLE), method]}


def as_ipython(method):
    text = f"%cpaste -q\n{BODY}\n--\nprint('answer:', *ask({method!r}), flush=True)\n"
    return {"command": ["-m", "IPython", "--simple-prompt", "--no-banner"], "stdin": text}


def as_notebook(method):
    return {"command": ["-c", source_of(NOTEBOOK), method]}


PROMPTS = [as_code, as_stdin, as_prompt, as_console, as_ipython, as_notebook]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", PROMPTS)
def test_what_is_in_no_file(kind, method, tmp_path):
    # What they keep of their own is not the user's.
    env = dict.fromkeys(["IPYTHONDIR", "JUPYTER_RUNTIME_DIR"], str(tmp_path))
    said = run_program("", env=env, **kind(method))
    if method == "fork":
        assert answer_of(said) == "0 __main__ 3"
        return
    # The child has no such function, and says so; a pool calls what others modules define.
    assert answer_of(said) == "1  3"
    assert "AttributeError" in said.stderr
    assert "child" in said.stderr
