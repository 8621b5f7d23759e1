"""How long a guarded job of a lost center is away: `make bench-recovery`.

A hub with its own times, two centers with sentinels, and pods of real processes (guard, first step,
program; see `lab/kubelet.py`). Round by round the link to one center is cut, and the clock of each
job there runs from the cut to the start of its program in the other center. Then one of two hubs
that lead in turn is killed, and the clock runs until the other one has placed a new job. Last, jobs
wait that a new leader has to read: its reader alone is timed on them, then takeovers once more.
The last line printed is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvloop

from huiju.hub.objects import JobObject
from huiju.kube.client import Client
from huiju.kube.clock import boottime
from huiju.kube.informer import Informer
from huiju.kube.resources import COMPUTE_CENTERS, CROSS_REGION_JOBS
from lab import federation, joining, ports, runrecord
from lab.cluster import Cluster
from lab.fates import PLAYED, PREFIX, pod_annotations
from lab.hubprocess import HubProcess
from lab.kubeletprocess import KubeletProcess
from lab.kwokctl import HUB, ClusterSpec
from lab.nodes import add_nodes
from lab.proxy import FaultProxy
from tests.perf.machine import machine

CENTERS: Final = ("east", "west")
NAMESPACE: Final = "bench"
PATIENCE: Final = 900.0
Fields = dict[str, Any]


@dataclass
class Bench:
    """The federation under test."""

    folder: Path
    kubeconfig: Path
    client: Client
    links: dict[str, FaultProxy]
    record: Path

    # --- as a user ---------------------------------------------------------------------------

    async def submit(self, name: str, *, guarded: bool, **more: Any) -> None:
        """A job that runs until it is cancelled; `more` goes into its spec."""
        notes = pod_annotations(run_for="24h")
        if guarded:
            notes |= {PLAYED: "true", PREFIX + "save-every": "1s"}
        main: Fields = {
            "name": "train",
            "image": "registry.example/train:1",
            "volumeMounts": [{"name": "lake", "mountPath": "/lake"}],
        }
        lake = {"name": "lake", "hostPath": {"path": str(self.folder / "lake")}}
        spec: Fields = {
            "queue": "bench",
            "accelerators": [{"model": "ascend-910b3", "perWorker": 1}],
            "failover": {"policy": "Reschedule" if guarded else "Never"},
            "checkpoint": {"period": "1m", "directory": "/lake/checkpoints"},
            "template": {
                "metadata": {"annotations": notes},
                "spec": {"containers": [main], "volumes": [lake]},
            },
        } | more
        body = {
            "apiVersion": CROSS_REGION_JOBS.api_version,
            "kind": CROSS_REGION_JOBS.kind,
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": spec,
        }
        await self.client.create(CROSS_REGION_JOBS, body, NAMESPACE)

    async def cancel(self, names: list[str]) -> None:
        """End jobs and wait for it."""
        for name in names:
            await self.client.patch(CROSS_REGION_JOBS, name, {"spec": {"cancel": True}}, NAMESPACE)
        for name in names:
            await self.until(name, lambda status: status.get("phase") == "Cancelled")

    async def until(self, name: str, check: Any) -> Fields:
        """Wait until a job's status passes."""
        async with asyncio.timeout(PATIENCE):
            while True:
                found = await self.client.get(CROSS_REGION_JOBS, name, NAMESPACE)
                if check(found.get("status") or {}):
                    return found
                await asyncio.sleep(0.1)

    async def until_leased(self, center: str) -> None:
        """Wait until a center's lease is renewed."""
        async with asyncio.timeout(PATIENCE):
            while not await self._leased(center):
                await asyncio.sleep(0.2)

    async def _leased(self, center: str) -> bool:
        status = (await self.client.get(COMPUTE_CENTERS, center)).get("status") or {}
        held = {c["type"] for c in status.get("conditions") or () if c["status"] == "True"}
        return {"Ready", "Leased"} <= held

    async def cordon(self, center: str, closed: bool) -> None:
        """Close a center, or open it."""
        await self.client.patch(COMPUTE_CENTERS, center, {"spec": {"cordoned": closed}})


