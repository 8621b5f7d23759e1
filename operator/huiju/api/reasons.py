"""Every reason Huiju gives, each a stable CamelCase word with one sentence and its cure.

A reason is what a user sees in conditions, events, `kubectl huiju why` and metrics. The reference
page is generated from this table. Words are never renamed, only added.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


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
    CENTER_DELETED = "CenterDeleted"
    CENTER_CORDONED = "CenterCordoned"
    CENTER_NOT_READY = "CenterNotReady"
    REGION_NOT_ALLOWED = "RegionNotAllowed"
    RESIDENCY_NOT_SATISFIED = "ResidencyNotSatisfied"
    CENTER_EXCLUDED = "CenterExcluded"
    CENTER_AVOIDED = "CenterAvoided"
    GUARD_UNAVAILABLE = "GuardUnavailable"
    SHARING_LIMIT = "SharingLimit"
    SHARING_POLICY = "SharingPolicy"
    PROMISE_BROKEN = "PromiseBroken"
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
    PODS_NOT_READY = "PodsNotReady"
    DISPATCH_REFUSED = "DispatchRefused"
    FOREIGN_OBJECT = "ForeignObject"
    NO_PROGRESS = "NoProgress"
    HARDWARE_FAULT = "HardwareFault"
    NODE_LOST = "NodeLost"
    EVICTED = "Evicted"
    PREEMPTED_BY_OWNER = "PreemptedByOwner"
    PREEMPTED = "Preempted"
    MOVED = "Moved"
    WORKLOAD_GONE = "WorkloadGone"
    HUB_RESTORED = "HubRestored"
    LEASE_ENDED = "LeaseEnded"
    CENTER_LOST = "CenterLost"
    DECLARED_DEAD = "DeclaredDead"
    # Centers
    READY = "Ready"
    REACHABLE = "Reachable"
    CONNECTING = "Connecting"
    CREDENTIAL_INVALID = "CredentialInvalid"
    CREDENTIAL_REFUSED = "CredentialRefused"
    IDENTITY_CHANGED = "IdentityChanged"
    AGENT_NOT_APPROVED = "AgentNotApproved"
    INVENTORY_FRESH = "InventoryFresh"
    INVENTORY_STALE = "InventoryStale"
    MASS_ORPHANS = "MassOrphans"
    NODES_SOUND = "NodesSound"
    CREDIBLE = "Credible"
    CLAIM_REFUSED = "ClaimRefused"
    LEASED = "Leased"
    NO_SENTINEL = "NoSentinel"
    LEASE_WITHHELD = "LeaseWithheld"
    LEASE_NOT_RENEWED = "LeaseNotRenewed"
    # Queues
    PARENT_MISSING = "ParentMissing"
    QUEUE_CYCLE = "QueueCycle"
    # Data sets: agreements
    PUBLISHED = "Published"
    NOTHING_PUBLISHED = "NothingPublished"
    GRANT_REQUESTED = "GrantRequested"
    GRANT_ACTIVE = "GrantActive"
    GRANT_DENIED = "GrantDenied"
    GRANT_SUSPENDED = "GrantSuspended"
    GRANT_REVOKED = "GrantRevoked"
    GRANT_EXPIRED = "GrantExpired"
    NO_GRANT = "NoGrant"
    PERMISSION_DENIED = "PermissionDenied"
    LICENSE_NOT_ACCEPTED = "LicenseNotAccepted"
    UNKNOWN_DATASET = "UnknownDataset"
    UNKNOWN_VERSION = "UnknownVersion"
    RESIDENCY_FORBIDS = "ResidencyForbids"
    # Data sets: copies
    STAGING = "Staging"
    TRANSFER_PENDING = "TransferPending"
    COPYING = "Copying"
    VERIFIED = "Verified"
    COPIES_MET = "CopiesMet"
    SERVED = "Served"
    NO_ROUTE = "NoRoute"
    NO_DATA_STORE = "NoDataStore"
    NO_ELIGIBLE_CENTER = "NoEligibleCenter"
    COPY_REQUIRED = "CopyRequired"
    WINDOW_CLOSED = "WindowClosed"
    LINK_BUSY = "LinkBusy"
    THROTTLED = "Throttled"
    PEER_UNREACHABLE = "PeerUnreachable"
    SOURCE_NOT_FOUND = "SourceNotFound"
    SOURCE_CHANGED = "SourceChanged"
    MANIFEST_MISSING = "ManifestMissing"
    CHECKSUM_MISMATCH = "ChecksumMismatch"
    SIGNATURE_INVALID = "SignatureInvalid"
    DISK_FULL = "DiskFull"
    CLOCK_SKEW = "ClockSkew"
    TRANSFER_FAILED = "TransferFailed"
    COPY_EVICTED = "CopyEvicted"
    # Models
    BASE_MISSING = "BaseMissing"


@dataclass(frozen=True, slots=True)
class Description:
    """What a reason means and what cures it, a sentence or two of plain text each."""

    meaning: str
    cure: str


SECTIONS: Final[dict[str, dict[Reason, Description]]] = {
    "A job on its way": {
        Reason.QUEUED: Description(
            "The job waits in its queue for accelerators.",
            "Nothing needs to be done; `kubectl huiju why` says what it waits for.",
        ),
        Reason.PLACED: Description(
            "A center was chosen and its accelerators are reserved for the job.",
            "Nothing needs to be done; the workload is created next.",
        ),
        Reason.DISPATCHED: Description(
            "The workload exists in the center and its pods have not all started.",
            "Wait; if it takes long, look at the pods with `kubectl huiju logs` or in the center.",
        ),
        Reason.RUNNING: Description(
            "All workers of the job run.",
            "Nothing needs to be done.",
        ),
        Reason.SUCCEEDED: Description(
            "Every worker ended with exit code 0.",
            "Nothing needs to be done; object and workload go after `spec.ttlAfterFinished`.",
        ),
        Reason.SUSPENDED: Description(
            "The job was stopped by `spec.suspend` and holds no accelerators.",
            "Set `spec.suspend` to false to queue it again.",
        ),
        Reason.CANCELLED: Description(
            "The job was stopped for good by `spec.cancel`.",
            "Submit it again under a new name if it was a mistake.",
        ),
        Reason.ACCEPTED: Description(
            "The job can be run as it is written.",
            "Nothing needs to be done.",
        ),
    },
    "Refused before queueing": {
        Reason.INVALID_SPEC: Description(
            "A field of the object cannot be used as it is written.",
            "Correct the field that the message names.",
        ),
        Reason.INVALID_TEMPLATE: Description(
            "The pod template, or the workload made from it, is refused by an API server.",
            "Correct what the message names and submit the job again.",
        ),
        Reason.ILLEGAL_ACCELERATOR_COUNT: Description(
            "No server of that accelerator model can give one worker so many units.",
            "Use one of the numbers that the message lists.",
        ),
        Reason.UNKNOWN_QUEUE: Description(
            "The ComputeQueue that the job names does not exist.",
            "Create the queue, or submit the job to one that `kubectl huiju queues` lists.",
        ),
        Reason.NAMESPACE_NOT_ALLOWED: Description(
            "The queue does not accept jobs of the job's namespace.",
            "Use another queue, or have the namespace added to `spec.namespaces` of the queue.",
        ),
        Reason.CARRIED_OBJECT_MISSING: Description(
            "A ConfigMap or Secret that `spec.carry` names is not in the job's namespace.",
            "Create the object, or take its name out of `spec.carry`.",
        ),
        Reason.TEMPLATE_CHANGED: Description(
            "The template is no longer the one that was accepted, so it was not dispatched.",
            "Delete the job and submit it again with the template that you want.",
        ),
    },
    "Why a center was refused": {
        Reason.NO_NODE_FITS: Description(
            "The center has the accelerator, and no set of its nodes has room for the job now.",
            "Wait, ask for fewer units per worker or fewer workers, or add an alternative.",
        ),
        Reason.NO_SUCH_ACCELERATOR: Description(
            "The center has no accelerator of the models that the job asks for.",
            "Add an alternative that the center has; `kubectl huiju centers` lists them.",
        ),
        Reason.CENTER_UNREACHABLE: Description(
            "The hub gets no answer from the center.",
            "Check network and API server of the center. The message of a job there says when, or"
            " on whose word, it runs elsewhere.",
        ),
        Reason.CENTER_DELETED: Description(
            "The job's ComputeCenter was deleted or leads to another cluster; what runs there may"
            " go on unseen, so it is not run elsewhere.",
            "Join the same cluster under the same name to follow the job, or cancel the job.",
        ),
        Reason.CENTER_CORDONED: Description(
            "The center takes no new jobs because its operator cordoned it.",
            "Run `kubectl huiju uncordon CENTER` once it may take jobs again.",
        ),
        Reason.CENTER_NOT_READY: Description(
            "The center is known, and not yet ready to take jobs.",
            "Read the conditions of the ComputeCenter; after a hub start this passes by itself.",
        ),
        Reason.REGION_NOT_ALLOWED: Description(
            "The center lies in a region that `spec.placement.regions` does not allow.",
            "Add the region to the job, or wait for a center in the allowed ones.",
        ),
        Reason.RESIDENCY_NOT_SATISFIED: Description(
            "The center does not offer the residency class that the job asks for.",
            "Use a center that does; data under residency rules never leaves such centers.",
        ),
        Reason.CENTER_EXCLUDED: Description(
            "The placement wishes of the job leave the center out.",
            "Change `spec.placement.centers` or `spec.placement.excludeCenters`.",
        ),
        Reason.CENTER_AVOIDED: Description(
            "The center failed this job lately, or the job was moved away from there.",
            "Cure what `status.avoid` names; the center is tried again at the time given there.",
        ),
        Reason.GUARD_UNAVAILABLE: Description(
            "The job needs a guard (automatic failover, `spec.progress`), which pods cannot have"
            " in the center; the message says why.",
            "Cure what the message names in the center, or do without what needs a guard.",
        ),
        Reason.SHARING_LIMIT: Description(
            "Jobs of the federation hold as much of the center as its owner lends.",
            "Wait until some end, or ask the owner to raise `spec.sharing`.",
        ),
        Reason.SHARING_POLICY: Description(
            "The owner's rules on namespaces, images or kinds keep the job out of the center.",
            "Use an image, a namespace and kinds that `spec.sharing` of the center allows.",
        ),
        Reason.PROMISE_BROKEN: Description(
            "The center showed free nodes, and jobs like this one that went there found none.",
            "Wait for the time in the message, or cordon the center if it goes on.",
        ),
        Reason.RESERVED_FOR_OTHER: Description(
            "The free accelerators are kept for a job that is ahead in the order.",
            "Wait; the job ahead is served first so that large jobs are not starved.",
        ),
    },
    "Why a job waits": {
        Reason.QUEUE_OVER_SHARE: Description(
            "The queue holds more than its share while others wait for theirs.",
            "Wait for jobs of the queue to end, or have its weight or guarantee raised.",
        ),
        Reason.QUEUE_CEILING: Description(
            "The job would take the queue, or one above it, over its ceiling.",
            "Wait for jobs of the queue to end, or have `spec.ceiling` raised.",
        ),
        Reason.QUEUE_STOPPED: Description(
            "The queue accepts jobs and starts none.",
            "Set `spec.stopped` of the queue to false.",
        ),
        Reason.BEHIND_OTHERS: Description(
            "Jobs with a higher priority, or older ones, are served first.",
            "Wait, or raise `spec.priority` if the job is more urgent.",
        ),
        Reason.NO_CENTER: Description(
            "No center can take the job; the message says why for each.",
            "Change what refused it, or wait until a center has room.",
        ),
        Reason.BACKING_OFF: Description(
            "The last attempt failed a short while ago and the next one waits.",
            "Wait until `status.retryAt`, or cure what `status.history` names.",
        ),
    },
    "What ended an attempt": {
        Reason.APPLICATION_FAILED: Description(
            "A container of the job ended with an error.",
            "Read `kubectl huiju logs JOB`; raise `spec.retry.maxAttempts` for errors that pass.",
        ),
        Reason.RETRIES_EXHAUSTED: Description(
            "The application failed as often as `spec.retry.maxAttempts` allows.",
            "Correct the application and submit the job again.",
        ),
        Reason.RUNTIME_EXCEEDED: Description(
            "The attempt ran longer than `spec.maxRuntime`.",
            "Submit the job again with a longer limit, or make it resume from a checkpoint.",
        ),
        Reason.IMAGE_PULL_FAILED: Description(
            "A node of the center could not pull an image.",
            "Check the name, the pull secrets in `spec.carry`, and the center's mirrors.",
        ),
        Reason.POD_REJECTED: Description(
            "The center refused to make the pods of the job.",
            "Read the message: a policy or an admission webhook of the center says why.",
        ),
        Reason.QUOTA_EXCEEDED: Description(
            "A ResourceQuota in the center leaves no room for the pods.",
            "Have the quota in the center raised; another center is tried meanwhile.",
        ),
        Reason.UNSCHEDULABLE: Description(
            "Not all pods found a node within `spec.schedulingDeadline`.",
            "Nothing needs to be done; another center is tried, the message says what lacked.",
        ),
        Reason.PODS_NOT_READY: Description(
            "All pods had nodes, but not all of them ran within `spec.readyDeadline`.",
            "Look at the events of the pods in the center, or raise the deadline if their image"
            " takes longer; another center is tried.",
        ),
        Reason.DISPATCH_REFUSED: Description(
            "The API server of the center refused the workload.",
            "Correct what the message names, in the job or in the rights of the hub's account.",
        ),
        Reason.FOREIGN_OBJECT: Description(
            "An object of the same name in the center belongs to somebody else and was left alone.",
            "Rename or delete that object in the center, or submit the job under another name.",
        ),
        Reason.NO_PROGRESS: Description(
            "The job showed no progress within `spec.progress.deadline`, or none at all within"
            " `startDeadline`, so the attempt was ended.",
            "Read its logs, and raise the deadline if it is too short; the job is placed again.",
        ),
        Reason.HARDWARE_FAULT: Description(
            "The hardware of the node that the message names failed under a worker.",
            "Nothing needs to be done; the job is queued again and keeps off that node.",
        ),
        Reason.NODE_LOST: Description(
            "A node that ran a worker stopped answering.",
            "Nothing needs to be done; the job is queued again, and the failure does not count"
            " against it.",
        ),
        Reason.EVICTED: Description(
            "A worker was evicted from its node.",
            "Nothing needs to be done; the job is queued again, and the failure does not count"
            " against it.",
        ),
        Reason.PREEMPTED_BY_OWNER: Description(
            "Pods of the center's own users took the place of a worker.",
            "Nothing needs to be done; the job keeps its place and runs again, with a pause only if"
            " it is pushed out twice within ten minutes.",
        ),
        Reason.PREEMPTED: Description(
            "The job was stopped for a queue that is owed its guarantee.",
            "Nothing needs to be done; it is queued again. Save checkpoints so that little"
            " work is lost.",
        ),
        Reason.MOVED: Description(
            "Someone moved the job away from its center; its place in the queue is kept.",
            "Nothing to do: it starts in another center, or in this one when ten minutes are over.",
        ),
        Reason.LEASE_ENDED: Description(
            "The center's lease ran out, so the job was stopped there before it could be run"
            " elsewhere.",
            "Nothing needs to be done for the job, which is queued again; find out why the hub"
            " could not renew the lease.",
        ),
        Reason.CENTER_LOST: Description(
            "The job's center was lost, its pods have stopped there by themselves, and the job runs"
            " elsewhere.",
            "Nothing needs to be done for the job; find out what became of the center.",
        ),
        Reason.DECLARED_DEAD: Description(
            "The job's center was lost, its owner declared that nothing runs there any more, and"
            " the job runs elsewhere.",
            "Nothing needs to be done for the job. If the center returns it first loses what it"
            " still holds of the job.",
        ),
        Reason.WORKLOAD_GONE: Description(
            "The workload was removed in the center, not by Huiju.",
            "Find out who removed it; the job is queued again.",
        ),
        Reason.HUB_RESTORED: Description(
            "The hub was restored from a backup and goes on from what runs in the centers, once all"
            " of them were read.",
            "Bring back the centers that the message names, or delete their ComputeCenters if they"
            " will not return.",
        ),
    },
    "Centers": {
        Reason.READY: Description(
            "The object is in order and can be used.",
            "Nothing needs to be done.",
        ),
        Reason.REACHABLE: Description(
            "The center answers.",
            "Nothing needs to be done.",
        ),
        Reason.CONNECTING: Description(
            "The hub has started to reach the center and has no answer yet.",
            "Wait some seconds; if it stays, check the address in the kubeconfig.",
        ),
        Reason.CREDENTIAL_INVALID: Description(
            "The Secret with the kubeconfig is missing, unreadable or refused by the center.",
            "Renew it with `kubectl huiju join`, or correct the Secret that the message names.",
        ),
        Reason.CREDENTIAL_REFUSED: Description(
            "The kubeconfig holds something that the hub never uses, such as an exec plugin.",
            "Use a kubeconfig with inline certificates or a token; `kubectl huiju join` makes one.",
        ),
        Reason.IDENTITY_CHANGED: Description(
            "The credential now leads to a different cluster than the one first met.",
            "Correct the credential; after a rebuild of the cluster delete it here and join again.",
        ),
        Reason.AGENT_NOT_APPROVED: Description(
            "A pull center's agent has not been approved, or was denied.",
            "Let it in by `kubectl huiju approve CENTER` if it is the one you expect.",
        ),
        Reason.INVENTORY_FRESH: Description(
            "Nodes and pods of the center are followed.",
            "Nothing needs to be done.",
        ),
        Reason.INVENTORY_STALE: Description(
            "Nothing new was heard of the nodes and pods for too long.",
            "Check the API server of the center; no job is placed there meanwhile.",
        ),
        Reason.MASS_ORPHANS: Description(
            "So many workloads seem to have lost their jobs that none was removed.",
            "Check that the hub was not restored from an old backup; the message says what next.",
        ),
        Reason.NODES_SOUND: Description(
            "No node of the center is set aside after hardware faults.",
            "Nothing needs to be done.",
        ),
        Reason.CREDIBLE: Description(
            "Nothing that the center says was refused lately.",
            "Nothing needs to be done.",
        ),
        Reason.CLAIM_REFUSED: Description(
            "The center said something that cannot be true, which the hub does not go by.",
            "The message says what. Ask the center's owner; `kubectl huiju revoke CENTER` shuts out"
            " who holds a stolen credential.",
        ),
        Reason.LEASED: Description(
            "The center's sentinel asks for its lease and the hub renews it.",
            "Nothing needs to be done.",
        ),
        Reason.NO_SENTINEL: Description(
            "No sentinel asks for the center's lease; jobs with automatic failover go elsewhere.",
            "Install chart `huiju-center` there with `sentinel.enabled=true`; see docs/safety.md.",
        ),
        Reason.LEASE_WITHHELD: Description(
            "The center returned and still runs epochs that no longer count; its lease is renewed"
            " once they have stopped.",
            "Wait; if it lasts, look for pods in the center that do not end.",
        ),
        Reason.LEASE_NOT_RENEWED: Description(
            "The hub cannot read the center's ask or write its answer.",
            "The message says why; after an upgrade run `kubectl huiju join CENTER` again, which"
            " renews the account's rights.",
        ),
    },
    "Queues": {
        Reason.PARENT_MISSING: Description(
            "The queue that `spec.parent` names does not exist.",
            "Create the parent, or correct `spec.parent`.",
        ),
        Reason.QUEUE_CYCLE: Description(
            "The queue is above itself through its parents.",
            "Change `spec.parent` of one queue in the cycle that the message shows.",
        ),
    },
    "Data sets: agreements": {
        Reason.PUBLISHED: Description(
            "The share has a version that jobs can name.",
            "Nothing needs to be done.",
        ),
        Reason.NOTHING_PUBLISHED: Description(
            "The share has no version yet.",
            "Publish one with `kubectl huiju dataset publish`.",
        ),
        Reason.GRANT_REQUESTED: Description(
            "The grant waits for a decision of the share's owner.",
            "Ask the owner; `kubectl huiju dataset approve` is theirs to run.",
        ),
        Reason.GRANT_ACTIVE: Description(
            "Jobs of the namespace may use the data.",
            "Nothing needs to be done.",
        ),
        Reason.GRANT_DENIED: Description(
            "The owner has refused the request.",
            "The grant's `spec.decision.reason` says why; ask again if that has changed.",
        ),
        Reason.GRANT_SUSPENDED: Description(
            "The owner has suspended the agreement for now.",
            "Ask the owner; copies stay, and no new one is made.",
        ),
        Reason.GRANT_REVOKED: Description(
            "The owner has ended the agreement.",
            "Ask the owner for another grant; jobs that use the data are stopped after a grace "
            "period.",
        ),
        Reason.GRANT_EXPIRED: Description(
            "The agreement has ended by its date.",
            "Ask for another with `kubectl huiju dataset grant`.",
        ),
        Reason.NO_GRANT: Description(
            "The job's namespace has no agreement for the data set.",
            "Ask for one with `kubectl huiju dataset grant NAMESPACE/NAME`.",
        ),
        Reason.PERMISSION_DENIED: Description(
            "The share's terms do not allow this namespace, center or purpose.",
            "Ask the owner to name it in `spec.access` of the DatasetShare.",
        ),
        Reason.LICENSE_NOT_ACCEPTED: Description(
            "The grant accepts another license than the version has.",
            "Read the license, delete the grant and ask again with it.",
        ),
        Reason.UNKNOWN_DATASET: Description(
            "There is no such data set, or none that the namespace may know of.",
            "Correct `spec.data`; `kubectl huiju datasets` lists what can be asked for.",
        ),
        Reason.UNKNOWN_VERSION: Description(
            "The data set has no such version or channel, or it is retired.",
            "Name one that `kubectl huiju datasets -o wide` shows.",
        ),
        Reason.RESIDENCY_FORBIDS: Description(
            "The data may not lie in this center.",
            "Use a center that `spec.residency` of the share allows; no placement relaxes it.",
        ),
    },
    "Data sets: copies": {
        Reason.STAGING: Description(
            "The job's data is on its way to the center; no accelerators are held meanwhile.",
            "Nothing needs to be done; `kubectl huiju transfers` shows how far it is.",
        ),
        Reason.TRANSFER_PENDING: Description(
            "The transfer waits for room that is being made, or for the center to take it up.",
            "Wait some seconds; if it stays, see whether the center answers.",
        ),
        Reason.COPYING: Description(
            "The copy is being made.",
            "Nothing needs to be done.",
        ),
        Reason.VERIFIED: Description(
            "All digests of the copy are right.",
            "Nothing needs to be done.",
        ),
        Reason.COPIES_MET: Description(
            "Every copy rule of the share is met.",
            "Nothing needs to be done.",
        ),
        Reason.SERVED: Description(
            "The owner's center can hand out the data.",
            "Nothing needs to be done.",
        ),
        Reason.NO_ROUTE: Description(
            "No center with the data has a link to this one; data never goes through the hub.",
            "Declare the link in `spec.links` of the ComputeCenter that has the data.",
        ),
        Reason.NO_DATA_STORE: Description(
            "The center has no place for copies.",
            "Set `spec.dataStore` of the ComputeCenter.",
        ),
        Reason.NO_ELIGIBLE_CENTER: Description(
            "Fewer centers may hold a copy than the rule asks for.",
            "Ask for fewer copies, or widen the rule, the residency or the access.",
        ),
        Reason.COPY_REQUIRED: Description(
            "The job runs only where a copy is (mode Require), and here is none.",
            "Make one with `kubectl huiju dataset replicate`, or use mode Stage.",
        ),
        Reason.WINDOW_CLOSED: Description(
            "The link carries data only at other hours.",
            "Wait for the time that the message names, or change `windows` of the link.",
        ),
        Reason.LINK_BUSY: Description(
            "Other transfers use the link's budget.",
            "Wait; transfers share a link equally.",
        ),
        Reason.THROTTLED: Description(
            "The source asked for fewer requests.",
            "Wait; the transfer slows down by itself.",
        ),
        Reason.PEER_UNREACHABLE: Description(
            "The center that has the data does not answer.",
            "See whether its agent runs and whether its address can be reached from the center.",
        ),
        Reason.SOURCE_NOT_FOUND: Description(
            "A file of the manifest is not in the source any more.",
            "Put it back, or publish a new version.",
        ),
        Reason.SOURCE_CHANGED: Description(
            "A file of the source is another than the manifest says.",
            "Put the old one back, or publish a new version; versions never change.",
        ),
        Reason.MANIFEST_MISSING: Description(
            "The version's manifest is not in the source.",
            "Publish the version again with `kubectl huiju dataset publish`.",
        ),
        Reason.CHECKSUM_MISMATCH: Description(
            "A file arrived with another digest, also when fetched again.",
            "Look at the source; the message names the file.",
        ),
        Reason.SIGNATURE_INVALID: Description(
            "The manifest is not signed by the key that the share names.",
            "Sign the manifest with that key, or correct `spec.signingKey`.",
        ),
        Reason.DISK_FULL: Description(
            "The store has no room left, whatever its declared capacity.",
            "Make room there, or lower `spec.dataStore.capacity` of the ComputeCenter.",
        ),
        Reason.CLOCK_SKEW: Description(
            "A clock is wrong by so much that signatures do not hold.",
            "Set the clocks of both centers by NTP.",
        ),
        Reason.TRANSFER_FAILED: Description(
            "The transfer ended without a copy.",
            "Read `status.lastError` of the DatasetReplica; it is tried again.",
        ),
        Reason.COPY_EVICTED: Description(
            "The copy was removed to make room, or because nobody used it.",
            "Nothing needs to be done; a job that needs it brings it back.",
        ),
    },
    "Models": {
        Reason.BASE_MISSING: Description(
            "No data set of the network has the version that an adapter was trained on.",
            "Publish the base model, or name another version's digest in `spec.base`.",
        ),
    },
}
"""Every reason, in the order of the reference page."""

DESCRIPTIONS: Final[dict[Reason, Description]] = {
    reason: description for section in SECTIONS.values() for reason, description in section.items()
}
"""Meaning and cure of every reason."""
