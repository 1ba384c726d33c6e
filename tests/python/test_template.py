"""The template of forkserver: what its processes find; it is killed; it is unfit."""

import gc
import os
import re
import resource
import signal

import pytest
from deadline import GUARD, eventually
from processes import finish, gone, start
from program import Program, run_program
from targets import leave, nothing, wait_for
from under_test import mp
from users import interpreter_of_all_users, package_of_all_users

PROMISED = 2.0  # seconds after the root's end, and all its children are gone

# What the programs here need to know of the template: it is the parent of what it starts.
TEMPLATE = """
    import os
    import signal
    import sys
    import procession as mp

    ctx = mp.get_context("forkserver")

    def tell_template(queue):
        queue.put(os.getppid())

    def template():
        queue = ctx.Queue()
        process = ctx.Process(target=tell_template, args=(queue,))
        process.start()
        pid = queue.get()
        process.join()
        return pid

    def children(pid):
        return [int(n) for n in open(f"/proc/{pid}/task/{pid}/children").read().split()]
"""


@pytest.fixture
def ctx():
    return mp.get_context("forkserver")


# --- what a process finds


def test_surroundings_of_the_request(tmp_path):
    program = (
        TEMPLATE
        + """
    import resource

    def around():
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        return {
            "environ": dict(os.environ),
            "cwd": os.getcwd(),
            "umask": os.umask(0o27),
            "nice": os.nice(0),
            "affinity": os.sched_getaffinity(0),
            "files": resource.getrlimit(resource.RLIMIT_NOFILE),
            "core": resource.getrlimit(resource.RLIMIT_CORE),
            "group": os.getpgrp(),
            "blocked": blocked,
            "ignored": signal.getsignal(signal.SIGUSR2),
            "streams": [os.fstat(n)[1:3] for n in (1, 2)],
            "argv": sys.argv,
        }

    def child(queue):
        queue.put(around())

    if __name__ == "__main__":
        os.environ["REMOVED"] = "1"
        template()
        del os.environ["REMOVED"]
        os.environ["ADDED"] = "é"
        os.chdir(sys.argv[1])
        os.umask(0o27)
        os.nice(3)
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, 300))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        queue = ctx.Queue()
        out = os.open("out", os.O_CREAT | os.O_WRONLY)
        os.dup2(out, 1)
        process = ctx.Process(target=child, args=(queue,))
        process.start()
        found, mine = queue.get(), around()
        process.join()
        assert "REMOVED" not in found["environ"]
        for name, value in mine.items():
            if found[name] != value:
                print(name, found[name], value, file=sys.stderr)
    """
    )
    ended = run_program(program, tmp_path)
    assert ended.stderr == ""


def test_standard_streams_of_the_request(tmp_path):
    program = (
        TEMPLATE
        + """
    def child():
        print("out", os.read(0, 10), flush=True)
        print("err", file=sys.stderr)

    if __name__ == "__main__":
        template()
        for number in range(2):
            path = os.path.join(sys.argv[1], str(number))
            with open(path, "w+b", buffering=0) as file:
                file.write(b"in")
                reader = os.open(path, os.O_RDONLY)
                for stream, other in enumerate((reader, file.fileno(), file.fileno())):
                    os.dup2(other, stream)
                process = ctx.Process(target=child)
                process.start()
                process.join()
                assert process.exitcode == 0
    """
    )
    run_program(program, tmp_path)
    for number in range(2):
        assert (tmp_path / str(number)).read_text(encoding="utf-8") == "inout b'in'\nerr\n"


def test_streams_are_not_kept_open():
    # The template holds no stream of its starter's: a reader sees its end.
    program = (
        TEMPLATE
        + """
    if __name__ == "__main__":
        reader, writer = os.pipe()
        kept = os.dup(1)
        os.dup2(writer, 1)
        os.close(writer)
        template()
        os.dup2(kept, 1)
        print(os.read(reader, 1))
    """
    )
    assert run_program(program).lines == ["b''"]


