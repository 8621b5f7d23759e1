"""The values that the scheduling core works on.

All amounts are exact integers in base units: CPU in millicores, memory and ephemeral storage in
bytes, everything else in counts. Normalized compute is in GFLOPS (dense BF16), so that fractions
of a TFLOPS stay exact. Times are seconds since the epoch, as floats. A `Vector` is sorted by
resource name and holds no zeros, so equal vectors compare and hash equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

Vector = tuple[tuple[str, int], ...]
"""Resource name to amount, sorted, without zeros."""

CPU = "cpu"
MEMORY = "memory"
EPHEMERAL = "ephemeral-storage"
PODS = "pods"


def vector(amounts: Mapping[str, int] | Iterable[tuple[str, int]]) -> Vector:
    """Make a canonical vector."""
    items = amounts.items() if isinstance(amounts, Mapping) else amounts
    return tuple(sorted((name, amount) for name, amount in items if amount))


class UnitKind(Enum):
    """What one unit of an extended resource is; only devices and dies are cards."""

    DEVICE = "device"
    DIE = "die"
    PARTITION = "partition"
    SHARE = "share"
    AMOUNT = "amount"


class Topology(Enum):
    """How the accelerators of a node hang together, as far as legal sizes and fitting need it."""

    FLAT = "flat"
    """Any number fits wherever it is free."""
    RINGS_OF_4 = "rings-of-4"
    """Ascend 910A, 8 cards: 1, 2, 4 or 8; up to 4 in one ring."""
    HALF = "half"
    """Ascend 910A, 4 cards: 1, 2 or 4."""
    CARD_PAIR = "card-pair"
    """300T card servers: 1 or 2 alone, 2 in a gang."""
    GROUPS_OF_8 = "groups-of-8"
    """Ascend 910B Box16: up to 8 in one group; 10, 12, 14 split evenly, mirrored; 16."""
    MODULES_OF_2 = "modules-of-2"
    """Ascend A3, 16 dies: 1 or even counts, whole modules; a gang only even counts."""
    BOARD_8 = "board-8"
    """Atlas 850: 1, 2, 4 or 8."""


@dataclass(frozen=True, slots=True)
class Taint:
    """A node taint."""

    key: str
    value: str
    effect: str


@dataclass(frozen=True, slots=True)
class Toleration:
    """A toleration of a pod; an empty key with operator Exists tolerates everything."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""


@dataclass(frozen=True, slots=True)
class Accelerator:
    """One kind of accelerator on a node."""

    model: str
    resource: str
    unit: UnitKind
    gflops: int
    """Normalized compute of one unit."""
    topology: Topology = Topology.FLAT
    units_per_card: int = 1


@dataclass(frozen=True, slots=True)
class NodeShape:
    """What equal nodes have in common."""

    accelerators: tuple[Accelerator, ...]
    allocatable: Vector
    labels: tuple[tuple[str, str], ...] = ()
    """Sorted; without labels that name a single node."""
    taints: tuple[Taint, ...] = ()
    """Only NoSchedule and NoExecute, sorted."""
    suspect: str = ""
    """`center/node` of the one node of this shape, where its hardware failed under a job lately."""
    set_aside: bool = False
    """It failed under so many that no job is sent to it."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """Nodes of equal shape, free vector and occupancy; only nodes that can take work."""

    shape: NodeShape
    free: Vector
    nodes: tuple[str, ...]
    """Names, sorted."""
    free_devices: tuple[int, ...] | None = None
    """Free device numbers of the Ascend resource where known; None is judged by the worst case."""


@dataclass(frozen=True, slots=True)
class ShareLimit:
    """Units of a model that the federation may hold in a center, and what it holds now."""

    model: str
    limit: int
    held: int
    trial: bool = False
    """Not the owner's: the center is tried again after it did not keep what it showed."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """Free nodes that a center showed and jobs did not find."""

    model: str
    per_worker: int
    workers: int
    """Asks for at least as much of the model are doubted."""
    namespaces: tuple[str, ...] = ()
    """Hub namespaces whose jobs it concerns, sorted; empty for all."""
    trial: bool = False
    """Its time is over: jobs may try as far as a limit lets them."""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """A directed link to another center."""

    to: str
    bytes_per_second: int
    price_per_gigabyte: float = 0.0
    opens_at: float = 0.0
    """It carries data from then on (seconds since the epoch); 0 is always."""


