"""What a hub that was restored from a backup has forgotten, found again in the centers.

Decides which placement a job's status lacks, and when nothing may be placed because something may
still be forgotten. Invariants: a job of which a center holds a later epoch than its status knows is
not placed before that placement was taken over; after a restore nothing is placed anywhere before
every center was read, and a restart of the hub does not forget that.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable

from msgspec.structs import replace

from huiju.api.reasons import Reason
from huiju.hub import status as transitions
from huiju.hub.center import CenterRuntime
from huiju.hub.clock import seconds
from huiju.hub.jobcache import JobCache
from huiju.hub.lifecycle import Seen
from huiju.hub.objects import JobObject, JobStatus, PlacementStatus
from huiju.hub.proof import Proof
from huiju.hub.sites import Sites
from huiju.hub.status import finished

log = logging.getLogger(__name__)


class Recall:
    """Reads, out of what centers show, what the hub has said before it was restored.

    `wake` is called when nothing is held back any more.
    """

    def __init__(
        self, sites: Sites, jobs: JobCache, proof: Proof, wake: Callable[[], None]
    ) -> None:
        self._wake = wake
        self._sites = sites
        self._jobs = jobs
        self._proof = proof
        self._began = 0.0
        self._awaited: set[str] = set()
        """Centers that answered the hub before it started, and were not read since."""
        self._suspects: set[str] = set()
        """UIDs of jobs whose status seems to have forgotten a placement."""
        self.restored = False
        """Whether the hub was restored from a backup, as far as is known."""

    def begin(self, answered: set[str], now: float) -> None:
        """All ComputeCenters are known; `answered` did so when their statuses were written."""
        self._began = now
        self._awaited = set(answered)
        self.restored = any(site.unread for site in self._sites)

    # --- one job -------------------------------------------------------------------------------

    def forgotten(self, job: JobObject) -> PlacementStatus | None:
        """The latest placement of the job that some center shows and its status does not know."""
        if finished(job.status):
            return None
        found: PlacementStatus | None = None
        uid, known = job.metadata.uid, job.status.epoch
        for site in self._sites:
            for seen in site.observations_of(uid):
                if seen.epoch <= max(known, found.epoch if found else 0):
                    continue
                said = self._proof.read(uid, seen.epoch, seen.placement)
                if said is not None and _made_for(site, said) and _fits(job, said):
                    found = said
        return found

    def taken_over(self, job: JobObject) -> None:
        """A forgotten placement stands in the job's status again: the hub was restored."""
        self.settled(job.metadata.uid)
        if self.restored:
            return
        self.restored = True
        unread = [site for site in self._sites if _may_hold(site) and not _is_read(site)]
        names = sorted(site.name for site in unread)
        log.error("the hub was restored from a backup", extra={"unread_centers": names})
        for site in unread:
            site.leave_unread()

    def settled(self, uid: str) -> None:
        """The job's status lacks nothing that a center shows, or the job is gone."""
        if uid in self._suspects:
            self._suspects.discard(uid)
            self._wake()

    def seen(self, job: JobObject, seen: Seen) -> Seen:
        """What is to be concluded of a placement: one from before a restore is not made again."""
        placement = job.status.placement
        if self.restored and placement and seconds(placement.placed_at) < self._began:
            return dataclasses.replace(seen, created=True)
        return seen

    # --- all jobs ------------------------------------------------------------------------------

    def opened(self, name: str) -> list[JobObject]:
        """The center was read, or is lost, or gone; returns jobs to be looked at for it."""
        site = self._sites.get(name)
        self._awaited.discard(name)
        if site is None or not _is_read(site):
            return []
        site.was_read()
        jobs = [job for uid in site.job_uids() if (job := self._jobs.by_uid(uid)) is not None]
        found = [job for job in jobs if self.forgotten(job) is not None]
        self._suspects |= {job.metadata.uid for job in found}
        return found

    @property
    def complete(self) -> bool:
        """Whether nothing can be forgotten that would be run a second time."""
        if self._suspects or self.held_back:
            return False
        return not any(self._is_awaited(name) for name in self._awaited)

    @property
    def held_back(self) -> str:
        """Why nothing is placed since the hub was restored; empty if it is."""
        missing = sorted(site.name for site in self._sites if site.unread and _may_hold(site))
        if not missing:
            return ""
        return (
            "The hub was restored from a backup; nothing is placed before it has read what runs in"
            f" {', '.join(missing)}."
        )

    def _is_awaited(self, name: str) -> bool:
        """Not one that says no for good: whoever waits for it waits in vain."""
        site = self._sites.get(name)
        return site is not None and site.standing.reachable is not False


def _may_hold(site: CenterRuntime) -> bool:
    """Not one whose agent was never let in, or was shut out for good."""
    pull = site.spec.connection.pull
    return pull is None or pull.approved == "Approved"


def _is_read(site: CenterRuntime) -> bool:
    return site.synced and not site.lost


def _made_for(site: CenterRuntime, said: PlacementStatus) -> bool:
    same = not said.cluster or not site.identity or said.cluster == site.identity
    return said.center == site.name and same


def _fits(job: JobObject, said: PlacementStatus) -> bool:
    return said.alternative < len(job.spec.accelerators)


def recalled(status: JobStatus, placement: PlacementStatus, now: float) -> JobStatus:
    """The status with the placement that it had forgotten; what it knew is history."""
    message = (
        f"Found in {placement.center} under epoch {placement.epoch}, which this hub gave before it"
        " was restored from a backup."
    )
    base = status
    if status.placement is not None:
        base = transitions.vacated(status, Reason.HUB_RESTORED, message, now)
    return replace(transitions.placed(base, placement, message, now), reason=Reason.HUB_RESTORED)
