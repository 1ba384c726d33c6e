"""A child that changed its user: what it starts is that user's, under each start method."""

import os

import pytest
from program import run_program
from users import interpreter_of_all_users, package_of_all_users

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root may change the user")

PROGRAM = """
    import os
    import sys
    import procession as mp
    from pooled import square

    OTHER = 65534

    def ids(*_):
        return os.getresuid() + os.getresgid()

    def tell(queue):
        queue.put(ids())

    def other(method, queue):
        os.setgroups([])
        os.setgid(OTHER)
        os.setuid(OTHER)
        ctx = mp.get_context(method)
        process = ctx.Process(target=tell, args=(queue,))
        process.start()
        process.join()
        with ctx.Pool(2) as pool:
            for found in pool.map(ids, range(8), 1):
                queue.put(found)
            os.kill(pool._pool[0].pid, 9)
            assert pool.map(square, range(8)) == [x * x for x in range(8)]
            for found in pool.map(ids, range(8), 1):
                queue.put(found)

    if __name__ == "__main__":
        os.chmod(os.path.dirname(os.path.abspath(__file__)), 0o755)
        method = sys.argv[1]
        ctx = mp.get_context(method)
        queue = ctx.Queue()
        mine = ctx.Process(target=tell, args=(queue,))  # and so the template is root's
        mine.start()
        mine.join()
        process = ctx.Process(target=other, args=(method, queue))
        process.start()
        process.join()
        first, *found = [queue.get(timeout=0) for _ in range(18)]
        print(process.exitcode, set(first) == {os.getuid()}, set(found) == {(OTHER,) * 6})
"""


def test_what_a_child_that_changed_its_user_starts_is_that_users(method, tmp_path):
    interpreter = interpreter_of_all_users()
    if interpreter is None:
        pytest.skip("there is no interpreter of this version that another user may run")
    environ = {"PYTHONPATH": package_of_all_users(tmp_path)}
    ended = run_program(PROGRAM, method, executable=interpreter, env=environ)
    assert ended.lines == ["0 True True"]
    assert ended.stderr == ""
