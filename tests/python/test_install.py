"""`install()` and `python -m procession run`: multiprocessing is procession, in children too."""

import importlib
import multiprocessing
import pkgutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from program import run_program, source_of
from under_test import METHODS, mp

# Where the package is, for interpreters whose flags hide that folder.
FOLDER = str(Path(mp.__file__).parent.parent)
# The standard library's own modules, which those of other systems are not.
THEIRS = [
    name
    for _, name, _ in pkgutil.walk_packages(multiprocessing.__path__, "multiprocessing.")
    if not name.endswith(("win32", "__main__"))
]


# --- names


def test_each_name_of_multiprocessing_is_there():
    program = """
        import multiprocessing
        import procession

        print(*(name for name in dir(multiprocessing) if name not in dir(procession)))
    """
    assert run_program(program).lines == [""]


@pytest.mark.parametrize("name", THEIRS)
def test_each_module_has_its_counterpart(name):
    theirs = importlib.import_module(name)
    ours = importlib.import_module(name.replace("multiprocessing", "procession", 1))
    missing = [each for each in getattr(theirs, "__all__", ()) if not hasattr(ours, each)]
    assert not missing


@pytest.mark.parametrize("name", ["util", "reduction", "resource_tracker", "resource_sharer"])
def test_what_is_the_standard_librarys_is_the_same_module(name):
    theirs = importlib.import_module(f"multiprocessing.{name}")
    assert importlib.import_module(f"procession.{name}") is theirs


@pytest.mark.parametrize(
    ("module", "name"),
    [("process", "_dangling"), ("spawn", "get_preparation_data"), ("context", "ProcessError")],
)
def test_a_patch_is_seen_by_both(module, name, monkeypatch):
    ours = importlib.import_module(f"procession.{module}")
    theirs = importlib.import_module(f"multiprocessing.{module}")
    before = getattr(theirs, name)
    assert getattr(ours, name) is before
    if name in vars(ours):
        return
    with monkeypatch.context() as patch:
        patch.setattr(f"procession.{module}.{name}", "patched")
        assert getattr(theirs, name) == "patched"
    assert getattr(theirs, name) is before
    assert name not in vars(ours)


# --- install


INSTALLED = """
    import sys
    sys.path.append(sys.argv[1])
    import procession
    procession.install()

    import multiprocessing
    import multiprocessing.managers
    from multiprocessing import queues, shared_memory
    from multiprocessing.pool import Pool

    def look():
        import multiprocessing.connection
        from multiprocessing import synchronize
        kinds = (
            multiprocessing,
            multiprocessing.Process,
            multiprocessing.managers.SyncManager,
            multiprocessing.connection.Connection,
            queues.Queue,
            shared_memory.SharedMemory,
            synchronize.Lock,
            Pool,
        )
        names = {getattr(kind, "__module__", kind.__name__).partition(".")[0] for kind in kinds}
        flags = sys.flags.isolated, sys.flags.ignore_environment, sys.flags.no_site
        return sorted(names), flags, procession.install() is None

    def child(queue):
        queue.put(look())

    def task(_):
        return look()

    if __name__ == "__main__":
        ctx = multiprocessing.get_context(sys.argv[2])
        seen = [look()]
        queue = ctx.Queue()
        process = ctx.Process(target=child, args=(queue,))
        process.start()
        seen.append(queue.get())
        process.join()
        assert process.exitcode == 0
        with ctx.Pool(1) as pool:
            seen += pool.map(task, [None])
        assert seen == [seen[0]] * 3, seen
        print(*seen[0])
"""


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("flags", ["", "-I", "-E", "-S", "-IS"])
def test_children_have_it_whatever_their_flags(flags, method):
    interpreter = (flags,) if flags else ()
    said = run_program(INSTALLED, FOLDER, method, interpreter=interpreter)
    expected = int("I" in flags), int("I" in flags or "E" in flags), int("S" in flags)
    assert said.lines == [f"['procession'] {expected} True"]


@pytest.mark.parametrize("method", METHODS)
def test_without_install_nothing_changes(method):
    program = """
        import sys
        import multiprocessing
        import procession

        def child(queue):
            queue.put(multiprocessing.__name__)

        if __name__ == "__main__":
            ctx = procession.get_context(sys.argv[1])
            queue = ctx.Queue()
            process = ctx.Process(target=child, args=(queue,))
            process.start()
            print(multiprocessing.__name__, queue.get())
            process.join()
    """
    assert run_program(program, method).lines == ["multiprocessing multiprocessing"]


@pytest.mark.parametrize("method", METHODS)
def test_what_is_imported_afterwards_uses_ours(method):
    program = """
        import sys
        import procession
        procession.install()

        import asyncio
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor
        from concurrent.futures.process import BrokenProcessPool

        def double(x):
            return 2 * x, type(multiprocessing.current_process()).__module__

        class Stubborn:
            def __reduce__(self):
                raise TypeError("it stays here")

        async def ask():
            loop = asyncio.get_running_loop()
            with ProcessPoolExecutor(2) as executor:
                return await loop.run_in_executor(executor, double, 21)

        if __name__ == "__main__":
            multiprocessing.set_start_method(sys.argv[1])
            with ProcessPoolExecutor(2) as executor:
                print(list(executor.map(double, range(3))))
                print(type(executor.submit(double, Stubborn()).exception()).__name__)
                print(executor.submit(double, 1).result()[0])
                kinds = {type(process).__module__ for process in executor._processes.values()}
                print(kinds)
            print(asyncio.run(ask()))
    """
    said = run_program(program, method).lines
    ours = "procession.process"
    assert said[0] == str([(0, ours), (2, ours), (4, ours)])
    assert said[1:4] == ["TypeError", "2", str({ours})]
    assert said[4] == str((42, ours))


