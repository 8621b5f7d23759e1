"""ComputeCenter: a member cluster, what it lends, and what is known of it now."""

# ruff: noqa: RUF012  (pydantic copies default lists and maps)
from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from huiju.api.markers import ATOMIC, SET, Column, KindInfo, Rule, by, cel_string
from huiju.api.meta import (
    FILE_NAME,
    LABEL_KEY,
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
    Name,
    NamespacePattern,
    ShortText,
    Text,
    Timestamp,
    Word,
    text,
)

FolderPath = Annotated[
    str,
    *text(
        r"^(/[^/\s:]+)+$",
        "must be an absolute path without spaces, colons or a slash at its end",
        longest=512,
        shortest=2,
    ),
]
"""A folder of a node or of a server."""
CENTER_NAME = r"^[a-z0-9]([-a-z0-9]{0,48}[a-z0-9])?$"
ResourceName = Annotated[
    str,
    *text(
        LABEL_KEY,
        "must be an extended resource name such as huawei.com/Ascend910 or nvidia.com/gpu",
        longest=317,
    ),
]
BroughtKind = Literal["ConfigMap", "Secret", "Service"]
"""What a job may bring beside its workload; every job of several workers brings a Service."""
LeaseProfileName = Literal["default", "fast"]
UnitKindName = Literal["device", "die", "partition", "share", "amount"]


class SecretRef(ApiModel):
    """Names the Secret that holds a kubeconfig."""

    name: Name
    """Name of the Secret."""
    namespace: Label = "huiju-system"
    """Namespace of the Secret on the hub."""
    key: Annotated[
        str,
        *text(
            FILE_NAME,
            "must be a key of a Secret: letters, digits, '-', '_' and '.'",
            longest=253,
        ),
    ] = "kubeconfig"
    """Key in the Secret's data."""


class PushConnection(ApiModel):
    """The hub reaches the center with a kubeconfig."""

    kubeconfig_secret: SecretRef
    """Secret with a kubeconfig; it must not use exec plugins or file paths."""


class PullConnection(ApiModel):
    """An agent in the center reaches the hub."""

    approved: Literal["Pending", "Approved", "Denied"] = "Pending"
    """A platform engineer's word on the agent that wants to join."""


class Connection(ApiModel):
    """How hub and center meet: exactly one of push and pull."""

    rules: ClassVar = (
        Rule(
            "has(self.push) != has(self.pull)",
            "set exactly one of push and pull: push takes a kubeconfig Secret, pull an agent",
            check=lambda self: (self.push is None) != (self.pull is None),
        ),
    )
    push: PushConnection | None = None
    """The hub calls the center."""
    pull: PullConnection | None = None
    """An agent in the center calls the hub."""


class LinkWindow(ApiModel):
    """Hours of the sending center's local day in which data sets may move over a link."""

    rules: ClassVar = (
        Rule(
            "self.fromHour < self.toHour",
            "toHour must be later than fromHour: split a window that crosses midnight in two",
            field=".toHour",
            check=lambda self: self.from_hour < self.to_hour,
        ),
    )
    from_hour: Annotated[Int, Field(ge=0, le=23)]
    """First hour of the window, local time."""
    to_hour: Annotated[Int, Field(ge=1, le=24)]
    """Hour at which the window ends; it must be later than fromHour."""


class Link(ApiModel):
    """A network link from this center to another."""

    to: Name
    """Name of the ComputeCenter at the other end."""
    bandwidth: Annotated[
        str,
        *text(r"^[0-9]+(k|M|G|T)?$", "must be bits per second such as 10G or 800M", longest=16),
    ]
    """Usable rate in bits per second, such as `10G`."""
    latency: Duration | None = None
    """Round trip time."""
    price_per_gigabyte: Decimal = "0"
    """Price of moving 10^9 bytes, in the federation's currency."""
    windows: Annotated[list[LinkWindow], ATOMIC, Field(max_length=24)] = []
    """When data sets may move over it; empty is always."""


class NfsStore(ApiModel):
    """A folder of an NFS server that every node can mount."""

    server: Annotated[
        str, *text(r"^[A-Za-z0-9][A-Za-z0-9.:-]*$", "must be a host or an address", longest=253)
    ]
    """Host or address."""
    path: FolderPath
    """Folder on the server."""


