"""The tour's command line."""

import argparse
import json
import os
import sys
import sysconfig
from dataclasses import asdict

from .guide import NothingToDo, Tour, lead
from .parallel import WorkerFailed, cores
from .progress import Progress, for_terminal

WRONG_RESULT, WRONG_INPUT, INTERRUPTED = 1, 2, 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe what the tour can be asked for, and say that `run` answers."""
    parser.add_argument(
        "directory",
        nargs="?",
        default=sysconfig.get_path("stdlib"),
        metavar="DIRECTORY",
        help="where to look (Python's own standard library, if not given)",
    )
    parser.add_argument(
        "--start-method",
        choices=["fork", "spawn", "forkserver"],
        default="fork",
        help="how processes come to be: fork copies this one, spawn runs Python anew, forkserver "
        "copies a template",
    )
    parser.add_argument(
        "--workers",
        type=_count,
        default=cores(),
        metavar="N",
        help="how many processes (one for each core, if not given)",
    )
    parser.add_argument("--report", metavar="FILE", help="keep the list of near duplicates here")
    parser.add_argument("--json", action="store_true", help="print the results as one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Take the tour; its exit code."""
    tour = Tour(options.directory, options.start_method, options.workers, options.report)
    try:
        if options.json:
            lead(tour, say=lambda _: None, progress=Progress)
            print(as_json(tour))
        else:
            lead(tour, say=lambda line: print(line, flush=True), progress=for_terminal)
            print(f"\nspeed-up {tour.speedup:.2f}")
            print(f"results {'equal' if tour.equal else 'differ'}")
    except NothingToDo as error:
        return _fail(str(error), WRONG_INPUT)
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return WRONG_RESULT
    except OSError as error:
        text = f"{error.strerror}: {error.filename!r}" if error.filename else str(error)
        return _fail(text, WRONG_INPUT)
    except WorkerFailed as error:
        return _fail(str(error), WRONG_RESULT)
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    return 0 if tour.equal else WRONG_RESULT


def as_json(tour: Tour) -> str:
    """All that the tour found, for programs to read."""
    return json.dumps(
        {
            "directory": tour.directory,
            "start_method": tour.start_method,
            "workers": tour.workers,
            "files": len(tour.files),
            "bytes": sum(file.size for file in tour.files),
            "serial_seconds": tour.serial_seconds,
            "parallel_seconds": tour.parallel_seconds,
            "pool_seconds": tour.pool_seconds,
            "speedup": tour.speedup,
            "equal": tour.equal,
            "pairs": [pair._asdict() for pair in tour.pairs],
            "per_worker": [asdict(figures) for figures in tour.figures],
        }
    )


def _count(text: str) -> int:
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"expected a number of 1 or more, found {text!r}")


def _fail(message: str, code: int) -> int:
    print(f"procession tour: {message}", file=sys.stderr)
    return code
