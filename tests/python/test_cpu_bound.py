"""CPU-bound work: taken from a queue by a process for each core, equal to the serial."""

from deadline import GUARD
from processes import finish, start
from under_test import mp

TASKS = 60


def collatz(first):
    """The longest sequence among a few hundred starts: plain arithmetic, no waiting."""
    longest = 0
    for begin in range(first, first + 300):
        number, steps = begin, 0
        while number != 1:
            number = 3 * number + 1 if number % 2 else number // 2
            steps += 1
        longest = max(longest, steps)
    return longest


def work(tasks, results):
    count = 0
    for first in iter(tasks.get, None):
        results.put((first, collatz(first)))
        count += 1
    results.put((None, count))


def test_work_of_all_cores_equals_the_serial(ctx):
    workers = max(2, mp.cpu_count())
    tasks, results = ctx.Queue(), ctx.Queue()
    firsts = range(1, TASKS * 300, 300)
    tasks.put_many(firsts)
    tasks.put_many([None] * workers)
    processes = [start(ctx, work, tasks, results) for _ in range(workers)]
    found, counts = {}, []
    while len(counts) < workers:
        first, value = results.get(timeout=GUARD)
        if first is None:
            counts.append(value)
        else:
            assert first not in found
            found[first] = value
    finish(*processes)
    assert found == {first: collatz(first) for first in firsts}
    assert sum(counts) == TASKS
