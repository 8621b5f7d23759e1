"""A dry run of the workload that a job would become, in a center that could take it.

Decides where to try: open centers that have one of the job's accelerator models, the first that
answers. Invariants: nothing is created; a refusal holds only if no other center of a few takes the
template, since one center's word must not keep jobs from all the others.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, Final, cast

from huiju.centers.bundle import Bundle
from huiju.centers.mounts import Mount
from huiju.centers.render import RenderRefused
from huiju.hub.center import CenterRuntime
from huiju.hub.objects import JobObject, PlacementStatus
from huiju.hub.renderer import Renderer
from huiju.hub.sites import Sites

Mounts = Callable[[JobObject, str], tuple[Mount, ...] | None]
"""Where a job would see its data in a center; None where the center has no store."""
OPINIONS: Final = 3
"""Centers that must agree that a template is wrong, where there are so many."""


class Trial:
    """Tries templates on real API servers."""

    def __init__(self, sites: Sites, renderer: Renderer, mounts: Mounts) -> None:
        self._sites = sites
        self._mounts = mounts
        self._renderer = renderer

    async def attempt(self, job: JobObject) -> bool:
        """Try the job; False if there is no center to try it in now.

        Raises:
            RenderRefused: the template is wrong, in the server's own words.
            KubeError: the center refused for a reason of its own, or did not answer.
        """
        refusals: list[RenderRefused] = []
        async with aclosing(cast(Any, self._places(job))) as places:
            async for site, bundle in places:
                try:
                    await site.dry_run(bundle)
                except RenderRefused as refusal:
                    refusals.append(refusal)
                    if len(refusals) == OPINIONS:
                        break
                else:
                    return True
        if refusals:
            raise refusals[0]
        return False

    async def _places(self, job: JobObject) -> AsyncIterator[tuple[CenterRuntime, Bundle]]:
        """Centers that could take the job and answer, each with what the job would become there."""
        seen: set[str] = set()
        for index, chosen in enumerate(job.spec.accelerators):
            for site in self._sites:
                resource = site.resource_of(chosen.model) if site.synced else None
                if resource is None or site.lost or site.lane.slow or site.name in seen:
                    continue
                seen.add(site.name)
                body = await self._renderer.body(job)
                if body is None:
                    return
                placement = PlacementStatus(
                    center=site.name,
                    epoch=job.status.epoch + 1,
                    alternative=index,
                    model=chosen.model,
                    resource=resource,
                    namespace="",
                    workload="",
                    placed_at="",
                    guarded=self._renderer.guards(body, site.name),
                )
                mounts = self._mounts(job, site.name)
                if mounts is not None:
                    yield site, await self._renderer.again(body, placement, mounts)
