"""CenterWork and CenterInventory: what hub and agent of a pull center leave for each other.

Both lie in the center's mailbox, the namespace `huiju-center-<name>` on the hub. The hub writes
the spec of a CenterWork and the agent its status; a CenterInventory is the agent's alone. Neither
is written by a person. Invariant: no object of these kinds carries the content of a Secret.
"""

# ruff: noqa: RUF012  (pydantic copies default lists and maps)
from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints

from huiju.api.markers import ATOMIC, Column, KindInfo, Preserve, by
from huiju.api.meta import (
    ApiModel,
    Conditions,
    Flag,
    Int,
    KubeObject,
    ShortText,
    Text,
    Timestamp,
)

MAILBOX_PREFIX = "huiju-center-"
"""The mailbox of center NAME is the namespace `huiju-center-NAME`."""

# Written by programs alone, in lists of thousands: patterns would cost the API server more than
# they protect, so these are bounded and nothing else.
Given = Annotated[str, StringConstraints(min_length=1, max_length=253)]
Uid = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Epoch = Annotated[Int, Field(ge=0, le=999_999_999)]
PlacementNote = Annotated[str, StringConstraints(max_length=4096)]
Count = Annotated[Int, Field(ge=0)]
Amounts = Annotated[
    dict[Annotated[str, StringConstraints(max_length=317)], Count], Field(max_length=256)
]


class CarriedRef(ApiModel):
    """An object of the bundle that lies in the mailbox as itself, not in the CenterWork."""

    kind: Literal["Secret", "ConfigMap"]
    """Kind of the object."""
    mailbox: Given
    """Name of the object in the mailbox."""
    name: Given
    """Name that it gets in the center."""


class Attempt(ApiModel):
    """One epoch of a job in this center, and what the hub wants of it."""

    epoch: Epoch
    """The epoch."""
    desired: Literal["Run", "Stop", "Remove"]
    """Run it, keep it stopped as a tombstone, or remove what is left of it."""
    reason: ShortText | None = None
    """Why it is stopped, a stable CamelCase word."""
    message: Text | None = None
    """Why it is stopped, for a person."""
    namespace: ShortText | None = None
    """Namespace in the center."""
    workload: ShortText | None = None
    """Name of the workload in the center."""
    hash: Annotated[str, StringConstraints(max_length=64)] | None = None
    """Digest of the whole bundle, what is carried included."""
    placement: PlacementNote | None = None
    """The hub's signed word on the placement, as the workload carries it too."""
    carried: Annotated[list[CarriedRef], ATOMIC, Field(max_length=64)] = []
    """Secrets and ConfigMaps that travel with the job, made before the objects."""
    objects: Annotated[
        list[Annotated[dict[str, Any], Preserve()]], ATOMIC, Field(max_length=8)
    ] = []
    """The other objects of the bundle, in the order of their creation, the workload last."""


class WorkJob(ApiModel):
    """The job that the work is for."""

    namespace: Given
    """Namespace on the hub."""
    name: Given
    """Name on the hub."""


class CenterWorkSpec(ApiModel):
    """What the hub wants of the center for one job."""

    job: WorkJob
    """Whose work this is; the name of the CenterWork is the job's UID."""
    attempts: Annotated[list[Attempt], by("epoch"), Field(max_length=64)] = []
    """The epochs of the job that were placed in this center."""


class AttemptReport(ApiModel):
    """What the center shows of one epoch of a job."""

    epoch: Epoch
    """The epoch."""
    state: Literal["pending", "running", "succeeded", "failed", "suspended", "gone"]
    """How far it is."""
    ready: Count = 0
    """Workers that run, or have ended well."""
    bound: Count = 0
    """Workers that have a node."""
    reason: ShortText | None = None
    """A stable CamelCase word."""
    message: Text | None = None
    """What happened, for a person."""
    failure: ShortText | None = None
    """Whose fault an end was: application, infrastructure or placement."""
    started_at: Timestamp | None = None
    """When the last worker started."""
    finished_at: Timestamp | None = None
    """When it ended."""
    since: Timestamp | None = None
    """When this state began."""
    placement: PlacementNote | None = None
    """What the workload carries of the hub's word on its placement, where the CenterWork does not
    speak of this epoch."""
    fault_node: Given | None = None
    """The node whose hardware is at fault for the end."""
    fault_claimed: Flag = False
    """Only the program says so."""


class CenterWorkStatus(ApiModel):
    """What became of the work, as the center's agent sees it."""

    observed_generation: Count | None = None
    """The generation of the spec that the agent has carried out."""
    conditions: Conditions = []
    """Synced: whether the center is as the hub wants it, and why not."""
    summary: ShortText | None = None
    """The newest epoch and its state, for `kubectl get`."""
    attempts: Annotated[list[AttemptReport], by("epoch"), Field(max_length=64)] = []
    """What the center shows of each epoch that it holds."""


