"""Rules from the first day: no thread, no SemLock, no name, hooks kept, no waiting in Python."""

import ast
import json
import os
import re

import pytest
from deadline import eventually
from program import Program, run_program, source_of
from under_test import METHODS, REPOSITORY

PACKAGE = REPOSITORY / "python" / "procession"
ARCHITECTURE = REPOSITORY / "ARCHITECTURE.md"

# A program that uses a Process, a Queue, each kind of lock, an Event and a Pipe, and then says with
# `look` what it finds: in the root, in a child, and in the root after the child's end.
USES = """
    import os
    import sys
    import procession as mp

    {look}

    def use(queue, locks, event, condition, barrier, connection):
        for lock in locks:
            with lock:
                queue.put(os.getpid())
                queue.get()
        condition.acquire()
        condition.wait(0.001)
        condition.notify_all()
        condition.release()
        queue.put(b"x" * 300_000)
        queue.get()
        event.set()
        event.wait()
        barrier.wait()
        connection.send("here")

    def child(*shared):
        use(*shared)
        look("child")

    if __name__ == "__main__":
        ctx = mp.get_context(sys.argv[1])
        queue, event, condition, barrier = ctx.Queue(), ctx.Event(), ctx.Condition(), ctx.Barrier(2)
        locks = ctx.Lock(), ctx.RLock(), ctx.Semaphore(2), ctx.BoundedSemaphore(2)
        mine, other = ctx.Pipe()
        bounded = ctx.Queue(3)
        bounded.put(1)
        process = ctx.Process(target=child, args=(queue, locks, event, condition, barrier, other))
        process.start()
        use(queue, locks, event, condition, barrier, mine)
        assert mine.recv() == "here"
        look("root, beside its child")
        process.join()
        assert process.exitcode == 0, process.exitcode
        look("root")
"""


def uses(look):
    """The program with a function `look(where)`."""
    lines = look.strip("\n").splitlines()
    return USES.replace("{look}", ("\n" + " " * 4).join(lines))


# --- threads


@pytest.mark.parametrize("method", METHODS)
def test_no_thread_of_ours(method):
    look = """
def look(where):
    print(where, len(os.listdir("/proc/self/task")), flush=True)
"""
    ended = run_program(uses(look), method)
    assert sorted(ended.lines) == ["child 1", "root 1", "root, beside its child 1"]


@pytest.mark.parametrize("method", METHODS)
def test_fork_warns_of_nothing(method):
    # From 3.12 on os.fork() warns when there is any native thread.
    look = """
def look(where):
    pid = os.fork()
    if not pid:
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    print(where, "forked", flush=True)
"""
    ended = run_program(uses(look), method, interpreter=["-W", "error"])
    assert len(ended.lines) == 3, ended.report
    assert ended.stderr == ""


# --- hooks


@pytest.mark.parametrize("method", METHODS)
def test_coverage_sees_every_child(method, tmp_path):
    pytest.importorskip("coverage")
    (tmp_path / "rc").write_text(
        "[run]\nconcurrency = multiprocessing\nparallel = true\n"
        f"data_file = {tmp_path / 'data'}\nsource = {tmp_path}\n",
        encoding="utf-8",
    )
    program = tmp_path / "covered.py"
    program.write_text(
        source_of(
            """
            import sys
            import procession as mp

            def first(queue):
                queue.put("first")  # line 5

            def second(queue):
                queue.put("second")  # line 8
                grandchild = mp.get_context(sys.argv[1]).Process(target=third, args=(queue,))
                grandchild.start()
                grandchild.join()

            def third(queue):
                queue.put("third")  # line 14

            class Fourth(mp.Process):
                def run(self):
                    raise SystemExit(4)  # line 18

            if __name__ == "__main__":
                mp.set_start_method(sys.argv[1])
                queue = mp.Queue()
                processes = [mp.Process(target=f, args=(queue,)) for f in (first, second)]
                processes.append(Fourth())
                for process in processes:
                    process.start()
                for process in processes:
                    process.join()
                print(sorted(queue.get() for _ in range(3)))
            """
        ),
        encoding="utf-8",
    )
    rc = f"--rcfile={tmp_path / 'rc'}"
    run = run_program("", method, command=["-m", "coverage", "run", rc, str(program)])
    assert run.lines == ["['first', 'second', 'third']"]
    assert len(list(tmp_path.glob("data.*"))) == 5, "one file of data for each process"
    run_program("", command=["-m", "coverage", "combine", rc])
    run_program("", command=["-m", "coverage", "json", rc, "-o", str(tmp_path / "report")])
    [report] = json.loads((tmp_path / "report").read_text(encoding="utf-8"))["files"].values()
    assert {5, 8, 14, 18} <= set(report["executed_lines"])


