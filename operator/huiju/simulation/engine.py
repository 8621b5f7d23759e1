"""Moves a clock from event to event around the scheduling core.

Decides nothing about placement: the core does. At each instant ended jobs leave first, then
arrivals join, then the core runs a cycle. Invariants: the same input gives the same result; a job
runs for its duration at the speed of the model it got, however often it was stopped.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import inf

from huiju.scheduling.core import Core
from huiju.scheduling.model import Center, Job, Place, Queue
from huiju.scheduling.policy import Policy
from huiju.simulation.learning import Learner
from huiju.simulation.site import Site

_TICK = 60.0
"""Least seconds between cycles that only the passing of time asks for."""
_IDLE_WAKES = 8


@dataclass(frozen=True, slots=True)
class SimJob:
    """A job with what only hindsight tells; its `submitted` is when it arrives."""

    job: Job
    duration: float
    """Seconds on the first alternative."""
    home: str = ""
    """Center in which it ran, or would run, without federation."""


@dataclass(slots=True)
class Run:
    """What became of a job; times as the job's."""

    job: SimJob
    center: str = ""
    started: float = inf
    """When it started for good."""
    ended: float = inf
    wait: float = inf
    """Seconds until its end in which it did no work that counted."""
    units: int = 0
    busy: float = 0.0
    """Accelerator-seconds held, lost work included."""
    stops: int = 0
    reason: str = ""
    """Why it never ran, empty if it did."""

    @property
    def moved(self) -> bool:
        """Whether it ran away from home."""
        return bool(self.center and self.job.home and self.center != self.job.home)


@dataclass(frozen=True, slots=True)
class Result:
    """Every job's fate, in the order given, and what the centers had to offer."""

    runs: tuple[Run, ...]
    units: dict[str, int]
    """Accelerators by center."""
    cycles: int


@dataclass(slots=True)
class _Live:
    run: Run
    left: float
    """Seconds of work on the first alternative."""
    epoch: int = 0
    place: Place | None = None
    since: float = 0.0
    speed: float = 1.0


def simulate(
    jobs: Sequence[SimJob],
    centers: Sequence[Center],
    queues: Sequence[Queue] = (),
    policy: Policy | None = None,
    *,
    keep_home: bool = False,
    learn: bool = False,
    restart: float = 0.0,
) -> Result:
    """Run the jobs on the centers.

    `keep_home` keeps every job in its home center: the same network without federation. `learn`
    replaces expected run times by what ended jobs of the same home and size tell. `restart` is the
    seconds that a stopped job needs to get going again. Without `queues` every queue that a job
    names exists and is without limits, with the job's home as its home center.
    """
    return _Simulation(
        jobs, centers, queues or _queues_of(jobs), policy, keep_home, learn, restart
    ).run()


def _queues_of(jobs: Sequence[SimJob]) -> list[Queue]:
    return list({j.job.queue: Queue(j.job.queue, home_center=j.home) for j in jobs}.values())


@dataclass(slots=True)
class _Clock:
    arrivals: list[SimJob]
    at: int = 0
    ends: list[tuple[float, int, str]] = field(default_factory=list)

    def next(self) -> float:
        return min(
            self.arrivals[self.at].job.submitted if self.at < len(self.arrivals) else inf,
            self.ends[0][0] if self.ends else inf,
        )


