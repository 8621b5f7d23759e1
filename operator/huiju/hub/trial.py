"""A dry run of the workload that a job would become, in a center that could take it.

Decides only where to try: the first open center that has one of the job's accelerator models.
Invariant: nothing is created.
"""

from __future__ import annotations

from huiju.hub.objects import JobObject, PlacementStatus
from huiju.hub.renderer import Renderer
from huiju.hub.sites import Sites


class Trial:
    """Tries templates on real API servers."""

    def __init__(self, sites: Sites, renderer: Renderer) -> None:
        self._sites = sites
        self._renderer = renderer

    async def attempt(self, job: JobObject) -> bool:
        """Try the job; False if there is no center to try it in now.

        Raises:
            RenderRefused: the template is wrong, in the server's own words.
            KubeError: the center refused for a reason of its own, or did not answer.
        """
        for index, chosen in enumerate(job.spec.accelerators):
            for site in self._sites:
                resource = site.resource_of(chosen.model) if site.synced else None
                if resource is None or site.lost:
                    continue
                body = await self._renderer.body(job)
                if body is None:
                    return False
                guarded = self._renderer.guards(body, site.name)
                placement = PlacementStatus(
                    center=site.name,
                    epoch=job.status.epoch + 1,
                    alternative=index,
                    model=chosen.model,
                    resource=resource,
                    namespace="",
                    workload="",
                    placed_at="",
                    guarded=guarded,
                )
                await site.syncer.dry_run(await self._renderer.again(body, placement))
                return True
        return False
