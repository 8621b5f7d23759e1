"""The lab itself: what it starts runs, what it promises to go wrong goes wrong, nothing stays."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from huiju.kube.client import Client, ClientSettings
from huiju.kube.errors import AlreadyExists, Conflict, Gone, Transient
from huiju.kube.resources import CONFIG_MAPS, JOBS, NAMESPACES, NODES, PODS
from lab import signals
from lab.cluster import Cluster, strays
from lab.fates import Fate, break_devices, find_node, lose_node, pod_annotations
from lab.faultrules import Fault, read_request
from lab.federation import runs
from lab.fixtures import NamespaceIn
from lab.kwokctl import BARE, ClusterSpec, Component
from lab.nodes import ASCEND, KINDS, add_nodes
from lab.processes import Process, command_line
from lab.proxy import FaultProxy
from tests.patience import PATIENCE

Check = Callable[[], Awaitable[Any]]


async def until(check: Check, seconds: float = PATIENCE) -> Any:
    """What `check` returns once it is true."""
    async with asyncio.timeout(seconds):
        while not (found := await check()):
            await asyncio.sleep(0.05)
        return found


def job(name: str, workers: int, notes: dict[str, str], cards: int = 4) -> dict[str, Any]:
    container = {
        "name": "train",
        "image": "registry.invalid/train:1",
        "resources": {"limits": {ASCEND: str(cards)}},
    }
    return {
        "metadata": {"name": name},
        "spec": {
            "completions": workers,
            "parallelism": workers,
            "completionMode": "Indexed",
            "backoffLimit": 0,
            "template": {
                "metadata": {"annotations": notes, "labels": {"huiju.dev/epoch": "1"}},
                "spec": {"restartPolicy": "Never", "containers": [container]},
            },
        },
    }


async def job_condition(client: Client, name: str, namespace: str, kind: str) -> bool:
    found = await client.get(JOBS, name, namespace)
    return any(
        condition["type"] == kind and condition["status"] == "True"
        for condition in found.get("status", {}).get("conditions", [])
    )


async def pods_of(client: Client, namespace: str) -> list[dict[str, Any]]:
    pods = (await client.list_all(PODS, namespace)).items
    return sorted(pods, key=lambda pod: str(pod["metadata"]["name"]))


def state_of(pod: dict[str, Any]) -> dict[str, Any]:
    statuses = pod["status"].get("containerStatuses") or [{}]
    return dict(statuses[0].get("state", {}))


async def test_job_on_ascend_runs_to_completion(center: Cluster, namespace_in: NamespaceIn) -> None:
    namespace = await namespace_in(center)
    async with await center.client() as client:
        await add_nodes(client, "ascend-910b", 1)
        started = time.monotonic()
        await client.create(JOBS, job("train", 2, pod_annotations(run_for="1s")), namespace)
        await until(lambda: job_condition(client, "train", namespace, "Complete"))
        assert time.monotonic() - started >= 1.0
        pods = await pods_of(client, namespace)
        assert [pod["status"]["phase"] for pod in pods] == ["Succeeded", "Succeeded"]
        assert {pod["spec"]["nodeName"] for pod in pods} == {"ascend-910b-0"}


async def test_a_third_worker_finds_no_card(center: Cluster, namespace_in: NamespaceIn) -> None:
    namespace = await namespace_in(center)
    async with await center.client() as client:
        await add_nodes(client, "ascend-910b", 1)
        await client.create(JOBS, job("train", 3, {}), namespace)

        async def unschedulable() -> list[dict[str, Any]]:
            return [
                pod
                for pod in await pods_of(client, namespace)
                for condition in pod["status"].get("conditions", [])
                if condition.get("reason") == "Unschedulable"
            ]

        (pod,) = await until(unschedulable)
        assert "nodeName" not in pod["spec"]


@pytest.mark.parametrize(
    ("fate", "phase", "reason", "state"),
    [
        (Fate.FAIL, "Failed", None, {"terminated": {"exitCode": 42, "reason": "Error"}}),
        (Fate.EVICT, "Failed", "Evicted", {"terminated": {"exitCode": 137}}),
        (Fate.ADMISSION, "Failed", "UnexpectedAdmissionError", {}),
        (Fate.IMAGE_PULL, "Pending", None, {"waiting": {"reason": "ImagePullBackOff"}}),
        (Fate.STUCK, "Pending", None, {"waiting": {"reason": "ContainerCreating"}}),
    ],
)
async def test_fate(
    center: Cluster,
    namespace_in: NamespaceIn,
    fate: Fate,
    phase: str,
    reason: str | None,
    state: dict[str, dict[str, Any]],
) -> None:
    namespace = await namespace_in(center)
    notes = pod_annotations(fate=fate, exit_code=42, after="100ms")
    async with await center.client() as client:
        await add_nodes(client, "ascend-910b", 1)
        await client.create(JOBS, job("train", 1, notes), namespace)

        async def met() -> dict[str, Any] | None:
            for pod in await pods_of(client, namespace):
                status = pod["status"]
                if (status.get("phase"), status.get("reason")) != (phase, reason):
                    continue
                found = state_of(pod)
                if all(found.get(key, {}).items() >= value.items() for key, value in state.items()):
                    return pod
            return None

        pod = await until(met)
        if fate is Fate.EVICT:
            assert "DisruptionTarget" in {each["type"] for each in pod["status"]["conditions"]}
        if phase == "Failed":
            await until(lambda: job_condition(client, "train", namespace, "Failed"))


async def test_fate_concerns_one_index_epoch_and_cluster(
    center: Cluster, namespace_in: NamespaceIn
) -> None:
    namespace = await namespace_in(center)
    async with await center.client() as client:
        await add_nodes(client, "ascend-910b", 2)
        cases = {
            "index": pod_annotations(run_for="500ms", fate=Fate.FAIL, index=1),
            "epoch": pod_annotations(run_for="500ms", fate=Fate.FAIL, epoch=2),
            "here": pod_annotations(run_for="500ms", fate=Fate.FAIL, cluster=center.name),
            "there": pod_annotations(run_for="500ms", fate=Fate.FAIL, cluster="elsewhere"),
        }
        for name, notes in cases.items():
            body = job(name, 2, notes, cards=2)
            del body["spec"]["backoffLimit"]
            body["spec"]["backoffLimitPerIndex"] = 0
            await client.create(JOBS, body, namespace)
        ends = {"index": "Failed", "epoch": "Complete", "here": "Failed", "there": "Complete"}
        for name, end in ends.items():
            await until(lambda name=name, end=end: job_condition(client, name, namespace, end))  # type: ignore[misc]
        found = (await client.get(JOBS, "index", namespace))["status"]
        assert (found["failedIndexes"], found["completedIndexes"]) == ("1", "0")


async def test_zombie_stays_when_deleted(center: Cluster, namespace_in: NamespaceIn) -> None:
    namespace = await namespace_in(center)
    async with await center.client() as client:
        await add_nodes(client, "ascend-910b", 1)
        await client.create(JOBS, job("train", 1, pod_annotations(fate=Fate.ZOMBIE)), namespace)

        async def running() -> bool:
            pods = await pods_of(client, namespace)
            return [pod["status"]["phase"] for pod in pods] == ["Running"]

        await until(running)
        await client.delete(JOBS, "train", namespace)

        async def terminating() -> bool:
            pods = await pods_of(client, namespace)
            return ["deletionTimestamp" in pod["metadata"] for pod in pods] == [True]

        await until(terminating)
        await asyncio.sleep(1.0)
        assert await terminating()


async def test_lost_node_and_broken_devices(center: Cluster, namespace_in: NamespaceIn) -> None:
    namespace = await namespace_in(center)
    async with await center.client() as client:
        (node,) = await add_nodes(client, "ascend-910b", 1)
        notes = pod_annotations(run_for="2s")
        await client.create(JOBS, job("train", 1, notes), namespace)

        async def bound() -> bool:
            return [pod["status"]["phase"] for pod in await pods_of(client, namespace)] == [
                "Running"
            ]

        async def ready() -> str:
            found = await client.get(NODES, node)
            return next(
                str(condition["status"])
                for condition in found["status"]["conditions"]
                if condition["type"] == "Ready"
            )

        async def is_ready(status: str) -> bool:
            return await ready() == status

        await until(bound)
        await lose_node(client, node)
        await until(lambda: is_ready("Unknown"))

        async def tainted() -> bool:
            found = await client.get(NODES, node)
            return "node.kubernetes.io/unreachable" in {
                taint["key"] for taint in found["spec"].get("taints", [])
            }

        await until(tainted)
        await asyncio.sleep(2.5)
        assert await ready() == "Unknown"
        assert not await job_condition(client, "train", namespace, "Complete")
        await find_node(client, node)
        await until(lambda: is_ready("True"))
        await until(lambda: job_condition(client, "train", namespace, "Complete"))

        await break_devices(client, node, ASCEND, 3)
        found = (await client.get(NODES, node))["status"]
        assert (found["capacity"][ASCEND], found["allocatable"][ASCEND]) == ("8", "5")


async def test_every_kind_of_node_is_accepted(center: Cluster) -> None:
    async with await center.client() as client:
        for kind in KINDS:
            await add_nodes(client, kind, 1, ready=False)
        for kind, made in KINDS.items():
            await add_nodes(client, kind, 1)
            found = await client.get(NODES, f"{kind}-0")
            amounts = found["status"]["allocatable"]
            assert {name: int(amounts[name]) for name in made.resources} == dict(made.resources)


async def test_pause_kill_and_restart(
    lab_cluster: Callable[[ClusterSpec], Awaitable[Cluster]],
) -> None:
    cluster = await lab_cluster(ClusterSpec("faulty", BARE))
    settings = ClientSettings(deadline=1.0)
    async with await cluster.client(settings=settings) as client:
        await client.create(NAMESPACES, {"metadata": {"name": "kept"}})
        signals.pause(cluster, Component.APISERVER)
        with pytest.raises(Transient):
            await client.get(NAMESPACES, "kept")
        signals.resume(cluster, Component.APISERVER)
        await until(lambda: client.get(NAMESPACES, "kept"))
        before = cluster.processes()
        signals.kill(cluster, Component.APISERVER)
        with pytest.raises(Transient):
            await client.get(NAMESPACES, "kept")
        await signals.start(cluster, Component.APISERVER)
        after = cluster.processes()
        assert before[Component.APISERVER].pid != after[Component.APISERVER].pid
        await client.get(NAMESPACES, "kept")
        await signals.restart(cluster, Component.ETCD)
        await until(lambda: _get_or_none(client, "kept"))
        signals.pause(cluster, Component.APISERVER)
    cluster.destroy()
    assert not cluster.folder.exists()
    assert not any(process.alive for process in after.values())
    assert not strays(cluster.folder)


async def _get_or_none(client: Client, name: str) -> Any:
    try:
        return await client.get(NAMESPACES, name)
    except Transient:
        return None


def test_a_killed_owner_leaves_nothing(tmp_path: Path) -> None:
    name = f"t-{os.getpid()}-killed"
    script = f"""
