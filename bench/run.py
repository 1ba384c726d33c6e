"""Measures procession against the standard library: the same work, interleaved, medians of rounds.

Each library runs in a process of its own (side.py); this one lets them measure in turn.
"""

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable

from cases import CASES, Case

HERE = Path(__file__).parent
SIDES = ("procession", "multiprocessing")


class Side:
    """One library in its own process, ready to measure one case."""

    def __init__(self, library: str, case: Case, count: int, python: str = sys.executable) -> None:
        self.count = count
        self.process = subprocess.Popen(
            [python, str(HERE / case.main), library, case.name, str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def measure(self) -> float:
        """Seconds that one piece of the case's work takes now."""
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"bench: failed: {' '.join(self.process.args)}")
        return float(line) / self.count


def measure(case: Case, rounds: int, quick: bool) -> dict[str, list[float]]:
    """Seconds per piece of work, of each side and round; a first round is left out."""
    count = max(1, case.count // 10) if quick else case.count
    libraries = (*SIDES, *((case.peer[0],) if case.peer else ()))
    sides = {library: Side(library, case, count) for library in libraries}
    times: dict[str, list[float]] = {library: [] for library in libraries}
    for _ in range(rounds + 1):
        slices = [
            {library: side.measure() for library, side in sides.items()} for _ in range(case.slices)
        ]
        for library in libraries:
            times[library].append(statistics.median(each[library] for each in slices))
    for side in sides.values():
        side.process.communicate()
    return {library: seconds[1:] for library, seconds in times.items()}


def command(*words: str) -> str:
    """What a command prints."""
    return subprocess.run(
        words, cwd=HERE, capture_output=True, text=True, check=False
    ).stdout.strip()


def environment() -> dict[str, Any]:
    """Where, when and of what a record is."""
    info = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in info if line.startswith("model name")]
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "commit": command("git", "describe", "--always", "--dirty"),
        "python": platform.python_version(),
        "machine": {
            "cpu": models[0] if models else platform.machine(),
            "cores": len(os.sched_getaffinity(0)),
            "kernel": platform.release(),
        },
        "load_before": os.getloadavg(),
    }


def duration(seconds: float) -> str:
    """Seconds, in the unit that suits them."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def times_as_fast(ratio: float) -> str:
    """A ratio."""
    return f"{ratio:.3g}"


def spread(values: list[float], show: Callable[[float], str]) -> str:
    """Median [least - greatest]."""
    return f"{show(statistics.median(values))} [{show(min(values))} - {show(max(values))}]"


def print_row(*cells: str) -> None:
    """A row of the table."""
    widths = (36, 31, 31, 22, 0)
    print("  ".join(f"{cell:{width}}" for cell, width in zip(cells, widths)).rstrip(), flush=True)


def main() -> None:
    """Runs the cases asked for."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--rounds", type=int, default=7, help="rounds to measure (default: 7)")
    parser.add_argument(
        "--case", nargs="+", metavar="NAME", help="cases with one of these in the name"
    )
    parser.add_argument(
        "--json", metavar="FILE", type=Path, help="also write a record of all rounds"
    )
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of the work: to see that it runs"
    )
    options = parser.parse_args()
    words = [word.lower() for word in options.case or [""]]
    cases = [case for case in CASES if any(word in case.name.lower() for word in words)]
    if not cases or options.rounds < 1:
        parser.error(f"nothing to do; cases: {'; '.join(case.name for case in CASES)}")

    record = environment()
    print_row("case (time of one)", *SIDES, "ratio", "target")
    rows = []
    for case in cases:
        times = measure(case, options.rounds, options.quick)
        ratios = [theirs / ours for ours, theirs in zip(*(times[library] for library in SIDES))]
        target = f"> {case.target:g}" if case.target else ""
        if case.target and statistics.median(ratios) < case.target:
            target += " missed"
        cells = [spread(times[library], duration) for library in SIDES]
        print_row(case.name, *cells, spread(ratios, times_as_fast), target)
        rows.append({"case": case.name, "target": case.target, "seconds": times, "ratios": ratios})
        if case.peer:
            peer, wanted = case.peer
            against = [theirs / ours for ours, theirs in zip(times[SIDES[0]], times[peer])]
            missed = " missed" if statistics.median(against) < wanted else ""
            cells = [spread(times[library], duration) for library in (SIDES[0], peer)]
            name = f"  the same against {peer}"
            print_row(name, *cells, spread(against, times_as_fast), f"> {wanted:g}{missed}")
    record.update(load_after=os.getloadavg(), quick=options.quick, cases=rows)
    loads = " -> ".join(f"{record[when][0]:.2f}" for when in ("load_before", "load_after"))
    print(f"{record['machine']}, Python {record['python']}, {record['commit']}, load {loads}")
    if options.json:
        options.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
