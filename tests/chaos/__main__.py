"""`make chaos`: storms by seed, their sum, and of a failed one the plan to have it again.

Decides nothing; exit code 1 where a storm found a violation.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lab.faultrules import Fault
from tests.chaos.plan import Misfortune, Step, cells, draw, dump, load
from tests.chaos.shrink import shrunk
from tests.chaos.storm import Outcome, Terms, storm

PLANS = Path("chaos-plans")
ENOUGH = 20
"""Times that each fault is to befall each step."""


def main() -> int:
    """Run the storms that the command line asks for."""
    given = _parser().parse_args()
    so_far = _former(given.after)
    outcomes: list[Outcome] = []
    for seed in _seeds(given.seeds):
        outcomes.append(asyncio.run(_one(given, seed, so_far)))
        if given.even:
            so_far.update(outcomes[-1].glitches)
        _write(_sum(outcomes), given.json)
    print(json.dumps(_sum(outcomes)))
    return 1 if any(outcome.violations for outcome in outcomes) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="1-3", help="such as 7, 1-20 or 3,5,9")
    parser.add_argument("--seconds", type=float, default=30.0, help="of faults in each storm")
    parser.add_argument("--rate", type=float, default=1.0, help="jobs a second")
    parser.add_argument("--every", type=float, default=0.25, help="seconds between faults")
    parser.add_argument("--blows", type=float, default=4.0, help="seconds between blows")
    parser.add_argument(
        "--turn", type=float, default=0.0, help="seconds that faults stay with few steps; 0: all"
    )
    parser.add_argument(
        "--focus",
        action="append",
        default=[],
        metavar="STEP[:FAULT]",
        help="faults of requests at this step alone; again for more",
    )
    parser.add_argument(
        "--after",
        type=Path,
        action="append",
        default=[],
        metavar="SUM",
        help=f"a sum that --json wrote: only what was injected less than {ENOUGH} times so far",
    )
    parser.add_argument(
        "--even",
        action="store_true",
        help="half of the faults as --after, of the former storms of this very run",
    )
    parser.add_argument("--replay", type=Path, help="a plan that a failed storm left")
    parser.add_argument("--shrink", type=int, default=0, help="runs to spend on a smaller plan")
    parser.add_argument("--json", type=Path, help="write the sum there, after each storm")
    return parser


def _seeds(text: str) -> Iterator[int]:
    for part in text.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def _cells(words: Sequence[str]) -> list[tuple[Step, Fault]]:
    wanted = [word.partition(":")[::2] for word in words]
    return [
        (step, fault)
        for step, fault in cells()
        if any(step == one and other in ("", fault) for one, other in wanted)
    ]


Cells = Counter[tuple[Step, Fault]]


def _former(sums: Sequence[Path]) -> Cells:
    """What former storms injected."""
    words: Counter[str] = Counter()
    for path in sums:
        words.update(json.loads(path.read_text())["requests"])
    return Counter({one: words[f"{one[0]}:{one[1]}"] for one in cells()})


def _short(so_far: Cells) -> list[tuple[Step, Fault]]:
    """The cells that former storms have not had often enough."""
    return [one for one in cells() if so_far[one] < ENOUGH]


async def _one(given: argparse.Namespace, seed: int, so_far: Cells) -> Outcome:
    if given.replay is not None:
        plan = load(given.replay.read_text())
    else:
        focus = _cells(given.focus) or _short(so_far)
        plan = draw(
            seed,
            given.seconds,
            every=given.every,
            blows=given.blows,
            focus=focus,
            share=0.5 if given.even else 1.0,
            turn=given.turn,
        )
    outcome = await _run(given, seed, plan)
    print(
        f"seed {seed}: {outcome.faults} faults, {outcome.jobs} jobs, {outcome.attempts} pods,"
        f" {outcome.guarded} guarded runs, {outcome.failovers} failovers,"
        f" {outcome.seconds:.0f} s, {len(outcome.violations)} violations",
        flush=True,
    )
    for told in outcome.violations:
        print(f"  {told}", flush=True)
    if outcome.violations:
        await _keep(given, seed, plan)
    return outcome


async def _run(given: argparse.Namespace, seed: int, plan: Sequence[Misfortune]) -> Outcome:
    folder = Path(tempfile.mkdtemp(prefix=f"storm-{seed}-"))
    name = f"storm-{folder.name.rpartition('-')[2].lower().replace('_', 'x')}"
    outcome = await storm(Terms(seed, given.seconds, given.rate, folder, name), plan)
    if outcome.violations:
        print(f"  logs in {folder}", flush=True)
    return outcome


async def _keep(given: argparse.Namespace, seed: int, plan: Sequence[Misfortune]) -> None:
    async def fails(part: Sequence[Misfortune]) -> bool:
        return bool((await _run(given, seed, part)).violations)

    if given.shrink:
        plan = await shrunk(plan, fails, given.shrink)
    PLANS.mkdir(exist_ok=True)
    file = PLANS / f"seed-{seed}.jsonl"
    file.write_text(dump(plan))
    print(f"  again: make chaos SEEDS={seed} CHAOS_ARGS='--replay {file}'", flush=True)


def _sum(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    glitches: Cells = Counter()
    deeds: Counter[str] = Counter()
    for outcome in outcomes:
        glitches.update(outcome.glitches)
        deeds.update(outcome.deeds)
    return {
        "seeds": [outcome.seed for outcome in outcomes],
        "faults": sum(outcome.faults for outcome in outcomes),
        "violations": sum(len(outcome.violations) for outcome in outcomes),
        "jobs": sum(outcome.jobs for outcome in outcomes),
        "pods": sum(outcome.attempts for outcome in outcomes),
        "guarded": sum(outcome.guarded for outcome in outcomes),
        "failovers": sum(outcome.failovers for outcome in outcomes),
        "seconds": round(sum(outcome.seconds for outcome in outcomes)),
        "requests": {f"{step}:{fault}": glitches[step, fault] for step, fault in cells()},
        "short": sum(glitches[one] < ENOUGH for one in cells()),
        "deeds": dict(sorted(deeds.items())),
        "machine": f"{platform.machine()} {platform.system()} Python {platform.python_version()}",
    }


def _write(told: dict[str, Any], path: Path | None) -> None:
    if path is not None:
        path.write_text(json.dumps(told, indent=1))


if __name__ == "__main__":
    sys.exit(main())
