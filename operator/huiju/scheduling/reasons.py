"""The words that the scheduler gives as reasons; the same as in `huiju.api.reasons`.

Decides nothing. They stand here a second time because the scheduling core imports nothing of the
project; a test keeps both lists in step.
"""

from __future__ import annotations

from typing import Final

QUEUED: Final = "Queued"
PREEMPTED: Final = "Preempted"

UNKNOWN_QUEUE: Final = "UnknownQueue"
NAMESPACE_NOT_ALLOWED: Final = "NamespaceNotAllowed"
PARENT_MISSING: Final = "ParentMissing"
QUEUE_CYCLE: Final = "QueueCycle"
QUEUE_STOPPED: Final = "QueueStopped"
QUEUE_CEILING: Final = "QueueCeiling"
QUEUE_OVER_SHARE: Final = "QueueOverShare"
BEHIND_OTHERS: Final = "BehindOthers"
BACKING_OFF: Final = "BackingOff"
CENTER_CORDONED: Final = "CenterCordoned"
NO_CENTER: Final = "NoCenter"

NO_NODE_FITS: Final = "NoNodeFits"
NO_SUCH_ACCELERATOR: Final = "NoSuchAccelerator"
ILLEGAL_ACCELERATOR_COUNT: Final = "IllegalAcceleratorCount"
REGION_NOT_ALLOWED: Final = "RegionNotAllowed"
RESIDENCY_NOT_SATISFIED: Final = "ResidencyNotSatisfied"
CENTER_EXCLUDED: Final = "CenterExcluded"
CENTER_AVOIDED: Final = "CenterAvoided"
GUARD_UNAVAILABLE: Final = "GuardUnavailable"
SHARING_LIMIT: Final = "SharingLimit"
SHARING_POLICY: Final = "SharingPolicy"
PROMISE_BROKEN: Final = "PromiseBroken"
RESERVED_FOR_OTHER: Final = "ReservedForOther"
RESIDENCY_FORBIDS: Final = "ResidencyForbids"
PERMISSION_DENIED: Final = "PermissionDenied"
NO_ROUTE: Final = "NoRoute"
NO_DATA_STORE: Final = "NoDataStore"