FORK_HOOKS = """
    import os
    import sys
    import procession as mp

    seen = []
    sys.addaudithook(lambda event, args: event == "os.fork" and seen.append(event))
    os.register_at_fork(
        before=lambda: seen.append("before"), after_in_child=lambda: seen.append("child")
    )

    def child(queue):
        queue.put(seen)

    if __name__ == "__main__":
        ctx = mp.get_context("fork")
        queue = ctx.Queue()
        process = ctx.Process(target=child, args=(queue,))
        process.start()
        print(*queue.get())
        process.join()
"""


def test_fork_goes_through_pythons_own():
    assert sorted(run_program(FORK_HOOKS).lines[0].split()) == ["before", "child", "os.fork"]


# --- semaphores and names


def test_no_semlock_is_created(tmp_path):
    # In each process, from its first line of Python on.
    (tmp_path / "sitecustomize.py").write_text(
        """
import os
import _multiprocessing


class SemLock:
    SEM_VALUE_MAX = _multiprocessing.SemLock.SEM_VALUE_MAX

    def __new__(cls, *args):
        open(os.path.join(os.path.dirname(__file__), f"created-{os.getpid()}"), "w").close()
        raise AssertionError("a SemLock of the standard library was created")

    _rebuild = __new__


_multiprocessing.SemLock = SemLock
open(os.path.join(os.path.dirname(__file__), f"patched-{os.getpid()}"), "w").close()
""",
        encoding="utf-8",
    )
    look = """
def look(where):
    import _multiprocessing
    assert _multiprocessing.SemLock.__module__ == "sitecustomize"
    print(where, flush=True)
"""
    for method in METHODS:
        ended = run_program(uses(look), method, env={"PYTHONPATH": str(tmp_path)})
        assert len(ended.lines) == 3, ended.report
        assert ended.stderr == ""
    assert len(list(tmp_path.glob("patched-*"))) >= 3  # both roots and the spawned child
    assert not list(tmp_path.glob("created-*"))


@pytest.mark.parametrize("method", METHODS)
def test_nothing_has_a_name(method, tmp_path):
    look = """
def look(where):
    used = {line.split()[-1] for line in open("/proc/self/maps")}
    for number in os.listdir("/proc/self/fd"):
        try:
            used.add(os.readlink("/proc/self/fd/" + number))
        except OSError:
            pass
    for name in sorted(used):
        if name.startswith(("/dev/shm/", os.environ["TMPDIR"])):
            print(where, "uses", name, flush=True)
    for name in os.listdir(os.environ["TMPDIR"]):
        print(where, "has made", name, flush=True)
    print(where, flush=True)
"""
    before = set(os.listdir("/dev/shm"))
    ended = run_program(uses(look), method, env={"TMPDIR": str(tmp_path)})
    assert sorted(ended.lines) == ["child", "root", "root, beside its child"]
    assert os.listdir(tmp_path) == []
    # What others make there comes and goes; what is left of a program stays.
    eventually(lambda: not set(os.listdir("/dev/shm")) - before, 10, what="no new name in /dev/shm")


