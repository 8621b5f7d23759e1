"""Nodes, pods and devices as an API server gives them, for tests of sensing."""

from __future__ import annotations

from typing import Any

import msgspec

from huiju.centers.census import Tally
from huiju.centers.deviceobjects import DeviceClass, ResourceClaim, ResourceSlice
from huiju.centers.inventory import CenterInventory, Reservation
from huiju.centers.objects import Node
from huiju.centers.podusage import SensedPod
from huiju.scheduling.model import Assignment, Bucket, vector

ASCEND = "huawei.com/Ascend910"
GPU = "nvidia.com/gpu"
CHIP = "node.kubernetes.io/npu.chip.name"
SERVER = "accelerator-type"
PRODUCT = "nvidia.com/gpu.product"
B3 = {CHIP: "910B3", SERVER: "module-910b-8"}
A3 = {CHIP: "Ascend910", SERVER: "module-a3-16"}
A = {CHIP: "910ProB", SERVER: "module"}
H100 = {PRODUCT: "NVIDIA-H100-80GB-HBM3"}
Amounts = dict[str, Any]


def node(
    name: str,
    devices: Amounts,
    labels: dict[str, str] | None = None,
    *,
    allocatable: Amounts | None = None,
    annotations: dict[str, str] | None = None,
    ready: str = "True",
    cordoned: bool = False,
    taints: list[dict[str, str]] | None = None,
    deleting: bool = False,
    cpu: str = "96",
    memory: str = "512Gi",
    pods: str = "110",
    uid: str = "",
) -> Node:
    """A node; `allocatable` names what differs from the capacity."""
    capacity = {"cpu": cpu, "memory": memory, "pods": pods, **devices}
    metadata: dict[str, Any] = {
        "name": name,
        "uid": uid or f"uid-{name}",
        "labels": {"kubernetes.io/hostname": name, **(labels or {})},
        "annotations": annotations or {},
    }
    if deleting:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return msgspec.convert(
        {
            "metadata": metadata,
            "spec": {"unschedulable": cordoned, "taints": taints or []},
            "status": {
                "capacity": capacity,
                "allocatable": {**capacity, **(allocatable or {})},
                "conditions": [
                    {"type": "MemoryPressure", "status": "False"},
                    {"type": "Ready", "status": ready},
                ],
            },
        },
        Node,
    )


def pod(
    uid: str,
    on: str,
    amounts: Amounts | None = None,
    *,
    phase: str = "Running",
    owner: tuple[str, int] | None = None,
    nominated: str = "",
    real: str = "",
    deleting: bool = False,
    **spec: Any,
) -> SensedPod:
    """A pod with one container that asks for some amounts."""
    labels = {"huiju.dev/job-uid": owner[0], "huiju.dev/epoch": str(owner[1])} if owner else {}
    metadata: dict[str, Any] = {
        "name": uid,
        "namespace": "default",
        "uid": uid,
        "labels": labels,
        "annotations": {"huawei.com/AscendReal": real} if real else {},
    }
    if deleting:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    container = {"name": "main", "resources": {"requests": amounts or {}}}
    return msgspec.convert(
        {
            "metadata": metadata,
            "spec": {"nodeName": on, "containers": [container], **spec},
            "status": {"phase": phase, "nominatedNodeName": nominated},
        },
        SensedPod,
    )


def reservation(uid: str, epoch: int, amounts: dict[str, int], **workers: int) -> Reservation:
    """A reservation of some workers by node."""
    planned = tuple(Assignment(name, count) for name, count in workers.items())
    return Reservation(uid, epoch, vector({**amounts, "pods": 1}), planned)


def inventory(*things: Node | SensedPod | Reservation) -> CenterInventory:
    """An inventory that has seen some things."""
    made = CenterInventory()
    for thing in things:
        match thing:
            case Node():
                made.set_node(thing, 0.0)
            case SensedPod():
                made.set_pod(thing)
            case Reservation():
                made.reserve(thing)
    return made


def tally(made: CenterInventory, model: str) -> Tally:
    """The sums of a model under all its resource names; none is a failure."""
    census = made.census()
    (key,) = census.keys_of_model(model)
    return census.tallies[key]


def bucket_of(made: CenterInventory, name: str) -> Bucket | None:
    """The bucket that holds a node."""
    return next((b for b in made.buckets() if name in b.nodes), None)


def free_on(made: CenterInventory, name: str, resource: str) -> int | None:
    """Free units on a node, None if it takes no work."""
    bucket = bucket_of(made, name)
    return None if bucket is None else dict(bucket.free).get(resource, 0)


# --- dynamic resource allocation -----------------------------------------------------------------


def gpu_device(name: str, **more: Any) -> dict[str, Any]:
    """A whole GPU as NVIDIA's driver publishes it."""
    attributes = {
        "type": {"string": "gpu"},
        "productName": {"string": "NVIDIA H100 80GB HBM3"},
        "uuid": {"string": f"GPU-{name}"},
    }
    return {"name": name, "attributes": attributes, **more}


def mig_device(name: str, profile: str, **more: Any) -> dict[str, Any]:
    """A part of a GPU as NVIDIA's driver publishes it."""
    made = gpu_device(name, **more)
    made["attributes"] |= {"type": {"string": "mig"}, "profile": {"string": profile}}
    return made


def slice_of(
    name: str,
    on: str,
    devices: list[dict[str, Any]],
    *,
    generation: int = 1,
    count: int = 1,
    shared: list[dict[str, Any]] | None = None,
    driver: str = "gpu.nvidia.com",
) -> ResourceSlice:
    """A slice of the pool that is named after its node."""
    pool = {"name": on, "generation": generation, "resourceSliceCount": count}
    spec = {
        "driver": driver,
        "pool": pool,
        "nodeName": on,
        "devices": devices,
        "sharedCounters": shared or [],
    }
    return msgspec.convert({"metadata": {"name": name, "uid": name}, "spec": spec}, ResourceSlice)


def claim(uid: str, pool: str, *devices: str, admin: bool = False) -> ResourceClaim:
    """A claim that got some devices."""
    results = [
        {"driver": "gpu.nvidia.com", "pool": pool, "device": name, "adminAccess": admin or None}
        for name in devices
    ]
    return msgspec.convert(
        {
            "metadata": {"name": uid, "namespace": "default", "uid": uid},
            "status": {"allocation": {"devices": {"results": results}}},
        },
        ResourceClaim,
    )


def device_class(name: str, resource: str, *terms: str) -> DeviceClass:
    """A class that serves an extended resource name."""
    return msgspec.convert(
        {
            "metadata": {"name": name, "uid": name},
            "spec": {
                "selectors": [{"cel": {"expression": " && ".join(terms)}}],
                "extendedResourceName": resource,
            },
        },
        DeviceClass,
    )
