"""CrossRegionJob: a training job that may run in any center that suits it."""

# ruff: noqa: RUF012  (pydantic copies default lists and maps)
from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from huiju.api.dataset import Digest, Globs
from huiju.api.markers import (
    ATOMIC,
    SET,
    Column,
    KindInfo,
    Preserve,
    Rule,
    by,
    cel_string,
    immutable,
    never_set_or_unset,
)
from huiju.api.meta import (
    DNS_LABEL,
    DNS_LABEL_WORDS,
    FILE_NAME,
    AcceleratorModel,
    ApiModel,
    Conditions,
    Decimal,
    Duration,
    Flag,
    Image,
    Int,
    KubeObject,
    Label,
    LabelMap,
    Message,
    Name,
    ShortText,
    Timestamp,
    Word,
    text,
)
from huiju.api.sizes import FAMILIES, START, Family, family_of, size_fits, spell
from huiju.api.structural import validate

Phase = Literal[
    "Queued",
    "Staging",
    "Dispatching",
    "Running",
    "Succeeded",
    "Failed",
    "Suspended",
    "Cancelled",
    "Unknown",
]


ZERO = "^[0.dhms]+$"
"""Matches zero in every unit; what is no amount at all is left to the rule of its type."""


def _positive(field: str, unit: str = "") -> Rule:
    """A rule on `field`, in its annotation, that the amount in it is not zero."""
    return Rule(
        f"!self.matches({cel_string(ZERO)})",
        f"{field} must be more than zero{unit}",
        check=lambda value: re.search(ZERO, value) is None,
    )


def _single_size() -> Rule:
    """Units per worker that the servers of the model's family can serve at all.

    One rule for all families: `m` and `n` stand for members that are looked up but once.
    """
    legal = {
        family: f" must be {spell(family.single)}: no server gives one worker another number"
        for family in FAMILIES
    }
    fits = " && ".join(f"(!{f.cel_covers('m')} || n in {list(f.single)})" for f in FAMILIES)
    # CEL has no way to name a value but a loop over one.
    rule = f"[self.perWorker].all(n, {fits})"
    rule = f"[self.model].all(m, !m.startsWith({cel_string(START)}) || {rule})"
    said = "''"
    for family, words in legal.items():
        said = f"self.model.matches({cel_string(family.pattern)}) ? {cel_string(words)} : {said}"

    def explain(self: AcceleratorAlternative) -> str:
        family = family_of(self.model)
        return f"perWorker of {self.model}{legal[family] if family else ''}"

    return Rule(
        rule,
        "perWorker must be a number that a server of the model can give one worker",
        field=".perWorker",
        message_expression=f"'perWorker of ' + self.model + ({said})",
        check=lambda self: size_fits(self.model, self.per_worker),
        explain=explain,
    )


def _gang_size(family: Family) -> Rule:
    """Units per worker that `family` can serve in a job of several workers."""
    message = (
        f"with several workers, perWorker of {family.name} must be {spell(family.gang)}:"
        " change perWorker, or use one worker"
    )
    one = f"!{family.cel_covers('a.model')} || a.perWorker in {list(family.gang)}"
    return Rule(
        f"self.workers == 1 || self.accelerators.all(a, {one})",
        message,
        field=".accelerators",
        check=lambda self: all(
            not family.covers(a.model) or a.per_worker in family.sizes(self.workers)
            for a in self.accelerators
        ),
    )


class AcceleratorAlternative(ApiModel):
    """One kind of accelerator that the job can run on."""

    rules: ClassVar = (_single_size(),)
    model: AcceleratorModel
    """Accelerator model, such as `ascend-910b3`."""
    per_worker: Annotated[Int, Field(ge=1, le=1024)]
    """Units per worker as the node advertises them (dies on A3)."""
    image: Image | None = None
    """Image of the main container on this accelerator; default the template's."""
    relative_speed: Annotated[Decimal, _positive("relativeSpeed")] | None = None
    """Speed relative to the first alternative; default the ratio of TFLOPS."""