def test_main_is_imported_once(tmp_path):
    program = """
        import os
        import sys
        import procession as mp

        if __name__ != "__main__":
            with open(sys.argv[1], "a") as file:
                file.write(f"{__name__} {os.getpid()}\\n")

        def child(queue):
            queue.put((__name__, os.getpid()))

        if __name__ == "__main__":
            ctx = mp.get_context("forkserver")
            queue = ctx.Queue()
            processes = [ctx.Process(target=child, args=(queue,)) for _ in range(5)]
            for process in processes:
                process.start()
            found = [queue.get() for _ in processes]
            for process in processes:
                process.join()
            print(len(set(found)), {name for name, _ in found})
    """
    ended = run_program(program, tmp_path / "imports")
    assert ended.lines == ["5 {'__mp_main__'}"]
    [line] = (tmp_path / "imports").read_text(encoding="utf-8").splitlines()
    assert line.startswith("__mp_main__ ")


def test_random_numbers_differ():
    pytest.importorskip("numpy")
    program = """
        import random
        import numpy
        import procession as mp

        random.random(), numpy.random.random()

        def child(queue):
            queue.put((random.random(), numpy.random.random()))

        if __name__ == "__main__":
            ctx = mp.get_context("forkserver")
            queue = ctx.Queue()
            processes = [ctx.Process(target=child, args=(queue,)) for _ in range(4)]
            for process in processes:
                process.start()
            found = [number for _ in processes for number in queue.get()]
            for process in processes:
                process.join()
            print(len(set(found)))
    """
    assert run_program(program).lines == ["8"]


def test_preload(tmp_path):
    (tmp_path / "preloaded.py").write_text("import os\nPID = os.getpid()\n", encoding="utf-8")
    program = """
        import os
        import sys
        import procession as mp

        def child(queue):
            import preloaded
            queue.put((preloaded.PID == os.getppid(), __name__))

        if __name__ == "__main__":
            mp.set_forkserver_preload(["preloaded", "not_there"])
            ctx = mp.get_context("forkserver")
            queue = ctx.Queue()
            process = ctx.Process(target=child, args=(queue,))
            process.start()
            print(*queue.get())
            process.join()
    """
    assert run_program(program, env={"PYTHONPATH": str(tmp_path)}).lines == ["True __mp_main__"]


def test_wrong_preload(ctx):
    for set_preload in mp.set_forkserver_preload, ctx.set_forkserver_preload:
        with pytest.raises(TypeError):
            set_preload([1])
        with pytest.raises(TypeError):
            set_preload(3)


def test_exit_callbacks():
    program = """
        import atexit
        import procession as mp

        if __name__ != "__main__":
            atexit.register(print, "the template's", flush=True)

        def child():
            atexit.register(print, "the child's", flush=True)

        if __name__ == "__main__":
            process = mp.get_context("forkserver").Process(target=child)
            process.start()
            process.join()
            print(process.exitcode)
    """
    assert run_program(program).lines == ["the child's", "0"]


# --- nobody's child


def test_nobody_waits_for_the_template():
    program = (
        TEMPLATE
        + """
    if __name__ == "__main__":
        template()
        try:
            os.wait()
        except ChildProcessError:
            print("no children")
    """
    )
    assert run_program(program).lines == ["no children"]


@pytest.mark.parametrize("code", [0, 3, -9, -15])
def test_exit_codes(ctx, code):
    if code >= 0:
        process = start(ctx, leave, code)
    else:
        process = start(ctx, wait_for, ctx.Event())
        os.kill(process.pid, -code)
    finish(process, codes=[code])


def test_exit_codes_without_a_template():
    program = (
        TEMPLATE
        + """
    def child(event, how):
        event.wait()
        exec(how)

    if __name__ == "__main__":
        event = ctx.Event()
        pid = template()
        hows = "sys.exit(5)", "os._exit(6)", "os.kill(os.getpid(), 9)", "pass"
        processes = [ctx.Process(target=child, args=(event, how)) for how in hows]
        for process in processes:
            process.start()
        os.kill(pid, signal.SIGKILL)
        event.set()
        for process in processes:
            process.join()
        print(*[process.exitcode for process in processes])
    """
    )
    [line] = run_program(program).lines
    # What the kernel does not tell any more is unknown, never 0.
    assert re.fullmatch(r"5 (6|255) (-9|255) 0", line)


