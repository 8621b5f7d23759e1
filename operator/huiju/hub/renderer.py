"""From a decision, or a placement read back after a restart, to the bundle of objects to create.

Reads the job's body again (the cache does not hold it) and what travels with it; decides nothing.
Invariant: the same job, placement and carried objects give the same bundle.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from huiju.api.center import ComputeCenterSpec
from huiju.centers.bundle import Bundle
from huiju.centers.lease import LeaseTerms
from huiju.centers.render import JobView, Target, render
from huiju.hub.bodies import view_of
from huiju.hub.carry import read_carried
from huiju.hub.objects import JobObject, PlacementStatus
from huiju.kube.client import Client
from huiju.kube.errors import NotFound, Transient
from huiju.kube.resources import CROSS_REGION_JOBS
from huiju.scheduling.model import Place


class CenterFacts(Protocol):
    """What rendering needs to know of a center."""

    name: str
    spec: ComputeCenterSpec

    @property
    def has_sentinel(self) -> bool:
        """Whether a sentinel in the center asks for its lease."""

    def lease_terms(self) -> LeaseTerms:
        """The terms of the center's lease."""

    def model_labels(self, model: str, resource: str) -> dict[str, str]:
        """Node labels that single out the accelerator model, empty if it needs none."""


class Renderer:
    """Renders bundles for the centers that `facts` knows."""

    def __init__(
        self, client: Client, hub_id: str, facts: Callable[[str], CenterFacts | None]
    ) -> None:
        self._client = client
        self._hub_id = hub_id
        self._facts = facts

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

    async def render(self, body: JobView, decision: Place, epoch: int) -> Bundle:
        """The bundle of a fresh decision.

        Raises:
            RenderRefused: the job cannot be run in this center as it is written.
        """
        nodes = tuple(a.node for a in decision.assignments)
        return await self._render(
            body,
            decision.center,
            epoch,
            decision.alternative,
            decision.resource,
            nodes,
            guarded=self.guards(body, decision.center),
        )

    def guards(self, body: JobView, center: str) -> bool:
        """Whether a new placement of the job there is to stop by itself when the lease is out."""
        facts = self._facts(center)
        wanted = body.spec.failover.policy == "Reschedule"
        return wanted and facts is not None and facts.has_sentinel

    async def again(self, body: JobView, placement: PlacementStatus) -> Bundle:
        """The bundle of a placement that was committed before."""
        return await self._render(
            body,
            placement.center,
            placement.epoch,
            placement.alternative,
            placement.resource,
            placement.nodes,
            guarded=placement.guarded,
        )

    async def _render(
        self,
        body: JobView,
        center: str,
        epoch: int,
        alternative: int,
        resource: str,
        nodes: tuple[str, ...],
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
            lease=facts.lease_terms() if guarded else None,
        )
        return render(body, target)