ALL_OBJECTS = """
    import sys
    import _multiprocessing

    class Counted(_multiprocessing.SemLock):
        def __new__(cls, *args):
            raise AssertionError("a semaphore of the standard library's was made")

    _multiprocessing.SemLock = Counted

    import procession
    procession.install()

    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import dummy
    from multiprocessing.pool import ThreadPool

    def use(*objects):
        return len(objects)

    if __name__ == "__main__":
        ctx = multiprocessing.get_context(sys.argv[1])
        objects = [
            ctx.Lock(), ctx.RLock(), ctx.Semaphore(2), ctx.BoundedSemaphore(2), ctx.Event(),
            ctx.Condition(), ctx.Barrier(2), ctx.Queue(), ctx.JoinableQueue(), ctx.SimpleQueue(),
            ctx.Value("i", 1), ctx.Array("i", 3), ctx.RawValue("i", 1), ctx.RawArray("i", 3),
        ]
        process = ctx.Process(target=use, args=objects)
        process.start()
        process.join()
        with ctx.Pool(1) as pool, ThreadPool(1) as threads, dummy.Pool(1) as others:
            print(process.exitcode, *(p.apply(use, objects) for p in (pool, threads, others)))
        with ctx.Manager() as manager:
            print(manager.Queue().qsize(), manager.Lock().acquire(), len(manager.list([1])))
        with ProcessPoolExecutor(1, mp_context=ctx) as executor:
            print(executor.submit(use, 1, 2).result())
"""


@pytest.mark.parametrize("method", METHODS)
def test_no_semaphore_of_the_standard_library_is_made(method):
    assert run_program(ALL_OBJECTS, method).lines == ["0 14 14 14", "0 True 1", "2"]


# --- run


MAIN = """
    import multiprocessing
    import sys

    def child(queue):
        queue.put((multiprocessing.__name__, __name__))

    if __name__ == "__main__":
        import __main__
        print(sys.argv)
        print(sys.path[0])
        print(getattr(__main__, "__file__", None), __main__.__spec__ and __main__.__spec__.name)
        print(sorted(name for name in vars(__main__) if not name.startswith("_")))
        if sys.argv[1] != "none":
            ctx = multiprocessing.get_context(sys.argv[1])
            queue = ctx.Queue()
            process = ctx.Process(target=child, args=(queue,))
            process.start()
            print(*queue.get())
            process.join()
            sys.exit(process.exitcode + 7)
"""


def as_script(folder):
    path = folder / "the_script.py"
    path.write_text(source_of(MAIN), encoding="utf-8")
    return [str(path)]


def as_module(folder):
    (folder / "the_module.py").write_text(source_of(MAIN), encoding="utf-8")
    return ["-m", "the_module"]


def as_package(folder):
    package = folder / "the_package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(source_of(MAIN), encoding="utf-8")
    return ["-m", "the_package"]


def as_folder(folder):
    (folder / "__main__.py").write_text(source_of(MAIN), encoding="utf-8")
    return [str(folder)]


def as_archive(folder):
    path = folder / "the.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("__main__.py", source_of(MAIN))
    return [str(path)]


def as_code(folder):
    return ["-c", source_of(MAIN)]


KINDS = [as_script, as_module, as_package, as_folder, as_archive, as_code]


@pytest.mark.parametrize("flags", [[], ["-I"]])
@pytest.mark.parametrize("kind", KINDS)
def test_run_is_as_the_interpreter_runs_it(kind, flags, tmp_path):
    command = [*kind(tmp_path), "none", "-x", "--help"]
    if flags and command[0] == "-m":
        pytest.skip("-I hides the folder of the module")

    def lines(*words):
        done = subprocess.run(
            [sys.executable, *flags, *words, *command],
            check=True,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=60,
        )
        return done.stdout.splitlines()

    assert lines("-m", "procession", "run") == lines()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", [as_script, as_module])
def test_run_gives_procession_to_children(kind, method, tmp_path):
    command = ["-m", "procession", "run", *kind(tmp_path)]
    said = run_program("", method, command=command, env={"PYTHONPATH": str(tmp_path)}, code=7).lines
    assert said[-1] == f"procession {'__main__' if method == 'fork' else '__mp_main__'}"


def test_run_says_what_is_wrong():
    for words, code, said in (
        ([], 2, "usage"),
        (["-h"], 0, "usage"),
        (["-m"], 2, "needs an argument"),
        (["-x", "script.py"], 2, "options of the interpreter come before"),
        (["not_there.py"], 2, "can't open file"),
        (["-m", "not_there"], 1, "No module named not_there"),
        (["-c", "1 / 0"], 1, "ZeroDivisionError"),
        (["-c", "raise SystemExit(5)"], 5, ""),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "procession", "run", *words],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == code, done
        assert said in done.stdout + done.stderr


# --- modules that the template imports


@pytest.mark.parametrize("on_error", ["ignore", "warn", "fail"])
def test_a_preload_that_fails(on_error):
    program = """
        import sys
        import procession as mp

        if __name__ == "__main__":
            ctx = mp.get_context("forkserver")
            ctx.set_forkserver_preload(["json", "not_there"], on_error=sys.argv[1])
            process = ctx.Process()
            try:
                process.start()
            except ConnectionError as error:
                print("not_there" in str(error))
            else:
                process.join()
                print(process.exitcode)
    """
    said = run_program(program, on_error, interpreter=("-Wdefault",))
    assert said.lines == ["True" if on_error == "fail" else "0"]
    assert ("not_there" in said.stderr) == (on_error != "ignore")


def test_on_error_is_looked_at():
    with pytest.raises(ValueError, match="on_error"):
        mp.set_forkserver_preload(["json"], on_error="shout")
