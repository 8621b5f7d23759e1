"""All connected centers, as the jobs' side of the hub needs them.

Decides what is known of a job's placement (`Seen`), and which workloads are strays. Invariant:
nothing is concluded from not seeing a workload before its center was read completely.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from huiju.api.reasons import Reason
from huiju.centers.bundle import Bundle
from huiju.centers.observe import Observation, State
from huiju.centers.render import needed_names
from huiju.hub.bodies import carry_of
from huiju.hub.center import CenterRuntime
from huiju.hub.clock import seconds
from huiju.hub.faults import witness
from huiju.hub.lifecycle import Reach, Seen
from huiju.hub.objects import JobObject, PlacementStatus
from huiju.hub.promises import Ask
from huiju.hub.status import finished
from huiju.kube.errors import Transient

MOST_AHEAD: Final = 1000
"""A hub restored from a backup may be so many placements of a job behind; a center that claims more
would use up the epochs of other centers' jobs."""
LIVE = (State.PENDING, State.RUNNING)


def called_for(job: JobObject, center: str, epoch: int) -> bool:
    """Whether the job's status calls for this epoch to run in this center."""
    placement = job.status.placement
    return (
        placement is not None
        and not finished(job.status)
        and placement.center == center
        and placement.epoch == epoch
    )


