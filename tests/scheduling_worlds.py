"""Small worlds for the scheduler's tests: nodes, centers, jobs in a line each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from huiju.scheduling.core import Core
from huiju.scheduling.model import (
    CPU,
    MEMORY,
    PODS,
    Accelerator,
    Alternative,
    Bucket,
    Center,
    Job,
    JobShape,
    NodeShape,
    Place,
    Placed,
    Queue,
    Topology,
    UnitKind,
    vector,
)

GIB = 2**30
H100 = Accelerator("nvidia-h100", "nvidia.com/gpu", UnitKind.DEVICE, 1000)
B3 = Accelerator("ascend-910b3", "huawei.com/Ascend910", UnitKind.DEVICE, 300)
A910 = Accelerator("ascend-910a", "huawei.com/Ascend910", UnitKind.DEVICE, 250, Topology.RINGS_OF_4)
A3 = Accelerator("ascend-a3", "huawei.com/Ascend910", UnitKind.DIE, 350, Topology.MODULES_OF_2)


def shape(
    accelerator: Accelerator = H100,
    units: int = 8,
    *,
    cpu: int = 64_000,
    memory: int = 512 * GIB,
    **more: Any,
) -> NodeShape:
    """A node shape with one accelerator model."""
    amounts = {accelerator.resource: units, CPU: cpu, MEMORY: memory, PODS: 110}
    return NodeShape((accelerator,), vector(amounts), **more)


def bucket(
    names: Iterable[str],
    kind: NodeShape | None = None,
    *,
    taken: Mapping[str, int] | int = 0,
    devices: tuple[int, ...] | None = None,
) -> Bucket:
    """Nodes of one shape, with something taken on each (a number means accelerators)."""
    kind = kind or shape()
    if isinstance(taken, int):
        taken = {kind.accelerators[0].resource: taken}
    free = {name: amount - taken.get(name, 0) for name, amount in kind.allocatable}
    return Bucket(kind, vector(free), tuple(sorted(names)), devices)


def nodes(prefix: str, count: int) -> list[str]:
    """Node names."""
    return [f"{prefix}-{i:04d}" for i in range(count)]


def center(
    name: str = "east", count: int = 4, kind: NodeShape | None = None, **more: Any
) -> Center:
    """A center of equal, empty nodes; `buckets` may replace them."""
    more.setdefault("buckets", (bucket(nodes(name, count), kind),) if count else ())
    return Center(name, **more)


def wants(units: int = 1, workers: int = 1, model: str = "nvidia-h100", **more: Any) -> JobShape:
    """A job shape; `alternatives`, `request` and wishes may be given."""
    more.setdefault("alternatives", (Alternative(model, units),))
    more.setdefault("request", vector({CPU: 1000, MEMORY: GIB, PODS: 1}))
    more.setdefault("namespace", "team-a")
    return JobShape(workers=workers, **more)


def job(uid: str, units: int = 1, workers: int = 1, **more: Any) -> Job:
    """A job in queue `q`; arguments of a shape may be mixed in."""
    fields = {"queue", "submitted", "priority", "expected_runtime", "max_runtime", "not_before"}
    fields |= {"avoid", "preemptible", "checkpoint_period", "shape", "runtimes", "alike"}
    own = {k: v for k, v in more.items() if k in fields}
    rest = {k: v for k, v in more.items() if k not in fields}
    own.setdefault("shape", wants(units, workers, **rest))
    own.setdefault("queue", "q")
    own.setdefault("submitted", 0.0)
    return Job(uid=uid, name=f"team-a/{uid}", **own)


def core(
    centers: Iterable[Center] = (),
    jobs: Iterable[Job] = (),
    queues: Iterable[Queue] = (),
    **more: Any,
) -> Core:
    """A core that knows these."""
    made = Core(**more)
    for one in centers:
        made.set_center(one)
    for queue in queues or (Queue("q"),):
        made.set_queue(queue)
    for each in jobs:
        made.set_job(each)
    return made


def where(places: Iterable[Place]) -> dict[str, str]:
    """uid to center."""
    return {p.job.uid: p.center for p in places}


def workers_by_node(places: Iterable[Place]) -> Counter[str]:
    """Workers on each node."""
    found: Counter[str] = Counter()
    for place in places:
        for assignment in place.assignments:
            found[assignment.node] += assignment.workers
    return found


def without(center: Center, places: Iterable[Place]) -> Center:
    """The center's view once these are reserved in it, node by node."""
    taken: dict[str, Counter[str]] = {}
    for place in places:
        if place.center != center.name:
            continue
        for assignment in place.assignments:
            here = taken.setdefault(assignment.node, Counter())
            for name, amount in place.request:
                here[name] += amount * assignment.workers
    found: list[Bucket] = []
    for old in center.buckets:
        for node in old.nodes:
            gone = taken.get(node, Counter[str]())
            free = {name: amount - gone[name] for name, amount in old.free}
            assert all(amount >= 0 for amount in free.values()), (node, free)
            devices = old.free_devices if node not in taken else None
            found.append(replace(old, free=vector(free), nodes=(node,), free_devices=devices))
    return replace(center, buckets=tuple(found))


def as_placed(place: Place, started: float) -> Placed:
    """A decision as a running job."""
    chosen = place.job.shape.alternatives[place.alternative]
    units = chosen.per_worker * place.job.shape.workers
    return Placed(
        place.job,
        place.center,
        place.alternative,
        units,
        place.gflops,
        started,
        assignments=place.assignments,
    )
