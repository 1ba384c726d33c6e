"""Each call of a Pool, and what becomes of tasks that fail, end their worker, or take too long."""

import argparse
import os
import time

import procession as mp

FACTORS = {}


def prepare(factor):
    """Run once in each worker."""
    FACTORS["factor"] = factor


def scale(number):
    """A task that uses what its worker has prepared."""
    return number * FACTORS["factor"]


def power(base, exponent):
    """A task of two arguments."""
    return base**exponent


def reciprocal(number):
    """A task that may fail."""
    return 1 / number


def vanish():
    """A task that ends its worker the hard way."""
    os._exit(9)


def doze():
    """A task that takes too long for anybody's patience."""
    time.sleep(60)


def main():
    """Go through the calls."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--method", choices=mp.get_all_start_methods(), default="fork")
    ctx = mp.get_context(parser.parse_args().method)

    with ctx.Pool(3, initializer=prepare, initargs=(10,)) as pool:
        print("apply:", pool.apply(scale, (4,)))
        print("map:", pool.map(scale, range(6)))
        print("starmap:", pool.starmap(power, [(2, 8), (3, 3), (5, 2)]))
        print("imap:", list(pool.imap(scale, range(6), chunksize=2)))
        print("imap_unordered:", sorted(pool.imap_unordered(scale, range(6))))
        later = pool.apply_async(power, (7,), {"exponent": 3})
        print("apply_async:", later.get(timeout=30), later.successful())

        seen = []
        pool.map_async(scale, [1, 2, 3], callback=seen.extend).wait()
        print("callback:", seen)

        try:
            pool.map(reciprocal, [1, 0, 2])
        except ZeroDivisionError as error:
            print("a task that fails:", error)
        each = pool.imap(reciprocal, [4, 0, 2])
        outcomes = []
        for _ in range(3):
            try:
                outcomes.append(next(each))
            except ZeroDivisionError:
                outcomes.append("no reciprocal")
        print("imap goes on behind it:", outcomes)

        try:
            pool.apply(vanish)
        except mp.WorkerDied as error:
            print("a task that ends its worker:", type(error).__name__)
        print("and the pool goes on:", pool.map(scale, [1, 2]))

        try:
            pool.apply_async(doze).get(timeout=0.2)
        except mp.TimeoutError:
            print("a task that takes too long: nobody has to wait for it")

    try:
        pool.apply(scale, (1,))
    except ValueError as error:
        print("a pool that is over:", error)


if __name__ == "__main__":
    main()