class Sites:
    """Center runtimes by name."""

    def __init__(self) -> None:
        self._sites: dict[str, CenterRuntime] = {}
        self._made: dict[str, set[int]] = {}

    def add(self, site: CenterRuntime) -> None:
        """A center joined."""
        self._sites[site.name] = site

    def drop(self, name: str) -> CenterRuntime | None:
        """A center left."""
        return self._sites.pop(name, None)

    def get(self, name: str) -> CenterRuntime | None:
        """The center of this name."""
        return self._sites.get(name)

    def __iter__(self) -> Iterator[CenterRuntime]:
        return iter(tuple(self._sites.values()))

    def seen(self, job: JobObject) -> Seen:
        """What is known of the job's placement in its center."""
        placement = job.status.placement
        if placement is None:
            return Seen()
        site = self.holding(placement)
        if site is None:
            return Seen(Reach.ABSENT)
        if site.lost:
            return Seen(Reach.LOST, loss=site.loss())
        if not site.synced:
            return Seen()
        observed = site.observed(job.metadata.uid, placement.epoch)
        made = self._made.setdefault(job.metadata.uid, set())
        if observed is not None:
            made.add(placement.epoch)
        return Seen(Reach.SYNCED, observed, placement.epoch in made)

    def strays(self, job: JobObject) -> list[tuple[CenterRuntime, Observation]]:
        """Live workloads of the job that its status does not call for."""
        found = []
        for site in self._sites.values():
            if site.lost and site.spec.connection.push is not None:
                continue  # nothing can be stopped there before it returns
            for observed in site.observations_of(job.metadata.uid):
                holds = called_for(job, site.name, observed.epoch)
                if not holds and observed.state in LIVE and observed.epoch <= job.status.epoch:
                    found.append((site, observed))
                    self._judge(site, job, observed.epoch)
        return found

    @staticmethod
    def _judge(site: CenterRuntime, job: JobObject, epoch: int) -> None:
        """Nobody but the center of a placement can have made its workload."""
        placement = job.status.placement
        if placement is None or placement.epoch != epoch or placement.center == site.name:
            return
        if placement.cluster and placement.cluster != site.identity:
            site.disbelieve(
                f"It claims to run epoch {epoch} of {job.key}, which was placed in another center."
            )

    def holding(self, placement: PlacementStatus) -> CenterRuntime | None:
        """The center that holds a placement; None if it left, or is another cluster by now."""
        site = self._sites.get(placement.center)
        if site is None:
            return None
        known = site.identity and placement.cluster
        return None if known and site.identity != placement.cluster else site

    def mappings(self, name: str) -> dict[str, str]:
        """The namespaces that the center's owner maps to others, by those of the hub."""
        site = self._sites.get(name)
        if site is None:
            return {}
        return {one.hub: one.center for one in site.spec.sharing.namespace_mappings}

    def cluster(self, name: str) -> str:
        """Identity of the cluster that the center is now; empty while it is not known."""
        site = self._sites.get(name)
        return site.identity if site is not None else ""

    def next_epoch(self, uid: str, given: int) -> int:
        """The job's next epoch: above what it was `given`, and above what any center holds of it
        as far as that can be believed."""
        highest, most = given, given + MOST_AHEAD
        for site in self._sites.values():
            held = site.held_epoch(uid)
            if held > most:
                site.disbelieve(
                    f"It claims to hold epoch {held} of job {uid}, whose last one is {given}."
                )
                held = site.held_epoch(uid, most)
            highest = max(highest, held)
        return highest + 1

    async def ensure(self, bundle: Bundle, *, fresh: bool = False) -> None:
        """Create what is missing of a bundle; `fresh`: the caller holds no worker meanwhile.

        Raises:
            DispatchRefused: the center's API server refuses it.
            Transient: the center cannot be reached now.
        """
        site = self._sites.get(bundle.center)
        if site is None or site.lost or site.lease.recorded_lost:
            raise Transient(f"center {bundle.center} is not reachable")
        await site.ensure(bundle, fresh=fresh)
        self._made.setdefault(bundle.job_uid, set()).add(bundle.epoch)

    async def stop(self, job: JobObject, reason: Reason, message: str) -> None:
        """Suspend the workload of the job's placement."""
        placement = job.status.placement
        site = self._sites.get(placement.center) if placement else None
        if placement is None or site is None:
            return
        await site.stop(job.metadata.uid, placement.epoch, reason, message)

    async def clear(self, job: JobObject) -> None:
        """Remove what was made for the workload of the job's placement, which is not there."""
        placement = job.status.placement
        site = self.holding(placement) if placement else None
        if placement is None or site is None:
            return
        needed = needed_names(carry_of(job), job.spec.workers, placement.workload)
        if needed:
            await site.clear(job, placement, needed)

    def learn_faults(self, job: JobObject, now: float) -> None:
        """Let the centers remember on which of their nodes hardware failed under the job; what they
        know already is nothing new."""
        meta = job.metadata
        for told in job.status.avoid_nodes:
            site = self._sites.get(told.center)
            if site is None:
                continue
            by = witness(meta.uid, meta.namespace, claimed=told.claimed)
            if site.faults.note(told.node, by, seconds(told.at), told.reason, now):
                site.changed()

    def promise_broken(self, job: JobObject, placement: PlacementStatus, now: float) -> bool:
        """The job found no nodes where its center showed free ones; whether that is news."""
        site = self._sites.get(placement.center)
        if site is None:
            return False
        placed = seconds(placement.placed_at)
        if not site.promises.broken(_ask(job, placement), job.metadata.namespace, placed, now):
            return False
        claim = site.promises.claim()
        if claim:
            site.disbelieve(claim)
        site.changed()
        return True

    def promise_kept(self, job: JobObject, placement: PlacementStatus) -> None:
        """The job has its nodes."""
        site = self._sites.get(placement.center)
        placed = seconds(placement.placed_at)
        if site is not None and site.promises.kept(_ask(job, placement), placed):
            site.changed()

    def avoided(self, job: JobObject, center: str, now: float) -> tuple[str, ...]:
        """Nodes of a center that the job's pods must not run on."""
        site = self._sites.get(center)
        if site is None:
            return ()
        own = {told.node for told in job.status.avoid_nodes if told.center == center}
        return tuple(
            sorted(node for node, aside in site.suspects(now).items() if aside or node in own)
        )

    def leaves(self, job: JobObject) -> None:
        """The job's placement in a lost center is about to be written off."""
        placement = job.status.placement
        site = self._sites.get(placement.center) if placement else None
        if site is not None:
            site.leaving[job.metadata.uid] = job.metadata.resource_version

    def forget(self, uid: str) -> None:
        """The job is gone."""
        self._made.pop(uid, None)


def _ask(job: JobObject, placement: PlacementStatus) -> Ask:
    """What the job asked of its center."""
    chosen = job.spec.accelerators[placement.alternative]
    return Ask(chosen.model, chosen.per_worker, job.spec.workers)
