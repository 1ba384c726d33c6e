"""A program's end with a pool: the interpreter's, Ctrl-C, the root's death; tools that watch."""

import json
import signal
import sys
import time

import pytest
from deadline import GUARD, eventually
from processes import gone, marked, state, wait_asleep
from program import Program, run_program, source_of
from under_test import NAME

pytestmark = pytest.mark.skipif(NAME == "multiprocessing", reason="promises of ours")


AT_EXIT = """
    import os
    import sys
    import procession as mp
    from pooled import begin, square

    if __name__ == "__main__":
        ctx = mp.get_context(sys.argv[1])
        pool, begun, event = ctx.Pool(2), ctx.Queue(), ctx.Event()
        print("begins", flush=True)
        if sys.argv[2] == "idle":
            pool.map(square, range(5))
        elif sys.argv[2] == "busy":
            result = pool.apply_async(begin, (begun, event))
            begun.get()
        elif sys.argv[2] == "callback":
            pool.apply_async(begin, (begun, event), callback=print, error_callback=print)
            begun.get()
            pool.apply_async(square, (3,), callback=len).wait()
        elif sys.argv[2] == "imap":
            iterator = pool.imap(square, iter(lambda: begun.get(), None))
            begun.put(3)
            assert next(iterator) == 9
        elif sys.argv[2] == "closed":
            result = pool.apply_async(square, (3,))
            pool.close()
        elif sys.argv[2] == "global":
            sys.modules["kept"] = pool  # nobody lets go of it
        if sys.argv[3] == "sys.exit":
            sys.exit(0)
"""


ONE_AFTER_ANOTHER = """
    import sys
    import procession as mp
    from pooled import square

    if __name__ == "__main__":
        ctx = mp.get_context(sys.argv[1])
        for n in range(20):
            with ctx.Pool(4) as pool:
                assert pool.apply(square, (n,)) == n * n
                pool.close()
                pool.join()
"""


def test_pools_one_after_another(method):
    assert run_program(ONE_AFTER_ANOTHER, method).stderr == ""


@pytest.mark.parametrize(
    "what", ["at once", "idle", "busy", "callback", "imap", "closed", "global"]
)
def test_the_interpreter_ends(method, what):
    end = "sys.exit" if what in ("busy", "idle") else "return"
    with Program(AT_EXIT, method, what, end) as program:
        assert program.line() == "begins"
        assert program.wait() == 0, program.report()
        if what == "callback":
            assert "object of type 'int' has no len()" in program.stderr  # reported, as it fails
        else:
            assert program.stderr == ""
        eventually(lambda: not marked(program.mark), 2.0)  # as promised


AT_EXIT_CODE = """
    import sys
    import procession as mp
    from pooled import begin

    def work(ctx):
        pool, begun = ctx.Pool(2), ctx.Queue()
        result = pool.apply_async(begin, (begun, ctx.Event()))
        begun.get()
        raise LookupError("main fails")

    if __name__ == "__main__":
        work(mp.get_context(sys.argv[1]))
"""


def test_main_fails(method):
    ended = run_program(AT_EXIT_CODE, method, code=1)
    assert ended.stderr.count("Traceback") == 1
    assert ended.stderr.rstrip().endswith("LookupError: main fails")


INTERRUPTED = """
    import sys
    import procession as mp
    from pooled import begin

    def wait(event):
        begin(begun, event)

    def initialize(queue):
        global begun
        begun = queue

    if __name__ == "__main__":
        ctx = mp.get_context(sys.argv[1])
        queue, event = ctx.Queue(), ctx.Event()
        # With one worker that has nothing to do.
        with ctx.Pool(3, initialize, (queue,)) as pool:
            calls = {
                "map": lambda: pool.map(wait, [event] * 2, 1),
                "apply": lambda: [pool.apply_async(wait, (event,)), pool.apply(wait, (event,))],
                "get": lambda: pool.map_async(wait, [event] * 2, 1, print, print).get(),
                "imap": lambda: list(pool.imap(wait, [event] * 2)),
                "imap_unordered": lambda: list(pool.imap_unordered(wait, [event] * 2)),
                "join": lambda: [pool.map_async(wait, [event] * 2, 1), pool.close(), pool.join()],
            }
            pool._pool
            print("waits", flush=True)
            try:
                calls[sys.argv[2]]()
            except KeyboardInterrupt:
                if sys.argv[3] == "caught":
                    print("caught", flush=True)
                    sys.exit(0)
                raise
"""


