"""Every reason Huiju gives, each a stable CamelCase word with one sentence and its cure.

A reason is what a user sees in conditions, events, `kubectl huiju why` and metrics. The reference
page is generated from this table. Words are never renamed, only added.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why something was refused or changed; the text of each is in `DESCRIPTIONS`."""

    # A job on its way
    QUEUED = "Queued"
    PLACED = "Placed"
    DISPATCHED = "Dispatched"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    SUSPENDED = "Suspended"
    CANCELLED = "Cancelled"
    ACCEPTED = "Accepted"
    # Refused before queueing
    INVALID_SPEC = "InvalidSpec"
    INVALID_TEMPLATE = "InvalidTemplate"
    ILLEGAL_ACCELERATOR_COUNT = "IllegalAcceleratorCount"
    UNKNOWN_QUEUE = "UnknownQueue"
    NAMESPACE_NOT_ALLOWED = "NamespaceNotAllowed"
    CARRIED_OBJECT_MISSING = "CarriedObjectMissing"
    TEMPLATE_CHANGED = "TemplateChanged"
    # Why a center was refused
    NO_NODE_FITS = "NoNodeFits"
    NO_SUCH_ACCELERATOR = "NoSuchAccelerator"
    CENTER_UNREACHABLE = "CenterUnreachable"
    CENTER_CORDONED = "CenterCordoned"
    CENTER_NOT_READY = "CenterNotReady"
    REGION_NOT_ALLOWED = "RegionNotAllowed"
    RESIDENCY_NOT_SATISFIED = "ResidencyNotSatisfied"
    CENTER_EXCLUDED = "CenterExcluded"
    CENTER_AVOIDED = "CenterAvoided"
    SHARING_LIMIT = "SharingLimit"
    SHARING_POLICY = "SharingPolicy"
    RESERVED_FOR_OTHER = "ReservedForOther"
    # Why a job waits
    QUEUE_OVER_SHARE = "QueueOverShare"
    QUEUE_CEILING = "QueueCeiling"
    QUEUE_STOPPED = "QueueStopped"
    BEHIND_OTHERS = "BehindOthers"
    NO_CENTER = "NoCenter"
    BACKING_OFF = "BackingOff"
    # What ended an attempt
    APPLICATION_FAILED = "ApplicationFailed"
    RETRIES_EXHAUSTED = "RetriesExhausted"
    RUNTIME_EXCEEDED = "RuntimeExceeded"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    POD_REJECTED = "PodRejected"
    QUOTA_EXCEEDED = "QuotaExceeded"
    UNSCHEDULABLE = "Unschedulable"
    DISPATCH_REFUSED = "DispatchRefused"
    FOREIGN_OBJECT = "ForeignObject"
    NODE_LOST = "NodeLost"
    EVICTED = "Evicted"
    PREEMPTED_BY_OWNER = "PreemptedByOwner"
    PREEMPTED = "Preempted"
    WORKLOAD_GONE = "WorkloadGone"
    # Centers
    READY = "Ready"
    REACHABLE = "Reachable"
    CONNECTING = "Connecting"
    CREDENTIAL_INVALID = "CredentialInvalid"
    CREDENTIAL_REFUSED = "CredentialRefused"
    IDENTITY_CHANGED = "IdentityChanged"
    INVENTORY_FRESH = "InventoryFresh"
    INVENTORY_STALE = "InventoryStale"
    MASS_ORPHANS = "MassOrphans"
    # Queues
    PARENT_MISSING = "ParentMissing"
    QUEUE_CYCLE = "QueueCycle"


DESCRIPTIONS: dict[Reason, str] = {}
