"""Kubernetes objects of a center as far as Huiju reads them.

Decides which fields stay in memory; unknown ones are ignored at decode. Every field that a server
may leave out has the default that the API gives it. Invariant: an object without cycles needs no
garbage collector, so all Structs are untracked, which keeps 50,000 pods cheap.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

Amount: TypeAlias = str | int | float
"""A quantity as written; API servers give text, hand-written templates also numbers."""
Amounts: TypeAlias = dict[str, Amount]


class Meta(msgspec.Struct, rename="camel", gc=False, omit_defaults=True):
    """The metadata that Huiju uses."""

    name: str = ""
    uid: str = ""
    namespace: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: list[OwnerReference] | None = None


class OwnerReference(msgspec.Struct, rename="camel", gc=False):
    """Who owns an object."""

    kind: str
    name: str
    uid: str
    controller: bool = False


class Condition(msgspec.Struct, rename="camel", gc=False):
    """A condition of a node, a pod or a Job."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: str | None = None


# --- nodes ---------------------------------------------------------------------------------------


class NodeTaint(msgspec.Struct, rename="camel", gc=False, frozen=True):
    """A taint of a node."""

    key: str
    effect: str
    value: str = ""


class NodeSpec(msgspec.Struct, rename="camel", gc=False):
    """The part of a node's spec that decides whether pods may go there."""

    unschedulable: bool = False
    taints: list[NodeTaint] | None = None
    provider_id: str = msgspec.field(default="", name="providerID")


class NodeStatus(msgspec.Struct, rename="camel", gc=False):
    """What a node has and how it is."""

    capacity: Amounts = {}
    allocatable: Amounts = {}
    conditions: list[Condition] = []


class Node(msgspec.Struct, rename="camel", gc=False):
    """A node."""

    metadata: Meta
    spec: NodeSpec = msgspec.field(default_factory=NodeSpec)
    status: NodeStatus = msgspec.field(default_factory=NodeStatus)


# --- pods ----------------------------------------------------------------------------------------


class ClaimUse(msgspec.Struct, rename="camel", gc=False):
    """A container's use of one of the pod's claims."""

    name: str
    request: str = ""


class Resources(msgspec.Struct, rename="camel", gc=False):
    """Requests and limits of a container or a pod."""

    requests: Amounts | None = None
    limits: Amounts | None = None
    claims: list[ClaimUse] | None = None


class Container(msgspec.Struct, rename="camel", gc=False):
    """A container; an init container with restart policy Always is a sidecar."""

    name: str = ""
    image: str = ""
    resources: Resources | None = None
    restart_policy: str = ""


class Toleration(msgspec.Struct, rename="camel", gc=False, frozen=True):
    """A toleration; an empty operator means Equal."""

    key: str = ""
    operator: str = ""
    value: str = ""
    effect: str = ""
    toleration_seconds: int | None = None


class PodClaim(msgspec.Struct, rename="camel", gc=False):
    """A pod's use of a ResourceClaim, by name or made from a template."""

    name: str
    resource_claim_name: str = ""
    resource_claim_template_name: str = ""


class PodNeeds(msgspec.Struct, rename="camel", gc=False):
    """The part of a pod's spec that says what it holds, and where."""

    containers: list[Container] = []
    init_containers: list[Container] = []
    resources: Resources | None = None
    overhead: Amounts | None = None
    node_name: str = ""


class PodSpec(PodNeeds, rename="camel", gc=False):
    """The part of a pod's spec that decides where it fits and how it runs."""

    node_selector: dict[str, str] = {}
    tolerations: list[Toleration] = []
    scheduler_name: str = ""
    priority_class_name: str = ""
    runtime_class_name: str = ""
    host_network: bool = False
    restart_policy: str = ""
    resource_claims: list[PodClaim] = []


class Waiting(msgspec.Struct, rename="camel", gc=False):
    """Why a container does not run yet."""

    reason: str = ""
    message: str = ""


