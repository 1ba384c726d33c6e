"""Measures one build of procession against another, and the standard library against itself.

python bench/against.py PYTHON_BEFORE PYTHON_NOW: interpreters of two environments with a build
each. All four measure in turn, in the same rounds. A ratio is the other's time over this one's:
above 1 is faster. What the standard library's two programs differ by is the noise.
"""

import argparse
import json
import statistics
from pathlib import Path

from cases import CASES
from run import Side, environment, print_row, spread, times_as_fast

SIDES = (
    ("before", "procession"),
    ("now", "procession"),
    ("noise", "multiprocessing"),
    ("noise again", "multiprocessing"),
)


def main() -> None:
    """Runs the cases asked for; says which ones lost more than the noise."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("before", help="interpreter with the older build")
    parser.add_argument("now", help="interpreter with the newer build")
    parser.add_argument("--rounds", type=int, default=7, help="rounds to measure (default: 7)")
    parser.add_argument("--case", nargs="+", metavar="NAME", help="cases with one of these words")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write a record")
    arguments = parser.parse_args()
    record = {**environment(), "rounds": arguments.rounds, "cases": {}}
    lost = []
    print_row("case", "now against before", "noise", "")
    for case in CASES:
        if arguments.case and not any(word in case.name for word in arguments.case):
            continue
        pythons = (arguments.before, arguments.now, arguments.now, arguments.now)
        sides = {
            name: Side(library, case, case.count, python)
            for (name, library), python in zip(SIDES, pythons)
        }
        times: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(arguments.rounds + 1):
            slices = [
                {name: side.measure() for name, side in sides.items()} for _ in range(case.slices)
            ]
            for name in sides:
                times[name].append(statistics.median(each[name] for each in slices))
        for side in sides.values():
            side.process.communicate()
        gain = [b / n for b, n in zip(times["before"][1:], times["now"][1:])]
        noise = [b / n for b, n in zip(times["noise"][1:], times["noise again"][1:])]
        is_lost = statistics.median(gain) < min(*noise, *(1 / ratio for ratio in noise))
        lost += [case.name] * is_lost
        print_row(
            case.name,
            spread(gain, times_as_fast),
            spread(noise, times_as_fast),
            "beyond noise" if is_lost else "",
        )
        record["cases"][case.name] = {"seconds": times, "gain": gain, "noise": noise}
    if arguments.json:
        arguments.json.write_text(json.dumps(record, indent=1) + "\n")
    print("lost beyond noise:", ", ".join(lost) or "none")


if __name__ == "__main__":
    main()