class CenterWork(KubeObject):
    """What a pull center is to run for one job, and what became of it."""

    info: ClassVar = KindInfo(
        kind="CenterWork",
        plural="centerworks",
        singular="centerwork",
        short_names=("cw",),
        namespaced=True,
        columns=(
            Column("Namespace", ".spec.job.namespace"),
            Column("Job", ".spec.job.name"),
            Column("State", ".status.summary"),
            Column("Synced", '.status.conditions[?(@.type=="Synced")].status'),
            Column("Reason", '.status.conditions[?(@.type=="Synced")].reason', priority=1),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
    )
    kind: Literal["CenterWork"] = "CenterWork"
    """The kind."""
    spec: CenterWorkSpec
    """What the hub wants."""
    status: CenterWorkStatus | None = None
    """What the agent reports."""


class ShapeAccelerator(ApiModel):
    """One kind of accelerator on a node."""

    model: Given
    """Accelerator model."""
    resource: Given
    """Resource name that pods ask for."""
    unit: Given
    """What one unit is."""
    gflops: Count
    """Dense BF16 GFLOPS of one unit."""
    topology: Given
    """How the units of a node hang together."""
    units_per_card: Annotated[Int, Field(ge=1)] = 1
    """Units that one physical card shows as."""


class ShapeTaint(ApiModel):
    """A taint that keeps pods off a node."""

    key: Given
    """Key of the taint."""
    value: ShortText = ""
    """Value of the taint."""
    effect: Given
    """NoSchedule or NoExecute."""


LabelText = Annotated[str, StringConstraints(max_length=63)]
PlainLabels = Annotated[
    dict[Annotated[str, StringConstraints(max_length=317)], LabelText], Field(max_length=1024)
]


class NodeShape(ApiModel):
    """What the nodes of a group have in common."""

    accelerators: Annotated[list[ShapeAccelerator], ATOMIC, Field(max_length=64)] = []
    """Accelerators on each node."""
    allocatable: Amounts = {}
    """What pods can ask of each node, in base units (millicores, bytes, counts)."""
    labels: PlainLabels = {}
    """Labels of the nodes, without those that name a single node."""
    taints: Annotated[list[ShapeTaint], ATOMIC, Field(max_length=64)] = []
    """Taints that keep pods off."""


class NodeUnits(ApiModel):
    """What one kind of accelerator on one node adds to the center's sums."""

    accelerator: ShapeAccelerator
    """The accelerator."""
    evidence: PlainLabels = {}
    """Labels that told the model."""
    total: Count
    """Units that the node has."""
    allocatable: Count
    """Healthy units of a node that is Ready."""
    used: Count
    """Units that pods hold."""
    free: Count
    """Units free for new work."""
    federated: Count
    """Units that federated jobs hold."""
    whole: Flag = False
    """Whether all units are free."""
    takes_work: Flag = False
    """Whether the node takes new work."""


class NodeCustom(ApiModel):
    """An extended resource that the catalog does not know, on one node."""

    resource: Given
    """Resource name."""
    allocatable: Count
    """What the node has."""
    used: Count
    """What pods hold."""


class NodeGroup(ApiModel):
    """Nodes that nothing but their names tells apart: an exact bucket."""

    nodes: Annotated[list[Given], ATOMIC, Field(max_length=16384)]
    """Names of the nodes."""
    shape: NodeShape = NodeShape()
    """What the nodes have in common."""
    free: Amounts = {}
    """What is free on each node, in base units."""
    free_devices: Annotated[list[Count], ATOMIC, Field(max_length=4096)] | None = None
    """Numbers of the free devices on each node, where they are known."""
    offered: Flag = False
    """Whether the nodes have accelerators and take work."""
    ready: Flag = False
    """Whether the nodes are Ready."""
    schedulable: Flag = False
    """Whether the nodes take work."""
    units: Annotated[list[NodeUnits], ATOMIC, Field(max_length=64)] = []
    """What each node adds to the sums of accelerators."""
    custom: Annotated[list[NodeCustom], ATOMIC, Field(max_length=256)] = []
    """What each node adds to the sums of other extended resources."""


class Holder(ApiModel):
    """Pods of a federated job on one node."""

    node: Given
    """Name of the node."""
    job_uid: Uid
    """UID of the job."""
    epoch: Epoch
    """Epoch of the job."""
    pods: Count
    """How many of its pods the node holds."""


class Stray(ApiModel):
    """A workload in the center that no CenterWork speaks of."""

    job_uid: Uid
    """UID of the job that it was made for."""
    namespace: Given
    """Namespace in the center."""
    workload: ShortText = ""
    """Name of the workload in the center."""
    report: AttemptReport
    """What is to be seen of it."""


class CenterInventorySpec(ApiModel):
    """One shard of a pull center's inventory."""

    groups: Annotated[list[NodeGroup], ATOMIC, Field(max_length=16384)] = []
    """Nodes of this shard, grouped."""
    holders: Annotated[list[Holder], ATOMIC, Field(max_length=65536)] = []
    """Federated pods on the nodes of this shard."""
    strays: Annotated[list[Stray], ATOMIC, Field(max_length=1024)] = []
    """Federated workloads without a CenterWork, as after a restore of the hub."""


class CenterInventoryStatus(ApiModel):
    """What the hub says of a shard."""

    observed_generation: Count | None = None
    """The generation of the spec that this speaks of."""
    conditions: Conditions = []
    """Accepted: False where the hub can make no sense of the shard."""


class CenterInventory(KubeObject):
    """A part of what a pull center can run now, in exact buckets; at most 200 kB each."""

    info: ClassVar = KindInfo(
        kind="CenterInventory",
        plural="centerinventories",
        singular="centerinventory",
        short_names=("cinv",),
        namespaced=True,
        columns=(
            Column("Accepted", '.status.conditions[?(@.type=="Accepted")].status'),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
    )
    kind: Literal["CenterInventory"] = "CenterInventory"
    """The kind."""
    spec: CenterInventorySpec
    """What the agent found."""
    status: CenterInventoryStatus | None = None
    """What the hub says of it."""