class Placement(ApiModel):
    """Where the job may run; these are filters and are never relaxed."""

    rules: ClassVar = (
        Rule(
            "!has(self.centers) || !has(self.excludeCenters)"
            " || !self.centers.exists(c, c in self.excludeCenters)",
            "a center cannot be both in centers and in excludeCenters: take it out of one",
            field=".excludeCenters",
            check=lambda self: not set(self.centers) & set(self.exclude_centers),
        ),
    )
    regions: Annotated[list[Word], SET, Field(max_length=64)] = []
    """Regions that are allowed; empty allows all."""
    residency: Word | None = None
    """Residency class that the center must satisfy."""
    centers: Annotated[list[Name], SET, Field(max_length=256)] = []
    """Centers that are allowed; empty allows all."""
    exclude_centers: Annotated[list[Name], SET, Field(max_length=256)] = []
    """Centers that are not allowed."""
    node_selector: LabelMap = {}
    """Labels that every worker's node must carry."""


Directory = Annotated[
    str,
    *text(
        r"^(/[^/\s:]+)+$",
        "must be an absolute path without spaces, colons or a slash at its end, such as /data",
        longest=512,
        shortest=2,
    ),
]
"""A path as containers see it."""


class Data(ApiModel):
    """A data set that the job reads."""

    dataset: Name
    """Name of the DatasetShare."""
    namespace: Label | None = None
    """Namespace of the DatasetShare; default the job's own, else the one that a grant there
    names."""
    version: Word = "latest"
    """Version or channel; what a channel means is fixed when the job is placed."""
    mode: Literal["Stage", "Require"] = "Stage"
    """Stage copies the data to where the job is to run, before it takes accelerators there; Require
    runs it only where a copy is."""
    include: Globs = []
    """Patterns of the files that the job needs; empty is all."""
    exclude: Globs = []
    """Patterns of the files that it does not need."""
    mount_path: Directory
    """Where the containers see it, read-only; each path once in a job."""


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
    port: Annotated[Int, Field(ge=1024, le=65535)] = 29500
    """Rendezvous port on the first worker."""
    processes_per_worker: Annotated[Int, Field(ge=1, le=1024)] | None = None
    """Processes per worker; default perWorker."""
    shared_memory: Annotated[
        str,
        *text(r"^[0-9]+(Mi|Gi)$", "must be an amount in Mi or Gi such as 8Gi", longest=16),
    ] = "8Gi"
    """Limit of the /dev/shm that every worker gets."""


class Retry(ApiModel):
    """What happens when the application itself fails."""

    max_attempts: Annotated[Int, Field(ge=1, le=100)] = 1
    """Attempts in all; failures of nodes, centers or placement do not count."""
    hardware_exit_codes: Annotated[
        list[Annotated[Int, Field(ge=1, le=255)]], SET, Field(max_length=16)
    ] = []
    """Exit codes by which the program says that the machine is at fault, as after a test of its
    accelerators: such an attempt does not count, and later ones avoid the node."""


class Failover(ApiModel):
    """What happens when the center of a running job is lost."""

    policy: Literal["Never", "Ask", "Reschedule"] = "Never"
    """`Never`: the job stays bound to the center. `Ask`: it runs elsewhere when its user says so
    (`kubectl huiju failover`) and nothing of it can run in the lost center any more. `Reschedule`:
    it carries a guard that stops it there, and runs elsewhere by itself."""
    max_attempts: Annotated[Int, Field(ge=1, le=100)] = 3
    """Failovers in all; a job that has used them up stays bound to the center."""


class Checkpoint(ApiModel):
    """How the job saves its progress."""

    period: Annotated[Duration, _positive("period", ": give the time between two checkpoints")]
    """Time between two checkpoints."""
    directory: Directory | None = None
    """Where checkpoints outlive pods: a path in a volume of the first container. Each attempt gets
    a folder of its own below it (`HUIJU_CHECKPOINT_DIR`), and is told of the last complete
    checkpoint of earlier ones (`HUIJU_RESUME_FROM`)."""
    marker: Annotated[
        str,
        *text(FILE_NAME, "must be the name of a file such as COMPLETE", longest=64),
    ] = "COMPLETE"
    """Name of the file that the job writes last into a checkpoint; without it there is none."""


class Output(ApiModel):
    """Where the job leaves its results."""

    directory: Directory
    """A path in a volume of the first container that outlives pods. Each attempt gets a folder of
    its own below it (`HUIJU_OUTPUT_DIR`); what counts is that of the last epoch."""


