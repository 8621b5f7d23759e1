"""A hub in this process on real clusters, and what a test asks of it.

Decides settings that make waiting short. Invariant: leaving a `running` context ends every task of
that hub, as a crash would: nothing is tidied up in the clusters.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from huiju.centers import names
from huiju.hub.hub import Hub
from huiju.hub.settings import HubSettings
from huiju.kube.client import Client
from huiju.kube.errors import NotFound
from huiju.kube.leading import LeaderClient
from huiju.kube.resources import (
    COMPUTE_CENTERS,
    CROSS_REGION_JOBS,
    JOBS,
    NAMESPACES,
    PODS,
    Resource,
)
from huiju.telemetry.metrics import HubMetrics
from lab.cluster import Cluster
from lab.fates import pod_annotations
from tests.patience import PATIENCE
from tests.server_counters import writes

FAST = HubSettings(
    leader_election=False,
    waiting_write_delay=0.3,
    waiting_write_interval=0.5,
    center_status_interval=0.3,
    queue_figures_interval=0.3,
    center_heartbeat=0.5,
    center_lost_after=4.0,
    center_retry=0.5,
    retry_base=0.3,
    retry_max=2.0,
    orphan_interval=1.0,
)
OURS = frozenset({"crossregionjobs", "jobs", "services", "configmaps", "secrets", "namespaces"})
THEIRS = frozenset({("jobs", "status"), ("namespaces", "status"), ("namespaces", "finalize")})
Fields = dict[str, Any]


@dataclass
class Leash:
    """Lets a hub make only so many writes: the crash between two of them."""

    allowed: int | None = None
    made: int = 0
    log: list[str] = field(default_factory=list)
    spent: asyncio.Event = field(default_factory=asyncio.Event)

    def held(self) -> bool:
        """Asked before each write; counts it."""
        if self.allowed is not None and self.made >= self.allowed:
            self.spent.set()
            return False
        self.made += 1
        return True


class LeashedClient(LeaderClient):
    """Counts only the writes of a job's way: events and the low-volume statuses pass freely."""

    FREE = frozenset({"events", "computecenters", "computequeues"})

    def _permit(self, res: Resource) -> Callable[[], None] | None:
        return None if res.plural in self.FREE else super()._permit(res)


async def hub_id_of(client: Client) -> str:
    """As the hub computes it."""
    namespace = await client.get(NAMESPACES, "kube-system")
    return str(namespace["metadata"]["uid"]).replace("-", "")[:8]


