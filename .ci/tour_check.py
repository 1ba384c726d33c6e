"""Checks what a tour printed, from standard input: its last lines, or with --json its object."""

import json
import re
import sys

NUMBERS = ("files", "workers", "serial_seconds", "parallel_seconds", "speedup")


def problems(text: str, as_json: bool) -> list:
    if not as_json:
        last = text.splitlines()[-2:]
        patterns = (r"speed-up \d+\.\d\d", "results equal")
        matches = len(last) == len(patterns) and all(map(re.fullmatch, patterns, last))
        return [] if matches else [f"the last lines are {last}, expected {patterns}"]
    try:
        report = json.loads(text)
    except ValueError as error:
        return [f"the output is not one JSON object: {error}"]
    if not isinstance(report, dict):
        return [f"the output is not a JSON object: {report!r}"]
    found = [
        f"{key} is {report.get(key)!r}, expected a number above 0"
        for key in NUMBERS
        if type(report.get(key)) not in (int, float) or not report[key] > 0
    ]
    if report.get("equal") is not True:
        found.append(f"equal is {report.get('equal')!r}, expected true")
    return found


if __name__ == "__main__":
    found = problems(sys.stdin.read(), "--json" in sys.argv[1:])
    for problem in found:
        print(f"tour_check: {problem}", file=sys.stderr)
    sys.exit(bool(found))
