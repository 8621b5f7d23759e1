"""One storm: a federation, jobs that come and go, a plan of faults, calm, and the checks.

Decides the order of things and counts what was injected. Invariant: a storm ends with every
process of its federation, whatever went wrong; two storms of one seed have the same plan and jobs.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from huiju.kube.resources import NAMESPACES
from lab import runrecord
from lab.faultrules import Fault, Rule
from tests.chaos import checks, users
from tests.chaos.deeds import Deeds
from tests.chaos.federation import CARDS, Federation, raised
from tests.chaos.load import Order, orders
from tests.chaos.plan import CENTERS, STEPS, Blow, Glitch, Misfortune, Step
from tests.chaos.record import Record

_SETTLED_WITHIN: Final = 300.0
_CLEAN_WITHIN: Final = 120.0
_SHARE: Final = 0.5
"""Of the requests that a glitch is for, those that it befalls: work has to go on for others."""
_AT_ONCE: Final = 2
"""Glitches that wait for the same requests."""
_GROWTH: Final = 64 << 20
"""Bytes by which a hub may grow in a storm; the same process holds no job in the end."""


@dataclass(slots=True)
class Outcome:
    """What a storm was and what it showed."""

    seed: int
    jobs: int
    glitches: Counter[tuple[Step, Fault]] = field(default_factory=Counter)
    """Requests that a fault befell."""
    deeds: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    attempts: int = 0
    """Pods seen running."""
    guarded: int = 0
    """Runs of guarded pods."""
    failovers: int = 0
    seconds: float = 0.0

    @property
    def faults(self) -> int:
        """Everything that was injected."""
        return self.glitches.total() + self.deeds.total()


@dataclass(frozen=True, slots=True)
class Terms:
    """How a storm is done."""

    seed: int
    seconds: float
    rate: float
    """Jobs a second."""
    folder: Path
    name: str


async def storm(terms: Terms, plan: Iterable[Misfortune]) -> Outcome:
    """Let it come over a federation of its own; violations are in the outcome, not raised."""
    begun = time.monotonic()
    work = orders(terms.seed, terms.seconds, terms.rate)
    outcome = Outcome(terms.seed, len(work))
    async with raised(terms.name, terms.folder, terms.seed) as made:
        await _through(made, terms, list(plan), work, outcome)
    outcome.seconds = time.monotonic() - begun
    return outcome


async def _through(
    made: Federation,
    terms: Terms,
    plan: list[Misfortune],
    work: list[Order],
    outcome: Outcome,
) -> None:
    record = Record()
    hub_id = await _hub_id(made)
    deeds = Deeds(made, hub_id)
    beside = [
        asyncio.create_task(record.follow({name: made.clients[name] for name in CENTERS})),
        asyncio.create_task(made.supervise()),
    ]
    try:
        started = asyncio.get_running_loop().time()
        rules: list[tuple[Glitch, Rule]] = []
        async with asyncio.TaskGroup() as group:
            group.create_task(users.play(work, made.user, made.lake, started, terms.seconds))
            for one in plan:
                group.create_task(_befall(one, made, deeds, started, rules, outcome))
        await deeds.calm()
        outcome.glitches.update(
            {
                key: sum(rule.hits for one, rule in rules if (one.step, one.fault) == key)
                for key in {(one.step, one.fault) for one, _ in rules}
            }
        )
        await _judge(made, work, deeds.wiped, record, outcome)
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)


async def _hub_id(made: Federation) -> str:
    system = await made.user.get(NAMESPACES, "kube-system")
    return str(system["metadata"]["uid"]).replace("-", "")[:8]


async def _befall(
    one: Misfortune,
    made: Federation,
    deeds: Deeds,
    started: float,
    rules: list[tuple[Glitch, Rule]],
    outcome: Outcome,
) -> None:
    await asyncio.sleep(max(0.0, started + one.at - asyncio.get_running_loop().time()))
    if isinstance(one, Blow):
        if await deeds.do(one):
            outcome.deeds[one.deed] += 1
        return
    where = STEPS[one.step]
    waiting = [r for other, r in rules if _same(one, other) and r.hits < (r.count or 0)]
    for old in waiting[: 1 - _AT_ONCE]:
        old.count = old.hits  # its time was yesterday: seldom requests are not for one fault alone
    rule = made.proxies[one.link].add(
        one.fault,
        *where.verbs,
        path=where.path,
        probability=_SHARE,
        count=one.count,
        code=one.code,
        seconds=one.seconds,
        size=one.size,
        retry_after=1 if one.code == 429 else None,
    )
    rules.append((one, rule))


def _same(one: Glitch, other: Glitch) -> bool:
    return (one.link, one.step) == (other.link, other.step)


async def _judge(
    made: Federation, work: list[Order], wiped: set[str], record: Record, outcome: Outcome
) -> None:
    wrong = outcome.violations
    wrong += await checks.settle(made, work, wiped, _SETTLED_WITHIN)
    outcome.failovers = await checks.failovers(made)
    wrong += await checks.truthful(made)
    wrong += await checks.secrets_kept(made)
    size = made.programs["hub"].memory()
    wrong += await checks.nothing_left(made, _CLEAN_WITHIN)
    wrong += record.overlaps()
    guarded = runrecord.runs(made.runs)
    wrong += [f"guarded runs met: {one}, {other}" for one, other in runrecord.overlaps(guarded)]
    wrong += record.over_commitments(CARDS)
    wrong += checks.crashes(process.log for process in made.programs.values())
    peak = made.programs["hub"].memory()
    if peak > size + _GROWTH:
        wrong.append(f"the hub grew from {size >> 20} to {peak >> 20} MiB while jobs went")
    outcome.attempts = len(record.runs)
    outcome.guarded = len(guarded)
