"""Settings of the hub, each with its unit and why its default is what it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from huiju.api.meta import GROUP
from huiju.centers.lease import PROFILES, LeaseProfile
from huiju.hub.faults import FaultTerms
from huiju.hub.promises import Pace
from huiju.scheduling.policy import Policy


@dataclass(frozen=True, slots=True)
class LeaseSettings:
    """The hub's own leader lease."""

    name: str = "huiju-hub"
    namespace: str = "huiju-system"
    duration: int = 8
    """Seconds that a leader may stay silent before another takes over."""
    renew: float = 5.0
    """Seconds without an acknowledged renewal after which a leader acts no more."""
    retry: float = 1.0
    """Seconds between two renewals, and between two tries to take over."""


@dataclass(frozen=True, slots=True)
class HubSettings:
    """What a platform engineer may tune; everything has a default that works."""

    namespace: str = "huiju-system"
    """Namespace on the hub that holds Secrets and the Lease."""
    leader_election: bool = True
    lease: LeaseSettings = field(default_factory=LeaseSettings)
    cycle_interval: float = 0.02
    """Least seconds between two cycles: bursts are decided together."""
    commit_concurrency: int = 32
    """Commits in flight at once; more only queue at the API server."""
    workers: int = 32
    """Jobs reconciled at once."""
    center_calls: int = 8
    """Of the workers so many may wait for one center at once, so that a few centers that do not
    answer cannot hold all of them."""
    center_launches: int = 64
    """Fresh decisions under way in one center at once; more wait as keys, not as bodies."""
    waiting_write_interval: float = 60.0
    """A waiting job's reason is written at most once in so many seconds."""
    waiting_write_delay: float = 2.0
    """A job that is placed sooner than this never gets a `Queued` write."""
    center_status_interval: float = 3.0
    """A center's status is written at most once in so many seconds."""
    queue_figures_interval: float = 30.0
    """What falls to a queue drifts with what others do: so written at most once in so many seconds,
    unless its own jobs have changed."""
    center_heartbeat: float = 5.0
    """Seconds between two proofs of life (and of identity) of a center."""
    center_lost_after: float = 40.0
    """A center without proof of life for so long is Unknown."""
    center_retry: float = 5.0
    """Seconds between attempts to reach a center that does not answer."""
    center_objects: Mapping[str, int] = field(
        default_factory=lambda: {"nodes": 10_000, "": 300_000}
    )
    """The most objects of one kind that the hub keeps of a push center, twice what Kubernetes is
    tested with in one cluster (5,000 nodes, 150,000 pods)."""
    refused_recheck: float = 30.0
    """A refused job is judged again after so long: what it named may exist by now."""
    retry_base: float = 10.0
    """First back-off after a placement failure; doubles with each."""
    retry_max: float = 600.0
    """Longest back-off."""
    avoid_seconds: float = 600.0
    """How long a center that failed a job is avoided for that job."""
    faults: FaultTerms = field(default_factory=FaultTerms)
    """For how long hardware faults speak against a node, and how many nodes they may take."""
    promises: Pace = field(default_factory=Pace)
    """How long a center is passed over that showed free nodes which jobs did not find."""
    deadline_slack: float = 60.0
    """Seconds past a job's `schedulingDeadline` for which the center may say itself that no nodes
    were found, before the hub goes by what the center shows."""
    claimed_faults: int = 5
    """Attempts that end by the program's own claim of broken hardware before such ends count as its
    failures: a program may say so of every machine."""
    guard_image: str = ""
    """Image of the guard in the pods of jobs with automatic failover, before a center's mirrors;
    empty: no pod can be guarded, so such jobs wait."""
    lease_profiles: Mapping[str, LeaseProfile] = field(default_factory=lambda: PROFILES)
    """The times of centers' leases, by the profile that a ComputeCenter names."""
    failover: bool = True
    """Whether any job leaves a lost center at all."""
    failovers_per_minute: int = 120
    """Jobs that leave lost centers in a minute, all together; as many may leave at once."""
    fence_interval: float = 1.0
    """Seconds between two looks at centers whose lease is not renewed yet."""
    tombstone_seconds: float = 3600.0
    """A finished workload stays at least so long, so that a late create meets it."""
    orphan_interval: float = 30.0
    """Seconds between two looks for orphans."""
    orphan_mass: int = 10
    """More seeming orphans than this, and more than `orphan_mass_share` of all, stop removal."""
    orphan_mass_share: float = 0.5
    policy: Policy = field(default_factory=Policy)
    """What the scheduler weighs."""
    resync: float = 300.0
    """Every job is looked at again after so many seconds, whatever happened."""
    data_interval: float = 5.0
    """Seconds between two looks at data sets when nothing happens."""
    data_report: float = 5.0
    """A transfer's progress is written at most once in so many seconds, or with each 2 %."""
    data_pause: float = 0.2
    """Least seconds between two looks at data sets."""
    audit_file: Path | None = None
    """File of the trail of data sets; none keeps no trail."""
    bind: str = "127.0.0.1"
    """Address that health and metrics listen on."""
    health_port: int = 8081
    view_bind: str = "127.0.0.1"
    view_port: int = 0
    """Port of the view API; 0 turns it off."""
    view_advertise: str = ""
    """Address of this process inside the hub's cluster; the view API's Service leads there."""


ANNOTATION_ALLOW_ORPHAN_REMOVAL = f"{GROUP}/allow-orphan-removal"
"""On a ComputeCenter: the mark of a mass of orphans, which the hub may then remove."""
