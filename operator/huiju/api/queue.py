"""ComputeQueue: how much of the network a group of users may hold."""

# ruff: noqa: RUF012  (pydantic copies default lists and maps)
from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from huiju.api.markers import ATOMIC, Column, KindInfo, Rule
from huiju.api.meta import (
    ApiModel,
    Conditions,
    Flag,
    Int,
    KubeObject,
    Name,
    NamespacePattern,
)

Tflops = Annotated[Int, Field(ge=0, le=1_000_000_000_000)]


class ComputeQueueSpec(ApiModel):
    """A queue's place in the tree and its share; amounts are dense BF16 TFLOPS."""

    rules: ClassVar = (
        Rule(
            "!has(self.guarantee) || !has(self.ceiling) || self.guarantee <= self.ceiling",
            "guarantee must not exceed ceiling: lower guarantee or raise ceiling",
            field=".guarantee",
            check=lambda self: (
                self.guarantee is None or self.ceiling is None or self.guarantee <= self.ceiling
            ),
        ),
        Rule(
            "!has(self.lendingLimit)"
            " || (has(self.guarantee) && self.lendingLimit <= self.guarantee)",
            "lendingLimit needs a guarantee and must not exceed it: set guarantee to at least it",
            field=".lendingLimit",
            check=lambda self: (
                self.lending_limit is None
                or (self.guarantee is not None and self.lending_limit <= self.guarantee)
            ),
        ),
    )
    parent: Name | None = None
    """Queue above this one; none makes it a root."""
    weight: Annotated[Int, Field(ge=1, le=10_000)] = 1
    """Share among siblings when they compete."""
    guarantee: Tflops | None = None
    """TFLOPS that the queue gets whenever it asks; none is 0."""
    ceiling: Tflops | None = None
    """TFLOPS that the queue never exceeds; none is no limit."""
    lending_limit: Tflops | None = None
    """How much of an unused guarantee others may borrow; none is all of it."""
    namespaces: Annotated[list[NamespacePattern], ATOMIC, Field(max_length=256)] = ["*"]
    """Namespaces whose jobs may use the queue; `*` matches any characters."""
    home_center: Name | None = None
    """Center to prefer when all else is equal."""
    stopped: Flag = False
    """Accepts jobs but starts none."""


class ComputeQueueStatus(ApiModel):
    """What a queue, together with all queues below it, holds now and what falls to it.

    Amounts are dense BF16 TFLOPS; what they are measured against is what the network's jobs hold
    and what is free in open centers.
    """

    observed_generation: Annotated[Int, Field(ge=0)] | None = None
    """The generation of the spec that this speaks of."""
    conditions: Conditions = []
    """Ready: the queue can admit jobs."""
    queued: Annotated[Int, Field(ge=0)] = 0
    """Jobs that wait."""
    running: Annotated[Int, Field(ge=0)] = 0
    """Jobs that are placed."""
    usage: Annotated[Int, Field(ge=0)] = 0
    """TFLOPS that placed jobs hold."""
    share: Annotated[Int, Field(ge=0)] = 0
    """TFLOPS that fall to the queue when every queue asks for all that it may have."""
    deserved: Annotated[Int, Field(ge=0)] = 0
    """TFLOPS that fall to the queue now, by what it and others hold and ask for."""
    borrowed: Annotated[Int, Field(ge=0)] = 0
    """TFLOPS of other queues' guarantees that it holds; they are taken back when asked for."""
    lent: Annotated[Int, Field(ge=0)] = 0
    """TFLOPS of its guarantee that other queues hold."""


class ComputeQueue(KubeObject):
    """A queue of training jobs."""

    info: ClassVar = KindInfo(
        kind="ComputeQueue",
        plural="computequeues",
        singular="computequeue",
        short_names=("cq",),
        namespaced=False,
        columns=(
            Column("Parent", ".spec.parent", priority=1),
            Column("Weight", ".spec.weight", "integer", priority=1),
            Column("Queued", ".status.queued", "integer"),
            Column("Running", ".status.running", "integer"),
            Column("Usage", ".status.usage", "integer", "Dense BF16 TFLOPS held"),
            Column("Share", ".status.share", "integer", "TFLOPS when every queue asks"),
            Column("Guarantee", ".spec.guarantee", "integer"),
            Column("Ceiling", ".spec.ceiling", "integer", priority=1),
            Column("Borrowed", ".status.borrowed", "integer", "Of others' guarantees", priority=1),
            Column("Lent", ".status.lent", "integer", "Of its guarantee, TFLOPS", priority=1),
            Column("Deserved", ".status.deserved", "integer", "TFLOPS that fall to it", priority=1),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
    )
    rules: ClassVar = (
        Rule(
            "!has(self.spec.parent) || self.spec.parent != self.metadata.name",
            "a queue cannot be its own parent: name another queue, or leave parent out for a root",
            field=".spec.parent",
            check=lambda self: self.spec.parent in (None, "") or self.spec.parent != self.name,
        ),
    )
    kind: Literal["ComputeQueue"] = "ComputeQueue"
    """The kind."""
    spec: ComputeQueueSpec = ComputeQueueSpec()
    """The queue's place and share."""
    status: ComputeQueueStatus | None = None
    """What the queue holds now."""