@pytest.mark.parametrize("method", METHODS)
def test_no_descriptor_for_each_object(method):
    # A shared object is memory: a thousand of each kind cost no descriptor, in a child neither.
    program = """
        import os
        import sys
        import procession as mp

        def descriptors():
            return len(os.listdir("/proc/self/fd"))

        def child(queue, many):
            queue.put(descriptors())

        def started(many):
            process = ctx.Process(target=child, args=(queue, many))
            process.start()
            found = queue.get()
            process.join()
            process.close()
            return found

        if __name__ == "__main__":
            ctx = mp.get_context(sys.argv[1])
            queue = ctx.Queue()
            started([])
            before, before_in_child = descriptors(), started([])
            kinds = ctx.Lock, ctx.RLock, ctx.Event, ctx.Queue, ctx.Condition, ctx.Semaphore
            many = [kind() for kind in kinds for _ in range(1000)]
            for queue in many[3000:4000]:
                queue.put(1)
                queue.get()
            print(descriptors() - before, started(many) - before_in_child)
    """
    assert run_program(program, method).lines == ["0 0"]


# --- the sources: nothing in Python waits

WAITING_MODULES = {"threading", "select", "selectors"}


def waits(tree):
    """What of a module's code waits: imports of waiting modules, calls of time.sleep."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names} & WAITING_MODULES
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            module = node.module.split(".")[0]
            found |= {module} & WAITING_MODULES
            if module == "time" and any(name.name == "sleep" for name in node.names):
                found.add("time.sleep")
        elif isinstance(node, ast.Attribute) and node.attr == "sleep":
            found.add("time.sleep")
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name in ("__import__", "import_module") and node.args[0].value in WAITING_MODULES:
                found.add(node.args[0].value)
    return found


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import threading", {"threading"}),
        ("import os, select as s", {"select"}),
        ("def f():\n    from selectors import DefaultSelector", {"selectors"}),
        ("import importlib\nimportlib.import_module('threading')", {"threading"}),
        ("import time\ntime.sleep(1)", {"time.sleep"}),
        ("from time import sleep", {"time.sleep"}),
        ("import time, os\ntime.monotonic()", set()),
        ("from .threading import x", set()),
    ],
)
def test_the_look_for_waiting_code_finds_it(code, expected):
    assert waits(ast.parse(code)) == expected


def modules_that_wait():
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        what = waits(ast.parse(path.read_text(encoding="utf-8")))
        if what:
            found[path.relative_to(PACKAGE).as_posix()] = what
    return found


def modules_that_may():
    """The list of ARCHITECTURE.md: lines "- `module.py`: reason" below its heading."""
    text = ARCHITECTURE.read_text(encoding="utf-8")
    section = re.search(r"^#+ Python modules that may wait\s*$(.*?)(?=^#|\Z)", text, re.M | re.S)
    assert section, "ARCHITECTURE.md has no heading 'Python modules that may wait'"
    return dict(re.findall(r"^- `([\w./]+\.py)`: (\S.*)$", section[1], re.M))


def test_python_modules_that_wait_are_those_of_the_list():
    assert list(PACKAGE.glob("*.py")), f"no modules in {PACKAGE}"
    assert modules_that_wait().keys() == modules_that_may().keys(), modules_that_wait()


# --- no noise


def test_import_is_silent_under_errors():
    ended = run_program("import procession\n", interpreter=["-W", "error", "-X", "dev"])
    assert (ended.stdout, ended.stderr) == ("", "")


@pytest.mark.parametrize("method", METHODS)
def test_use_is_silent_in_development_mode(method):
    look = """
def look(where):
    print(where, flush=True)
"""
    with Program(uses(look), method, interpreter=["-X", "dev", "-W", "error"]) as program:
        assert program.wait() == 0, program.report()
        # The debug build's and the development mode's own words would show here.
        assert program.stderr == ""
