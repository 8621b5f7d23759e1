"""How fast the hub turns submitted jobs into workloads in centers: `make bench-dispatch`.

A hub and three centers of etcd and kube-apiserver only, so no pod runs. The clock of a job starts
before its create call and ends with the first watch event that shows its workload in a center, and
with the one that shows its placement on the hub. In the same run a bare loop makes the same three
writes with nothing else. The last line printed is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from huiju.centers import role
from huiju.kube import kubeconfig as kubeconfigs
from huiju.kube.client import Client
from huiju.kube.informer import Informer
from huiju.kube.resources import COMPUTE_CENTERS, CROSS_REGION_JOBS, JOBS, NODES
from lab import federation, joining, ports
from lab.cluster import Cluster
from lab.hubprocess import HubProcess
from lab.kwokctl import BARE, ClusterSpec
from lab.nodes import node
from tests.perf.machine import machine
from tests.server_counters import Key, writes

CENTERS = {"south": "ascend-910b", "north": "ascend-a3", "east": "nvidia-h100"}
MODELS = {"south": "ascend-910b3", "north": "ascend-910c", "east": "nvidia-h100-sxm"}
NAMESPACE = "bench"
SUBMITTERS = 32
GOGC = 400
"""Of the API servers, for the bare loop and the hub alike: with Go's 100 a third of their time goes
into collecting garbage, and memory is not what two cores are short of."""
FILL = "x" * 1700
"""Makes the pod template about 2 KiB, as real ones are."""


@dataclass
class Timeline:
    """When each job was submitted and seen; seconds of one monotonic clock."""

    submitted: dict[str, float] = field(default_factory=dict)
    placed: dict[str, float] = field(default_factory=dict)
    created: dict[str, float] = field(default_factory=dict)

    def latencies(self, seen: dict[str, float]) -> list[float]:
        """Milliseconds from submission to `seen`, sorted."""
        return sorted((seen[n] - t) * 1000 for n, t in self.submitted.items() if n in seen)


@dataclass
class Bench:
    """The clusters under test, and what watches them."""

    kubeconfig: Path
    """The hub's account on its own cluster."""
    folder: Path
    client: Client
    center_clients: dict[str, Client]
    times: Timeline = field(default_factory=Timeline)


def manifest(
    name: str, alternatives: list[dict[str, Any]], *, fill: str = "", own: bool = True
) -> dict[str, Any]:
    """A single-pod job; `own` makes its template unlike any other, `fill` makes it longer."""
    return {
        "apiVersion": CROSS_REGION_JOBS.api_version,
        "kind": CROSS_REGION_JOBS.kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "queue": "bench",
            "accelerators": alternatives,
            "template": {
                "spec": {
                    "containers": [
                        {
                            "name": "train",
                            "image": "registry.example/train:1",
                            "command": ["python", "train.py"],
                            "env": [
                                {"name": "JOB", "value": name if own else "any"},
                                {"name": "X", "value": fill},
                            ],
                            "resources": {"requests": {"cpu": "4", "memory": "16Gi"}},
                        }
                    ]
                }
            },
        },
    }


ALTERNATIVES = [{"model": model, "perWorker": 1} for model in MODELS.values()]
NOWHERE = [{"model": "nvidia-v100-sxm2-32g", "perWorker": 1}]


# --- submitting and watching --------------------------------------------------------------------


async def submit(bench: Bench, name: str, **spec: Any) -> None:
    """Create one job and note when the call began."""
    body = manifest(name, ALTERNATIVES)
    body["spec"] |= spec
    bench.times.submitted[name] = time.perf_counter()
    await bench.client.create(CROSS_REGION_JOBS, body, NAMESPACE)


async def closed_loop(work: Callable[[str], Awaitable[None]], names: list[str]) -> None:
    """Do all as fast as the servers take them, `SUBMITTERS` at a time."""
    queue = iter(names)

    async def worker() -> None:
        for name in queue:
            await work(name)

    await asyncio.gather(*(worker() for _ in range(SUBMITTERS)))


async def open_loop(work: Callable[[str], Awaitable[None]], names: list[str], rate: float) -> None:
    """Start one after the other at a fixed rate, whatever the servers do."""
    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number, name in enumerate(names):
            pause = started + number / rate - time.perf_counter()
            if pause > 0:
                await asyncio.sleep(pause)
            group.create_task(_do(work, name))


async def _do(work: Callable[[str], Awaitable[None]], name: str) -> None:
    await work(name)