def test_no_descriptor_is_left(ctx):
    finish(start(ctx, nothing))
    gc.collect()  # of what other tests have left
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        process = start(ctx, nothing)
        finish(process)
        process.close()
    assert len(os.listdir("/proc/self/fd")) == before


# --- deaths


def test_the_template_is_killed_again_and_again():
    program = (
        TEMPLATE
        + """
    def child(queue, number):
        queue.put(number * number)

    if __name__ == "__main__":
        queue = ctx.Queue()
        killed = set()
        for number in range(60):
            if number % 6 == 0:
                pid = template()
                killed.add(pid)
                os.kill(pid, signal.SIGKILL)
            process = ctx.Process(target=child, args=(queue, number))
            process.start()
            assert queue.get() == number * number
            process.join()
            assert process.exitcode == 0, process.exitcode
        print(len(killed) >= 2)
    """
    )
    assert run_program(program, timeout=60).lines == ["True"]


def test_the_template_is_killed_at_any_moment():
    # By another process, as often as it finds one, while this one starts processes.
    program = (
        TEMPLATE
        + """
    import random

    def killer(marks, seed):
        generator = random.Random(seed)
        for _ in range(10):
            pid = marks.get()
            for _ in range(generator.randrange(20000)):
                pass
            os.kill(pid, signal.SIGKILL)

    def child(queue, number):
        queue.put((number, os.getppid()))

    if __name__ == "__main__":
        queue, marks = ctx.Queue(), mp.Queue()
        by = mp.get_context("spawn").Process(target=killer, args=(marks, 7))
        by.start()
        killed, number = set(), 0
        while by.is_alive():
            process = ctx.Process(target=child, args=(queue, number))
            process.start()
            found, parent = queue.get()
            assert found == number, (found, number)
            process.join()
            assert process.exitcode == 0, process.exitcode
            if parent not in killed and parent > 1 and os.path.exists(f"/proc/{parent}"):
                if b"template_main" in open(f"/proc/{parent}/cmdline", "rb").read():
                    killed.add(parent)
                    marks.put(parent)
            number += 1
        by.join()
        print(len(killed) >= 10)
    """
    )
    assert run_program(program, timeout=80).lines == ["True"]


def test_the_template_is_killed_ten_times_beneath_pools():
    program = (
        TEMPLATE
        + """
    from pooled import square

    squares = [x * x for x in range(100)]

    if __name__ == "__main__":
        with ctx.Pool(2) as pool:
            for _ in range(10):
                results = [pool.apply_async(square, (x,)) for x in range(50)]
                mapped = pool.map_async(square, range(100), 1)
                os.kill(template(), signal.SIGKILL)
                with ctx.Pool(2) as other:
                    assert other.map(square, range(100)) == squares
                assert [result.get() for result in results] == squares[:50]
                assert mapped.get() == squares
            assert pool.map(square, range(100)) == squares
        print("nothing failed")
    """
    )
    ended = run_program(program, timeout=60)
    assert ended.lines == ["nothing failed"]
    assert ended.stderr == ""


def test_spares_are_killed():
    program = (
        TEMPLATE
        + """
    def child(queue, number):
        queue.put(number)

    if __name__ == "__main__":
        queue, pid = ctx.Queue(), template()
        for number in range(30):
            for spare in children(pid):
                try:
                    os.kill(spare, signal.SIGKILL)
                except ProcessLookupError:
                    pass  # the process before, which has just been waited for
            process = ctx.Process(target=child, args=(queue, number))
            process.start()
            process.join()
            # It may have been killed when it was that process already.
            assert process.exitcode in (0, -9), process.exitcode
            if process.exitcode == 0:
                assert queue.get() == number
        print(pid == template())
    """
    )
    assert run_program(program, timeout=60).lines == ["True"]