class ProgressHttp(ApiModel):
    """An answer that changes as the job gets on, such as the number of its step."""

    port: Annotated[Int, Field(ge=1, le=65535)]
    """Port of the pod."""
    path: Annotated[
        str, *text(r"^/[^\s]*$", "must be a path such as /step, without spaces", longest=512)
    ] = "/"
    """Path of the answer."""


class Progress(ApiModel):
    """How the job shows that it gets on: exactly one of file and http."""

    rules: ClassVar = (
        Rule(
            "has(self.file) != has(self.http)",
            "set exactly one of file and http: a file that the job touches, or an answer that"
            " changes",
            check=lambda self: (self.file is None) != (self.http is None),
        ),
    )
    file: Directory | None = None
    """A file in a volume of the first container (an emptyDir will do) that the job touches."""
    http: ProgressHttp | None = None
    """An answer of the pod that changes."""
    deadline: Annotated[Duration, _positive("deadline", ": give the longest time without change")]
    """An attempt without a change for so long is ended (`NoProgress`) and placed again."""
    start_deadline: (
        Annotated[
            Duration, _positive("startDeadline", ": give the longest time to the first change")
        ]
        | None
    ) = None
    """The first change may take so long from the start of the containers: loading data, compiling.
    Default: the deadline."""
    max_restarts: Annotated[Int, Field(ge=0, le=100)] = 3
    """So many attempts may end so; the next one that does ends the job."""


class StagingStatus(ApiModel):
    """Data on its way to where the job is to run; the job holds no accelerators meanwhile."""

    center: Name
    """ComputeCenter that was chosen."""
    since: Timestamp
    """When it was chosen."""


class DataStatus(ApiModel):
    """What an entry of spec.data was found to mean; it stays so for the life of the job."""

    mount_path: Annotated[str, StringConstraints(min_length=2, max_length=512)]
    """Where the containers see it."""
    namespace: Label
    """Namespace of the DatasetShare."""
    dataset: Name
    """Name of the DatasetShare."""
    share_uid: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    """UID of the DatasetShare."""
    version: Word
    """Version."""
    manifest_digest: Digest
    """Digest of its manifest."""


RESUBMIT = "delete the job and submit it again"

POD_TEMPLATE: dict[str, Any] = {
    "type": "object",
    "required": ["spec"],
    "properties": {
        "metadata": {
            "description": "Labels and annotations of the pods.",
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": True,
        },
        "spec": {
            "description": "An ordinary pod spec; see `kubectl explain pod.spec`.",
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": True,
            "required": ["containers"],
            "properties": {
                "containers": {
                    "description": "Containers of each worker; the first is the main one.",
                    "type": "array",
                    "minItems": 1,
                    "maxItems": 64,
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    "items": {
                        "description": "An ordinary container.",
                        "type": "object",
                        "x-kubernetes-preserve-unknown-fields": True,
                        "required": ["name"],
                        "properties": {
                            "name": {
                                "description": "Name of the container, a DNS label.",
                                "type": "string",
                                "minLength": 1,
                                "maxLength": 63,
                                "pattern": DNS_LABEL,
                                "x-huiju-says": DNS_LABEL_WORDS,
                            },
                        },
                    },
                },
            },
        },
    },
}
"""What is checked of a pod template at once; the rest is for the server that runs it."""


def _fit_template(template: dict[str, Any]) -> dict[str, Any]:
    """Hold a pod template against the part of it that the schema declares."""
    problems = validate(template, POD_TEMPLATE, "template")
    if problems:
        raise PydanticCustomError("template", "{problems}", {"problems": "; ".join(problems)})
    return template


_LATCHED = Rule(
    "!oldSelf || self",
    "a cancelled job stays cancelled: submit it again under a new name",
    reason="FieldValueForbidden",
)
_NONE_TWICE = Rule(
    "self.size() == 1 || self.all(a, [a.model].all(m, self.exists_one("
    "b, b.model == m && b.perWorker == a.perWorker)))",
    "two alternatives have the same model and perWorker, and only the first would ever be used:"
    " remove the other",
    check=lambda given: len({(a.model, a.per_worker) for a in given}) == len(given),
)


