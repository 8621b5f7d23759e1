"""Nodes as the vendors' plugins make them look, created in bulk.

Decides labels, resources and sizes per kind of server, after what vendors publish. Invariant: a
node says nothing that a real one does not say, but for the mark that lets kwok run it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from huiju.kube.client import Client, PatchKind
from huiju.kube.errors import AlreadyExists
from huiju.kube.resources import NODES

MARK: Final = "kwok.x-k8s.io/node"
ASCEND: Final = "huawei.com/Ascend910"
_AT_ONCE: Final = 24
_READY_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class NodeKind:
    """One kind of server."""

    resources: Mapping[str, int]
    """Extended resources, as many as a healthy node advertises."""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    cpus: int = 192
    memory_gib: int = 1536
    architecture: str = "amd64"


def _ascend(chip: str, count: int, server: str, memory: str) -> NodeKind:
    """A server of Ascend 910 chips, which all share one resource name."""
    return NodeKind(
        {ASCEND: count},
        {
            "accelerator": "huawei-Ascend910",
            "accelerator-type": server,
            "host-arch": "huawei-arm",
            "mind-cluster/npu-chip-memory": memory,
            "node.kubernetes.io/npu.chip.name": chip,
            "workerselector": "dls-worker-node",
        },
        architecture="arm64",
    )


def _nvidia(product: str, memory_mib: int, family: str, compute: tuple[int, int]) -> NodeKind:
    return NodeKind(
        {"nvidia.com/gpu": 8},
        {
            "nvidia.com/gpu.present": "true",
            "nvidia.com/gpu.product": product,
            "nvidia.com/gpu.memory": str(memory_mib),
            "nvidia.com/gpu.count": "8",
            "nvidia.com/gpu.family": family,
            "nvidia.com/gpu.compute.major": str(compute[0]),
            "nvidia.com/gpu.compute.minor": str(compute[1]),
            "nvidia.com/gpu.sharing-strategy": "none",
            "nvidia.com/mig.strategy": "none",
        },
        memory_gib=2048,
    )


_A100: Final = _nvidia("NVIDIA-A100-SXM4-80GB", 81920, "ampere", (8, 0))
_H100: Final = _nvidia("NVIDIA-H100-80GB-HBM3", 81559, "hopper", (9, 0))

KINDS: Final[dict[str, NodeKind]] = {
    "ascend-910a": _ascend("910ProB", 8, "module", "32G"),
    "ascend-910b": _ascend("910B3", 8, "module-910b-8", "64G"),
    "ascend-910b2": _ascend("910B2", 8, "module-910b-8", "64G"),
    "ascend-910b-16": _ascend("910B1", 16, "module-910b-16", "64G"),
    # A3 names its chips by package and counts dies: 16 on a board of 8.
    "ascend-a3": _ascend("Ascend910", 16, "module-a3-16", "64G"),
    "ascend-a3-superpod": _ascend("Ascend910", 16, "module-a3-16-super-pod", "64G"),
    "ascend-310p": NodeKind(
        {"huawei.com/Ascend310P": 4},
        {
            "accelerator": "huawei-Ascend310P",
            "host-arch": "huawei-x86",
            "node.kubernetes.io/npu.chip.name": "310P3",
            "workerselector": "dls-worker-node",
        },
        cpus=96,
        memory_gib=512,
    ),
    "ascend-950": NodeKind(
        {"huawei.com/npu": 8},
        {
            "accelerator": "huawei-npu",
            "accelerator-type": "850-Atlas-8p-8",
            "host-arch": "huawei-arm",
            "node.kubernetes.io/npu.chip.name": "Ascend950DT",
            "workerselector": "dls-worker-node",
        },
        architecture="arm64",
    ),
    "nvidia-a100": _A100,
    "nvidia-h100": _H100,
    "nvidia-h20": _nvidia("NVIDIA-H20", 97871, "hopper", (9, 0)),
    "nvidia-a100-mig-mixed": NodeKind(
        {"nvidia.com/gpu": 4, "nvidia.com/mig-3g.40gb": 4, "nvidia.com/mig-1g.10gb": 14},
        {
            **_A100.labels,
            "nvidia.com/mig.strategy": "mixed",
            "nvidia.com/mig-3g.40gb.count": "4",
            "nvidia.com/mig-1g.10gb.count": "14",
        },
        memory_gib=2048,
    ),
    "nvidia-a100-mig-single": NodeKind(
        {"nvidia.com/gpu": 56},
        {
            **_A100.labels,
            "nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB-MIG-1g.10gb",
            "nvidia.com/gpu.memory": "9728",
            "nvidia.com/gpu.count": "56",
            "nvidia.com/mig.strategy": "single",
        },
        memory_gib=2048,
    ),
    "nvidia-a100-time-slicing": NodeKind(
        {"nvidia.com/gpu": 80},
        {
            **_A100.labels,
            "nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB-SHARED",
            "nvidia.com/gpu.replicas": "10",
            "nvidia.com/gpu.sharing-strategy": "time-slicing",
        },
        memory_gib=2048,
    ),
    "cambricon-mlu370": NodeKind(
        {"cambricon.com/mlu370": 8}, {"Model": "MLU370-X8", "DriverVersion": "5.10.22"}
    ),
    "hygon-k100": NodeKind({"hygon.com/dcu": 8}, {"hygon.com/dcu.name": "K100_AI"}),
    "metax-c500": NodeKind({"metax-tech.com/gpu": 8}, {"metax-tech.com/gpu.product": "MXC500"}),
    "iluvatar-bi150": NodeKind({"iluvatar.com/gpu": 16}),
    "enflame-s60": NodeKind({"enflame.com/gcu": 8}),
    "kunlunxin-p800": NodeKind({"kunlunxin.com/xpu": 8}),
    "mthreads-s4000": NodeKind({"mthreads.com/gpu": 8}),
    "biren-106": NodeKind({"birentech.com/gpu": 8}),
    "amd-mi300x": NodeKind(
        {"amd.com/gpu": 8},
        {"amd.com/gpu.product-name": "AMD_Instinct_MI300X_OAM", "amd.com/gpu.vram": "192G"},
        memory_gib=2048,
    ),
    "cpu": NodeKind({}, cpus=128, memory_gib=512),
}
"""The servers that the lab knows, by name."""


def node(
    kind: str,
    name: str,
    *,
    labels: Mapping[str, str] | None = None,
    taints: list[dict[str, str]] | None = None,
) -> dict[str, Any]:
    """The Node object of one server; raises KeyError for a kind that is not in `KINDS`."""
    made = KINDS[kind]
    amounts = {
        "cpu": str(made.cpus),
        "memory": f"{made.memory_gib}Gi",
        "ephemeral-storage": "3Ti",
        "pods": "110",
        "hugepages-1Gi": "0",
        "hugepages-2Mi": "0",
    } | {resource: str(count) for resource, count in made.resources.items()}
    standard = {
        "kubernetes.io/arch": made.architecture,
        "kubernetes.io/os": "linux",
        "kubernetes.io/hostname": name,
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {**standard, **made.labels, **(labels or {})},
            "annotations": {**made.annotations, MARK: "fake"},
        },
        "spec": {"taints": taints} if taints else {},
        "status": {
            "capacity": amounts,
            "allocatable": amounts,
            "nodeInfo": {
                "architecture": made.architecture,
                "operatingSystem": "linux",
                "osImage": "openEuler 22.03 (LTS-SP4)",
                "kernelVersion": "5.10.0-216.0.0",
                "containerRuntimeVersion": "containerd://2.1.4",
                "kubeletVersion": "v1.37.2",
                "kubeProxyVersion": "",
                "bootID": "",
                "machineID": "",
                "systemUUID": "",
            },
        },
    }


async def add_nodes(
    client: Client,
    kind: str,
    count: int,
    *,
    prefix: str = "",
    labels: Mapping[str, str] | None = None,
    taints: list[dict[str, str]] | None = None,
    ready: bool = True,
) -> list[str]:
    """Create servers of one kind and return their names, `<prefix><kind>-<number>`.

    Those that are there already stay. `ready`: wait until each is Ready; TimeoutError after a
    minute, which means that kwok does not run.
    """
    names = [f"{prefix}{kind}-{number}" for number in range(count)]
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(name: str) -> None:
        async with gate:
            try:
                await client.create(NODES, node(kind, name, labels=labels, taints=taints))
            except AlreadyExists:
                return

    async with asyncio.TaskGroup() as group:
        for name in names:
            group.create_task(one(name))
    if ready:
        async with asyncio.timeout(_READY_SECONDS):
            while await _unready(client, set(names)):
                await asyncio.sleep(0.2)
    return names


async def remove_nodes(client: Client, names: list[str]) -> None:
    """Delete servers; their pods follow when the garbage collector comes by."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(name: str) -> None:
        async with gate:
            await client.delete(NODES, name)

    async with asyncio.TaskGroup() as group:
        for name in names:
            group.create_task(one(name))


async def cordon(client: Client, name: str, *, on: bool = True) -> None:
    """Make a node unschedulable, or schedulable again."""
    await client.patch(NODES, name, {"spec": {"unschedulable": on or None}}, kind=PatchKind.MERGE)


async def _unready(client: Client, names: set[str]) -> set[str]:
    """Those of the names whose node is not Ready or still carries the taint of a new node."""
    found = await client.list_all(NODES)
    good = {
        item["metadata"]["name"]
        for item in found.items
        if any(
            condition["type"] == "Ready" and condition["status"] == "True"
            for condition in item.get("status", {}).get("conditions", [])
        )
        and not any(
            taint["key"].startswith("node.kubernetes.io/")
            for taint in item["spec"].get("taints", [])
        )
    }
    return names - good