class _Named(msgspec.Struct, rename="camel"):
    name: str
    uid: str
    resource_version: str
    namespace: str = ""
    labels: dict[str, str] = {}


class _SeenPlacement(msgspec.Struct):
    center: str


class _SeenStatus(msgspec.Struct, rename="camel", frozen=True):
    placement: _SeenPlacement | None = None


class _SeenJob(msgspec.Struct):
    metadata: _Named
    status: _SeenStatus = _SeenStatus()


class _SeenWorkload(msgspec.Struct):
    metadata: _Named


def placements(client: Client, seen: dict[str, float]) -> Informer[_SeenJob]:
    """Notes the first event that shows each job's placement."""

    def changed(_old: _SeenJob | None, new: _SeenJob | None) -> None:
        if new is not None and new.status.placement is not None:
            seen.setdefault(new.metadata.name, time.perf_counter())

    return Informer(client, CROSS_REGION_JOBS, _SeenJob, on_change=changed)


def workloads(client: Client, seen: dict[str, float]) -> Informer[_SeenWorkload]:
    """Notes the first event that shows each job's workload in a center."""

    def changed(_old: _SeenWorkload | None, new: _SeenWorkload | None) -> None:
        if new is not None:
            name = new.metadata.labels.get("huiju.dev/job-name", "")
            seen.setdefault(name, time.perf_counter())

    return Informer(client, JOBS, _SeenWorkload, on_change=changed)


async def all_seen(names: list[str], *tables: dict[str, float], seconds: float) -> None:
    """Wait until every name is in every table."""
    async with asyncio.timeout(seconds):
        while any(name not in table for table in tables for name in names):
            await asyncio.sleep(0.05)


# --- the stages ---------------------------------------------------------------------------------


async def bare_loop(bench: Bench, count: int, tag: str) -> float:
    """Create, write the status, create the workload: nothing else. Jobs per second."""
    names = [f"bare-{tag}-{n:05d}" for n in range(count)]
    centers = list(bench.center_clients.values())
    status = _bare_status()

    async def one(name: str) -> None:
        made = await bench.client.create(CROSS_REGION_JOBS, manifest(name, ALTERNATIVES), NAMESPACE)
        meta = made["metadata"]
        await bench.client.replace_status(
            CROSS_REGION_JOBS,
            name,
            NAMESPACE,
            status,
            resource_version=meta["resourceVersion"],
            uid=meta["uid"],
        )
        center = centers[hash(name) % len(centers)]
        await center.create(JOBS, _bare_workload(name), "default")

    started = time.perf_counter()
    await closed_loop(one, names)
    rate = count / (time.perf_counter() - started)
    if tag == "before":
        # The hub must not meet what it never decided.
        await bench.client.raw("DELETE", CROSS_REGION_JOBS.path(NAMESPACE))
        for center in centers:
            await center.raw("DELETE", JOBS.path("default"))
    return rate


def _bare_status() -> dict[str, Any]:
    return {
        "phase": "Dispatching",
        "reason": "Placed",
        "epoch": 1,
        "placement": {
            "center": "south",
            "epoch": 1,
            "alternative": 0,
            "model": MODELS["south"],
            "resource": "huawei.com/Ascend910",
            "namespace": "default",
            "workload": "bare",
            "placedAt": "2026-01-01T00:00:00Z",
        },
    }


def _bare_workload(name: str) -> dict[str, Any]:
    spec = dict(manifest(name, ALTERNATIVES)["spec"]["template"]["spec"])
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"backoffLimit": 0, "template": {"spec": {**spec, "restartPolicy": "Never"}}},
    }


async def saturate(bench: Bench, hub: HubProcess, count: int) -> dict[str, Any]:
    """All jobs at once: rate, latencies, writes and CPU per job."""
    names = [f"full-{n:05d}" for n in range(count)]
    times = bench.times
    before = await _all_writes(bench)
    cpu = hub.cpu_seconds()
    started = time.perf_counter()
    await closed_loop(lambda name: submit(bench, name), names)
    submitted = time.perf_counter() - started
    await all_seen(names, times.placed, times.created, seconds=300)
    last = max(times.created[name] for name in names)
    cpu = hub.cpu_seconds() - cpu
    after = await _all_writes(bench)
    mine = Timeline({n: times.submitted[n] for n in names})
    return {
        "jobs_per_s": count / (last - started),
        "submitted_per_s": count / submitted,
        **_percentiles(mine.latencies(times.created), ""),
        **_percentiles(mine.latencies(times.placed), "placed_"),
        "writes_per_job": _per_job(before, after, count),
        "hub_cpu_ms_per_job": cpu * 1000 / count,
    }