class CrossRegionJobSpec(ApiModel):
    """What a user asks for."""

    rules: ClassVar = (
        never_set_or_unset("checkpoint", RESUBMIT),
        never_set_or_unset("output", RESUBMIT),
        never_set_or_unset("progress", RESUBMIT),
        *(_gang_size(family) for family in FAMILIES if family.gang != family.single),
    )
    queue: Annotated[Name, immutable("queue", RESUBMIT)]
    """ComputeQueue that the job waits in."""
    priority: Annotated[Int, Field(ge=-1_000_000, le=1_000_000)] = 0
    """Order inside the queue; higher first."""
    accelerators: Annotated[
        list[AcceleratorAlternative],
        ATOMIC,
        Field(min_length=1, max_length=16),
        immutable("accelerators", RESUBMIT),
        _NONE_TWICE,
    ]
    """Alternatives, best first; one is chosen for the whole job."""
    workers: Annotated[Int, Field(ge=1, le=4096), immutable("workers", RESUBMIT)] = 1
    """Pods that run together: all or none."""
    template: Annotated[
        dict[str, Any],
        Preserve(POD_TEMPLATE),
        AfterValidator(_fit_template),
        immutable("template", RESUBMIT),
    ]
    """An ordinary pod template; image and accelerator request are filled in."""
    max_runtime: (
        Annotated[Duration, _positive("maxRuntime", ": leave it out for no limit")] | None
    ) = None
    """Wall clock after which an attempt is ended; a change holds from the next attempt on."""
    expected_runtime: (
        Annotated[Duration, _positive("expectedRuntime", ": leave it out if unknown")] | None
    ) = None
    """Expected run time on the first alternative; lets the scheduler plan. Without it, it goes by
    what jobs like this one ran."""
    launch: Annotated[Launch, immutable("launch", RESUBMIT)] = Launch()
    """How the workers start."""
    data: Annotated[
        list[Data], by("mountPath"), Field(max_length=32), immutable("data", RESUBMIT)
    ] = []
    """Data sets that the job reads."""
    carry: Annotated[Carry, immutable("carry", RESUBMIT)] = Carry()
    """What travels with the job."""
    placement: Placement = Placement()
    """Where the job may run."""
    retry: Retry = Retry()
    """What happens when the application fails."""
    failover: Failover = Failover()
    """What happens when the center is lost."""
    checkpoint: Checkpoint | None = None
    """How the job saves its progress; preemption prefers jobs that lose little."""
    output: Output | None = None
    """Where the job leaves its results, so that no two attempts mix theirs."""
    progress: Progress | None = None
    """How the job shows that it gets on; without it a job that hangs runs until its limit."""
    preemptible: Flag = True
    """May be stopped for a queue that is owed its guarantee."""
    scheduling_deadline: Annotated[Duration, _positive("schedulingDeadline")] = "5m"
    """Time for all pods to be bound to nodes before another center is tried."""
    ready_deadline: Annotated[Duration, _positive("readyDeadline")] = "30m"
    """Time for all pods that are bound to nodes to run, image pulls and volumes included, before
    another center is tried."""
    ttl_after_finished: Duration = "24h"
    """How long a finished job's workload and object stay; less than 1h counts as 1h."""
    move_from_epoch: Annotated[Int, Field(ge=0)] = 0
    """The epoch whose placement the job is to leave: it is stopped with its grace period and placed
    in another center; other epochs stay. `kubectl huiju move` and `drain` set it."""
    failover_from_epoch: Annotated[Int, Field(ge=0)] = 0
    """The epoch whose placement the user gives up if its center is lost and nothing of the job can
    run there any more; other epochs stay. `kubectl huiju failover` sets it."""
    suspend: Flag = False
    """Stops the job and gives its accelerators back; resume by false."""
    cancel: Annotated[Flag, _LATCHED] = False
    """Stops the job for good; it keeps its status."""


NodeName = Annotated[str, StringConstraints(min_length=1, max_length=253)]
"""A node's name as the center has it: legal there, so its pattern is not checked again."""