class Running(msgspec.Struct, rename="camel", gc=False):
    """Since when a container runs."""

    started_at: str | None = None


class Terminated(msgspec.Struct, rename="camel", gc=False):
    """How a container ended."""

    exit_code: int = 0
    signal: int = 0
    reason: str = ""
    message: str = ""
    started_at: str | None = None
    finished_at: str | None = None


class ContainerState(msgspec.Struct, rename="camel", gc=False, frozen=True):
    """One of waiting, running and terminated."""

    waiting: Waiting | None = None
    running: Running | None = None
    terminated: Terminated | None = None


NO_STATE = ContainerState()


class ContainerStatus(msgspec.Struct, rename="camel", gc=False):
    """How a container is."""

    name: str = ""
    ready: bool = False
    restart_count: int = 0
    image: str = ""
    state: ContainerState = NO_STATE
    last_state: ContainerState = NO_STATE


class PodClaimStatus(msgspec.Struct, rename="camel", gc=False):
    """The ResourceClaim that stands behind one of the pod's claims."""

    name: str
    resource_claim_name: str | None = None


class PodStatus(msgspec.Struct, rename="camel", gc=False):
    """How a pod is."""

    phase: str = "Pending"
    reason: str = ""
    message: str = ""
    conditions: list[Condition] = []
    container_statuses: list[ContainerStatus] = []
    init_container_statuses: list[ContainerStatus] = []
    nominated_node_name: str = ""
    start_time: str | None = None
    pod_ip: str = msgspec.field(default="", name="podIP")
    host_ip: str = msgspec.field(default="", name="hostIP")
    resource_claim_statuses: list[PodClaimStatus] = []


class Pod(msgspec.Struct, rename="camel", gc=False):
    """A pod."""

    metadata: Meta
    spec: PodSpec = msgspec.field(default_factory=PodSpec)
    status: PodStatus = msgspec.field(default_factory=PodStatus)


class PodTemplate(msgspec.Struct, rename="camel", gc=False):
    """A pod template."""

    metadata: Meta = msgspec.field(default_factory=Meta)
    spec: PodSpec = msgspec.field(default_factory=PodSpec)


# --- Jobs ----------------------------------------------------------------------------------------


class JobSpec(msgspec.Struct, rename="camel", gc=False):
    """The part of a batch Job's spec that says how far it may get."""

    parallelism: int | None = None
    completions: int | None = None
    completion_mode: str = "NonIndexed"
    suspend: bool = False
    backoff_limit: int | None = None
    active_deadline_seconds: int | None = None
    template: PodTemplate = msgspec.field(default_factory=PodTemplate)


class JobStatus(msgspec.Struct, rename="camel", gc=False):
    """How far a batch Job is."""

    active: int = 0
    ready: int = 0
    succeeded: int = 0
    failed: int = 0
    terminating: int = 0
    start_time: str | None = None
    completion_time: str | None = None
    completed_indexes: str = ""
    failed_indexes: str = ""
    conditions: list[Condition] = []


class Job(msgspec.Struct, rename="camel", gc=False):
    """A batch Job."""

    metadata: Meta
    spec: JobSpec = msgspec.field(default_factory=JobSpec)
    status: JobStatus = msgspec.field(default_factory=JobStatus)


class WorkloadSpec(msgspec.Struct, rename="camel", gc=False):
    """How many pods, by when, and whether it is stopped."""

    completions: int = 1
    suspend: bool = False
    active_deadline_seconds: int | None = None


class Workload(msgspec.Struct, rename="camel", gc=False):
    """A batch Job without its pod template: tombstones stay for hours, so they are kept small."""

    metadata: Meta
    spec: WorkloadSpec = msgspec.field(default_factory=WorkloadSpec)
    status: JobStatus = msgspec.field(default_factory=JobStatus)

    def note(self, annotation: str) -> str:
        """The value of an annotation, empty if there is none."""
        return (self.metadata.annotations or {}).get(annotation, "")
