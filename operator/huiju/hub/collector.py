"""Removes from centers what no job on the hub calls for any more.

Decides when to look; `orphans.py` judges. Invariant: only objects that this hub made, of a UID
that the fully synced hub does not know, are removed, each with its UID as precondition.
"""

from __future__ import annotations

import asyncio
import logging

from huiju.hub.center import CenterRuntime
from huiju.hub.centers import Centers, Record
from huiju.hub.jobcache import JobCache
from huiju.hub.leftovers import Leftovers
from huiju.hub.objects import JobObject
from huiju.hub.orphans import judge
from huiju.hub.settings import HubSettings
from huiju.kube.errors import KubeError

log = logging.getLogger(__name__)
REMEMBERED = 100_000


class Collector:
    """Looks at every center now and then, and at once when a job is deleted."""

    def __init__(
        self, jobs: JobCache, centers: Centers, leftovers: Leftovers, settings: HubSettings
    ) -> None:
        self._jobs = jobs
        self._centers = centers
        self._leftovers = leftovers
        self._settings = settings
        self._deleted: dict[str, None] = {}
        self._wake = asyncio.Event()

    def deleted(self, job: JobObject) -> None:
        """The hub saw this job being deleted, which had been placed."""
        self._leftovers.gone(job)
        self._deleted[job.metadata.uid] = None
        if len(self._deleted) > REMEMBERED:
            del self._deleted[next(iter(self._deleted))]
        self._wake.set()

    def wake(self) -> None:
        """Look soon."""
        self._wake.set()

    async def run(self) -> None:
        """Collect until cancelled."""
        while True:
            try:
                async with asyncio.timeout(self._settings.orphan_interval):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            if self._jobs.synced:
                await self._look()
            await asyncio.sleep(0.2)

    async def _look(self) -> None:
        known = {job.metadata.uid for job in self._jobs}
        # Centers side by side: a slow one must not keep the others' orphans alive.
        async with asyncio.TaskGroup() as group:
            for record in self._centers.records():
                site = record.runtime
                if site.synced and not site.lost:
                    group.create_task(self._look_at(record, known))

    async def _look_at(self, record: Record, known: set[str]) -> None:
        site = record.runtime
        held = list(site.syncer.held())
        finding = judge(
            held,
            known,
            set(self._deleted),
            self._settings,
            consent=record.orphan_consent,
            agreed=record.agreed_orphans,
        )
        record.agreed_orphans = finding.agreed
        if finding.message != record.mass_orphans:
            record.mass_orphans = finding.message
            self._centers.changed(site.name)
        for orphan in finding.orphans:
            try:
                async with asyncio.timeout(30):
                    await site.syncer.remove(orphan.job_uid, orphan.epoch)
            except (KubeError, TimeoutError) as error:
                log.info(
                    "orphan not removed yet",
                    extra={"center": site.name, "job": orphan.job_uid, "error": str(error)},
                )
                return
            except Exception:
                # A center's objects are its owner's to write: one bad one must not stop the rest.
                log.exception("orphan not removed", extra={"center": site.name})
                continue
            log.info("orphan removed", extra={"center": site.name, "job": orphan.job_uid})
        await self._clear(site, {(one.job_uid, one.epoch) for one in held})

    async def _clear(self, site: CenterRuntime, held: set[tuple[str, int]]) -> None:
        """Remove what is left of deleted jobs' workloads that are not there any more."""
        for left in self._leftovers.of(site.name):
            origin = left.origin
            if (origin.uid, origin.epoch) not in held:
                try:
                    async with asyncio.timeout(30):
                        await site.syncer.clear(origin, left.namespace, left.needed)
                except (KubeError, TimeoutError) as error:
                    log.info(
                        "leftovers stay for now",
                        extra={"center": site.name, "job": origin.uid, "error": str(error)},
                    )
                    return
            self._leftovers.settle(site.name, left)