class PlacementStatus(ApiModel):
    """The decision that holds: where the job runs and under which epoch."""

    center: Name
    """ComputeCenter."""
    epoch: Annotated[Int, Field(ge=1)]
    """Number of this placement; older ones have lost the right to run the job."""
    alternative: Annotated[Int, Field(ge=0)]
    """Index into spec.accelerators."""
    model: AcceleratorModel
    """Accelerator model that was chosen."""
    resource: ShortText
    """Resource name that the pods ask for."""
    namespace: Label
    """Namespace in the center."""
    workload: Label
    """Name of the workload in the center."""
    cluster: Annotated[str, StringConstraints(max_length=63)] | None = None
    """UID of the center's `kube-system` namespace: which cluster holds the job."""
    guarded: Flag = False
    """The pods stop by themselves when the center's lease has run out."""
    nodes: Annotated[list[NodeName], ATOMIC, Field(max_length=4096)] = []
    """Planned nodes; preferred, not required."""
    node_workers: Annotated[
        list[Annotated[Int, Field(ge=1, le=4096)]], ATOMIC, Field(max_length=4096)
    ] = []
    """Workers planned on each of the nodes; empty where all have equally many."""
    placed_at: Timestamp
    """When it was decided."""


class PastPlacement(ApiModel):
    """A placement that no longer holds."""

    center: Name
    """ComputeCenter."""
    epoch: Annotated[Int, Field(ge=1)]
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


class AvoidedNode(ApiModel):
    """A node whose hardware failed under the job."""

    center: Name
    """ComputeCenter."""
    node: NodeName
    """Node of the center."""
    reason: ShortText
    """What ended the attempt there."""
    claimed: Flag = False
    """Only the program says that the machine was at fault."""
    at: Timestamp
    """When the attempt ended."""


class CrossRegionJobStatus(ApiModel):
    """What became of the job."""

    observed_generation: Annotated[Int, Field(ge=0)] | None = None
    """The generation of the spec that this speaks of."""
    phase: Phase | None = None
    """For printing only; use the conditions."""
    conditions: Conditions = []
    """Accepted, Placed, Running, Complete, Failed; DataAllowed, False while the job runs on data
    that it may not use any more."""
    reason: ShortText | None = None
    """Why the job is where it is."""
    message: Message | None = None
    """The same for a person, with numbers."""
    epoch: Annotated[Int, Field(ge=0)] = 0
    """Highest epoch ever given to the job."""
    placement: PlacementStatus | None = None
    """The placement that holds now; stays after the end."""
    staging: StagingStatus | None = None
    """Where the job's data is on its way to, while the job waits for it."""
    data: Annotated[list[DataStatus], by("mountPath"), Field(max_length=32)] = []
    """The versions that the job reads, fixed when a center was first chosen."""
    history: Annotated[list[PastPlacement], ATOMIC, Field(max_length=10)] = []
    """Earlier placements, newest first."""
    avoid: Annotated[list[AvoidedCenter], ATOMIC, Field(max_length=16)] = []
    """Centers that failed the job lately."""
    avoid_nodes: Annotated[list[AvoidedNode], ATOMIC, Field(max_length=16)] = []
    """Nodes whose hardware failed under the job, newest first; avoided as long as the center's
    status tells of the fault."""
    application_failures: Annotated[Int, Field(ge=0)] = 0
    """Failures that count against retry.maxAttempts."""
    placement_failures: Annotated[Int, Field(ge=0)] = 0
    """Failures of placement or infrastructure; they only back off."""
    hardware_faults: Annotated[Int, Field(ge=0)] = 0
    """Attempts that ended because a machine failed."""
    stalls: Annotated[Int, Field(ge=0)] = 0
    """Attempts that ended because they showed no progress."""
    failovers: Annotated[Int, Field(ge=0)] = 0
    """Times that the job left a lost center."""
    retry_at: Timestamp | None = None
    """Not placed again before this time."""
    ready_workers: Annotated[Int, Field(ge=0)] = 0
    """Workers that run."""
    started_at: Timestamp | None = None
    """When all workers of the current attempt first ran."""
    finished_at: Timestamp | None = None
    """When the job reached its end."""


class CrossRegionJob(KubeObject):
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
        selectable=(".spec.queue", ".status.phase", ".status.placement.center"),
    )
    kind: Literal["CrossRegionJob"] = "CrossRegionJob"
    """The kind."""
    spec: CrossRegionJobSpec
    """What the user asks for."""
    status: CrossRegionJobStatus | None = None
    """What became of the job."""
