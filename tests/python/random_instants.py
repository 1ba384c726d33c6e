"""A program that kills or stops one of its children at random instants and looks at the rest.

    python random_instants.py {producer,consumer,lock,rlock} {kill,stop} METHOD COUNT SEED

The victim does nothing but the operation, over and over, and keeps a book in a mapped file: which
round it began, and which had returned. So the book tells, at each instant, whether the hit fell
inside the operation, and which items were put, and got, for certain. Prints one JSON object:
`instants`, `inside` (hits inside the operation: the control), `violations` (each a sentence),
`seconds`.
"""

import contextlib
import functools
import json
import mmap
import os
import queue as standard_queue
import random
import signal
import sys
import tempfile
import time

from processes import wait_stopped
from under_test import NAME, mp

LIMIT = 5.0  # seconds that no operation needs: who waits so long would wait for ever
ITEMS = 1000  # items that a consumer to be killed finds
LONGEST = 0.002  # seconds until the hit
BEGUN, RETURNED, GOT, STOP, SEEN = range(5)  # words of the book; from SEEN on, a byte an item
SIZE = 8 * SEEN + 200_000
# What the word BEGUN of a lock's book says of the instant: 4 times the round, plus one of these.
ACQUIRES, HOLDS, RELEASES, IDLE = range(4)


class Book:
    """Words in a mapped file, each written by the victim with one store."""

    def __init__(self, path):
        self.path = path
        with open(path, "r+b") as file:
            self.memory = mmap.mmap(file.fileno(), 0)
        self.words = memoryview(self.memory)[: 8 * SEEN].cast("Q")
        self.seen = memoryview(self.memory)[8 * SEEN :]

    def clear(self):
        for word in range(SEEN):
            self.words[word] = 0
        self.seen[:] = bytes(len(self.seen))

    def inside(self):
        """Whether a put or get was begun and had not returned."""
        return self.words[BEGUN] != self.words[RETURNED]


def payload(number):
    """Items of each kind: a plain number, small tuples, and bytes too many for a small block."""
    kind = number % 40
    if kind == 0:
        return (number, b"x" * 100_000)
    if kind < 10:
        return (number, b"x" * 300)
    return (number, "a tuple") if kind < 20 else number


def number_of(item):
    return item[0] if isinstance(item, tuple) else item


# --- the victims


def produce(queue, path):
    words = Book(path).words
    number = 0
    while not words[STOP]:
        item = payload(number)
        number += 1
        words[BEGUN] = number
        queue.put(item)
        words[RETURNED] = number


def consume(queue, path):
    book = Book(path)
    words, seen = book.words, book.seen
    number = 0
    while not words[STOP]:
        number += 1
        words[BEGUN] = number
        item = queue.get()
        seen[number_of(item)] += 1
        words[GOT] += 1
        words[RETURNED] = number


def hold(lock, path):
    words = Book(path).words
    number = 0
    while not words[STOP]:
        number += 4
        words[BEGUN] = number + ACQUIRES
        lock.acquire()
        words[BEGUN] = number + HOLDS
        for _ in range(10):
            pass
        words[BEGUN] = number + RELEASES
        lock.release()
        words[BEGUN] = number + IDLE


# --- the root


def get_if_any(queue, got):
    with contextlib.suppress(standard_queue.Empty):
        got.append(queue.get_nowait())


