"""`./dev bench [NAME …] [--full]`: run benchmarks and print a table for each."""

import argparse
import importlib
import signal
import sys
import time

import uvloop

from benchmarks.measure import print_table

NAMES = ("answers", "consensus", "failover", "gossip", "http", "storage", "watchers")
"""Modules of this package with a coroutine `run(full: bool) -> list[Figure]`."""


def main() -> None:
    """Parse the words and run what they name."""
    parser = argparse.ArgumentParser(prog="./dev bench", description="CPU time, disk and memory beside a counterpart")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(NAMES)}; all when there is none")
    parser.add_argument("--full", action="store_true", help="the large sizes; without it each takes about a minute")
    chosen = parser.parse_args()
    if unknown := [name for name in chosen.names if name not in NAMES]:
        parser.error(f"unknown benchmark {unknown[0]}; there are {', '.join(NAMES)}")
    # Ended from outside, it still ends the processes that it started.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    for name in chosen.names or NAMES:
        module = importlib.import_module(f"benchmarks.{name}")
        print(f"{name}: {(module.__doc__ or '').partition(chr(10))[0]}", flush=True)
        begin = time.monotonic()
        print_table(uvloop.run(module.run(chosen.full)))
        print(f"({time.monotonic() - begin:.0f} s)\n", flush=True)


if __name__ == "__main__":
    main()
