"""`python -m tests.spec`: the walk to the full bound, and every mutation; minutes, not seconds."""

from __future__ import annotations

import argparse
import sys
import time

from tests.spec.explore import Found, explore
from tests.spec.mutations import MUTATIONS
from tests.spec.protocol import Rules


def main() -> int:
    """Walk, print what was found; 1 if a promise is broken or a mutation goes unnoticed."""
    parser = argparse.ArgumentParser(prog="tests.spec", description=__doc__)
    parser.add_argument("--jobs", type=int, default=1, help="jobs in the model")
    parser.add_argument("--faults", type=int, default=1, help="faults on one way through the model")
    parser.add_argument("--most", type=int, default=40_000_000, help="stop after so many states")
    flags = parser.parse_args()
    bad = False
    for name, mutation in MUTATIONS.items():
        found = explore(mutation.rules, first=mutation.first, most=flags.most)
        bad |= not found.violation
        _show(f"without the rule {name!r}", found)
    began = time.monotonic()
    found = explore(
        Rules(), jobs=flags.jobs, faults=flags.faults, most=flags.most, progress=_progress
    )
    _show(f"the protocol, jobs {flags.jobs}, faults {flags.faults}", found)
    sys.stdout.write(f"{time.monotonic() - began:.0f} s\n")
    return int(bad or bool(found.violation) or not found.complete)


def _progress(seen: int, left: int) -> None:
    sys.stderr.write(f"{seen} states, {left} of them not walked yet\n")


def _show(what: str, found: Found) -> None:
    seen = "all" if found.complete else "the first"
    verdict = found.violation or "no violation"
    sys.stdout.write(f"{what}: {verdict}; {seen} {found.states} states, {found.steps} steps\n")
    for number, step in enumerate(found.trace, 1):
        sys.stdout.write(f"  {number:2} {step}\n")


if __name__ == "__main__":
    sys.exit(main())
