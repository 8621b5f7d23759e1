"""Moves a clock from event to event around whoever decides.

Decides nothing about placement: a `Network` does, mostly the scheduling core. At each instant ended
jobs leave first, then arrivals join, then the network decides. Invariants: the same input gives the
same result; a job runs for its duration at the speed of the model it got, however often it was
stopped; it holds its accelerators from its start on, while its data is brought too.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Protocol

from huiju.scheduling.model import Job
from huiju.simulation.staging import Stager
from huiju.simulation.timeline import Timeline

TICK = 60.0
"""Least seconds between decisions that only the passing of time asks for."""
_IDLE_WAKES = 8
POOL = "one pool"
"""Name of the only center where all nodes are one cluster: nobody leaves home there."""


@dataclass(frozen=True, slots=True)
class SimJob:
    """A job with what only hindsight tells; its `submitted` is when it arrives."""

    job: Job
    duration: float
    """Seconds on the first alternative."""
    home: str = ""
    """Center in which it ran, or would run, without federation."""
    user: str = ""
    data: tuple[str, ...] = ()
    """Data sets that must be in the center before it computes."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A job that gets room now."""

    uid: str
    center: str
    units: int
    speed: float = 1.0
    """Against the first alternative."""


@dataclass(frozen=True, slots=True)
class Room:
    """Accelerators of one center that nobody holds, and how many of these are on whole nodes."""

    free: int
    whole: int


class Network(Protocol):
    """Centers and who decides over them; it is told of everything that happens."""

    units: dict[str, int]
    """Accelerators by center."""

    @property
    def wakes_at(self) -> float:
        """When time alone makes it worth while to decide again, infinite if it never does."""

    def arrive(self, one: SimJob, now: float) -> None:
        """A job waits."""

    def finish(self, one: SimJob) -> None:
        """A job has ended; its room is free."""

    def stop(self, one: SimJob) -> None:
        """A job that `decide` stopped gives its room back and waits again."""

    def settle(self) -> None:
        """All that ended or stopped at this instant has done so."""

    def decide(self, now: float) -> tuple[Sequence[Grant], Sequence[str]]:
        """Who gets room now, and the uids of those that are stopped for others."""

    def copied(self, dataset: str, centers: frozenset[str]) -> None:
        """Where copies of a data set are has changed."""

    def room(self, center: str) -> Room:
        """What is free in a center now."""

    def reason(self, uid: str, now: float) -> str:
        """Why a job still waits."""


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
    staged: float = 0.0
    """Seconds in which it held accelerators and waited for its data."""
    reason: str = ""
    """Why it never ran, empty if it did."""

    @property
    def moved(self) -> bool:
        """Whether it ran away from home."""
        return bool(self.job.home) and self.center not in ("", POOL, self.job.home)


@dataclass(frozen=True, slots=True)
class Result:
    """Every job's fate, in the order given, and what the centers had to offer."""

    runs: tuple[Run, ...]
    units: dict[str, int]
    """Accelerators by center."""
    cycles: int
    timeline: Timeline
    bytes_moved: int = 0


Restart = Callable[[int], float]
"""Seconds that a stopped job of so many accelerators needs to get going again."""
Progress = Callable[[int, int], None]
"""Told how many jobs have ended, of how many."""


def at_once(units: int) -> float:
    """Stopped jobs go on without delay."""
    return 0.0


def published_restart(units: int) -> float:
    """Costs of the published Helios simulator: 7 s for one accelerator, 30 up to 8, else 60."""
    return 7.0 if units <= 1 else 30.0 if units <= 8 else 60.0


@dataclass(slots=True)
class _Live:
    run: Run
    left: float
    """Seconds of work on the first alternative."""
    epoch: int = 0
    since: float = inf
    """When it got room, infinite while it waits."""
    ready: float = inf
    """When its data was there and it began to compute."""
    speed: float = 1.0


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


def play(
    jobs: Sequence[SimJob],
    network: Network,
    *,
    restart: Restart = at_once,
    stager: Stager | None = None,
    progress: Progress | None = None,
) -> Result:
    """Run the jobs on a network."""
    return _Player(jobs, network, restart, stager, progress).run()


