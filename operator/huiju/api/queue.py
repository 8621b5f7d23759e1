"""ComputeQueue: how much of the network a group of users may hold."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from huiju.api.meta import (
    SET,
    ApiModel,
    Column,
    Conditions,
    KindInfo,
    Name,
    Rule,
)

Tflops = Annotated[int, Field(ge=0, le=1_000_000_000_000)]


class ComputeQueueSpec(ApiModel):
    """A queue's place in the tree and its share; amounts are dense BF16 TFLOPS."""

    rules: ClassVar = (
        Rule(
            "!has(self.guarantee) || !has(self.ceiling) || self.guarantee <= self.ceiling",
            "guarantee must not exceed ceiling",
            field=".guarantee",
        ),
        Rule(
            "!has(self.lendingLimit) || (has(self.guarantee) && self.lendingLimit <= self.guarantee)",
            "lendingLimit needs a guarantee and must not exceed it",
            field=".lendingLimit",
        ),
    )
    parent: Name | None = None
    """Queue above this one; none makes it a root."""
    weight: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Share among siblings when they compete."""
    guarantee: Tflops | None = None
    """TFLOPS that the queue gets whenever it asks; none is 0."""
    ceiling: Tflops | None = None
    """TFLOPS that the queue never exceeds; none is no limit."""
    lending_limit: Tflops | None = None
    """How much of an unused guarantee others may borrow; none is all of it."""
    namespaces: Annotated[
        list[Annotated[str, StringConstraints(min_length=1, max_length=63)]],
        SET,
        Field(max_length=256),
    ] = ["*"]
    """Namespaces whose jobs may use the queue; `*` matches any characters."""
    home_center: Name | None = None
    """Center to prefer when all else is equal."""
    stopped: bool = False
    """Accepts jobs but starts none."""


class ComputeQueueStatus(ApiModel):
    """What a queue holds now."""

    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """The generation of the spec that this speaks of."""
    conditions: Conditions = []
    """Ready: the queue can admit jobs."""
    queued: Annotated[int, Field(ge=0)] = 0
    """Jobs that wait."""
    running: Annotated[int, Field(ge=0)] = 0
    """Jobs that are placed."""
    usage: Annotated[int, Field(ge=0)] = 0
    """TFLOPS that placed jobs hold."""


class ComputeQueue(ApiModel):
    """A queue of training jobs."""

    info: ClassVar = KindInfo(
        kind="ComputeQueue",
        plural="computequeues",
        singular="computequeue",
        short_names=("cq",),
        namespaced=False,
        columns=(
            Column("Parent", ".spec.parent", priority=1),
            Column("Weight", ".spec.weight", "integer"),
            Column("Queued", ".status.queued", "integer"),
            Column("Running", ".status.running", "integer"),
            Column("Usage", ".status.usage", "integer", "Dense BF16 TFLOPS held"),
            Column("Guarantee", ".spec.guarantee", "integer"),
            Column("Ceiling", ".spec.ceiling", "integer"),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
    )
    spec: ComputeQueueSpec = ComputeQueueSpec()
    """The queue's place and share."""
    status: ComputeQueueStatus | None = None
    """What the queue holds now."""
