"""Plays many runs: `scripts/simulate --seeds 10000`. Each one that fails is shown with the way to play it again.

`--mutations` plants each mistake of `mutations.py` instead and says which run is the first to notice it.
"""

import argparse
import logging
import os
import sys
import time
import traceback
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

from tests.simulation.mutations import MUTATIONS, Mutation, planted
from tests.simulation.simulation import run_seed

_BLOCK = 50  # runs that are handed to a process at a time
_MOST = 3000  # runs until one must have noticed a mistake; a few are enough for most


def main() -> int:
    """How many runs failed, as far as an exit code can say."""
    parser = argparse.ArgumentParser(prog="scripts/simulate", description="Plays seeded runs of clients and servers.")
    parser.add_argument("--seeds", type=int, default=10_000, help="how many runs")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many processes")
    parser.add_argument("--mutations", action="store_true", help="show that each known mistake is noticed")
    options = parser.parse_args()
    if options.mutations:
        return _notice_all()
    began, failed = time.monotonic(), 0
    last = options.first + options.seeds
    with ProcessPoolExecutor(options.jobs) as pool:
        for failures in pool.map(
            _play, (range(at, min(at + _BLOCK, last)) for at in range(options.first, last, _BLOCK))
        ):
            for seed, report in failures:
                failed += 1
                print(f"seed {seed} fails:\n{report}", flush=True)
    print(f"{options.seeds} runs, {failed} failed, {time.monotonic() - began:.0f} s")
    return min(failed, 1)


def _notice_all() -> int:
    unnoticed = 0
    for mutation in MUTATIONS:
        seed = first_to_notice(replace(mutation, seed=0))
        unnoticed += seed is None
        print(f"{'never' if seed is None else seed:>5} {mutation.name}", flush=True)
    return min(unnoticed, 1)


def first_to_notice(mutation: Mutation) -> int | None:
    """The seed of a run that fails with the mistake in the product; None when so many do not."""
    seeds: list[int] = [mutation.seed, *range(_MOST)]
    with planted(mutation):
        for seed in seeds:
            if _play(range(seed, seed + 1)):
                return seed
    return None


def _play(seeds: range) -> list[tuple[int, str]]:
    """The seeds that failed, and how."""
    logging.disable(logging.CRITICAL)
    failures: list[tuple[int, str]] = []
    try:
        for seed in seeds:
            try:
                run_seed(seed)
            except Exception:
                failures.append((seed, traceback.format_exc(limit=-4)))
    finally:
        logging.disable(logging.NOTSET)
    return failures


if __name__ == "__main__":
    sys.exit(main())