async def half_load(bench: Bench, rate: float, seconds: float) -> dict[str, Any]:
    """Open loop at half the saturated rate."""
    names = [f"half-{n:05d}" for n in range(int(rate * seconds))]
    times = bench.times
    await open_loop(lambda name: submit(bench, name), names, rate)
    await all_seen(names, times.placed, times.created, seconds=120)
    mine = Timeline({n: times.submitted[n] for n in names})
    return {
        "half_load_rate": rate,
        **_percentiles(mine.latencies(times.created), "half_load_"),
        **_percentiles(mine.latencies(times.placed), "half_load_placed_"),
    }


async def queued_memory(bench: Bench, hub: HubProcess, count: int) -> dict[str, Any]:
    """Memory that each queued job costs the hub; the jobs fit nowhere, so they stay queued."""

    async def queue(name: str, *, own: bool) -> None:
        body = manifest(name, NOWHERE, fill=FILL, own=own)
        await bench.client.create(CROSS_REGION_JOBS, body, NAMESPACE)

    async def grown(tag: str, number: int, *, own: bool) -> float:
        before = hub.memory()
        names = [f"wait-{tag}-{n:05d}" for n in range(number)]
        await closed_loop(lambda name: queue(name, own=own), names)
        await asyncio.sleep(5)
        return (hub.memory() - before) / number

    shared = await grown("same", count, own=False)
    distinct = await grown("own", count // 4, own=True)
    settled = hub.memory()
    return {
        "hub_bytes_per_queued_job": shared,
        "hub_bytes_per_queued_job_with_a_template_of_its_own": distinct,
        "hub_rss_mib": settled / 2**20,
        "hub_peak_mib": hub.memory("VmHWM") / 2**20,
    }


def _percentiles(values: list[float], prefix: str) -> dict[str, float]:
    def at(share: float) -> float:
        return values[min(len(values) - 1, int(share * len(values)))]

    return {
        f"{prefix}p50_ms": at(0.50),
        f"{prefix}p95_ms": at(0.95),
        f"{prefix}p99_ms": at(0.99),
    }


async def _all_writes(bench: Bench) -> dict[Key, int]:
    total: dict[Key, int] = {}
    for client in (bench.client, *bench.center_clients.values()):
        for key, value in (await writes(client)).items():
            total[key] = total.get(key, 0) + value
    return total


def _per_job(before: dict[Key, int], after: dict[Key, int], count: int) -> float:
    """Events, Leases and the centers' own statuses are not counted: they are not per job."""
    apart = {"events", "leases", "computecenters", "computequeues"}
    made = {k: v - before.get(k, 0) for k, v in after.items() if k[1] not in apart}
    for (verb, resource, sub), number in sorted(made.items()):
        if number:
            print(f"  {verb} {resource}{'/' + sub if sub else ''}: {number}", file=sys.stderr)
    return sum(made.values()) / count


# --- the clusters -------------------------------------------------------------------------------


@asynccontextmanager
async def federation_of(nodes: int) -> AsyncIterator[Bench]:
    """A hub and the centers, with so many nodes in each."""
    specs = [ClusterSpec(name, BARE, gogc=GOGC) for name in ("hub", *CENTERS)]
    lab = await federation.join(f"bench-{os.getpid()}", specs)
    try:
        async with AsyncExitStack() as stack:
            accounts = {name: await _account(cluster) for name, cluster in lab.clusters.items()}
            clients = {
                name: await stack.enter_async_context(
                    Client(kubeconfigs.from_secret_bytes(text.encode()), name=name)
                )
                for name, text in accounts.items()
            }
            hub = clients.pop("hub")
            await joining.install(hub)
            await joining.namespace(hub, NAMESPACE)
            await joining.queue(hub, "bench")
            for name, client in clients.items():
                await ready_nodes(client, CENTERS[name], nodes)
                joined = await joining.account(client, lab[name], role.ACCOUNT, role.cluster_role())
                await joining.join(hub, lab[name], kubeconfig=joined)
            kubeconfig = lab.folder / "account.kubeconfig"
            kubeconfig.touch(mode=0o600)
            kubeconfig.write_text(accounts["hub"])
            yield Bench(kubeconfig, lab.folder, hub, clients)
    finally:
        lab.leave()


async def _account(cluster: Cluster) -> str:
    """An account that may do everything, for the load and for the hub: programs have tokens."""
    everything = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "bench"},
        "rules": [
            {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
            {"nonResourceURLs": ["*"], "verbs": ["*"]},
        ],
    }
    async with await cluster.client() as administrator:
        return await joining.account(administrator, cluster, "bench", everything)