class _Player:
    def __init__(
        self,
        jobs: Sequence[SimJob],
        network: Network,
        restart: Restart,
        stager: Stager | None,
        progress: Progress | None,
    ) -> None:
        self.network, self.restart, self.progress = network, restart, progress
        self.stager = stager or Stager()
        self.runs = {j.job.uid: Run(j) for j in jobs}
        self.clock = _Clock(sorted(jobs, key=lambda j: j.job.submitted))
        self.live: dict[str, _Live] = {}
        self.cycles = 0
        submitted = [j.job.submitted for j in jobs]
        self.timeline = Timeline(
            min(submitted, default=0.0), max(submitted, default=0.0), network.units
        )
        self.waiting = 0
        self.touched: set[str] = set()
        """Centers in which something changed at this instant."""

    def run(self) -> Result:
        clock, network, idle, now = self.clock, self.network, 0, -inf
        while self.live or clock.at < len(clock.arrivals):
            due = min(clock.next(), self.stager.next())
            woken = max(network.wakes_at, now + TICK)
            if due == inf and (woken == inf or idle > _IDLE_WAKES):
                break
            idle = idle + 1 if due == inf else 0
            now = min(due, woken)
            self._end(now)
            self._stage(now)
            self._arrive(now)
            self._decide(now)
            self._note(now)
        for uid in self.live:
            self.runs[uid].reason = network.reason(uid, now) or "NeverPlaced"
        runs = tuple(self.runs.values())
        return Result(runs, network.units, self.cycles, self.timeline, self.stager.bytes_moved)

    def _end(self, now: float) -> None:
        ends = self.clock.ends
        before = len(self.live)
        while ends and ends[0][0] <= now:
            at, epoch, uid = heapq.heappop(ends)
            live = self.live.get(uid)
            if live is None or live.epoch != epoch:
                continue
            run = live.run
            run.started, run.ended = live.since, at
            run.wait = at - run.job.job.submitted - run.job.duration / live.speed
            self._leave(live, at)
            self.network.finish(run.job)
            del self.live[uid]
        if len(self.live) < before:
            self.network.settle()
            if self.progress:
                self.progress(self.clock.at - len(self.live), len(self.runs))

    def _leave(self, live: _Live, now: float) -> None:
        live.run.busy += live.run.units * (now - live.since)
        live.since = live.ready = inf
        live.epoch += 1
        self.stager.release(live.run.job.job.uid)
        self.touched.add(live.run.center)

    def _stage(self, now: float) -> None:
        for uid in self.stager.advance(now):
            self._compute(self.live[uid], now)
        for dataset in self.stager.changes():
            self.network.copied(dataset, self.stager.copies(dataset))

    def _arrive(self, now: float) -> None:
        clock = self.clock
        while clock.at < len(clock.arrivals) and clock.arrivals[clock.at].job.submitted <= now:
            one = clock.arrivals[clock.at]
            clock.at += 1
            self.live[one.job.uid] = _Live(self.runs[one.job.uid], one.duration)
            self.network.arrive(one, now)
            self.waiting += 1

    def _decide(self, now: float) -> None:
        again = True
        while again:
            granted, stopped = self.network.decide(now)
            self.cycles += 1
            for grant in granted:
                self._start(grant, now)
            for uid in stopped:
                self._stop(self.live[uid], now)
            again = bool(stopped)
            if again:
                self.network.settle()

    def _start(self, grant: Grant, now: float) -> None:
        live = self.live[grant.uid]
        live.since, live.speed = now, grant.speed
        live.run.center, live.run.units = grant.center, grant.units
        self.touched.add(grant.center)
        self.waiting -= 1
        one = live.run.job
        if self.stager.bring(grant.uid, one.data, grant.center, now):
            self._compute(live, now)

    def _compute(self, live: _Live, now: float) -> None:
        """All data is there."""
        live.ready = now
        live.run.staged += now - live.since
        end = now + live.left / live.speed
        heapq.heappush(self.clock.ends, (end, live.epoch, live.run.job.job.uid))

    def _stop(self, live: _Live, now: float) -> None:
        one, period = live.run.job, live.run.job.job.checkpoint_period
        done = max(0.0, now - live.ready)
        kept = done // period * period if period else 0.0
        live.left = max(0.0, live.left - kept * live.speed)
        live.left += self.restart(live.run.units) * live.speed
        self._leave(live, now)
        live.run.stops += 1
        self.waiting += 1
        self.network.stop(one)

    def _note(self, now: float) -> None:
        for center in self.touched:
            room = self.network.room(center)
            self.timeline.note(center, now, room.free, room.whole)
        self.touched.clear()
        self.timeline.waits(now, self.waiting)
