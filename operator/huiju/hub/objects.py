"""CrossRegionJobs as the hub's cache holds them: the scheduling fields, and a digest of the rest.

Decides what of a job stays in memory (about 1 kB). The template's body is dropped at decode: equal
templates share one `Template` (see `templates.py`); the body is read again when a placement is
committed. Invariant: two jobs with equal digests ask for the same pods.
"""

from __future__ import annotations

import sys
from typing import Any, TypeVar, cast

import msgspec

from huiju.hub.templates import Template, intern_template

_ONE: dict[Any, Any] = {}
_MOST = 8192
H = TypeVar("H")


def one(value: H) -> H:
    """The one object that stands for all equal ones: waiting jobs say much the same."""
    if len(_ONE) >= _MOST:
        _ONE.clear()  # what is in use stays in use; later equal ones are shared anew
    found: H = _ONE.setdefault(value, value)
    return found


class Meta(msgspec.Struct, rename="camel", gc=False, omit_defaults=True):
    """The metadata that the hub uses."""

    name: str
    uid: str
    namespace: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str = ""
    deletion_timestamp: str = ""


class AlternativeSpec(msgspec.Struct, rename="camel", gc=False, frozen=True):
    """See `api.job.AcceleratorAlternative`."""

    model: str
    per_worker: int
    image: str = ""
    relative_speed: str = ""


class PlacementSpec(msgspec.Struct, rename="camel", frozen=True):
    """See `api.job.Placement`."""

    regions: tuple[str, ...] = ()
    residency: str = ""
    centers: tuple[str, ...] = ()
    exclude_centers: tuple[str, ...] = ()
    node_selector: dict[str, str] = {}


class RetrySpec(msgspec.Struct, rename="camel", gc=False, frozen=True):
    """See `api.job.Retry`."""

    max_attempts: int = 1
    hardware_exit_codes: tuple[int, ...] = ()


class FailoverSpec(msgspec.Struct, rename="camel", gc=False, frozen=True):
    """See `api.job.Failover`."""

    policy: str = "Never"
    max_attempts: int = 3


class CheckpointSpec(msgspec.Struct, rename="camel", gc=False, frozen=True):
    """See `api.job.Checkpoint`."""

    period: str
    directory: str = ""
    marker: str = "COMPLETE"


class OutputSpec(msgspec.Struct, rename="camel", gc=False, frozen=True):
    """See `api.job.Output`."""

    directory: str


class ProgressHttpSpec(msgspec.Struct, rename="camel", gc=False, frozen=True):
    """See `api.job.ProgressHttp`."""

    port: int
    path: str = "/"


class ProgressSpec(msgspec.Struct, rename="camel", gc=False, frozen=True):
    """See `api.job.Progress`."""

    deadline: str
    start_deadline: str = ""
    file: str = ""
    http: ProgressHttpSpec | None = None
    max_restarts: int = 3


NOTHING = msgspec.Raw(b"")
NO_PLACEMENT = PlacementSpec()
ONE_ATTEMPT = RetrySpec()
NO_FAILOVER = FailoverSpec()


class JobSpec(msgspec.Struct, rename="camel"):
    """The fields of a job's spec that the hub decides by; durations as written."""

    queue: str
    accelerators: tuple[AlternativeSpec, ...]
    template: msgspec.Raw
    """Raw JSON on the wire; replaced by the shared `Template` at decode (see `pods`)."""
    workers: int = 1
    priority: int = 0
    max_runtime: str = ""
    expected_runtime: str = ""
    placement: PlacementSpec = NO_PLACEMENT
    retry: RetrySpec = ONE_ATTEMPT
    failover: FailoverSpec = NO_FAILOVER
    checkpoint: CheckpointSpec | None = None
    output: OutputSpec | None = None
    progress: ProgressSpec | None = None
    preemptible: bool = True
    scheduling_deadline: str = "5m"
    ready_deadline: str = "30m"
    ttl_after_finished: str = "24h"
    move_from_epoch: int = 0
    failover_from_epoch: int = 0
    suspend: bool = False
    cancel: bool = False
    launch: msgspec.Raw = NOTHING
    carry: msgspec.Raw = NOTHING
    data: msgspec.Raw = NOTHING

    def __post_init__(self) -> None:
        self.queue = one(self.queue)
        self.accelerators = one(self.accelerators)
        self.retry = one(self.retry)
        self.failover = one(self.failover)
        self.checkpoint = one(self.checkpoint)
        self.output = one(self.output)
        self.progress = one(self.progress)
        self.max_runtime = one(self.max_runtime)
        self.expected_runtime = one(self.expected_runtime)
        self.scheduling_deadline = one(self.scheduling_deadline)
        self.ready_deadline = one(self.ready_deadline)
        self.ttl_after_finished = one(self.ttl_after_finished)
        if self.placement == NO_PLACEMENT:
            self.placement = NO_PLACEMENT
        for name in ("launch", "carry", "data"):
            # One copy of the text for all jobs that say the same.
            value = getattr(self, name)
            if isinstance(value, msgspec.Raw):
                setattr(self, name, sys.intern(bytes(value).decode()))
        if not isinstance(self.template, Template):
            cast(Any, self).template = intern_template(bytes(self.template))

    @property
    def pods(self) -> Template:
        """What the pod template asks for."""
        return cast(Template, self.template)


