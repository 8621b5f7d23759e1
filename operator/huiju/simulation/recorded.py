"""Recorded jobs and clusters as the scheduler's values.

Decides how a recorded size becomes workers: up to a node one worker, beyond that as few equal ones
as possible.
Each cluster is a center of its own with a queue whose home it is.
"""

from __future__ import annotations

from collections.abc import Sequence

from huiju.scheduling.model import (
    CPU,
    PODS,
    Accelerator,
    Alternative,
    Bucket,
    Center,
    Job,
    JobShape,
    NodeShape,
    Queue,
    UnitKind,
    vector,
)
from huiju.simulation.engine import SimJob
from huiju.simulation.traces import Cluster, TraceJob

_ACCELERATOR = Accelerator("recorded", "nvidia.com/gpu", UnitKind.DEVICE, 312_000)
"""Traces that matter here name no model; one will do, as all ratios stay the same."""
_REQUEST = vector({CPU: 1, PODS: 1})
_LATEST = 7 * 86_400.0


def centers_of(clusters: Sequence[Cluster]) -> list[Center]:
    """A center of empty nodes for each cluster."""
    found = []
    for cluster in clusters:
        amounts = {_ACCELERATOR.resource: cluster.gpus_per_node, CPU: 1_000_000, PODS: 250}
        shape = NodeShape((_ACCELERATOR,), vector(amounts))
        nodes = tuple(f"{cluster.name}-{i:05d}" for i in range(cluster.nodes))
        found.append(Center(cluster.name, (Bucket(shape, shape.allocatable, nodes),)))
    return found


def queues_of(clusters: Sequence[Cluster]) -> list[Queue]:
    """A queue for each cluster, weighted by its size, at home there."""
    return [Queue(c.name, weight=c.nodes * c.gpus_per_node, home_center=c.name) for c in clusters]


def jobs_of(jobs: Sequence[TraceJob], clusters: Sequence[Cluster]) -> list[SimJob]:
    """The jobs, each in the queue of its cluster; `checkpoint_period` is half an hour."""
    sizes = {cluster.name: cluster.gpus_per_node for cluster in clusters}
    shapes: dict[int, JobShape] = {}
    found = []
    for one in jobs:
        node = sizes.get(one.cluster, 8)
        shape = shapes.get(one.gpus)
        if shape is None:
            workers = -(-one.gpus // node)
            each = -(-one.gpus // workers)
            alternatives = (Alternative(_ACCELERATOR.model, each),)
            shape = shapes[one.gpus] = JobShape(alternatives, workers, _REQUEST, namespace="trace")
        job = Job(
            uid=f"{one.index:07d}",
            name=f"trace/{one.cluster}-{one.index}",
            queue=one.cluster,
            shape=shape,
            submitted=one.submit,
            checkpoint_period=1800.0,
        )
        found.append(SimJob(job, one.duration, one.cluster))
    return found
