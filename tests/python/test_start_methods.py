"""Start methods: fork, spawn and forkserver, the contexts, the main module and its guard."""

import multiprocessing.context
import sys
import zipfile

import pytest
from processes import finish, start
from program import Program, run_program, source_of
from under_test import METHODS, mp

# --- choosing


def test_all_start_methods():
    assert {"fork", "spawn", "forkserver"} <= set(mp.get_all_start_methods())


def test_contexts(ctx, method):
    assert ctx.get_start_method() == method
    assert ctx.get_context() is ctx
    assert mp.get_context(method) is ctx
    assert isinstance(ctx, multiprocessing.context.BaseContext)
    assert ctx.Process()._start_method == method


def test_unknown_methods():
    for wrong in "nothing", "", 3:
        with pytest.raises(ValueError, match="cannot find context"):
            mp.get_context(wrong)
        with pytest.raises(ValueError, match="cannot find context"):
            mp.set_start_method(wrong, force=True)


def test_a_concrete_context_keeps_its_method(ctx):
    with pytest.raises(ValueError, match="concrete context"):
        ctx.set_start_method("spawn")


def test_the_default_is_the_interpreters():
    program = """
        import multiprocessing
        import procession as mp

        print(mp.get_start_method(allow_none=True))
        print(mp.get_start_method() == multiprocessing.get_start_method())
        print(mp.get_context().get_start_method() == mp.get_start_method())
    """
    assert run_program(program).lines == ["None", "True", "True"]


def test_set_start_method_once():
    program = """
        import procession as mp

        calls = ("spawn", {}), ("fork", {}), ("spawn", {}), ("fork", {"force": True})
        for method, options in calls:
            try:
                mp.set_start_method(method, **options)
            except RuntimeError as error:
                print(error)
            print(mp.get_start_method(), mp.get_context().get_start_method())
    """
    assert run_program(program).lines == [
        "spawn spawn",
        "context has already been set",
        "spawn spawn",
        "context has already been set",
        "spawn spawn",
        "fork fork",
    ]


@pytest.mark.parametrize("method", METHODS)
def test_a_child_has_the_method_too(method):
    program = """
        import sys
        import procession as mp

        def child(queue):
            queue.put(mp.get_start_method())

        if __name__ == "__main__":
            mp.set_start_method(sys.argv[1])
            queue = mp.Queue()
            process = mp.Process(target=child, args=(queue,))
            process.start()
            print(queue.get())
            process.join()
    """
    assert run_program(program, method).lines == [method]


# --- the main module


MAIN = """
    import sys
    import procession as mp

    def child(queue):
        queue.put((__name__, __file__ == sys.modules["__main__"].__file__))

    print("main runs as", __name__, flush=True)

    if __name__ == "__main__":
        print("the guarded block runs", flush=True)
        ctx = mp.get_context(sys.argv[1])
        queue = ctx.Queue()
        process = ctx.Process(target=child, args=(queue,))
        process.start()
        print(*queue.get(), flush=True)
        process.join()
        print(process.exitcode)
"""

SAID = {
    "fork": ["main runs as __main__", "the guarded block runs", "__main__ True", "0"],
    "spawn": [
        "main runs as __main__",
        "the guarded block runs",
        "main runs as __mp_main__",
        "__mp_main__ True",
        "0",
    ],
}
SAID["forkserver"] = SAID["spawn"]


@pytest.mark.parametrize("method", METHODS)
def test_main_block_runs_once_and_mains_name(method):
    assert run_program(MAIN, method).lines == SAID[method]


@pytest.mark.parametrize("method", METHODS)
def test_run_by_minus_m_module(method, tmp_path):
    (tmp_path / "the_module.py").write_text(source_of(MAIN), encoding="utf-8")
    env = {"PYTHONPATH": str(tmp_path)}
    assert run_program("", method, command=["-m", "the_module"], env=env).lines == SAID[method]


# A package, a folder and an archive are run by their __main__, which no other process can import by
# a name of its own: what it starts stands in modules beside it.
FOLDER_MAIN = """
    import sys
    import procession as mp
    from MODULE import child

    if __name__ == "__main__":
        print("the guarded block runs", flush=True)
        ctx = mp.get_context(sys.argv[1])
        queue = ctx.Queue()
        process = ctx.Process(target=child, args=(queue,))
        process.start()
        print(queue.get(), flush=True)
        process.join()
        print(process.exitcode)
"""

FOLDER_WORK = """
def child(queue):
    queue.put(__name__)
"""


def as_package(folder):
    package = folder / "the_package"
    package.mkdir()
    (package / "__init__.py").write_text("", encoding="utf-8")
    (package / "__main__.py").write_text(folder_main("the_package.work"), encoding="utf-8")
    (package / "work.py").write_text(FOLDER_WORK, encoding="utf-8")
    return ["-m", "the_package"], "the_package.work"


def as_directory(folder):
    (folder / "__main__.py").write_text(folder_main("work"), encoding="utf-8")
    (folder / "work.py").write_text(FOLDER_WORK, encoding="utf-8")
    return [str(folder)], "work"


