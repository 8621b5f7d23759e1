"""From a decision, or a placement read back after a restart, to the bundle of objects to create.

Reads the job's body again (the cache does not hold it) and what travels with it; decides nothing.
Invariant: the same job, placement, avoided nodes and carried objects give the same bundle.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from huiju.api.center import ComputeCenterSpec
from huiju.api.reasons import Reason
from huiju.centers.bundle import Bundle
from huiju.centers.lease import LeaseTerms
from huiju.centers.mounts import Mount
from huiju.centers.render import DispatchRefused, JobView, Target, render
from huiju.hub.bodies import view_of
from huiju.hub.carry import read_carried
from huiju.hub.objects import JobObject, PlacementStatus
from huiju.hub.proof import Proof
from huiju.kube.client import Client
from huiju.kube.errors import NotFound, Transient
from huiju.kube.resources import CROSS_REGION_JOBS
from huiju.scheduling.model import Place


class CenterFacts(Protocol):
    """What rendering needs to know of a center."""

    name: str
    spec: ComputeCenterSpec

    @property
    def guard_trouble(self) -> str:
        """Why pods cannot be guarded in the center, empty if they can be."""

    def lease_terms(self) -> LeaseTerms:
        """The terms of the center's lease."""

    def model_labels(self, model: str, resource: str) -> dict[str, str]:
        """Node labels that single out the accelerator model, empty if it needs none."""


class Renderer:
    """Renders bundles for the centers that `facts` knows."""

    def __init__(
        self,
        client: Client,
        hub_id: str,
        facts: Callable[[str], CenterFacts | None],
        image: str,
        proof: Proof,
    ) -> None:
        self._client = client
        self._hub_id = hub_id
        self._facts = facts
        self._image = image
        self._proof = proof

    async def body(self, job: JobObject) -> JobView | None:
        """The whole job as cached or read now; None if it is gone or edited where it matters."""
        meta = job.metadata
        cached = view_of(job)
        if cached is not None:
            return cached
        try:
            body = await self._client.get(
                CROSS_REGION_JOBS, meta.name, meta.namespace, type=JobView
            )
        except NotFound:
            return None
        if body.metadata.uid != meta.uid or body.metadata.generation != meta.generation:
            return None
        return body

    async def render(
        self,
        body: JobView,
        decision: Place,
        epoch: int,
        mounts: tuple[Mount, ...] = (),
        avoided: tuple[str, ...] = (),
    ) -> Bundle:
        """The bundle of a fresh decision; its pods keep off the nodes in `avoided`.

        Raises:
            RenderRefused: the job cannot be run in this center as it is written.
            DispatchRefused: the center's own rules or means do not allow it.
        """
        facts = self._facts(decision.center)
        if facts is not None and _wants_guard(body) and facts.guard_trouble:
            # It could be guarded when it was decided: never let it run without.
            message = f"The job wants automatic failover, {facts.guard_trouble}."
            raise DispatchRefused(Reason.GUARD_UNAVAILABLE, message)
        nodes = tuple(a.node for a in decision.assignments)
        return await self._render(
            body,
            decision.center,
            epoch,
            decision.alternative,
            decision.resource,
            nodes,
            mounts,
            avoided,
            guarded=self.guards(body, decision.center),
        )

    def guards(self, body: JobView, center: str) -> bool:
        """Whether a new placement of the job there is to stop by itself when the lease is out."""
        facts = self._facts(center)
        return _wants_guard(body) and facts is not None and not facts.guard_trouble

    async def again(
        self,
        body: JobView,
        placement: PlacementStatus,
        mounts: tuple[Mount, ...] = (),
        avoided: tuple[str, ...] = (),
    ) -> Bundle:
        """The bundle of a placement that was committed before."""
        bundle = await self._render(
            body,
            placement.center,
            placement.epoch,
            placement.alternative,
            placement.resource,
            placement.nodes,
            mounts,
            avoided,
            guarded=placement.guarded,
        )
        return self.marked(bundle, placement)

    def marked(self, bundle: Bundle, placement: PlacementStatus) -> Bundle:
        """The bundle of a placement, with the hub's word on it."""
        return self._proof.marked(bundle, placement)

    async def _render(
        self,
        body: JobView,
        center: str,
        epoch: int,
        alternative: int,
        resource: str,
        nodes: tuple[str, ...],
        mounts: tuple[Mount, ...],
        avoided: tuple[str, ...],
        *,
        guarded: bool,
    ) -> Bundle:
        facts = self._facts(center)
        if facts is None:
            raise Transient(f"ComputeCenter {center} is not connected")
        model = body.spec.accelerators[alternative].model
        carried = await read_carried(self._client, body)
        target = Target(
            center=center,
            hub_id=self._hub_id,
            epoch=epoch,
            alternative=alternative,
            resource=resource,
            model_labels=facts.model_labels(model, resource),
            nodes=nodes,
            sharing=facts.spec.sharing,
            mirrors=tuple(facts.spec.registry_mirrors),
            carried=carried,
            mounts=mounts,
            store=facts.spec.data_store,
            host_paths=_host_paths(facts.spec),
            avoided=avoided,
            image=self._image,
            lease=facts.lease_terms() if guarded else None,
        )
        return render(body, target)


def _host_paths(spec: ComputeCenterSpec) -> tuple[str, ...] | None:
    """What the owner lets pods mount; that of a pull center has told the agent, not the hub."""
    return None if spec.connection.pull is not None else tuple(spec.sharing.host_paths)


def _wants_guard(body: JobView) -> bool:
    return body.spec.failover.policy == "Reschedule"
