"""What closing a center to new jobs would do: who would have to look elsewhere, where, and when.

Decides nothing. Runs the very cycle on copies of the world in which the center is closed, so the
answer is what the scheduler would do, competition included: in one copy the jobs that would have
started there wait, in the other the jobs that run there. Nobody is stopped in these copies.
Invariants: the world that is asked about stays as it is; a cordon stops no running job, so what is
told of running jobs is where they could go, not that they must.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

from huiju.scheduling import reasons
from huiju.scheduling.cycle import Cycle
from huiju.scheduling.ends import expected_end
from huiju.scheduling.explain import explain
from huiju.scheduling.fit import Fitter
from huiju.scheduling.market import ANY
from huiju.scheduling.model import Explanation, Job
from huiju.scheduling.order import JobClass
from huiju.scheduling.reserve import Forecast
from huiju.scheduling.score import Scorer
from huiju.scheduling.world import World

_TOLD = 200
"""Waiting heads, and kinds of jobs that fit nowhere at once, of which is told in one answer."""


@dataclass(frozen=True, slots=True)
class Displaced:
    """One job that a cordon concerns, and its way around it."""

    job: Job
    equal: int
    """Waiting jobs of its queue that it stands for, itself included; 1 for a running job."""
    before: float | None
    """Expected end of a running job, or expected start of a waiting one; None if nobody knows."""
    center: str
    """Where it would run instead, empty if no other center could ever take it."""
    at: float | None
    """When it would start there; None if nobody knows."""
    basis: str
    """What the prediction rests on, or why there is none."""


@dataclass(frozen=True, slots=True)
class CordonEffect:
    """What cordoning a center would mean for the jobs that are known now."""

    center: str
    closed: str
    """Reason that it takes no jobs already, empty if it does."""
    running: tuple[Displaced, ...]
    """Jobs placed there: they run on; told is where they would go if they had to leave."""
    waiting: tuple[Displaced, ...]
    """Heads of waiting jobs that would have started there, first expected start first."""
    omitted: int = 0
    """Waiting heads beyond those told."""


def whatif_cordon(world: World, name: str, now: float) -> CordonEffect | None:
    """What cordoning the center would do at `now`, None if there is no such center."""
    state = world.centers.get(name)
    if state is None:
        return None
    scorer = Scorer(world.policy, world.centers, world.gflops, world.prices)
    there = sorted(
        world.placed_in.get((name, ANY), {}).values(), key=lambda p: (p.started, p.job.uid)
    )
    bound = _bound_for(world, scorer, name, now)
    leaving = _Aside(world, name, [p.job for p in there], now, stay=False)
    queued = _Aside(world, name, [job for job, _, _ in bound[:_TOLD]], now, stay=True)
    running = [leaving.fate(p.job, 1, _known(expected_end(p, now, scorer.speed))) for p in there]
    waiting = [queued.fate(*head) for head in bound[:_TOLD]]
    omitted = max(0, len(bound) - _TOLD)
    return CordonEffect(name, state.center.closed, tuple(running), tuple(waiting), omitted)


def _bound_for(
    world: World, scorer: Scorer, name: str, now: float
) -> list[tuple[Job, int, float | None]]:
    """Heads of classes that are expected to start in the center, how many are alike, and when."""
    heads = Cycle(world, scorer, now).heads
    state = world.centers[name]
    holders = {hold.job for each in world.centers.values() for hold in each.holds}
    known: dict[tuple[Fitter, str], Forecast | None] = {}
    found: list[tuple[Job, int, float | None]] = []
    for queue, line in world.lines.items():
        share = world.tree.share(queue)
        if share is None or share.fault is not None:
            continue
        for each in line.classes.values():
            fitter, uid = each.key.fitter, each.line[0].uid
            if fitter.refused(state, now) is not None:
                continue
            key = (fitter, share.home)
            if uid in holders or key not in known:
                seen = heads.forecast(each, share)
                if uid not in holders:
                    known[key] = seen
            else:
                seen = known[key]
            if seen is not None and seen.center == name:
                found.append((world.jobs[uid], len(each.line), _known(seen.at)))
    return sorted(found, key=lambda item: (item[2] is None, item[2] or 0.0, item[0].uid))


class _Aside:
    """The world with the center closed and some jobs waiting, after one cycle there."""

    def __init__(self, world: World, name: str, jobs: list[Job], now: float, *, stay: bool) -> None:
        policy = replace(world.policy, preemption=False)
        self._world = world.without("" if stay else name, policy)
        self._now = now
        center = world.centers[name].center
        closed = replace(center, closed=reasons.CENTER_CORDONED, closed_message="cordoned")
        self._world.set_center(closed)
        for job in jobs:
            self._world.set_job(replace(job, not_before=0.0))
        self._scorer = Scorer(policy, self._world.centers, self._world.gflops, self._world.prices)
        self._world.wake(now)
        placed = Cycle(self._world, self._scorer, now).run().placed
        self._center_of = {place.job.uid: place.center for place in placed}
        self._told: dict[JobClass | None, Explanation | None] = {}

    def fate(self, job: Job, equal: int, before: float | None) -> Displaced:
        """Where and when the job would run instead."""
        center = self._center_of.get(job.uid)
        if center is not None:
            basis = f"fits in {center} now"
            return Displaced(job, equal, before, center, self._now, basis)
        told = self._explain(job.uid)
        if told is None:
            basis = f"not among the first {_TOLD} kinds of jobs that were looked at"
            return Displaced(job, equal, before, "", None, basis)
        basis = told.basis or told.message
        return Displaced(job, equal, before, told.predicted_center, told.predicted_start, basis)

    def _explain(self, uid: str) -> Explanation | None:
        """Equal jobs are explained once; there is a bound, for somebody waits for the answer."""
        found = self._world.class_of(uid)
        if found not in self._told and len(self._told) < _TOLD:
            self._told[found] = explain(self._world, self._scorer, uid, self._now)
        return self._told.get(found)


def _known(at: float) -> float | None:
    return None if at == inf else at