# --- what is measured -----------------------------------------------------------------------------


async def recoveries(bench: Bench, rounds: int, jobs: int) -> list[float]:
    """Seconds from the cut of a center's link to the start of each of its jobs elsewhere."""
    found: list[float] = []
    for number in range(rounds):
        lost, other = CENTERS[number % 2], CENTERS[(number + 1) % 2]
        names = [f"job-{number:02}-{n}" for n in range(jobs)]
        await bench.until_leased(lost)
        await bench.until_leased(other)
        await bench.cordon(other, True)
        for name in names:
            await bench.submit(name, guarded=True)
        for name in names:
            await bench.until(name, lambda status: status.get("phase") == "Running")
        await bench.cordon(other, False)
        await asyncio.sleep(1.7 * (number % 5))  # not always at the same moment of a renewal
        cut = boottime()
        bench.links[lost].partition()
        for name in names:
            job = await bench.until(
                name, lambda s: s.get("epoch") == 2 and s.get("phase") == "Running"
            )
            found.append(_started(bench, job["metadata"]["uid"], 2) - cut)
        print(f"round {number}: {[round(t, 1) for t in found[-jobs:]]} s", file=sys.stderr)
        bench.links[lost].heal()
        await bench.until_leased(lost)
        await bench.cancel(names)
    assert not runrecord.overlaps(runrecord.runs(bench.record)), "a job ran twice at once"
    return found


def _started(bench: Bench, uid: str, epoch: int) -> float:
    runs = runrecord.runs(bench.record)
    return next(r.started for r in runs if (r.who.job_uid, r.who.epoch) == (uid, epoch))


async def takeovers(
    bench: Bench, hubs: list[HubProcess], rounds: int, prefix: str = "takeover"
) -> list[float]:
    """Seconds from the kill of the leading hub until the other has placed a new job."""
    found: list[float] = []
    for number in range(rounds):
        leader = await _leader(hubs)
        name = f"{prefix}-{number}"
        killed = boottime()
        leader.kill()
        await bench.submit(name, guarded=False)
        await bench.until(name, lambda status: status.get("placement") is not None)
        found.append(boottime() - killed)
        print(f"{prefix} {number}: {found[-1]:.1f} s", file=sys.stderr)
        await leader.start()
        await bench.cancel([name])
    return found


async def relists(bench: Bench, jobs: int, rounds: int = 5) -> list[float]:
    """Seconds in which a hub's reader has all jobs: `jobs` that wait, each with its own name."""
    gate = asyncio.Semaphore(64)

    async def waiting(number: int) -> None:
        async with gate:
            await bench.submit(f"waits-{number:05}", guarded=False, suspend=True)

    async with asyncio.TaskGroup() as group:
        for number in range(jobs):
            group.create_task(waiting(number))
    await _settled(bench, jobs)
    found = []
    for _ in range(rounds):
        began = boottime()
        reader = Informer(bench.client, CROSS_REGION_JOBS, JobObject, on_change=lambda *_: None)
        following = asyncio.create_task(reader.run())
        await reader.synced.wait()
        found.append(boottime() - began)
        assert len(reader.store) >= jobs
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    return found


async def _settled(bench: Bench, jobs: int) -> None:
    """Wait until the hub has told each of these jobs that it waits, and writes to them no more."""
    async with asyncio.timeout(PATIENCE):
        while True:
            page = await bench.client.list_all(CROSS_REGION_JOBS, NAMESPACE, type=JobObject)
            told = sum(one.status.phase == "Suspended" for one in page.items)
            if told >= jobs:
                return
            print(f"{told} of {jobs} jobs wait", file=sys.stderr)
            await asyncio.sleep(5)


async def _leader(hubs: list[HubProcess]) -> HubProcess:
    import aiohttp

    async with aiohttp.ClientSession() as session, asyncio.timeout(60):
        while True:
            for hub in hubs:
                async with session.get(f"{hub.url}/metrics") as page:
                    lines = (await page.text()).splitlines()
                if any(line.startswith("huiju_center_reachable{") for line in lines):
                    return hub
            await asyncio.sleep(0.5)


