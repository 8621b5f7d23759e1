"""CrossRegionJob: a training job that may run in any center that suits it."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints

from huiju.api.meta import (
    ATOMIC,
    SET,
    AcceleratorModel,
    ApiModel,
    Column,
    Conditions,
    Decimal,
    Duration,
    KindInfo,
    Label,
    LabelMap,
    Message,
    Name,
    Preserve,
    Rule,
    ShortText,
    Timestamp,
)

Image = Annotated[str, StringConstraints(min_length=1, max_length=512)]
Phase = Literal[
    "Queued", "Dispatching", "Running", "Succeeded", "Failed", "Suspended", "Cancelled", "Unknown"
]


class AcceleratorAlternative(ApiModel):
    """One kind of accelerator that the job can run on."""

    model: AcceleratorModel
    """Accelerator model, such as `ascend-910b3`."""
    per_worker: Annotated[int, Field(ge=1, le=1024)]
    """Units per worker as the node advertises them (dies on A3)."""
    image: Image | None = None
    """Image of the main container on this accelerator; default the template's."""
    relative_speed: Decimal | None = None
    """Speed relative to the first alternative; default the ratio of TFLOPS."""


class Placement(ApiModel):
    """Where the job may run; these are filters and are never relaxed."""

    regions: Annotated[
        list[Annotated[str, StringConstraints(min_length=1, max_length=63)]],
        SET,
        Field(max_length=64),
    ] = []
    """Regions that are allowed; empty allows all."""
    residency: Annotated[str, StringConstraints(min_length=1, max_length=63)] | None = None
    """Residency class that the center must satisfy."""
    centers: Annotated[list[Name], SET, Field(max_length=256)] = []
    """Centers that are allowed; empty allows all."""
    exclude_centers: Annotated[list[Name], SET, Field(max_length=256)] = []
    """Centers that are not allowed."""
    node_selector: LabelMap = {}
    """Labels that every worker's node must carry."""


class Data(ApiModel):
    """A data set that the job reads."""

    dataset: Name
    """Name of the DatasetShare."""
    version: Annotated[str, StringConstraints(min_length=1, max_length=63)]
    """Version or channel."""
    mount_path: Annotated[str, StringConstraints(pattern=r"^/", max_length=512)]
    """Where the containers see it, read-only."""


class Carry(ApiModel):
    """Objects of the job's namespace that travel with it to the center."""

    config_maps: Annotated[list[Name], SET, Field(max_length=32)] = []
    """ConfigMaps by name."""
    secrets: Annotated[list[Name], SET, Field(max_length=32)] = []
    """Secrets by name."""
    image_pull_secrets: Annotated[list[Name], SET, Field(max_length=8)] = []
    """Pull secrets by name; also set on the pods."""


class Launch(ApiModel):
    """How workers find each other and start."""

    framework: Literal["plain", "torchrun", "mindspore"] = "plain"
    """Which environment the workers get."""
    port: Annotated[int, Field(ge=1024, le=65535)] = 29500
    """Rendezvous port on the first worker."""
    processes_per_worker: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Processes per worker; default perWorker."""
    shared_memory: Annotated[str, StringConstraints(pattern=r"^[0-9]+(Mi|Gi)$", max_length=16)] = (
        "8Gi"
    )
    """Limit of the /dev/shm that every worker gets."""


class Retry(ApiModel):
    """What happens when the application itself fails."""

    max_attempts: Annotated[int, Field(ge=1, le=100)] = 1
    """Attempts in all; failures of nodes, centers or placement do not count."""


class Failover(ApiModel):
    """What happens when the center of a running job is lost."""

    policy: Literal["Never", "Ask", "Reschedule"] = "Never"
    """Never waits for the center; Reschedule runs the job elsewhere under a new epoch."""
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 3
    """Failovers in all."""


class Checkpoint(ApiModel):
    """How the job saves its progress."""

    period: Duration
    """Time between two checkpoints."""


class CrossRegionJobSpec(ApiModel):
    """What a user asks for."""

    rules: ClassVar = (
        Rule(
            "self.queue == oldSelf.queue && self.workers == oldSelf.workers"
            " && self.accelerators == oldSelf.accelerators && self.template == oldSelf.template",
            "queue, workers, accelerators and template are immutable: delete the job and submit it again",
        ),
        Rule(
            "!oldSelf.cancel || self.cancel",
            "a cancelled job stays cancelled: submit it again under a new name",
            field=".cancel",
        ),
    )
    queue: Name
    """ComputeQueue that the job waits in."""
    priority: Annotated[int, Field(ge=-1_000_000, le=1_000_000)] = 0
    """Order inside the queue; higher first."""
    accelerators: Annotated[
        list[AcceleratorAlternative], ATOMIC, Field(min_length=1, max_length=16)
    ]
    """Alternatives, best first; one is chosen for the whole job."""
    workers: Annotated[int, Field(ge=1, le=4096)] = 1
    """Pods that run together: all or none."""
    template: Annotated[dict[str, Any], Preserve()]
    """An ordinary pod template; image and accelerator request are filled in."""
    max_runtime: Duration | None = None
    """Wall clock after which an attempt is ended."""
    expected_runtime: Duration | None = None
    """Expected run time on the first alternative; lets the scheduler plan."""
    launch: Launch = Launch()
    """How the workers start."""
    data: Annotated[list[Data], ATOMIC, Field(max_length=32)] = []
    """Data sets that the job reads."""
    carry: Carry = Carry()
    """What travels with the job."""
    placement: Placement = Placement()
    """Where the job may run."""
    retry: Retry = Retry()
    """What happens when the application fails."""
    failover: Failover = Failover()
    """What happens when the center is lost."""
    checkpoint: Checkpoint | None = None
    """How the job saves its progress; preemption prefers jobs that lose little."""
    preemptible: bool = True
    """May be stopped for a queue that is owed its guarantee."""
    scheduling_deadline: Duration = "5m"
    """Time for all pods to be bound to nodes before another center is tried."""
    ttl_after_finished: Duration = "24h"
    """How long a finished job's workload and object stay."""
    suspend: bool = False
    """Stops the job and gives its accelerators back; resume by false."""
    cancel: bool = False
    """Stops the job for good; it keeps its status."""