def as_zip(folder):
    path = folder / "the.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("__main__.py", folder_main("work"))
        file.writestr("work.py", FOLDER_WORK)
    return [str(path)], "work"


def folder_main(module):
    return source_of(FOLDER_MAIN).replace("MODULE", module)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", [as_package, as_directory, as_zip])
def test_run_by_a_main_in_a_folder(kind, method, tmp_path):
    command, module = kind(tmp_path)
    env = {"PYTHONPATH": str(tmp_path)} if kind is as_package else {}
    ended = run_program("", method, command=command, env=env)
    assert ended.lines == ["the guarded block runs", module, "0"]
    assert ended.stderr == ""


# With -c and from stdin there is no main module that a spawned child could import, but what other
# modules define runs.
NO_FILE = """
import os, sys, operator
import procession as mp

def child(queue):
    queue.put(__name__)

method = sys.argv[1]
ctx = mp.get_context(method)
if method == "fork":
    queue = ctx.Queue()
    process = ctx.Process(target=child, args=(queue,))
    process.start()
    print(queue.get())
    process.join()
process = ctx.Process(target=sys.exit, args=(5,))
process.start()
process.join()
print(process.exitcode)
"""


@pytest.mark.parametrize("method", METHODS)
def test_run_by_minus_c(method):
    ended = run_program("", method, command=["-c", source_of(NO_FILE)])
    assert ended.lines == (["__main__", "5"] if method == "fork" else ["5"])
    assert ended.stderr == ""


@pytest.mark.parametrize("method", METHODS)
def test_run_from_stdin(method):
    ended = run_program("", method, command=["-"], stdin=NO_FILE)
    assert ended.lines == (["__main__", "5"] if method == "fork" else ["5"])
    assert ended.stderr == ""


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_missing_guard_says_what_to_write(method):
    program = """
        import sys
        import procession as mp

        def child():
            print("the child must not run")

        process = mp.get_context(sys.argv[1]).Process(target=child)
        process.start()
        process.join()
        print("exit code", process.exitcode)
    """
    ended = run_program(program, method, code=None)
    assert "if __name__ == '__main__':" in ended.stderr.replace('"', "'")
    assert "RuntimeError" in ended.stderr
    assert ended.lines == ["exit code 1"]  # of the one child: it started no other


def test_no_guard_is_needed_under_fork():
    program = """
        import procession as mp

        def child():
            print("the child runs", flush=True)

        process = mp.get_context("fork").Process(target=child)
        process.start()
        process.join()
        print("exit code", process.exitcode)
    """
    assert run_program(program).lines == ["the child runs", "exit code 0"]


# --- what a child finds


def test_a_child_finds_the_parents_surroundings(method, tmp_path):
    program = """
        import os
        import sys
        import procession as mp

        def around():
            return (sys.argv, sys.path[-1], os.getcwd(), os.environ["SURROUNDINGS"],
                    sys.flags.dev_mode, sys.warnoptions)

        def child(queue):
            queue.put(around())

        if __name__ == "__main__":
            ctx = mp.get_context(sys.argv[1])
            os.chdir(sys.argv[2])
            os.environ["SURROUNDINGS"] = "new"
            sys.path.append("/appended")
            queue = ctx.Queue()
            process = ctx.Process(target=child, args=(queue,))
            process.start()
            print(queue.get() == around())
            process.join()
    """
    ended = run_program(program, method, tmp_path, "third", interpreter=["-Wignore::UserWarning"])
    assert ended.lines == ["True"]


def exit_if_stdin_is_open():
    sys.exit(3 if sys.stdin.read() else 0)


def test_a_childs_stdin_is_empty(ctx):
    finish(start(ctx, exit_if_stdin_is_open))


@pytest.mark.parametrize("method", METHODS)
def test_a_failing_main_module_is_reported(method):
    program = """
        import sys
        import procession as mp

        def child():
            pass

        if __name__ == "__main__":
            process = mp.get_context(sys.argv[1]).Process(target=child)
            process.start()
            process.join()
            print(process.exitcode)
        else:
            raise LookupError("not under fork")
    """
    ended = run_program(program, method)
    assert ended.lines == ["0" if method == "fork" else "1"]
    assert ended.stderr.count("LookupError: not under fork") == (method != "fork")


@pytest.mark.parametrize("method", METHODS)
def test_ended_while_it_starts(method):
    # Killed at its first breath, a child harms nobody.
    program = """
        import sys
        import procession as mp

        def child(queue, go):
            go.wait()
            queue.put("ran")

        if __name__ == "__main__":
            ctx = mp.get_context(sys.argv[1])
            queue, go = ctx.Queue(), ctx.Event()
            for _ in range(5):
                process = ctx.Process(target=child, args=(queue, go))
                process.start()
                process.kill()
                process.join()
                assert process.exitcode == -9, process.exitcode
            go.set()
            process = ctx.Process(target=child, args=(queue, go))
            process.start()
            process.join()
            print(process.exitcode, queue.get())
    """
    with Program(program, method) as running:
        assert running.wait() == 0, running.report()
        assert running.stdout == "0 ran\n"
