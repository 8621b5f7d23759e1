"""Which jobs wait, which hold accelerators: the scheduler's core and the ledgers kept in step.

Decides nothing; to the scheduler a job is waiting, placed, or absent, never two of these.
Invariants: a placed job's units are reserved in its center's ledger until its pods are bound, and
given back when its placement ends; they count for its queue at all times, also while its center
cannot be read.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from huiju.centers.catalogue.data import catalogue
from huiju.centers.inventory import Reservation
from huiju.hub.center import CenterRuntime
from huiju.hub.clock import pause_ends
from huiju.hub.intake import job_of, placed_of, planned, worker_request
from huiju.hub.objects import JobObject, PlacementStatus
from huiju.hub.sites import Sites
from huiju.hub.status import finished
from huiju.hub.waits import Waits
from huiju.scheduling.core import Core
from huiju.scheduling.learning import RunTimes
from huiju.scheduling.model import DataNeed, Job, Place


@dataclass(frozen=True, slots=True)
class Holding:
    """A job's hold on a center."""

    center: str
    epoch: int
    queue: str
    gflops: int
    reservation: Reservation


@dataclass(slots=True)
class QueueCount:
    """What a queue holds now."""

    queued: int = 0
    running: int = 0
    gflops: int = 0


class Population:
    """Keeps the core and the ledgers in step with the jobs; single-threaded."""

    def __init__(
        self,
        core: Core,
        sites: Sites,
        waits: Waits,
        wake: Callable[[], None],
        wake_at: Callable[[float], None],
        needs: Callable[[JobObject], tuple[DataNeed, ...]],
        learned: Callable[[JobObject], RunTimes],
        longest_pause: float,
    ) -> None:
        self._core = core
        self._sites = sites
        self._waits = waits
        self._wake = wake
        self._wake_at = wake_at
        self._needs = needs
        self._learned = learned
        self._longest_pause = longest_pause
        self._waiting: dict[str, Job] = {}
        self._holding: dict[str, Holding] = {}
        self._deciding: set[str] = set()

    def update(self, job: JobObject, *, queued: bool) -> None:
        """Bring the scheduler up to the job's present state."""
        uid = job.metadata.uid
        if uid in self._deciding:
            return  # decided while this was found out; the commit ends with a look at the job
        placement = job.status.placement
        holds = placement is not None and not finished(job.status)
        if not holds:
            self._release(uid)
        if queued:
            self._set_waiting(job)
        else:
            self._unqueue(uid)
        if placement is not None and holds:
            self._hold(job, placement)

    def gone(self, uid: str) -> None:
        """The job no longer exists."""
        self._unqueue(uid)
        self._release(uid)
        self._deciding.discard(uid)

    def reserve(self, decision: Place, epoch: int) -> None:
        """Keep a decision's units from later decisions, before it is committed."""
        uid = decision.job.uid
        self._deciding.add(uid)
        self._waiting.pop(uid, None)
        site = self._sites.get(decision.center)
        if site is None:
            return
        kept = Reservation(uid, epoch, decision.request, decision.assignments)
        self._holding[uid] = Holding(
            decision.center, epoch, decision.job.queue, decision.gflops, kept
        )
        site.reserve(kept)

    def stopping(self, uid: str) -> None:
        """The job was told to stop and its last pods are ending."""
        self._core.told_to_stop(uid)

    def deciding(self, uid: str) -> bool:
        """Whether a decision on this job is on its way: what is known of it may be old."""
        return uid in self._deciding

    def settled(self, uid: str) -> None:
        """The decision was written, given up, or its fate is for the next look to find out."""
        self._deciding.discard(uid)

    def committed(self, job: JobObject, decision: Place) -> None:
        """The decision holds; its epoch may be another than the one that was foreseen."""
        placement = job.status.placement
        held = self._holding.get(job.metadata.uid)
        if placement is None or held is None or held.epoch == placement.epoch:
            return
        site = self._sites.get(held.center)
        if site is not None:
            site.release(job.metadata.uid, held.epoch)
        self.reserve(decision, placement.epoch)

    def withdrawn(self, decision: Place) -> None:
        """The decision did not hold."""
        self._release(decision.job.uid)

    def restore(self, jobs: list[JobObject], center: str) -> None:
        """A center came into view with an empty ledger: reserve what is held there again."""
        site = self._sites.get(center)
        for held in self._holding.values():
            if site is not None and held.center == center:
                site.reserve(held.reservation)
        for job in jobs:
            placement = job.status.placement
            if placement is not None and placement.center == center and not finished(job.status):
                self._reprice(job, placement)
                self._hold(job, placement)

    def counts(self) -> dict[str, QueueCount]:
        """Jobs and normalized compute by queue."""
        found: dict[str, QueueCount] = {}
        for job in self._waiting.values():
            found.setdefault(job.queue, QueueCount()).queued += 1
        for held in self._holding.values():
            count = found.setdefault(held.queue, QueueCount())
            count.running += 1
            count.gflops += held.gflops
        return found

    def _set_waiting(self, job: JobObject) -> None:
        uid = job.metadata.uid
        known = self._waiting.get(uid)
        # What is expected of a job stays while it waits: its place rests on it.
        if known is not None and known.runtimes:
            learned = RunTimes(known.expected_runtime, known.runtimes, known.alike)
        else:
            learned = self._learned(job)
        wanted = replace(
            job_of(job, self._needs(job), learned),
            not_before=pause_ends(job.status.retry_at, self._longest_pause, time.time()),
        )
        if known == wanted:
            return
        self._waiting[uid] = wanted
        self._core.set_job(wanted)
        self._wake()
        if wanted.not_before:
            self._wake_at(wanted.not_before)

    def _unqueue(self, uid: str) -> None:
        self._waits.drop(uid)
        if self._waiting.pop(uid, None) is not None:
            self._core.drop_job(uid)
            self._wake()

    def _hold(self, job: JobObject, placement: PlacementStatus) -> None:
        uid = job.metadata.uid
        held = self._holding.get(uid)
        if held is not None and held.epoch == placement.epoch and held.center == placement.center:
            return
        if held is not None:
            self._release(uid)  # a placement that a restored hub found again takes another's place
        site = self._sites.holding(placement)
        if site is None:
            return
        placed = placed_of(job, _gflops_of(site, placement), self._learned(job))
        if placed is None:
            return
        request = worker_request(job, placement.alternative, placement.resource)
        kept = Reservation(uid, placement.epoch, request, planned(job, placement))
        self._holding[uid] = Holding(
            placement.center, placement.epoch, job.spec.queue, placed.gflops, kept
        )
        site.reserve(kept)
        self._core.set_placed(placed)

    def _reprice(self, job: JobObject, placement: PlacementStatus) -> None:
        """The center's nodes are known by now: what the job holds may be another amount."""
        held, site = self._holding.get(job.metadata.uid), self._sites.holding(placement)
        if held is None or site is None or held.epoch != placement.epoch:
            return
        placed = placed_of(job, _gflops_of(site, placement), self._learned(job))
        if placed is not None and placed.gflops != held.gflops:
            self._holding[job.metadata.uid] = replace(held, gflops=placed.gflops)
            self._core.set_placed(placed)
            self._wake()

    def _release(self, uid: str) -> None:
        held = self._holding.pop(uid, None)
        if held is None:
            return
        self._core.drop_placed(uid)
        site = self._sites.get(held.center)
        if site is not None:
            site.release(uid, held.epoch)
        self._wake()


def _gflops_of(site: CenterRuntime, placement: PlacementStatus) -> int:
    """Normalized compute of one unit, by the catalogue as long as the center has not told."""
    told = site.gflops_per_unit(placement.model, placement.resource)
    row = catalogue().models.get(placement.model)
    return told or (row.gflops if row is not None else 0)
