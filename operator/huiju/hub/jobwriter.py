"""The one place that writes a job's status: no write when nothing changed, own writes read back.

Decides nothing; invariant: every write carries the resourceVersion of the copy it was decided on,
so a decision on an old copy is refused by the API server and taken again.
"""

from __future__ import annotations

from collections.abc import Callable

from huiju.hub import status as transitions
from huiju.hub.jobcache import JobCache
from huiju.hub.objects import JobObject, JobStatus
from huiju.kube.client import Client
from huiju.kube.errors import KubeError
from huiju.kube.resources import CROSS_REGION_JOBS


class JobWriter:
    """Writes job statuses through one client.

    `ended` is told center and reason of each placement that is over by what was written.
    """

    def __init__(self, client: Client, jobs: JobCache, ended: Callable[[str, str], None]) -> None:
        self._client = client
        self._jobs = jobs
        self._ended = ended

    async def write(
        self, job: JobObject, after: JobStatus, *, resource_version: str = ""
    ) -> JobObject:
        """Write `after`; returns the job as stored.

        Raises:
            Conflict: somebody changed the job since `job` was read.
            KubeError: the API server refused or did not answer.
        """
        if not transitions.differ(job.status, after):
            return job
        written = await self._client.replace_status(
            CROSS_REGION_JOBS,
            job.metadata.name,
            job.metadata.namespace,
            transitions.as_fields(after),
            resource_version=resource_version or job.metadata.resource_version,
            uid=job.metadata.uid,
            type=JobObject,
        )
        self._jobs.wrote(written)
        center = transitions.over(job.status, written.status)
        if center:
            self._ended(center, written.status.reason)
        return written

    async def reread(self, job: JobObject) -> None:
        """Bring the cache up to what is stored, where that can be had."""
        try:
            stored = await self._client.get(
                CROSS_REGION_JOBS, job.metadata.name, job.metadata.namespace, type=JobObject
            )
        except (KubeError, TimeoutError):
            return
        if stored.metadata.uid == job.metadata.uid:
            self._jobs.wrote(stored)

    async def delete(self, job: JobObject) -> None:
        """Delete the job object itself, this one and no later namesake."""
        await self._client.delete(
            CROSS_REGION_JOBS, job.metadata.name, job.metadata.namespace, uid=job.metadata.uid
        )