@dataclass(frozen=True, slots=True)
class Center:
    """What a center can run now."""

    name: str
    buckets: tuple[Bucket, ...] = ()
    region: str = ""
    residency: frozenset[str] = frozenset()
    closed: str = ""
    """Reason that nothing may be placed here now (`CenterCordoned`), empty if open."""
    closed_message: str = ""
    unguarded: str = ""
    """Why no pod can be guarded here, empty if pods can be."""
    unwatched: str = ""
    """Why no pod can carry a guard here, also one without a lease; empty if pods can."""
    limits: tuple[ShareLimit, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    """What is not believed of what it shows."""
    namespaces: tuple[str, ...] = ("*",)
    """Patterns of hub namespaces that the owner lets in."""
    image_prefixes: tuple[str, ...] = ()
    kinds: frozenset[str] | None = None
    """Kinds of objects that jobs may bring beside their workload, None for all."""
    links: tuple[Link, ...] = ()
    hourly_price: tuple[float, ...] = ()
    """Price per PFLOPS-hour for each hour of the UTC day, or empty for free."""


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue's share; amounts in GFLOPS, None is no limit."""

    name: str
    parent: str = ""
    weight: int = 1
    guarantee: int = 0
    ceiling: int | None = None
    lending_limit: int | None = None
    namespaces: tuple[str, ...] = ("*",)
    home_center: str = ""
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class Alternative:
    """One way to run the job: so many units of a model per worker."""

    model: str
    per_worker: int
    relative_speed: float | None = None
    """Against the first alternative; None is the ratio of normalized compute."""
    image: str = ""


@dataclass(frozen=True, slots=True)
class DataNeed:
    """Bytes that must be in the center before the job starts, and where copies are."""

    dataset: str
    bytes: int
    copies: frozenset[str]
    """Centers where it can be used at once."""
    files: int = 0
    sources: frozenset[str] | None = None
    """Centers that it can be brought from; None: those with a copy."""
    barred: tuple[tuple[str, str, str], ...] = ()
    """Centers where it can neither be used nor brought: name, reason, message; sorted."""


@dataclass(frozen=True, slots=True)
class Avoid:
    """A center that failed the job and is avoided until a time."""

    center: str
    reason: str
    until: float


@dataclass(frozen=True, slots=True)
class JobShape:
    """Everything about a job that decides where it fits; equal shapes are decided once."""

    alternatives: tuple[Alternative, ...]
    workers: int
    request: Vector
    """Per worker, besides the accelerator; holds `pods: 1`."""
    node_selector: tuple[tuple[str, str], ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    regions: tuple[str, ...] = ()
    residency: str = ""
    centers: tuple[str, ...] = ()
    exclude_centers: tuple[str, ...] = ()
    namespace: str = ""
    images: tuple[str, ...] = ()
    """Images besides those of the alternatives."""
    data: tuple[DataNeed, ...] = ()
    brings: tuple[str, ...] = ()
    """Kinds of objects that the job needs in the center beside its workload."""
    guarded: bool = False
    """Its pods must stop by themselves when the center's lease has run out."""
    watched: bool = False
    """A guard in its pods looks after its progress."""
    avoid_nodes: tuple[str, ...] = ()
    """`center/node` of nodes whose hardware failed under the job; kept off while they are suspect.
    Sorted."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job that waits."""

    uid: str
    name: str
    """`namespace/name`, for explanations."""
    queue: str
    shape: JobShape
    submitted: float
    priority: int = 0
    expected_runtime: float | None = None
    """Seconds on the first alternative."""
    runtimes: tuple[float, ...] = ()
    """Quantiles of how long jobs like it ran, in seconds on the first alternative, ascending."""
    alike: int = 0
    """Ended jobs that told the expected run time; 0 where the user did, or nobody."""
    max_runtime: float | None = None
    not_before: float = 0.0
    """Backing off until then."""
    avoid: tuple[Avoid, ...] = ()
    preemptible: bool = True
    checkpoint_period: float | None = None


@dataclass(frozen=True, slots=True)
class Assignment:
    """Workers planned on one node."""

    node: str
    workers: int


@dataclass(frozen=True, slots=True)
class Placed:
    """A job that holds a placement; its units are already missing from the buckets."""

    job: Job
    center: str
    alternative: int
    units: int
    """Units of the alternative's model, all workers together."""
    gflops: int
    """Normalized compute that it holds."""
    started: float
    last_checkpoint: float | None = None
    assignments: tuple[Assignment, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one center cannot take a job now, with the numbers."""

    center: str
    reason: str
    message: str
    alternative: int | None = None


TERMS = (
    "until it can start",
    "stage data",
    "run",
    "price of the run",
    "price of the links",
    "away from home",
    "fragmentation",
    "scarcity",
)


@dataclass(frozen=True, slots=True)
class Term:
    """One part of a score, in seconds; lower is better."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """A center that could take the job, and what it would cost."""

    center: str
    alternative: int
    amounts: tuple[float, ...]
    """Seconds of each term, in the order of `TERMS`."""
    score: float
    """Their sum."""

    @property
    def terms(self) -> tuple[Term, ...]:
        """The parts of the score, named."""
        return tuple(Term(*each) for each in zip(TERMS, self.amounts, strict=True))


@dataclass(frozen=True, slots=True)
class Trace:
    """What was weighed for one job: candidates best first, and refusals by center."""

    candidates: tuple[Candidate, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    refused: tuple[tuple[str, int], ...] = ()
    """How often each reason was given by the others, where refusals are not told in full."""


@dataclass(frozen=True, slots=True)
class Place:
    """Decision: run the job here now."""

    job: Job
    center: str
    alternative: int
    resource: str
    request: Vector
    """Per worker, the accelerator included."""
    assignments: tuple[Assignment, ...]
    gflops: int
    trace: Trace = field(compare=False)


@dataclass(frozen=True, slots=True)
class Wait:
    """Decision: the job waits; reported when its reason changed since the last cycle."""

    job: Job
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Preempt:
    """Decision: stop this placed job gracefully and queue it again."""

    victim: Placed
    reason: str
    message: str
    beneficiary: str
    """uid of the job that gets the room."""
    ground: str = ""
    """`guarantee` or `priority`: what the beneficiary's claim rests on."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one cycle decided."""

    placed: tuple[Place, ...] = ()
    waiting: tuple[Wait, ...] = ()
    """Only jobs whose reason changed."""
    preempted: tuple[Preempt, ...] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """Answer to `why` and `whatif`."""

    position: int | None
    """1 is next in its queue; None if it does not wait."""
    ahead: int
    """Jobs ahead of it in its queue."""
    reason: str
    message: str
    trace: Trace
    predicted_start: float | None = None
    basis: str = ""
    """What the prediction rests on."""
    predicted_center: str = ""
    """Where it is expected to start, empty if nowhere."""
    expected: Candidate | None = None
    """What a start that is not yet possible is expected to cost, the wait for it included."""
    runtime: float | None = None
    """Expected run time in seconds on the first alternative, None where nobody knows one."""
    runtime_basis: str = ""
    """What the expected run time rests on."""
