"""One side of a measurement: LIBRARY CASE COUNT. Measures once for each line of its input.

Started processes import this file again under spawn: nothing is imported here but for the main one.
"""


def main() -> None:
    """Prints the seconds of each measurement."""
    import importlib
    import sys

    from cases import CASES

    library, name, count = sys.argv[1:]
    case = next(case for case in CASES if case.name == name)
    context = importlib.import_module(library).get_context(case.method)
    measure = case.prepare(context, int(count))
    for _ in sys.stdin:
        print(measure(), flush=True)


if __name__ == "__main__":
    main()
