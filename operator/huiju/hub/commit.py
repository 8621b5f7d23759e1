"""Making a decision durable: one status write with a resourceVersion precondition.

That write *is* the decision. A crash before it: nothing happened. A crash after it: the reconciler
finishes the work. Decides whether a decision still holds for the job as it is now; invariant: no
epoch is given twice, and none below one that a center holds.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from enum import Enum

from msgspec.structs import replace

from huiju.centers.bundle import Bundle
from huiju.centers.render import DispatchRefused, JobView, RenderRefused
from huiju.data.access import Refused
from huiju.hub import staging
from huiju.hub import status as transitions
from huiju.hub.clock import stamp
from huiju.hub.datasets.needs import Bound, Needs
from huiju.hub.jobcache import JobCache
from huiju.hub.jobwriter import JobWriter
from huiju.hub.lifecycle import Verdict
from huiju.hub.objects import JobObject, PlacementStatus
from huiju.hub.recall import Recall
from huiju.hub.renderer import Renderer
from huiju.hub.settings import HubSettings
from huiju.hub.sites import Sites
from huiju.kube.errors import Conflict, KubeError, NotFound, Transient
from huiju.scheduling.model import Place

log = logging.getLogger(__name__)
TRIES = 3
REFUSED_PAUSE = 1.0


class Result(Enum):
    """What became of a decision."""

    COMMITTED = "committed"
    STALE = "stale"
    """The job changed meanwhile; it is looked at again."""
    STAGED = "staged"
    """The job's data is brought to the center first; nothing is held there meanwhile."""
    REFUSED = "refused"
    """The job cannot be rendered for this center; its status says why."""


@dataclass(frozen=True, slots=True)
class Committed:
    """The outcome, with the rendered bundle where the decision holds."""

    result: Result
    job: JobObject | None = None
    bundle: Bundle | None = None
    verdict: Verdict | None = None


class Committer:
    """Writes placements."""

    def __init__(
        self,
        jobs: JobCache,
        writer: JobWriter,
        renderer: Renderer,
        sites: Sites,
        needs: Needs,
        recall: Recall,
        settings: HubSettings,
    ) -> None:
        self._jobs = jobs
        self._writer = writer
        self._renderer = renderer
        self._sites = sites
        self._needs = needs
        self._recall = recall
        self._settings = settings

    async def commit(self, decision: Place) -> Committed:
        """Write the placement, unless the job has changed so that it no longer holds."""
        for attempt in range(TRIES):
            job = self._jobs.by_uid(decision.job.uid)
            if job is None or not _still_wanted(job) or self._recall.forgotten(job):
                return Committed(Result.STALE)
            try:
                return await self._once(job, decision)
            except Conflict:
                log.debug("commit met a newer job", extra={"job": job.key})
            except NotFound:
                return Committed(Result.STALE)
            except Transient as error:
                log.info("commit failed, trying again", extra={"job": job.key, "error": str(error)})
                await self._writer.reread(job)  # the write may have landed, only its answer is lost
            except KubeError as error:
                log.warning("commit refused", extra={"job": job.key, "error": str(error)})
                await asyncio.sleep(REFUSED_PAUSE)  # it would be decided again at once
                return Committed(Result.STALE)
            await asyncio.sleep(0.05 * 2**attempt)
        return Committed(Result.STALE)

    async def _once(self, job: JobObject, decision: Place) -> Committed:
        body = await self._renderer.body(job)
        if body is None:
            return Committed(Result.STALE)
        bound: tuple[Bound, ...] = ()
        if job.spec.data:
            lacks, found = self._needs.missing(job, decision.center), self._needs.bind(job)
            if isinstance(lacks, Refused) or isinstance(found, Refused):
                return Committed(Result.STALE)  # the next look says why
            bound = found
            if lacks:
                return await self._stage(job, decision, bound, lacks)
        mounts = self._needs.mounts(job, decision.center) or ()
        epoch = self._sites.next_epoch(decision.job.uid, job.status.epoch)
        try:
            avoided = self._sites.avoided(job, decision.center, time.time())
            bundle = await self._renderer.render(body, decision, epoch, mounts, avoided)
        except RenderRefused as refusal:
            return Committed(
                Result.REFUSED, job, verdict=Verdict(False, refusal.reason, refusal.message)
            )
        except DispatchRefused as refusal:
            return await self._turn_away(job, decision.center, refusal)
        now = time.time()
        placement = placement_of(decision, bundle, self._sites.cluster(decision.center), now)
        after = transitions.placed(
            transitions.observed(job.status, job.metadata.generation),
            placement,
            _message(decision),
            now,
        )
        after = replace(after, data=tuple(each.fixed for each in bound))
        written = await self._writer.write(job, after, resource_version=body_version(body))
        marked = self._renderer.marked(bundle, placement)
        return Committed(Result.COMMITTED, written, marked)

    async def _stage(
        self, job: JobObject, decision: Place, bound: tuple[Bound, ...], lacks: tuple[Bound, ...]
    ) -> Committed:
        """Choose the center and fix the versions; the accelerators go to whoever is next."""
        if any(each.entry.mode == "Require" for each in lacks):
            return Committed(Result.STALE)
        names = ", ".join(f"{each.share.key} {each.version.name}" for each in lacks)
        after = staging.staging(
            transitions.observed(job.status, job.metadata.generation),
            decision.center,
            tuple(each.fixed for each in bound),
            f"{names} on the way to {decision.center}; no accelerators are held meanwhile.",
            time.time(),
        )
        return Committed(Result.STAGED, await self._writer.write(job, after))

    async def _turn_away(self, job: JobObject, center: str, refusal: DispatchRefused) -> Committed:
        """The center's own rules refuse what the job became there: remember, and try another."""
        status = transitions.observed(job.status, job.metadata.generation)
        after = transitions.turned_away(
            status, center, refusal.reason, refusal.message, time.time(), self._settings
        )
        return Committed(Result.STALE, await self._writer.write(job, after))


def _still_wanted(job: JobObject) -> bool:
    return (
        job.status.placement is None
        and not job.spec.suspend
        and not job.spec.cancel
        and not job.metadata.deletion_timestamp
        and not transitions.finished(job.status)
    )


def body_version(body: JobView) -> str:
    """The resource version under which the body was read."""
    return body.metadata.resource_version


def placement_of(decision: Place, bundle: Bundle, cluster: str, now: float) -> PlacementStatus:
    """The decision as the job's status records it; `cluster` is the center's identity."""
    workers = tuple(a.workers for a in decision.assignments)
    chosen = decision.job.shape.alternatives[decision.alternative]
    return PlacementStatus(
        center=decision.center,
        epoch=bundle.epoch,
        alternative=decision.alternative,
        model=chosen.model,
        resource=decision.resource,
        namespace=bundle.center_namespace,
        workload=bundle.workload,
        placed_at=stamp(now),
        cluster=cluster,
        guarded=bundle.guarded,
        nodes=tuple(a.node for a in decision.assignments),
        node_workers=workers if len(set(workers)) > 1 else (),
    )


def _message(decision: Place) -> str:
    chosen = decision.job.shape.alternatives[decision.alternative]
    workers = decision.job.shape.workers
    others = len(decision.trace.candidates) - 1
    best = f", best of {others + 1} that could take it" if others > 0 else ""
    return (
        f"Placed in {decision.center}: {workers} x {chosen.per_worker} {chosen.model} "
        f"on {len(decision.assignments)} nodes{best}."
    )