async def ready_nodes(client: Client, kind: str, count: int) -> None:
    """Nodes that are Ready although nothing runs that would make them so."""
    gate = asyncio.Semaphore(16)

    async def one(name: str) -> None:
        body = node(kind, name)
        body["status"]["conditions"] = [
            {"type": "Ready", "status": "True", "reason": "Bench", "message": "always"}
        ]
        async with gate:
            await client.create(NODES, body)
            # The API server taints each new node until a controller has looked at it.
            await client.patch(NODES, name, {"spec": {"taints": None}})

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(one(f"{kind}-{number}"))


async def warm_up(bench: Bench) -> None:
    """Wait until the hub dispatches at all, then a few jobs that are not measured.

    Each center gets some: its first job of a namespace makes that namespace, once.
    """
    names = [f"warm-{center}-{n}" for n in range(7) for center in CENTERS]

    async def warm(name: str) -> None:
        await submit(bench, name, placement={"centers": [name.split("-")[1]]})

    await closed_loop(warm, names)
    try:
        await all_seen(names, bench.times.placed, bench.times.created, seconds=60)
    except TimeoutError:
        for res in (COMPUTE_CENTERS, CROSS_REGION_JOBS):
            for item in (await bench.client.list_all(res)).items[:3]:
                print(item["metadata"]["name"], json.dumps(item.get("status")), file=sys.stderr)
        raise


async def with_hub(bench: Bench, options: argparse.Namespace) -> dict[str, Any]:
    """The stages that need the hub."""
    port = ports.reserve(1, bench.folder)[0]
    async with (
        HubProcess(bench.kubeconfig, bench.folder / "hub.log", port) as hub,
        watching(bench),
    ):
        try:
            await warm_up(bench)
            gc.collect()
            gc.freeze()
            with profiled(hub, options.profile):
                result = await saturate(bench, hub, options.jobs)
            print(json.dumps(result, indent=1), file=sys.stderr)
            result |= await half_load(bench, result["jobs_per_s"] / 2, options.seconds)
            return result | await queued_memory(bench, hub, options.queued)
        finally:
            if options.keep_log:
                Path(options.keep_log).write_bytes(hub.log.read_bytes())


@contextmanager
def profiled(hub: HubProcess, path: str | None) -> Iterator[None]:
    """Sample the hub's stacks meanwhile, if asked for and py-spy is there."""
    if not path:
        yield
        return
    spy = subprocess.Popen(
        ["py-spy", "record", "--pid", str(hub.pid), "--format", "raw", "-r", "200", "-o", path]
    )
    try:
        yield
    finally:
        spy.send_signal(signal.SIGINT)
        spy.wait()


@asynccontextmanager
async def watching(bench: Bench) -> AsyncIterator[None]:
    """Follow placements on the hub and workloads in the centers while the context lasts."""
    times = bench.times
    watches = [
        asyncio.create_task(placements(bench.client, times.placed).run()),
        *(
            asyncio.create_task(workloads(client, times.created).run())
            for client in bench.center_clients.values()
        ),
    ]
    try:
        yield
    finally:
        for watch in watches:
            watch.cancel()
        await asyncio.gather(*watches, return_exceptions=True)


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """All stages in one run."""
    async with federation_of(options.nodes) as bench:
        bare = [await bare_loop(bench, options.bare, "before")]
        result = await with_hub(bench, options)
        bare.append(await bare_loop(bench, options.bare, "after"))
    result["bare_jobs_per_s"] = statistics.mean(bare)
    result["share_of_bare"] = result["jobs_per_s"] / result["bare_jobs_per_s"]
    result["jobs"] = options.jobs
    result["machine"] = machine()
    return result


def main() -> int:
    """Parse, run, print the JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000, help="jobs submitted at once")
    parser.add_argument("--bare", type=int, default=500, help="jobs of each bare loop")
    parser.add_argument("--seconds", type=float, default=15, help="duration of the half load")
    parser.add_argument("--queued", type=int, default=10_000, help="jobs queued for the memory")
    parser.add_argument("--nodes", type=int, default=200, help="nodes of each center")
    parser.add_argument("--profile", help="write a py-spy profile of the saturated stage here")
    parser.add_argument("--keep-log", help="copy the hub's log here")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(run(parser.parse_args()))
    print(json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in result.items()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