@asynccontextmanager
async def running(
    cluster: Cluster, leash: Leash | None = None, *, server: str | None = None, **changes: Any
) -> AsyncIterator[Hub]:
    """Run a hub until the context ends; raises what ended it, if anything did.

    `server` is where it finds its API server: a proxy, say.
    """
    held: Callable[[], bool] = leash.held if leash is not None else (lambda: True)
    account = cluster.credentials(server)
    async with LeashedClient(account, name="hub", held=held) as client:
        metrics = HubMetrics()
        hub = Hub(
            client,
            await hub_id_of(client),
            lambda: account,
            replace(FAST, **changes),
            metrics,
            held,
            metrics.observer,
        )
        task = asyncio.create_task(hub.run())
        try:
            yield hub
            if task.done():
                task.result()
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@dataclass
class World:
    """The clusters of one test, as its user and as its observer."""

    hub: Cluster
    centers: dict[str, Cluster]
    client: Client
    center_clients: dict[str, Client]
    namespace: str

    # --- as a user ---------------------------------------------------------------------------

    async def submit(self, name: str, **spec: Any) -> Fields:
        """Create a job; see `job_body` for the defaults."""
        return await self.client.create(
            CROSS_REGION_JOBS, job_body(self.namespace, name, **spec), self.namespace
        )

    async def edit(self, name: str, **spec: Any) -> None:
        """Change fields of a job's spec."""
        await self.client.patch(CROSS_REGION_JOBS, name, {"spec": spec}, self.namespace)

    async def job(self, name: str) -> Fields:
        """The job as stored."""
        return await self.client.get(CROSS_REGION_JOBS, name, self.namespace)

    async def status(self, name: str) -> Fields:
        """The job's status."""
        found: Fields = (await self.job(name)).get("status") or {}
        return found

    async def until(
        self, name: str, check: Callable[[Fields], bool], seconds: float = PATIENCE
    ) -> Fields:
        """Wait until the job's status passes; fails with the last status seen."""
        end = time.monotonic() + seconds
        while True:
            status = await self.status(name)
            if check(status):
                return status
            if time.monotonic() > end:
                raise AssertionError(f"{name} after {seconds} s: {status}")
            await asyncio.sleep(0.05)

    async def until_phase(self, name: str, phase: str, seconds: float = PATIENCE) -> Fields:
        """Wait for a phase."""
        return await self.until(name, lambda status: status.get("phase") == phase, seconds)

    async def until_reason(self, name: str, reason: str, seconds: float = PATIENCE) -> Fields:
        """Wait for a reason."""
        return await self.until(name, lambda status: status.get("reason") == reason, seconds)

    async def edit_center(self, name: str, **spec: Any) -> None:
        """Change fields of a ComputeCenter's spec."""
        await self.client.patch(COMPUTE_CENTERS, name, {"spec": spec})

    async def annotate_center(self, name: str, key: str, value: str) -> None:
        """Annotate a ComputeCenter."""
        await self.client.patch(COMPUTE_CENTERS, name, {"metadata": {"annotations": {key: value}}})

    async def center(self, name: str) -> Fields:
        """A ComputeCenter as stored."""
        return await self.client.get(COMPUTE_CENTERS, name)

    async def until_center(
        self, name: str, check: Callable[[Fields], bool], seconds: float = PATIENCE
    ) -> Fields:
        """Wait until a center's status passes; fails with the last one seen."""
        end = time.monotonic() + seconds
        while True:
            status: Fields = (await self.center(name)).get("status") or {}
            if check(status):
                return status
            if time.monotonic() > end:
                raise AssertionError(f"{name} after {seconds} s: {status}")
            await asyncio.sleep(0.05)

    async def workload_name(self, job: Fields) -> tuple[str, str]:
        """Name and namespace that the first workload of a job gets."""
        meta = job["metadata"]
        hub_id = await hub_id_of(self.client)
        return (
            names.workload_name(meta["name"], meta["uid"], 1),
            names.center_namespace(hub_id, meta["namespace"], {}),
        )

    # --- as an observer ----------------------------------------------------------------------

    async def server_writes(self) -> Counter[tuple[str, str, str, str]]:
        """Writes of a job's way, as the servers counted them: where, verb, resource, subresource.

        What the clusters' own controllers write is left out: pods, the status of Jobs, and the
        end of namespaces that an earlier test left, which takes its own time.
        """
        found: Counter[tuple[str, str, str, str]] = Counter()
        servers = [("hub", self.client), *(("center", c) for c in self.center_clients.values())]
        for where, client in servers:
            for (verb, resource, sub), number in (await writes(client)).items():
                if resource in OURS and (resource, sub) not in THEIRS:
                    found[where, verb, resource, sub] += number
        return found

    async def workloads(self, job: str = "") -> list[tuple[str, Fields]]:
        """Center and batch Job of every workload that stands for the job, or for any."""
        found = []
        for center, client in self.center_clients.items():
            for item in (await client.list_all(JOBS, labels="huiju.dev/job-uid")).items:
                labels = item["metadata"]["labels"]
                if not job or labels["huiju.dev/job-name"] == job:
                    found.append((center, item))
        return found

    async def all_pods(self) -> list[tuple[str, Fields]]:
        """Center and pod of every pod, each center read at one moment."""
        found: list[tuple[str, Fields]] = []
        for center, client in self.center_clients.items():
            page = await client.list_all(PODS, labels="huiju.dev/hub")
            found.extend((center, item) for item in page.items)
        return found

    async def pods(self, job: str) -> list[tuple[str, Fields]]:
        """Center and pod of every pod of the job."""
        found = []
        for center, client in self.center_clients.items():
            for item in (await client.list_all(PODS, labels=f"huiju.dev/job-name={job}")).items:
                found.append((center, item))  # noqa: PERF401
        return found

    async def until_gone(self, seconds: float = PATIENCE) -> None:
        """Wait until no center holds any workload of a hub."""
        end = time.monotonic() + seconds
        while left := await self.workloads():
            if time.monotonic() > end:
                raise AssertionError(f"left over: {[w['metadata']['name'] for _, w in left]}")
            await asyncio.sleep(0.1)

    async def runs(self, job: str) -> Counter[str]:
        """How often each epoch of the job came to run, by its workloads' pods."""
        found: Counter[str] = Counter()
        for _, workload in await self.workloads(job):
            status = workload.get("status", {})
            if status.get("succeeded"):
                found[workload["metadata"]["labels"]["huiju.dev/epoch"]] += 1
        return found

    async def delete(self, name: str) -> None:
        """Delete a job, if it is still there."""
        with contextlib.suppress(NotFound):
            await self.client.delete(CROSS_REGION_JOBS, name, self.namespace)


def job_body(
    namespace: str,
    name: str,
    *,
    model: str = "ascend-910b3",
    per_worker: int = 8,
    fate: Fields | None = None,
    **spec: Any,
) -> Fields:
    """A job that runs for a second on one node, unless told otherwise."""
    chosen: Fields = {"run_for": "1s"} | (fate or {})
    annotations = pod_annotations(**chosen)
    return {
        "apiVersion": CROSS_REGION_JOBS.api_version,
        "kind": CROSS_REGION_JOBS.kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "queue": "research",
            "accelerators": [{"model": model, "perWorker": per_worker}],
            "template": {
                "metadata": {"annotations": annotations},
                "spec": {
                    "containers": [
                        {
                            "name": "train",
                            "image": "registry.example/train:1",
                            "resources": {"requests": {"cpu": "2", "memory": "4Gi"}},
                        }
                    ]
                },
            },
            **spec,
        },
    }