import asyncio, json, signal
from lab import federation
from lab.kwokctl import BARE, ClusterSpec
lab = asyncio.run(federation.join({name!r}, [ClusterSpec("only", BARE)]))
pids = [process.pid for process in lab["only"].processes().values()]
print(json.dumps(pids), flush=True)
signal.pause()
"""
    owner = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    with owner:
        assert owner.stdout is not None
        processes = [Process.of(pid) for pid in json.loads(owner.stdout.readline())]
        assert len(processes) == 2
        assert all(process.alive for process in processes)
        folder = runs() / name
        assert folder.is_dir()
        owner.send_signal(signal.SIGKILL)
    until_then = time.monotonic() + 20.0
    while folder.exists() and time.monotonic() < until_then:
        time.sleep(0.05)
    assert not folder.exists()
    assert not any(process.alive for process in processes)


def test_a_number_that_another_process_got_is_a_stranger() -> None:
    me = Process.me()
    assert me.alive
    assert Process.parse(str(me)) == me
    assert command_line(me.pid)
    assert not Process(me.pid, "1").alive
    assert not Process(me.pid, "1").signal(signal.SIGKILL)


@pytest.mark.parametrize(
    ("method", "path", "verb", "resource"),
    [
        ("GET", "/api/v1/nodes?limit=500", "list", "nodes"),
        ("GET", "/api/v1/nodes?watch=1&resourceVersion=5", "watch", "nodes"),
        ("GET", "/api/v1/namespaces/a", "get", "namespaces"),
        ("GET", "/api/v1/namespaces/a/pods/b/log", "get", "pods/log"),
        ("POST", "/apis/batch/v1/namespaces/a/jobs", "create", "jobs"),
        ("PATCH", "/apis/batch/v1/namespaces/a/jobs/b/status", "patch", "jobs/status"),
        ("DELETE", "/apis/batch/v1/namespaces/a/jobs", "deletecollection", "jobs"),
        ("GET", "/readyz", "get", ""),
    ],
)
def test_requests_are_named_as_the_server_names_them(
    method: str, path: str, verb: str, resource: str
) -> None:
    found = read_request(method, path)
    assert (found.verb, found.resource) == (verb, resource)


async def test_proxy_counts_and_answers(
    bare_cluster: Cluster, bare_proxy: FaultProxy, namespace_in: NamespaceIn
) -> None:
    namespace = await namespace_in(bare_cluster)
    body = {"metadata": {"name": "a"}}
    async with await bare_cluster.client(server=bare_proxy.server) as client:
        await client.create(CONFIG_MAPS, body, namespace)
        assert bare_proxy.writes == 1
        for code, error in ((409, Conflict), (410, Gone), (500, Transient), (503, Transient)):
            rule = bare_proxy.add(Fault.ANSWER, "get", code=code, count=1)
            with pytest.raises(error):
                await client.get(CONFIG_MAPS, "a", namespace)
            assert rule.hits == 1
        bare_proxy.add(Fault.ANSWER, "get", code=429, retry_after=1, count=1)
        started = time.monotonic()
        await client.get(CONFIG_MAPS, "a", namespace)
        assert time.monotonic() - started >= 1.0
        # A read on a connection that was used before is tried once more.
        bare_proxy.add(Fault.DROP, path="/configmaps/a", count=2)
        with pytest.raises(Transient):
            await client.get(CONFIG_MAPS, "a", namespace)
        assert bare_proxy.passed["get", "configmaps"] == 1


async def test_proxy_loses_answers_and_repeats(
    bare_cluster: Cluster, bare_proxy: FaultProxy, namespace_in: NamespaceIn
) -> None:
    namespace = await namespace_in(bare_cluster)
    async with await bare_cluster.client(server=bare_proxy.server) as client:
        bare_proxy.add(Fault.LOSE, "create", count=1)
        with pytest.raises(Transient):
            await client.create(CONFIG_MAPS, {"metadata": {"name": "lost"}}, namespace)
        assert (await client.get(CONFIG_MAPS, "lost", namespace))["metadata"]["name"] == "lost"
        bare_proxy.add(Fault.TWICE, "create", count=1)
        with pytest.raises(AlreadyExists):
            await client.create(CONFIG_MAPS, {"metadata": {"name": "twice"}}, namespace)


async def test_proxy_partition(bare_cluster: Cluster, bare_proxy: FaultProxy) -> None:
    settings = ClientSettings(deadline=0.5)
    async with await bare_cluster.client(server=bare_proxy.server, settings=settings) as client:
        await client.get(NAMESPACES, "default")
        bare_proxy.partition()
        with pytest.raises(Transient):
            await client.get(NAMESPACES, "default")
        bare_proxy.heal()
        await client.get(NAMESPACES, "default")


async def test_proxy_chance_repeats_with_its_seed(bare_cluster: Cluster) -> None:
    async def run() -> list[bool]:
        async with FaultProxy(bare_cluster, seed=7) as proxy:
            proxy.add(Fault.ANSWER, "get", code=503, probability=0.5)
            seen = []
            async with await bare_cluster.client(server=proxy.server) as client:
                for _ in range(12):
                    try:
                        await client.get(NAMESPACES, "default")
                        seen.append(True)
                    except Transient:
                        seen.append(False)
            return seen

    first = await run()
    assert first == await run()
    assert len(set(first)) == 2