def test_root_and_template_are_killed_at_once():
    program = (
        TEMPLATE
        + """
    def busy(queue):
        queue.put(os.getpid())
        while True:
            pass

    if __name__ == "__main__":
        queue, pid = ctx.Queue(), template()
        processes = [ctx.Process(target=busy, args=(queue,)) for _ in range(3)]
        for process in processes:
            process.start()
        found = [queue.get() for _ in processes]
        print(pid, *found, *children(pid), flush=True)
        os.kill(pid, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    )
    with Program(program) as running:
        pids = list(map(int, running.line().split()))
        assert len(set(pids)) >= 4
        running.popen.wait(GUARD)
        eventually(lambda: all(map(gone, pids)), PROMISED, what="all gone")


# --- other users, other ends


@pytest.mark.skipif(os.getuid() != 0, reason="only root may change the user")
def test_a_child_that_changed_its_user(tmp_path):
    program = (
        TEMPLATE
        + """
    def tell(queue):
        queue.put((os.getresuid(), os.getppid()))

    def other(queue):
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        process = ctx.Process(target=tell, args=(queue,))
        process.start()
        process.join()
        queue.put(process.exitcode)

    if __name__ == "__main__":
        os.chmod(os.path.dirname(os.path.abspath(__file__)), 0o755)
        queue, pid = ctx.Queue(), template()
        process = ctx.Process(target=other, args=(queue,))
        process.start()
        ids, parent = queue.get(timeout=20)
        print(ids, parent == pid, queue.get(timeout=20))
        process.join()
        print(process.exitcode, pid == template())
    """
    )
    interpreter = interpreter_of_all_users()
    if interpreter is None:
        pytest.skip("there is no interpreter of this version that another user may run")
    environ = {"PYTHONPATH": package_of_all_users(tmp_path)}
    ended = run_program(program, executable=interpreter, env=environ)
    assert ended.lines == ["(65534, 65534, 65534) False 0", "0 True"]


def test_descriptors_that_somebody_closed():
    program = (
        TEMPLATE
        + """
    import fcntl
    import socket
    import stat

    if __name__ == "__main__":
        template()
        for number in map(int, os.listdir("/proc/self/fd")):
            try:
                if number > 2 and stat.S_ISSOCK(os.fstat(number).st_mode):
                    os.close(number)
            except OSError:
                pass
        print(template() > 0)
    """
    )
    assert run_program(program).lines == ["True"]


# --- unfit mains


UNFIT = """
    import logging
    import sys
    import procession as mp

    {what}

    def child(queue):
        queue.put(__name__)

    if __name__ == "__main__":
        logger = mp.get_logger()
        logger.addHandler(logging.StreamHandler(sys.stdout))
        logger.setLevel(logging.WARNING - 5)
        ctx = mp.get_context("forkserver")
        queue = ctx.Queue()
        processes = [ctx.Process(target=child, args=(queue,)) for _ in range(3)]
        for process in processes:
            process.start()
        found = {queue.get() for _ in processes}
        for process in processes:
            process.join()
        print(found, [process.exitcode for process in processes])
"""


@pytest.mark.parametrize(
    ("what", "culprit"),
    [
        (
            "import threading; threading.Thread("
            "target=threading.Event().wait, name='helper', daemon=True).start()",
            r"thread \(helper\)",
        ),
        ("import socket; kept = socket.socket()", r"socket \(descriptor \d+, socket:"),
    ],
    ids=["thread", "socket"],
)
def test_unfit_mains(what, culprit):
    ended = run_program(UNFIT.replace("{what}", what))
    assert ended.lines[1:] == ["{'__mp_main__'} [0, 0, 0]"]
    assert re.search(culprit, ended.lines[0])
    assert ended.stderr == ""


def test_quiet_in_development_mode():
    program = (
        TEMPLATE
        + """
    if __name__ == "__main__":
        template()
        print("done")
    """
    )
    ended = run_program(program, interpreter=["-X", "dev", "-W", "error"])
    assert ended.lines == ["done"]
    assert ended.stderr == ""


def test_limits_of_this_process_are_left(ctx):
    before = resource.getrlimit(resource.RLIMIT_NOFILE), os.getcwd(), os.umask(0o22)
    os.umask(before[2])
    finish(start(ctx, nothing))
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before[0]
    assert os.getcwd() == before[1]
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()
