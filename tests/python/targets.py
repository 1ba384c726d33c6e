"""What children run in the tests of several files."""

import os
import sys

from under_test import mp


def nothing():
    pass


def answer(queue, *args, **kwargs):
    queue.put((args, kwargs))


def say_who(queue):
    process, parent = mp.current_process(), mp.parent_process()
    queue.put((process.name, process.pid, process.ident, os.getpid(), parent.pid, process.daemon))


def wait_for(event):
    event.wait()


def wait_then_exit(event, code):
    event.wait()
    sys.exit(code)


def tell_then_wait(ready, event):
    ready.set()
    event.wait()


def leave(code):
    sys.exit(code)


def leave_hard(code):
    os._exit(code)


def fail():
    raise LookupError("no such thing")