class Condition(msgspec.Struct, rename="camel", gc=False, frozen=True, omit_defaults=True):
    """A metav1 condition."""

    type: str
    status: str
    reason: str
    last_transition_time: str
    message: str = ""
    observed_generation: int | None = None


class PlacementStatus(msgspec.Struct, rename="camel", frozen=True, omit_defaults=True):
    """See `api.job.PlacementStatus`."""

    center: str
    epoch: int
    alternative: int
    model: str
    resource: str
    namespace: str
    workload: str
    placed_at: str
    cluster: str = ""
    guarded: bool = False
    nodes: tuple[str, ...] = ()
    node_workers: tuple[int, ...] = ()


# `alternative: 0` is a value, not an absence: it must reach the server.
def placement_fields(p: PlacementStatus) -> dict[str, Any]:
    """The placement as the API wants it, required zeros included."""
    return {**msgspec.to_builtins(p), "alternative": p.alternative}


class PastPlacement(msgspec.Struct, rename="camel", gc=False, frozen=True, omit_defaults=True):
    """See `api.job.PastPlacement`."""

    center: str
    epoch: int
    reason: str
    ended_at: str
    message: str = ""


class AvoidedCenter(msgspec.Struct, rename="camel", gc=False, frozen=True):
    """See `api.job.AvoidedCenter`."""

    center: str
    reason: str
    until: str


class AvoidedNode(msgspec.Struct, rename="camel", gc=False, frozen=True, omit_defaults=True):
    """See `api.job.AvoidedNode`."""

    center: str
    node: str
    reason: str
    at: str
    claimed: bool = False


class StagingStatus(msgspec.Struct, rename="camel", gc=False, frozen=True):
    """See `api.job.StagingStatus`."""

    center: str
    since: str


class DataStatus(msgspec.Struct, rename="camel", gc=False, frozen=True):
    """See `api.job.DataStatus`."""

    mount_path: str
    namespace: str
    dataset: str
    share_uid: str
    version: str
    manifest_digest: str


class JobStatus(msgspec.Struct, rename="camel", frozen=True, omit_defaults=True):
    """See `api.job.CrossRegionJobStatus`."""

    observed_generation: int | None = None
    phase: str = ""
    conditions: tuple[Condition, ...] = ()
    reason: str = ""
    message: str = ""
    epoch: int = 0
    placement: PlacementStatus | None = None
    staging: StagingStatus | None = None
    data: tuple[DataStatus, ...] = ()
    history: tuple[PastPlacement, ...] = ()
    avoid: tuple[AvoidedCenter, ...] = ()
    avoid_nodes: tuple[AvoidedNode, ...] = ()
    application_failures: int = 0
    placement_failures: int = 0
    hardware_faults: int = 0
    stalls: int = 0
    failovers: int = 0
    retry_at: str = ""
    ready_workers: int = 0
    started_at: str = ""
    finished_at: str = ""


NO_STATUS = JobStatus()


class JobObject(msgspec.Struct, rename="camel"):
    """A CrossRegionJob in the cache."""

    metadata: Meta
    spec: JobSpec
    status: JobStatus = NO_STATUS

    def __post_init__(self) -> None:
        self.metadata.namespace = one(self.metadata.namespace)
        self.metadata.creation_timestamp = one(self.metadata.creation_timestamp)
        if self.status.placement is None:
            self.status = one(self.status)

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.metadata.namespace}/{self.metadata.name}"