# --- the federation -------------------------------------------------------------------------------


@asynccontextmanager
async def federation_of(profile: str) -> AsyncIterator[Bench]:
    """A hub, two centers with sentinel and kubelet, and a link to each that can be cut."""
    specs = [ClusterSpec("hub", HUB), *(ClusterSpec(name) for name in CENTERS)]
    lab = await federation.join(f"recovery-{os.getpid()}", specs)
    try:
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(await lab["hub"].client())
            await joining.install(client)
            for name in (NAMESPACE, joining.SYSTEM):
                await joining.namespace(client, name)
            await joining.queue(client, "bench")
            kubeconfig = lab.folder / "hub.kubeconfig"
            kubeconfig.touch(mode=0o600)
            kubeconfig.write_text(lab["hub"].kubeconfig_text())
            bench = Bench(lab.folder, kubeconfig, client, {}, lab.folder / "runs.jsonl")
            for name in CENTERS:
                await _center(stack, bench, lab[name], profile)
            yield bench
    finally:
        lab.leave()


async def _center(stack: AsyncExitStack, bench: Bench, center: Cluster, profile: str) -> None:
    name, folder = center.name, bench.folder
    async with await center.client() as client:
        await joining.namespace(client, joining.SYSTEM)
        await add_nodes(client, "ascend-910b", 2)
    kubeconfig = folder / f"{name}.kubeconfig"
    kubeconfig.touch(mode=0o600)
    kubeconfig.write_text(center.kubeconfig_text())
    health, lease = ports.reserve(2, folder)
    await stack.enter_async_context(
        HubProcess(
            kubeconfig,
            folder / f"{name}-sentinel.log",
            health,
            [f"--lease-port={lease}"],
            words=("sentinel", "--kubeconfig"),
        )
    )
    url = f"http://127.0.0.1:{lease}/lease"
    stack.enter_context(KubeletProcess(kubeconfig, name, folder / name, bench.record, url))
    link = await stack.enter_async_context(FaultProxy(center))
    spec = {"lease": {"profile": profile}, "sharing": {"hostPaths": [str(folder)]}}
    await joining.join(bench.client, center, server=link.server, spec=spec)
    bench.links[name] = link


async def run(options: argparse.Namespace) -> Fields:
    """All rounds in one federation."""
    async with federation_of(options.profile) as bench, AsyncExitStack() as stack:
        hubs = []
        for number in range(2):
            log = bench.folder / f"hub-{number}.log"
            port = ports.reserve(1, bench.folder)[0]
            hub = HubProcess(bench.kubeconfig, log, port, ["--guard-image=registry.example/huiju"])
            hubs.append(await stack.enter_async_context(hub))
        result: Fields = {"profile": options.profile}
        if options.rounds:
            found = await recoveries(bench, options.rounds, options.jobs)
            result |= _figures("recovery", found)
        if options.takeovers:
            result |= _figures("takeover", await takeovers(bench, hubs, options.takeovers))
        if options.relist:
            result |= {"relist_jobs": options.relist}
            result |= _figures("relist", await relists(bench, options.relist), digits=2)
            await _leader(hubs)
            result |= _figures("takeover_with_jobs", await takeovers(bench, hubs, 3, "late"))
    return result | {"machine": machine()}


def _figures(name: str, found: list[float], digits: int = 1) -> Fields:
    return {
        f"{name}_samples": len(found),
        f"{name}_median_s": round(statistics.median(found), digits),
        f"{name}_max_s": round(max(found), digits),
    }


def main() -> int:
    """Parse, run, print the JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", choices=("fast", "default"), default="fast")
    parser.add_argument("--rounds", type=int, default=10, help="losses, one center at a time")
    parser.add_argument("--jobs", type=int, default=2, help="guarded jobs in the lost center")
    parser.add_argument("--takeovers", type=int, default=5, help="kills of the leading hub")
    parser.add_argument("--relist", type=int, default=10_000, help="jobs that wait, then read anew")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(run(parser.parse_args()))
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
