"""Four teams of two run a relay race: every kind of lock does what it is for."""

import argparse

import procession as mp

LAPS = 3


def run(team, leg, track, lanes, baton, starter, board, results):
    """One runner. `track` is what all share, `baton` what the two of a team share."""
    starter.wait()  # a Barrier: nobody runs before all stand at the line
    for lap in range(LAPS):
        with baton:  # a Condition: my leg begins when the other's is over
            baton.wait_for(lambda turn=lap * 2 + leg: len_of(track, team) == turn)
            with lanes:  # a Semaphore: two lanes only
                track[team].put((lap, leg))
            baton.notify_all()
    if leg == 1:
        with board:  # a Lock: one line at a time
            results.put(team)


def len_of(track, team):
    """How many legs a team has run."""
    return track[team].qsize()


def watch(finished, results, teams, ranking):
    """The judge: collects who arrives, and raises the flag."""
    ranking.put([results.get() for _ in range(teams)])
    finished.set()


def main():
    """Set the race up, start it, and say how it ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--method", choices=mp.get_all_start_methods(), default="fork")
    ctx = mp.get_context(parser.parse_args().method)

    teams = 4
    track = [ctx.Queue() for _ in range(teams)]
    lanes, board, finished = ctx.Semaphore(2), ctx.Lock(), ctx.Event()
    starter = ctx.Barrier(2 * teams + 1)
    results, ranking = ctx.Queue(), ctx.Queue()
    runners = []
    for team in range(teams):
        baton = ctx.Condition()
        for leg in range(2):
            args = (team, leg, track, lanes, baton, starter, board, results)
            runners.append(ctx.Process(target=run, args=args))
    judge = ctx.Process(target=watch, args=(finished, results, teams, ranking))
    for process in [judge, *runners]:
        process.start()

    print(f"{len(runners)} runners stand at the line; finished: {finished.is_set()}")
    starter.wait()
    finished.wait()
    arrived = ranking.get()
    for process in [judge, *runners]:
        process.join()
    print(f"{len(arrived)} teams arrived, each once: {sorted(arrived) == list(range(teams))}")
    for team in range(teams):
        legs = [track[team].get() for _ in range(2 * LAPS)]
        in_turn = legs == [(lap, leg) for lap in range(LAPS) for leg in range(2)]
        print(f"team {team} ran {len(legs)} legs, in turn: {in_turn}")
    print("free in the end:", board.acquire(False), lanes.get_value())


if __name__ == "__main__":
    main()