class DataStore(ApiModel):
    """Where copies of data sets lie in this center: exactly one of path and nfs."""

    rules: ClassVar = (
        Rule(
            "has(self.path) != has(self.nfs)",
            "set exactly one of path and nfs: path is a shared file system that all nodes mount at"
            " the same place",
            check=lambda self: (self.path is None) != (self.nfs is None),
        ),
    )
    path: FolderPath | None = None
    """A shared file system, mounted at the same place on every node."""
    nfs: NfsStore | None = None
    """An NFS server's folder."""
    capacity: Annotated[
        str, *text(r"^[1-9][0-9]*(G|T|P|Gi|Ti|Pi)$", "must be like 50Ti or 800G", longest=16)
    ]
    """Bytes that copies may take together, those on their way included."""
    evict_to_percent: Annotated[Int, Field(ge=10, le=100)] = 90
    """Once room is needed, unused copies go until so much of the capacity is taken."""


class TariffWindow(ApiModel):
    """A price that holds during some hours of the center's local day."""

    rules: ClassVar = (
        Rule(
            "self.fromHour < self.toHour",
            "toHour must be later than fromHour: split a window that crosses midnight in two",
            field=".toHour",
            check=lambda self: self.from_hour < self.to_hour,
        ),
    )
    from_hour: Annotated[Int, Field(ge=0, le=23)]
    """First hour of the window, local time."""
    to_hour: Annotated[Int, Field(ge=1, le=24)]
    """Hour at which the window ends; it must be later than fromHour."""
    price: Decimal
    """Price per petaFLOPS-hour of normalized compute."""


class Tariff(ApiModel):
    """What computing costs here by local hour."""

    price: Decimal = "0"
    """Price per petaFLOPS-hour outside all windows."""
    windows: Annotated[list[TariffWindow], ATOMIC, Field(max_length=24)] = []
    """Exceptions; the first that covers the hour holds."""


class UnitLimit(ApiModel):
    """An amount of one accelerator model."""

    model: AcceleratorModel
    """Accelerator model."""
    units: Annotated[Int, Field(ge=0, le=10_000_000)]
    """Units as the nodes advertise them."""


class NamespaceMapping(ApiModel):
    """Where the jobs of a hub namespace run in this center."""

    hub: Label
    """Namespace on the hub."""
    center: Label
    """Namespace in the center."""


class Sharing(ApiModel):
    """The owner's word: what the federation may hold and do here."""

    max_units: Annotated[list[UnitLimit], by("model"), Field(max_length=64)] = []
    """At most this many units of a model are held by federated jobs."""
    max_share_percent: Annotated[Int, Field(ge=0, le=100)] = 100
    """At most this share of each model's allocatable units is held by federated jobs."""
    reserve: Annotated[list[UnitLimit], by("model"), Field(max_length=64)] = []
    """Units that stay free for the center's own users."""
    namespaces: Annotated[list[NamespacePattern], ATOMIC, Field(max_length=256)] = ["*"]
    """Hub namespaces whose jobs are accepted; `*` matches any characters."""
    image_prefixes: Annotated[list[Image], SET, Field(max_length=256)] = []
    """Images must start with one of these; empty allows all."""
    host_paths: Annotated[list[FolderPath], SET, Field(max_length=64)] = []
    """Folders of the nodes that pods of jobs may mount, each with everything below it, such as a
    driver's; empty is none. In a pull center the owner's policy there says so instead."""
    kinds: Annotated[list[BroughtKind], ATOMIC, Field(max_length=3)] = [
        "ConfigMap",
        "Secret",
        "Service",
    ]
    """Kinds of objects that jobs may bring along; a job of several workers brings a Service."""
    priority_class_name: Name | None = None
    """PriorityClass of federated pods in the center; below the owner's own."""
    namespace_mappings: Annotated[list[NamespaceMapping], by("hub"), Field(max_length=256)] = []
    """Exceptions to the namespace `huiju-<hub>-<namespace>`."""


class AcceleratorOverride(ApiModel):
    """Says what the accelerators of some nodes are, where labels do not tell or tell wrong."""

    node_selector: LabelMap
    """Labels that a node must carry; empty matches every node."""
    resource: ResourceName
    """Extended resource that the override speaks of."""
    model: AcceleratorModel
    """Accelerator model of each unit."""
    unit: UnitKindName | None = None
    """What one unit counts; default from the catalogue."""
    units_per_card: Annotated[Int, Field(ge=1, le=1024)] | None = None
    """Units that one physical card shows as."""
    tflops: Decimal | None = None
    """Dense BF16 TFLOPS of one unit."""


class RegistryMirror(ApiModel):
    """Rewrites image names for the center's registry."""

    prefix: Image
    """Start of the image name as jobs give it."""
    replacement: Annotated[str, StringConstraints(max_length=512)]
    """What stands there in this center."""