@pytest.mark.parametrize("call", ["map", "apply", "get", "imap", "imap_unordered", "join"])
def test_ctrl_c(method, call):
    how = "caught" if call == "imap" else "raised"
    with Program(INTERRUPTED, method, call, how) as program:
        assert program.line() == "waits"
        wait_asleep(program.pid)
        for pid in marked(program.mark):
            eventually(lambda: gone(pid) or state(pid) == "S")  # noqa: B023
        began = time.monotonic()
        program.interrupt()
        code = program.popen.wait(GUARD)
        seconds = time.monotonic() - began
        eventually(lambda: not marked(program.mark), max(0.1, 1.0 - seconds), what="no orphans")
        assert seconds < 1.0  # the second that is promised
        if how == "caught":
            assert code == 0
            assert program.stderr == ""
        else:
            assert code == -signal.SIGINT, program.report()
            assert program.stderr.count("Traceback (most recent call last)") == 1, program.stderr
            assert program.stderr.rstrip().endswith("KeyboardInterrupt")


BUSY = """
    import sys
    import procession as mp

    def busy(queue):
        queue.put("begun")
        while True:
            pass

    if __name__ == "__main__":
        ctx = mp.get_context(sys.argv[1])
        pool, queue = ctx.Pool(3), ctx.Queue()
        result = pool.map_async(busy, [queue] * 2, 1)
        begun = [queue.get(), queue.get()]
        print(pool._keepers[-1].pid, *(worker.pid for worker in pool._pool), flush=True)
        result.get()
"""


def test_root_killed_with_busy_workers(method):
    with Program(BUSY, method) as program:
        pids = [int(pid) for pid in program.line().split()]
        assert len(pids) == 4
        began = time.monotonic()
        program.kill_root()
        eventually(lambda: all(map(gone, pids)), 2.0, what="the pool ended with its root")
        assert time.monotonic() - began < 2.0  # as promised
        assert program.stderr == ""


# --- those who watch


NO_THREADS = """
    import os
    import sys
    import threading
    import procession as mp
    from pooled import square

    if __name__ == "__main__":
        with mp.get_context(sys.argv[1]).Pool(2) as pool:
            assert pool.map(square, [1, 2]) == [1, 4]
            assert pool.apply_async(square, (3,)).get() == 9
            print(threading.active_count(), len(os.listdir("/proc/self/task")))
            pid = os.fork()
            if pid == 0:
                os._exit(0)
            os.waitpid(pid, 0)
            pool.close()
            pool.join()
"""


def test_no_thread_and_no_warning_without_callbacks(method):
    # From Python 3.12 on os.fork warns of any thread.
    ended = run_program(NO_THREADS, method, interpreter=("-W", "error"))
    assert ended.lines == ["1 1"]
    assert ended.stderr == ""


COVERED = """
    import sys
    import procession as mp

    def first(barrier):
        barrier.wait()  # line 5
        return 1

    def second(x):
        return x + 1  # line 9

    def begin(x):
        global BEGUN
        BEGUN = x  # line 13

    if __name__ == "__main__":
        ctx = mp.get_context(sys.argv[1])
        with ctx.Pool(3, begin, (1,)) as pool:
            pool.map(first, [ctx.Barrier(3)] * 3, 1)
            assert pool.map(second, range(10)) == list(range(1, 11))
"""


def test_coverage_sees_every_worker(method, tmp_path):
    pytest.importorskip("coverage")
    (tmp_path / "rc").write_text(
        "[run]\nconcurrency = multiprocessing\nparallel = true\n"
        f"data_file = {tmp_path / 'data'}\nsource = {tmp_path}\n",
        encoding="utf-8",
    )
    (tmp_path / "covered.py").write_text(source_of(COVERED), encoding="utf-8")
    rc = f"--rcfile={tmp_path / 'rc'}"
    program = str(tmp_path / "covered.py")
    ended = run_program("", method, command=["-m", "coverage", "run", rc, program])
    assert "Error" not in ended.stderr, ended.report  # the keeper has nothing to cover, and says so
    assert len(list(tmp_path.glob("data.*"))) >= 4, "of the root and each worker"
    run_program("", command=["-m", "coverage", "combine", rc])
    run_program("", command=["-m", "coverage", "json", rc, "-o", str(tmp_path / "report")])
    [report] = json.loads((tmp_path / "report").read_text(encoding="utf-8"))["files"].values()
    assert {5, 9, 13} <= set(report["executed_lines"])


@pytest.mark.skipif(sys.version_info < (3, 10), reason="the warning came with 3.10")
def test_strict_interpreter(method):
    source = """
        import sys
        import procession as mp
        from pooled import square

        if __name__ == "__main__":
            with mp.get_context(sys.argv[1]).Pool(2, maxtasksperchild=2) as pool:
                print(pool.map(square, range(5), 1))
    """
    options = "-X", "dev", "-X", "warn_default_encoding", "-W", "error"
    ended = run_program(source, method, interpreter=options)
    assert ended.lines == ["[0, 1, 4, 9, 16]"]
    assert ended.stderr == ""
