"""Measure deltarule beside its peers and write the result: python benchmarks/run.py"""

from __future__ import annotations

import argparse
import datetime
import functools
import sys
from pathlib import Path

from deltarule.base.errors import DeltaruleError
from deltarule.bench import PEERS, choices, full_form, short_form, show, write

RESULTS = Path(__file__).parent / "results"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="the form of `deltarule bench`")
    parser.add_argument("--threads", type=int, default=2, help="of every library (default 2)")
    parser.add_argument("--workloads", nargs="+", metavar="W", help=", ".join(choices()))
    parser.add_argument("--peers", nargs="+", metavar="PEER", help=", ".join(PEERS))
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder (default results/)")
    parser.add_argument(
        "--limit", type=float, help="seconds for each workload of the full form (default 100)"
    )
    parser.add_argument(
        "--training-only",
        action="store_true",
        help="of the full form: no predictions, no processes",
    )
    options = parser.parse_args()

    def say(text: str) -> None:
        print(f"{datetime.datetime.now():%H:%M:%S} {text}", file=sys.stderr, flush=True)

    measure = (
        short_form
        if options.short
        else functools.partial(full_form, limit=options.limit, training_only=options.training_only)
    )
    try:
        result = measure(
            options.peers, workloads=options.workloads, threads=options.threads, say=say
        )
    except DeltaruleError as error:
        parser.error(str(error))
    show(result)
    for path in write(result, options.output):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