class LeaseTerms(ApiModel):
    """The center's lease, under which jobs with automatic failover run there."""

    profile: LeaseProfileName = "default"
    """`default`: a lease of 5 min, so such jobs outlive a hub that is away for less, and run
    elsewhere within 8 min when the center is lost. `fast`: 40 s, and 90 s."""
    namespace: Label = "huiju-system"
    """Huiju's own namespace in the center, where its sentinel asks for the lease."""


class ComputeCenterSpec(ApiModel):
    """What the platform engineer says of a center."""

    connection: Connection
    """How the hub and the center reach each other."""
    region: Word
    """Region that jobs may ask for, such as `south`."""
    residency: Annotated[list[Word], SET, Field(max_length=16)] = []
    """Residency classes that the center satisfies, such as `domestic`."""
    time_zone: Annotated[
        str,
        *text(
            r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$",
            "must be an IANA time zone such as Asia/Shanghai or UTC",
            longest=64,
        ),
    ] = "Asia/Shanghai"
    """IANA name; tariff hours are local."""
    cordoned: Flag = False
    """No new job is placed here; running ones stay."""
    links: Annotated[list[Link], by("to"), Field(max_length=256)] = []
    """Links to other centers."""
    data_store: DataStore | None = None
    """Where copies of data sets lie here; without it none are made."""
    tariff: Tariff = Tariff()
    """Price of computing by local hour."""
    sharing: Sharing = Sharing()
    """What the center's owner lends, and on what terms."""
    accelerators: Annotated[list[AcceleratorOverride], ATOMIC, Field(max_length=128)] = []
    """Overrides of what the node labels tell; the first match holds."""
    registry_mirrors: Annotated[list[RegistryMirror], by("prefix"), Field(max_length=64)] = []
    """Image name rewrites; the longest matching prefix holds."""
    lease: LeaseTerms = LeaseTerms()
    """How long jobs with automatic failover run on without a word of the hub."""
    declared_dead: Timestamp | None = None
    """The center's owner vouches that nothing of the network's jobs runs there any more. Holds for
    a loss that began before this time; a later one needs a new word. `kubectl huiju declare-dead`
    sets it."""
    hardware_repaired: Timestamp | None = None
    """The center's owner vouches that its nodes are sound: hardware faults before this time count
    no more. `kubectl huiju repaired` sets it."""


class AcceleratorStatus(ApiModel):
    """One accelerator model in a center, as counted node by node."""

    model: AcceleratorModel
    """Accelerator model."""
    resource: ResourceName
    """Resource name that pods ask for."""
    unit: UnitKindName
    """What one unit is."""
    total: Annotated[Int, Field(ge=0)] = 0
    """Units that the nodes have."""
    allocatable: Annotated[Int, Field(ge=0)] = 0
    """Units that are healthy; the difference to total is broken or withheld."""
    used: Annotated[Int, Field(ge=0)] = 0
    """Units that pods hold."""
    free: Annotated[Int, Field(ge=0)] = 0
    """Units free on nodes that can take work now."""
    federated: Annotated[Int, Field(ge=0)] = 0
    """Units that federated jobs hold, in-flight ones included."""
    largest_free_on_one_node: Annotated[Int, Field(ge=0)] = 0
    """Largest free block on a single node."""
    whole_free_nodes: Annotated[Int, Field(ge=0)] = 0
    """Nodes whose units are all free."""
    normalized_compute: Annotated[Int, Field(ge=0)] = 0
    """Allocatable units in dense BF16 TFLOPS, rounded down."""


class CustomResourceStatus(ApiModel):
    """An extended resource that the catalogue does not know; never counted as cards."""

    resource: ResourceName
    """Resource name."""
    allocatable: Annotated[Int, Field(ge=0)] = 0
    """Sum over the nodes."""
    used: Annotated[Int, Field(ge=0)] = 0
    """Sum over the pods."""


class BucketStatus(ApiModel):
    """A group of nodes with the same accelerators, the same free units and the same state."""

    model: AcceleratorModel
    """Accelerator model."""
    nodes: Annotated[Int, Field(ge=0)]
    """Nodes in the group."""
    units: Annotated[Int, Field(ge=0)]
    """Allocatable units on each."""
    free: Annotated[Int, Field(ge=0)]
    """Free units on each."""


class NodeCounts(ApiModel):
    """Nodes of a center by state."""

    total: Annotated[Int, Field(ge=0)] = 0
    """All nodes."""
    ready: Annotated[Int, Field(ge=0)] = 0
    """Nodes that are Ready."""
    schedulable: Annotated[Int, Field(ge=0)] = 0
    """Ready nodes that are not cordoned."""


