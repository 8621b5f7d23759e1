"""Recorded jobs and clusters as the scheduler's values.

Decides how a recorded size becomes workers: up to a node one worker, beyond that as few equal ones
as possible, by the largest nodes of the job's cluster. Each cluster is a center of its own with a
queue whose home it is. Recorded run times hold for every model that a job may run on, since no
trace tells how fast the others would have been.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import accumulate
from random import Random

from huiju.scheduling.model import (
    CPU,
    PODS,
    Accelerator,
    Alternative,
    Bucket,
    Center,
    Job,
    JobShape,
    Link,
    NodeShape,
    Queue,
    UnitKind,
    vector,
)
from huiju.simulation.engine import SimJob
from huiju.simulation.ruled import largest_nodes, uid_of, worker_of
from huiju.simulation.staging import GIGABYTE, TEN_GBIT, Dataset
from huiju.simulation.traces import Cluster, TraceJob

_ANY = "recorded"
"""Model of nodes of which the file names none."""
_RESOURCE = "nvidia.com/gpu"
_GFLOPS = 312_000
"""Of one accelerator where nobody tells; one number will do, as all ratios stay the same."""
_REQUEST = vector({CPU: 1, PODS: 1})
CHECKPOINT = 1800.0
"""Seconds between checkpoints of a recorded job."""


def centers_of(clusters: Sequence[Cluster], *, linked: bool = False) -> list[Center]:
    """A center of empty nodes for each cluster; `linked` joins all by links of 10 Gbit/s."""
    groups: dict[str, list[Cluster]] = {}
    for cluster in clusters:
        groups.setdefault(cluster.name, []).append(cluster)
    found = []
    for name, parts in groups.items():
        links = tuple(Link(to, TEN_GBIT) for to in groups if linked and to != name)
        buckets = tuple(_bucket(part, at) for at, part in enumerate(parts))
        found.append(Center(name, buckets, links=links))
    return found


def _bucket(part: Cluster, at: int) -> Bucket:
    model = Accelerator(part.model or _ANY, _RESOURCE, UnitKind.DEVICE, _gflops(part))
    amounts = {model.resource: part.gpus_per_node, CPU: 1_000_000, PODS: 250}
    shape = NodeShape((model,), vector(amounts))
    group = f"-{at}" if at else ""
    nodes = tuple(f"{part.name}{group}-{i:05d}" for i in range(part.nodes))
    return Bucket(shape, shape.allocatable, nodes)


def _gflops(part: Cluster) -> int:
    return round(part.tflops * 1000) or _GFLOPS


def queues_of(clusters: Sequence[Cluster], *, guaranteed: bool = False) -> list[Queue]:
    """A queue for each cluster, weighted by its size, at home there.

    `guaranteed` gives each a guarantee of its own cluster's whole compute.
    """
    weights: dict[str, int] = {}
    compute: dict[str, int] = {}
    for part in clusters:
        units = part.nodes * part.gpus_per_node
        weights[part.name] = weights.get(part.name, 0) + units
        compute[part.name] = compute.get(part.name, 0) + units * _gflops(part)
    return [
        Queue(
            name,
            weight=max(1, weight),
            guarantee=compute[name] if guaranteed else 0,
            home_center=name,
        )
        for name, weight in weights.items()
    ]


def jobs_of(jobs: Sequence[TraceJob], clusters: Sequence[Cluster]) -> list[SimJob]:
    """The jobs, each in the queue of its cluster."""
    sizes = largest_nodes(clusters)
    models = tuple(sorted({part.model or _ANY for part in clusters}))
    shapes: dict[tuple[int, int, tuple[str, ...]], JobShape] = {}
    found = []
    for one in jobs:
        key = (one.gpus, sizes.get(one.cluster, 8), one.models or models)
        shape = shapes.get(key)
        if shape is None:
            shape = shapes[key] = _shape(*key)
        job = Job(
            uid=uid_of(one),
            name=f"trace/{one.cluster}-{one.index}",
            queue=one.cluster,
            shape=shape,
            submitted=one.submit,
            priority=one.priority,
            checkpoint_period=CHECKPOINT,
        )
        found.append(SimJob(job, one.duration, one.cluster, one.user or one.vc))
    return found


def _shape(units: int, node: int, models: Iterable[str]) -> JobShape:
    workers = -(-units // node)
    each = worker_of(units, node)
    alternatives = tuple(Alternative(model, each, 1.0) for model in models)
    return JobShape(alternatives, workers, _REQUEST, namespace="trace")


def with_data(
    jobs: Sequence[SimJob], *, sets: int, gigabytes: float, seed: int
) -> tuple[list[SimJob], list[Dataset]]:
    """Each job needs one of its home's data sets, by Zipf's law; one copy of each is at home."""
    random = Random(seed)  # noqa: S311 - a simulation
    homes = list(dict.fromkeys(job.home for job in jobs))
    size = round(gigabytes * GIGABYTE)
    names = {home: [f"{home}/{i:03d}" for i in range(sets)] for home in homes}
    weights = list(accumulate(1 / rank for rank in range(1, sets + 1)))
    drawn = [
        replace(job, data=tuple(random.choices(names[job.home], cum_weights=weights)))
        for job in jobs
    ]
    return drawn, [Dataset(name, size, home) for home in homes for name in names[home]]