class _Simulation:
    def __init__(
        self,
        jobs: Sequence[SimJob],
        centers: Sequence[Center],
        queues: Sequence[Queue],
        policy: Policy | None,
        keep_home: bool,
        learn: bool,
        restart: float,
    ) -> None:
        self.core = Core(policy)
        self.sites = {center.name: Site(center) for center in centers}
        for queue in queues:
            self.core.set_queue(queue)
        for site in self.sites.values():
            self.core.set_center(site.view())
        self.keep_home, self.restart = keep_home, restart
        self.learner = Learner() if learn else None
        self.gflops = _gflops(centers)
        self.units = {center.name: _units(center) for center in centers}
        self.runs = {j.job.uid: Run(j) for j in jobs}
        self.clock = _Clock(sorted(jobs, key=lambda j: j.job.submitted))
        self.live: dict[str, _Live] = {}
        self.cycles = 0

    def run(self) -> Result:
        clock, idle, now = self.clock, 0, -inf
        while self.live or clock.at < len(clock.arrivals):
            due = clock.next()
            woken = max(self.core.wakes_at, now + _TICK)
            if due == inf and (woken == inf or idle > _IDLE_WAKES):
                break
            idle = idle + 1 if due == inf else 0
            now = min(due, woken)
            self._end(now)
            self._arrive(now)
            self._cycle(now)
        for uid in self.live:
            told = self.core.explain(uid, now)
            self.runs[uid].reason = told.reason if told else ""
        return Result(tuple(self.runs.values()), self.units, self.cycles)

    def _end(self, now: float) -> None:
        touched: set[str] = set()
        ends = self.clock.ends
        while ends and ends[0][0] <= now:
            at, epoch, uid = heapq.heappop(ends)
            live = self.live.get(uid)
            if live is None or live.epoch != epoch or live.place is None:
                continue
            touched.add(self._leave(live, at))
            live.run.started, live.run.ended = live.since, at
            live.run.wait = at - live.run.job.job.submitted - live.run.job.duration / live.speed
            if self.learner:
                self.learner.ended(live.run.job)
            del self.live[uid]
        self._show(touched)

    def _leave(self, live: _Live, now: float) -> str:
        place = live.place
        assert place is not None  # noqa: S101 - only placed jobs leave
        self.sites[place.center].give(place)
        self.core.drop_placed(place.job.uid)
        live.run.busy += live.run.units * (now - live.since)
        live.place = None
        return place.center

    def _show(self, names: set[str]) -> None:
        for name in sorted(names):
            self.core.set_center(self.sites[name].view())

    def _arrive(self, now: float) -> None:
        clock = self.clock
        while clock.at < len(clock.arrivals) and clock.arrivals[clock.at].job.submitted <= now:
            one = clock.arrivals[clock.at]
            clock.at += 1
            self.live[one.job.uid] = _Live(self.runs[one.job.uid], one.duration)
            self.core.set_job(self._seen(one))

    def _seen(self, one: SimJob) -> Job:
        job = one.job
        if self.keep_home and one.home:
            job = replace(job, shape=replace(job.shape, centers=(one.home,)))
        if self.learner:
            job = replace(job, expected_runtime=self.learner.expected(one))
        return job

    def _cycle(self, now: float) -> None:
        stopped = True
        while stopped:
            outcome = self.core.cycle(now)
            self.cycles += 1
            for place in outcome.placed:
                self._start(place, now)
            stopped = bool(outcome.preempted)
            touched: set[str] = set()
            for preemption in outcome.preempted:
                touched.add(self._stop(preemption.victim.job, now))
            self._show(touched)

    def _start(self, place: Place, now: float) -> None:
        live = self.live[place.job.uid]
        chosen = place.job.shape.alternatives[place.alternative]
        self.sites[place.center].take(place)
        live.place, live.since, live.epoch = place, now, live.epoch + 1
        live.speed = self._speed(place)
        live.run.center = place.center
        live.run.units = chosen.per_worker * place.job.shape.workers
        end = now + live.left / live.speed
        heapq.heappush(self.clock.ends, (end, live.epoch, place.job.uid))

    def _stop(self, job: Job, now: float) -> str:
        live = self.live[job.uid]
        period = job.checkpoint_period
        done = now - live.since
        kept = done // period * period if period else 0.0
        name = self._leave(live, now)
        live.left = max(0.0, live.left - kept * live.speed) + self.restart * live.speed
        live.epoch += 1
        live.run.stops += 1
        self.core.set_job(job)
        return name

    def _speed(self, place: Place) -> float:
        alternatives = place.job.shape.alternatives
        chosen, first = alternatives[place.alternative], alternatives[0]
        if not place.alternative:
            return 1.0
        if chosen.relative_speed:
            return chosen.relative_speed
        ours = chosen.per_worker * self.gflops.get(chosen.model, 0)
        theirs = first.per_worker * self.gflops.get(first.model, 0)
        return ours / theirs if ours and theirs else 1.0


def _gflops(centers: Sequence[Center]) -> dict[str, int]:
    found: dict[str, int] = {}
    for center in centers:
        for bucket in center.buckets:
            for accelerator in bucket.shape.accelerators:
                before = found.get(accelerator.model, 0)
                found[accelerator.model] = max(before, accelerator.gflops)
    return found


def _units(center: Center) -> int:
    return sum(
        amount * len(bucket.nodes)
        for bucket in center.buckets
        for name, amount in bucket.shape.allocatable
        if name in {a.resource for a in bucket.shape.accelerators}
    )