class Identity(ApiModel):
    """Which cluster this is: a credential that leads elsewhere is refused."""

    uid: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    """UID of the center's kube-system namespace."""


class LeaseStatus(ApiModel):
    """The lease under which guarded jobs run in the center."""

    profile: LeaseProfileName
    """The profile in force; a shorter one waits until no guarded job runs under this one."""
    ends_by: Timestamp | None = None
    """Of a lost center: no guarded job can still run there from then on."""


class HardwareFault(ApiModel):
    """A fault that ended an attempt."""

    witness: Annotated[str, StringConstraints(min_length=1, max_length=32)]
    """Stands for the job whose attempt it was, or for its namespace where only the program claims
    the fault."""
    at: Timestamp
    """When the attempt ended."""
    reason: ShortText
    """What ended it."""


class FaultyNode(ApiModel):
    """A node on which hardware failed under a job of the network."""

    node: Annotated[str, StringConstraints(min_length=1, max_length=253)]
    """Name of the node."""
    faults: Annotated[list[HardwareFault], by("witness"), Field(max_length=8)] = []
    """The latest fault that each witness tells of."""
    set_aside_until: Timestamp | None = None
    """No job is sent to the node before this time."""


class ComputeCenterStatus(ApiModel):
    """What is known of a center now."""

    observed_generation: Annotated[Int, Field(ge=0)] | None = None
    """The generation of the spec that this speaks of."""
    conditions: Conditions = []
    """Ready, Reachable, InventoryFresh, Schedulable, Leased, Credible, Sound."""
    identity: Identity | None = None
    """The cluster that was first met under this name."""
    kubernetes_version: ShortText | None = None
    """Version of the center's API server."""
    lost_since: Timestamp | None = None
    """Since when the center does not answer; survives a restart of the hub."""
    lease: LeaseStatus | None = None
    """The lease under which guarded jobs run there."""
    faulty_nodes: Annotated[list[FaultyNode], by("node"), Field(max_length=64)] = []
    """Nodes on which hardware failed under jobs lately."""
    nodes: NodeCounts | None = None
    """Nodes by state."""
    summary: Text | None = None
    """One line for `kubectl get`: free/allocatable units per model."""
    accelerators: Annotated[
        list[AcceleratorStatus], by("model", "resource"), Field(max_length=64)
    ] = []
    """Accelerators by model."""
    custom_resources: Annotated[
        list[CustomResourceStatus], by("resource"), Field(max_length=32)
    ] = []
    """Unknown extended resources, shown as they are."""
    buckets: Annotated[list[BucketStatus], ATOMIC, Field(max_length=32)] = []
    """Largest groups of equal nodes, bounded however many nodes there are."""
    buckets_omitted: Annotated[Int, Field(ge=0)] = 0
    """Groups that did not fit into buckets."""


class ComputeCenter(KubeObject):
    """A member cluster of the computing network."""

    info: ClassVar = KindInfo(
        kind="ComputeCenter",
        plural="computecenters",
        singular="computecenter",
        short_names=("cc",),
        namespaced=False,
        columns=(
            Column("Region", ".spec.region"),
            Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
            Column("Free", ".status.summary", description="Free/allocatable units per model"),
            Column("Nodes", ".status.nodes.schedulable", "integer"),
            Column("Cordoned", ".spec.cordoned", "boolean", priority=1),
            Column("Reason", '.status.conditions[?(@.type=="Ready")].reason', priority=1),
            Column("Version", ".status.kubernetesVersion", priority=1),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
        selectable=(".spec.region",),
    )
    rules: ClassVar = (
        Rule(
            f"self.metadata.name.matches({cel_string(CENTER_NAME)})",
            "the name of a center must be a DNS label of at most 50 characters without dots:"
            " it becomes part of namespaces and labels",
            check=lambda self: self.name == "" or re.fullmatch(CENTER_NAME, self.name) is not None,
        ),
        Rule(
            "!has(self.spec.links) || !self.spec.links.exists(l, l.to == self.metadata.name)",
            "a center has no link to itself: name another center in to",
            field=".spec.links",
            check=lambda self: all(link.to != self.name for link in self.spec.links),
        ),
    )
    kind: Literal["ComputeCenter"] = "ComputeCenter"
    """The kind."""
    spec: ComputeCenterSpec
    """What the platform engineer says of the center."""
    status: ComputeCenterStatus | None = None
    """What Huiju knows of the center."""