class PlacementStatus(ApiModel):
    """The decision that holds: where the job runs and under which epoch."""

    center: Name
    """ComputeCenter."""
    epoch: Annotated[int, Field(ge=1)]
    """Number of this placement; older ones have lost the right to run the job."""
    alternative: Annotated[int, Field(ge=0)]
    """Index into spec.accelerators."""
    model: AcceleratorModel
    """Accelerator model that was chosen."""
    resource: ShortText
    """Resource name that the pods ask for."""
    namespace: Label
    """Namespace in the center."""
    workload: Label
    """Name of the workload in the center."""
    nodes: Annotated[list[Name], ATOMIC, Field(max_length=64)] = []
    """Planned nodes (preferred, not required), the first 64."""
    placed_at: Timestamp
    """When it was decided."""


class PastPlacement(ApiModel):
    """A placement that no longer holds."""

    center: Name
    """ComputeCenter."""
    epoch: Annotated[int, Field(ge=1)]
    """Number of the placement."""
    reason: ShortText
    """Why it ended."""
    message: Annotated[str, StringConstraints(max_length=512)] = ""
    """Details."""
    ended_at: Timestamp
    """When it ended."""


class AvoidedCenter(ApiModel):
    """A center that failed the job and is avoided for a while."""

    center: Name
    """ComputeCenter."""
    reason: ShortText
    """What failed there."""
    until: Timestamp
    """When it may be tried again."""


class CrossRegionJobStatus(ApiModel):
    """What became of the job."""

    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """The generation of the spec that this speaks of."""
    phase: Phase | None = None
    """For printing only; use the conditions."""
    conditions: Conditions = []
    """Accepted, Placed, Running, Complete, Failed."""
    reason: ShortText | None = None
    """Why the job is where it is."""
    message: Message | None = None
    """The same for a person, with numbers."""
    epoch: Annotated[int, Field(ge=0)] = 0
    """Highest epoch ever given to the job."""
    placement: PlacementStatus | None = None
    """The placement that holds now; stays after the end."""
    history: Annotated[list[PastPlacement], ATOMIC, Field(max_length=10)] = []
    """Earlier placements, newest first."""
    avoid: Annotated[list[AvoidedCenter], ATOMIC, Field(max_length=16)] = []
    """Centers that failed the job lately."""
    application_failures: Annotated[int, Field(ge=0)] = 0
    """Failures that count against retry.maxAttempts."""
    placement_failures: Annotated[int, Field(ge=0)] = 0
    """Failures of placement or infrastructure; they only back off."""
    retry_at: Timestamp | None = None
    """Not placed again before this time."""
    ready_workers: Annotated[int, Field(ge=0)] = 0
    """Workers that run."""
    started_at: Timestamp | None = None
    """When all workers of the current attempt first ran."""
    finished_at: Timestamp | None = None
    """When the job reached its end."""


class CrossRegionJob(ApiModel):
    """A training job."""

    info: ClassVar = KindInfo(
        kind="CrossRegionJob",
        plural="crossregionjobs",
        singular="crossregionjob",
        short_names=("crj",),
        namespaced=True,
        columns=(
            Column("Queue", ".spec.queue"),
            Column("Phase", ".status.phase"),
            Column("Center", ".status.placement.center"),
            Column("Reason", ".status.reason"),
            Column("Workers", ".spec.workers", "integer", priority=1),
            Column("Model", ".status.placement.model", priority=1),
            Column("Epoch", ".status.epoch", "integer", priority=1),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
        selectable=(".spec.queue",),
    )
    spec: CrossRegionJobSpec
    """What the user asks for."""
    status: CrossRegionJobStatus | None = None
    """What became of the job."""
