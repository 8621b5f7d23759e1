"""From objects of the API to the scheduler's values: jobs, placements, queues.

Decides nothing about placement; a pure translation. Invariant: equal specs give equal shapes, and
equal shapes are as a rule one object, which keeps many waiting jobs small.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import msgspec

from huiju.api.durations import parse_duration
from huiju.api.queue import ComputeQueueSpec
from huiju.centers.jobview import ViewCarry
from huiju.centers.render import needed_names
from huiju.hub.clock import seconds
from huiju.hub.objects import JobObject, PlacementStatus, one
from huiju.scheduling.learning import NOTHING as NOTHING_LEARNED
from huiju.scheduling.learning import RunTimes
from huiju.scheduling.model import (
    Alternative,
    Assignment,
    Avoid,
    DataNeed,
    Job,
    JobShape,
    Placed,
    Queue,
    Vector,
    vector,
)

GFLOPS_PER_TFLOPS = 1000


def shape_of(job: JobObject) -> JobShape:
    """What decides where the job fits."""
    spec, pods = job.spec, job.spec.pods
    wishes = spec.placement
    selector = {**dict(pods.node_selector), **wishes.node_selector}
    return JobShape(
        alternatives=tuple(
            Alternative(
                model=a.model,
                per_worker=a.per_worker,
                relative_speed=float(a.relative_speed) if a.relative_speed else None,
                image=a.image or pods.image,
            )
            for a in spec.accelerators
        ),
        workers=spec.workers,
        request=_pod_request(job),
        node_selector=tuple(sorted(selector.items())),
        tolerations=pods.tolerations,
        regions=tuple(sorted(wishes.regions)),
        residency=wishes.residency,
        centers=tuple(sorted(wishes.centers)),
        exclude_centers=tuple(sorted(wishes.exclude_centers)),
        namespace=job.metadata.namespace,
        images=pods.other_images,
        brings=_brings(spec.carry if isinstance(spec.carry, str) else "", spec.workers > 1),
        guarded=_guarded(job),
        watched=job.spec.progress is not None,
        avoid_nodes=tuple(sorted(f"{one.center}/{one.node}" for one in job.status.avoid_nodes)),
    )


def _guarded(job: JobObject) -> bool:
    return job.spec.failover.policy == "Reschedule"


def _pod_request(job: JobObject) -> Vector:
    pods = job.spec.pods
    watched = _guarded(job) or job.spec.progress is not None
    return pods.guarded_request if watched else pods.request


@lru_cache(maxsize=1024)
def _brings(carry: str, gang: bool) -> tuple[str, ...]:
    """Kinds of objects that go to the center with the workload."""
    told = msgspec.json.decode(carry, type=ViewCarry) if carry else ViewCarry()
    found = {resource.kind for resource, _ in needed_names(told, 1 + gang, "")}
    return tuple(sorted(found))


def job_of(
    job: JobObject, data: tuple[DataNeed, ...] = (), learned: RunTimes = NOTHING_LEARNED
) -> Job:
    """The job as the scheduler sees it, with what it needs of data sets.

    What its user expects goes before what was learned from jobs like it.
    """
    spec, status = job.spec, job.status
    told = _optional(spec.expected_runtime)
    return Job(
        uid=job.metadata.uid,
        name=job.key,
        queue=spec.queue,
        shape=one(replace(shape_of(job), data=data) if data else shape_of(job)),
        submitted=seconds(job.metadata.creation_timestamp),
        priority=spec.priority,
        expected_runtime=told or learned.expected,
        runtimes=learned.quantiles,
        alike=0 if told else learned.ended,
        max_runtime=_optional(spec.max_runtime),
        not_before=seconds(status.retry_at),
        avoid=tuple(Avoid(a.center, a.reason, seconds(a.until)) for a in status.avoid),
        preemptible=spec.preemptible,
        checkpoint_period=parse_duration(spec.checkpoint.period) if spec.checkpoint else None,
    )


def _optional(duration: str) -> float | None:
    return parse_duration(duration) if duration else None


def worker_request(job: JobObject, alternative: int, resource: str) -> Vector:
    """What one worker asks of its node, the accelerator included."""
    chosen = job.spec.accelerators[alternative]
    return vector({**dict(_pod_request(job)), resource: chosen.per_worker})


def planned(job: JobObject, placement: PlacementStatus) -> tuple[Assignment, ...]:
    """The workers' planned nodes, as the status tells: each as many, unless it says how many.

    Never more workers than the job has: one too many would stay reserved as long as it runs.
    """
    if not placement.nodes:
        return ()
    told = placement.node_workers
    if len(told) == len(placement.nodes) and sum(told) == job.spec.workers:
        return tuple(map(Assignment, placement.nodes, told))
    each, more = divmod(job.spec.workers, len(placement.nodes))
    spread = ((node, each + (n < more)) for n, node in enumerate(placement.nodes))
    return tuple(Assignment(node, workers) for node, workers in spread if workers)


def placed_of(
    job: JobObject, gflops_per_unit: int, learned: RunTimes = NOTHING_LEARNED
) -> Placed | None:
    """The job as a holder of accelerators, or None if it holds none."""
    placement = job.status.placement
    if placement is None:
        return None
    chosen = job.spec.accelerators[placement.alternative]
    units = chosen.per_worker * job.spec.workers
    return Placed(
        job=job_of(job, learned=learned),
        center=placement.center,
        alternative=placement.alternative,
        units=units,
        gflops=units * gflops_per_unit,
        started=seconds(job.status.started_at or placement.placed_at),
        assignments=planned(job, placement),
    )


def queue_of(name: str, spec: ComputeQueueSpec) -> Queue:
    """The queue as the scheduler sees it; TFLOPS become GFLOPS."""

    def scaled(amount: int | None) -> int | None:
        return None if amount is None else amount * GFLOPS_PER_TFLOPS

    return Queue(
        name=name,
        parent=spec.parent or "",
        weight=spec.weight,
        guarantee=scaled(spec.guarantee) or 0,
        ceiling=scaled(spec.ceiling),
        lending_limit=scaled(spec.lending_limit),
        namespaces=tuple(sorted(spec.namespaces)),
        home_center=spec.home_center or "",
        stopped=spec.stopped,
    )
