"""Which centers get a word: opens a center's fence once nothing of an old epoch lives there.

Decides when asks may be answered; a loss closes the fence (`center.py`), silence is judged by
`lifecycle.py`. Invariant: a center that returns, or that this hub meets for the first time, first
loses what holds an epoch that no longer counts, then gets its lease, then takes jobs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from huiju.api.reasons import Reason
from huiju.centers.mailbox import mailbox_of
from huiju.hub.center import CenterRuntime
from huiju.hub.center_status import leased
from huiju.hub.granter import Grantee, Granter
from huiju.hub.jobcache import JobCache
from huiju.hub.objects import JobObject
from huiju.hub.sites import LIVE, Sites, called_for
from huiju.hub.status import finished
from huiju.kube.clock import boottime

log = logging.getLogger(__name__)


class Fencing:
    """Looks at all centers again and again; `look_at` has a job's older epochs stopped."""

    def __init__(
        self,
        jobs: JobCache,
        sites: Sites,
        granter: Granter,
        look_at: Callable[[JobObject], None],
        interval: float,
    ) -> None:
        self._jobs = jobs
        self._sites = sites
        self._granter = granter
        self._look_at = look_at
        self._interval = interval
        self._told: dict[str, tuple[str, Reason, str, str]] = {}
        """What is said of each center's lease, and why it takes no guarded jobs."""

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            for site in self._sites:
                self._settle(site)
                self._tell(site)
            asking = {site.name: grantee_of(site) for site in self._sites}
            self._granter.wants({name: one for name, one in asking.items() if one is not None})
            await asyncio.sleep(self._interval)

    def _tell(self, site: CenterRuntime) -> None:
        """Nothing else tells that somebody has begun to ask, or that a lease ran out."""
        now = (*leased(site, boottime()), site.guard_trouble)
        if self._told.get(site.name) != now:
            self._told[site.name] = now
            site.changed()

    def _settle(self, site: CenterRuntime) -> None:
        wanted = site.spec.lease.profile
        lease = site.lease
        if wanted != lease.profile or lease.announced:
            before = (lease.profile, lease.announced)
            lease.settle(wanted, guarded=self._guarded(site.name))
            if (lease.profile, lease.announced) != before:
                site.changed()
        fence = site.lease.fence
        if fence.is_open or not site.synced or site.lost or site.lease.recorded_lost:
            return
        stale = [*self.stale(site), *self._leaving(site), *self._unknown(site)]
        if not stale:
            log.info("the center's lease is renewed from now on", extra={"center": site.name})
            fence.open()
            return
        for job in stale:
            self._look_at(job)

    def stale(self, site: CenterRuntime) -> list[JobObject]:
        """Jobs of which the center runs an epoch that no longer counts."""
        found = []
        for uid in site.job_uids():
            job = self._jobs.by_uid(uid)
            if job is not None and any(
                seen.state in LIVE
                and seen.epoch <= job.status.epoch
                and not called_for(job, site.name, seen.epoch)
                for seen in site.observations_of(uid)
            ):
                found.append(job)
        return found

    def _leaving(self, site: CenterRuntime) -> list[JobObject]:
        """Jobs that may be leaving the center without this hub knowing of it yet: a write whose
        answer was lost. What holds of them is clear once they were written again."""
        left = []
        for uid, version in list(site.leaving.items()):
            job = self._jobs.by_uid(uid)
            if job is None or job.metadata.resource_version != version:
                del site.leaving[uid]
            else:
                left.append(job)
        return left

    def _unknown(self, site: CenterRuntime) -> list[JobObject]:
        """Jobs there whose status still says that the center is lost: an earlier hub's write that
        gives one up may be under way. Written once more, they refuse it."""
        return [
            job
            for job in self._jobs
            if job.status.phase == "Unknown"
            and job.status.placement is not None
            # Not one whose cluster has gone for good and left its name to this one.
            and self._sites.holding(job.status.placement) is site
        ]

    def _guarded(self, center: str) -> bool:
        placements = (job.status.placement for job in self._jobs if not finished(job.status))
        return any(p is not None and p.guarded and p.center == center for p in placements)


def grantee_of(site: CenterRuntime) -> Grantee | None:
    """Where a center asks; None for one that is not to be answered at all."""
    push, pull = site.spec.connection.push, site.spec.connection.pull
    fence, identity = site.lease.fence, site.identity
    if not identity:
        return None  # not met yet: whoever asks might be anybody
    if push is not None:
        return Grantee(site.spec.lease.namespace, push.kubeconfig_secret, identity, fence)
    if pull is not None and pull.approved == "Approved":
        return Grantee(mailbox_of(site.name), None, identity, fence)
    return None
