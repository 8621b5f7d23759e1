"""Suspends workloads of jobs with failover that carry no guard, once the lease has run out.

Decides which and when. It needs the center's API server, unlike a guard: where that is down too,
the workloads run on, which is why the hub places such jobs elsewhere only when the center answers
again or its owner declares it dead. Invariants: nothing is suspended as long as a lease may hold,
one that an earlier sentinel was granted included; a guarded job is left to its guards, which give
it its grace period; what is suspended stays as a tombstone.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from huiju.api.reasons import Reason
from huiju.centers.causes import condition_of
from huiju.centers.names import FAILOVER, STOP_MESSAGE, STOP_REASON, UNGUARDED
from huiju.centers.objects import Workload
from huiju.kube.client import Client, preconditions
from huiju.kube.errors import Conflict, KubeError, NotFound
from huiju.kube.informer import Informer
from huiju.kube.resources import JOBS
from huiju.sentinel.asker import Asker
from huiju.telemetry.sentinel import SentinelMetrics

log = logging.getLogger(__name__)
MESSAGE: Final = (
    "The center's lease ran out: the hub did not renew it, and may run the job elsewhere."
)
_CALL: Final = 15.0


class Warden:
    """Follows unguarded workloads with failover in the whole center."""

    def __init__(
        self, client: Client, asker: Asker, metrics: SentinelMetrics, interval: float
    ) -> None:
        self._client = client
        self._asker = asker
        self._metrics = metrics
        self._interval = interval
        self._workloads: Informer[Workload] = Informer(
            client,
            JOBS,
            Workload,
            labels=f"{FAILOVER}={UNGUARDED}",
            on_change=lambda _old, _new: None,
        )

    @property
    def trouble(self) -> str:
        """Why workloads cannot be followed, empty if they can."""
        failure = self._workloads.failure
        return f"workloads cannot be followed: {failure}" if failure else ""

    async def run(self) -> None:
        """Watch over them until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._workloads.run(), name="workloads")
            while True:
                await asyncio.sleep(self._interval)
                if self._asker.ran_out():
                    await self._suspend_all()

    async def _suspend_all(self) -> None:
        for workload in tuple(self._workloads.store.values()):
            if not self._asker.ran_out():
                return  # the hub is back
            if not runs(workload):
                continue
            try:
                async with asyncio.timeout(_CALL):
                    await self._suspend(workload)
            except (NotFound, Conflict):
                continue  # it is another one by now, or has gone
            except (KubeError, TimeoutError) as error:
                log.warning("not suspended yet: %s", error, extra={"job": workload.metadata.name})

    async def _suspend(self, workload: Workload) -> None:
        meta = workload.metadata
        notes = {STOP_REASON: str(Reason.LEASE_ENDED), STOP_MESSAGE: MESSAGE}
        body = {
            "metadata": {
                **preconditions(uid=meta.uid, resource_version=meta.resource_version),
                "annotations": notes,
            },
            "spec": {"suspend": True},
        }
        await self._client.patch(JOBS, meta.name, body, meta.namespace)
        self._metrics.stopped()
        log.warning(
            "suspended, since the lease ran out",
            extra={"namespace": meta.namespace, "job": meta.name},
        )


def runs(workload: Workload) -> bool:
    """Whether a workload is neither stopped nor at its end."""
    ended = any(
        condition_of(workload.status.conditions, kind) is not None
        for kind in ("Complete", "Failed")
    )
    return not workload.spec.suspend and not ended and not workload.metadata.deletion_timestamp
