"""Many clerks count ballots into shared memory: a Value, an Array, and a structure of their own."""

import argparse
import ctypes

import procession as mp

PARTIES = ["apples", "pears", "plums"]


class Tally(ctypes.Structure):
    """What is known of one party."""

    _fields_ = (("votes", ctypes.c_long), ("share", ctypes.c_double))


def count(clerk, ballots, counted, tallies, marks):
    """A clerk: adds what is on the ballots."""
    for party in ballots:
        with tallies.get_lock():
            tallies[party].votes += 1
        with counted.get_lock():
            counted.value += 1
    marks[clerk] = b"x"


def main():
    """Hand out the ballots, and read the result where it was written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--method", choices=mp.get_all_start_methods(), default="fork")
    ctx = mp.get_context(parser.parse_args().method)

    clerks, each = 4, 300
    counted = ctx.Value("i", 0)
    tallies = ctx.Array(Tally, len(PARTIES))
    marks = ctx.RawArray("c", clerks)
    turnout = ctx.RawValue(ctypes.c_double, 0.0)
    processes = []
    for clerk in range(clerks):
        ballots = [(number * 7 + clerk) % 5 % len(PARTIES) for number in range(each)]
        args = (clerk, ballots, counted, tallies, marks)
        processes.append(ctx.Process(target=count, args=args))
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    print(f"{counted.value} ballots were counted; all clerks have signed: {marks[:] == b'xxxx'}")
    for tally in tallies:
        tally.share = tally.votes / counted.value
    for name, tally in zip(PARTIES, tallies):
        print(f"{name}: {tally.votes} votes, {tally.share:.0%}")
    turnout.value = counted.value / 2000
    print(f"turnout: {turnout.value:.1%}")


if __name__ == "__main__":
    main()