class Trial:
    """Starts the victim, hits it at a random instant, looks at the rest."""

    def __init__(self, method, count, seed, path):
        self.ctx = mp.get_context(method)
        self.count = count
        self.random = random.Random(seed)
        self.book = Book(path)
        self.inside = 0
        self.violations = []

    def violation(self, instant, text):
        self.violations.append(f"instant {instant}: {text}")

    def start(self, target, shared, fresh=None):
        """Start a victim; return when it is at its first operation or (as a rule) in the swing."""
        fresh = self.random.random() < 0.25 if fresh is None else fresh
        self.book.clear()
        victim = self.ctx.Process(target=target, args=(shared, self.book.path))
        victim.start()
        deadline = time.monotonic() + 30
        while self.book.words[BEGUN] <= (0 if fresh else 8):
            if time.monotonic() > deadline:
                raise SystemExit("the victim did not begin")
            os.sched_yield()
        return victim

    def until_the_instant(self, meanwhile=None):
        """Let a random time pass, idle on a core of one's own; or do something over and over."""
        until = time.perf_counter() + self.random.random() * LONGEST
        while time.perf_counter() < until:
            if meanwhile is not None:
                meanwhile()

    def kill(self, victim, instant):
        victim.kill()
        victim.join(LIMIT)
        if victim.exitcode != -signal.SIGKILL:
            self.violation(instant, f"exit code {victim.exitcode}")

    def stop(self, victim):
        os.kill(victim.pid, signal.SIGSTOP)
        wait_stopped(victim.pid)

    def end(self, victim):
        os.kill(victim.pid, signal.SIGCONT)
        victim.join(LIMIT)
        if victim.exitcode != 0:
            self.violation("the end", f"exit code {victim.exitcode}")

    def drain(self, queue, instant):
        """All items up to a mark of one's own: others put and get, whoever died or stands."""
        got = []
        try:
            queue.put("mark", timeout=LIMIT)
            while (item := queue.get(timeout=LIMIT)) != "mark":
                got.append(item)
        except (standard_queue.Full, standard_queue.Empty) as error:
            self.violation(instant, f"{type(error).__name__} after {len(got)} items")
            return None
        return got

    # --- a producer: what it put for certain is got, in order, once

    def producer_kill(self):
        queue = self.ctx.Queue()
        for instant in range(self.count):
            victim = self.start(produce, queue)
            got = []
            # Every other time a consumer is at work at the same time.
            self.until_the_instant(
                functools.partial(get_if_any, queue, got) if instant % 2 else None
            )
            self.kill(victim, instant)
            self.inside += self.book.inside()
            rest = self.drain(queue, instant)
            if rest is None:
                queue = self.ctx.Queue()
                continue
            self.check_produced(got + rest, instant)
            if not queue.empty():
                self.violation(instant, f"not empty: {queue.qsize()}")

    def check_produced(self, got, instant):
        begun, returned = self.book.words[BEGUN], self.book.words[RETURNED]
        if [number_of(item) for item in got] != list(range(len(got))):
            self.violation(instant, "items lost, twice or out of order")
        elif not returned <= len(got) <= begun:
            self.violation(instant, f"{len(got)} items of {returned} put, {begun} begun")
        elif any(item != payload(number) for number, item in enumerate(got)):
            self.violation(instant, "an item is damaged")

    def producer_stop(self):
        queue = self.ctx.Queue()
        victim = self.start(produce, queue)
        got = []
        for instant in range(self.count):
            self.until_the_instant()
            self.stop(victim)
            self.inside += self.book.inside()
            rest = self.drain(queue, instant)
            if rest is None:
                break
            got += map(number_of, rest)
            if len(got) < self.book.words[RETURNED]:
                self.violation(instant, f"{self.book.words[RETURNED]} items put, {len(got)} got")
            os.kill(victim.pid, signal.SIGCONT)
        self.book.words[STOP] = 1
        self.end(victim)
        got += map(number_of, self.drain(queue, "the end") or [])
        if got != list(range(self.book.words[RETURNED])):
            self.violation("the end", "items lost, twice or out of order")

    # --- a consumer: it takes at most one item along

    def consumer_kill(self):
        queue = self.ctx.Queue()
        for instant in range(self.count):
            queue.put_many(map(payload, range(ITEMS)))
            victim = self.start(consume, queue)
            got = []
            # Every other time another consumer is at work at the same time.
            self.until_the_instant(
                functools.partial(get_if_any, queue, got) if instant % 2 else None
            )
            self.kill(victim, instant)
            self.inside += self.book.inside()
            rest = self.drain(queue, instant)
            if rest is None:
                queue = self.ctx.Queue()
                continue
            times = list(self.book.seen[:ITEMS])
            for item in got + rest:
                times[number_of(item)] += 1
                if item != payload(number_of(item)):
                    self.violation(instant, "an item is damaged")
            if max(times) > 1:
                self.violation(instant, "an item was got twice")
            if times.count(0) > 1:
                self.violation(instant, f"{times.count(0)} items lost")
            if not queue.empty():
                self.violation(instant, f"not empty: {queue.qsize()}")

    def consumer_stop(self):
        queue = self.ctx.Queue()
        victim = self.start(consume, queue, fresh=True)  # there is nothing to get yet
        total, got = 0, []
        for instant in range(self.count):
            for _ in range(self.random.randrange(100)):
                queue.put(payload(total))
                total += 1
            if instant % 4 == 0:
                self.until_the_instant()  # by then it waits in get; else it is at work
            self.stop(victim)
            self.inside += self.book.inside()
            rest = self.drain(queue, instant)
            if rest is None:
                break
            got += map(number_of, rest)
            # A stopped one may have one item in its hands, no more.
            missing = total - len(got) - self.book.words[GOT]
            if not 0 <= missing <= 1:
                self.violation(instant, f"{missing} items in the hands of a stopped consumer")
            os.kill(victim.pid, signal.SIGCONT)
        self.book.words[STOP] = 1
        queue.put(payload(total))  # for a victim that waits
        total += 1
        self.end(victim)
        got += map(number_of, self.drain(queue, "the end") or [])
        times = list(self.book.seen[:total])
        for number in got:
            times[number] += 1
        if times != [1] * total:
            self.violation("the end", f"lost {times.count(0)}, twice {sum(n > 1 for n in times)}")

    # --- a holder: killed, it breaks its lock or leaves it free; stopped, it keeps it

    def lock_kill(self, make, recursive):
        lock = make()
        for instant in range(self.count):
            victim = self.start(hold, lock)
            if instant % 2:
                self.hit_while_the_root_tries(lock, victim, instant)
            else:
                self.until_the_instant()
            self.kill(victim, instant)
            phase = self.book.words[BEGUN] % 4
            self.inside += phase in (ACQUIRES, RELEASES)
            if not self.look_after_death(lock, victim.pid, phase, recursive, instant):
                lock = make()

    def hit_while_the_root_tries(self, lock, victim, instant):
        """Take and release the lock, on and on, until a handler of one's own kills the victim."""
        signal.signal(signal.SIGALRM, lambda *_: os.kill(victim.pid, signal.SIGKILL))
        signal.setitimer(signal.ITIMER_REAL, 1e-6 + self.random.random() * LONGEST)
        deadline = time.monotonic() + LIMIT
        while victim.is_alive() and time.monotonic() < deadline:
            try:
                if lock.acquire(timeout=LIMIT):
                    lock.release()
                else:
                    self.violation(instant, "acquire gave up beside a working holder")
            except mp.BrokenLockError:
                victim.join(LIMIT)

    def look_after_death(self, lock, pid, phase, recursive, instant):
        """Whether the lock can be had, broken and mended or whole."""
        try:
            got = lock.acquire(timeout=LIMIT)
        except mp.BrokenLockError as error:
            if phase == IDLE:
                self.violation(instant, "broken, though nobody held it")
            if error.pid != pid:
                self.violation(instant, f"broken by {error.pid}, not by {pid}")
            lock.reset()
            got = lock.acquire(timeout=LIMIT)
        else:
            if phase == HOLDS and not recursive:
                self.violation(instant, "whole, though its holder was killed")
        if not got:
            self.violation(instant, "locked for ever")
            return False
        if not recursive and lock.acquire(False):
            self.violation(instant, "it can be had twice")
            return False
        lock.release()
        return True

    def lock_stop(self, make, _):
        lock = make()
        victim = self.start(hold, lock)
        for instant in range(self.count):
            self.until_the_instant()
            self.stop(victim)
            phase = self.book.words[BEGUN] % 4
            self.inside += phase in (ACQUIRES, RELEASES)
            if lock.acquire(timeout=0.002):
                if phase == HOLDS:
                    self.violation(instant, "a stopped holder lost its lock")
                lock.release()
            elif phase == IDLE:
                self.violation(instant, "locked, though nobody holds it")
            os.kill(victim.pid, signal.SIGCONT)
            if not lock.acquire(timeout=LIMIT):
                self.violation(instant, "locked for ever after SIGCONT")
                break
            lock.release()
        self.book.words[STOP] = 1
        self.end(victim)

    def run(self, role, how):
        if role == "lock":
            getattr(self, f"lock_{how}")(self.ctx.Lock, False)
        elif role == "rlock":
            getattr(self, f"lock_{how}")(self.ctx.RLock, True)
        else:
            getattr(self, f"{role}_{how}")()


def main():
    role, how, method, count, seed = sys.argv[1:]
    began = time.monotonic()
    with tempfile.NamedTemporaryFile() as file:
        file.truncate(SIZE)
        trial = Trial(method, int(count), int(seed), file.name)
        trial.run(role, how)
    print(
        json.dumps(
            {
                "module": NAME,
                "instants": trial.count,
                "inside": trial.inside,
                "violations": trial.violations,
                "seconds": round(time.monotonic() - began, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
