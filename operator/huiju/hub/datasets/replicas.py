"""What is written into replicas: their bodies, and their statuses as copies come and go.

Pure: from what was decided to the fields. Invariants: equal facts give equal fields; what a
transfer has told of itself is kept until another begins.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from huiju.api.dataset import Version
from huiju.api.reasons import Reason
from huiju.data.access import Share
from huiju.data.copies import JOB, CopyId
from huiju.data.moves import Hold, Start
from huiju.data.naming import replica_name
from huiju.hub.clock import seconds, stamp
from huiju.hub.datasets.catalog import Replica
from huiju.hub.datasets.statuses import condition
from huiju.kube.resources import DATASET_REPLICAS

VERIFIED: Final = "Verified"
_MOST_PINS: Final = 16
_MOST_USERS: Final = 64
_USE_STEP: Final = 600.0
"""Seconds. A copy in use is said to be so this often at most."""
Fields = dict[str, Any]


def replica_body(share: Share, version: Version, which: CopyId) -> Fields:
    """A new replica."""
    include, exclude = which.part.include, which.part.exclude
    name = replica_name(share.name, share.uid, version.name, which.center, include, exclude)
    spec: Fields = {
        "dataset": {"namespace": share.namespace, "name": share.name},
        "shareUid": share.uid,
        "version": version.name,
        "manifestDigest": version.manifest_digest,
        "bytes": version.bytes,
        "files": version.files,
        "center": which.center,
    }
    if not which.part.whole:
        spec |= {"include": list(include), "exclude": list(exclude)}
    return {
        "apiVersion": DATASET_REPLICAS.api_version,
        "kind": DATASET_REPLICAS.kind,
        "metadata": {"name": name, "namespace": share.namespace},
        "spec": spec,
    }


def begun(replica: Replica, start: Start, now: float) -> Fields:
    """A transfer begins: its epoch is the fence, and its bytes count from now on."""
    message = f"Transfer {start.epoch} from {start.source} waits to be taken up by the center."
    fields = {
        "phase": "Copying",
        "epoch": start.epoch,
        "source": start.source,
        "startedAt": stamp(now),
        "bytesTotal": start.copy.bytes,
        "rate": 0,
    }
    gone = ("retryAt", "window", "eta", "verifiedAt", "verifiedDigest")
    return told(replica, fields, gone, Reason.TRANSFER_PENDING, message, now)


def checking(replica: Replica, now: float) -> Fields:
    """A person wants all digests of a finished copy checked."""
    fields = {"phase": "Verifying", "epoch": int(replica.status.get("epoch") or 0) + 1}
    message = "All digests are being checked."
    return told(replica, fields, ("retryAt", "eta", "window"), Reason.COPYING, message, now)


def held(replica: Replica, hold: Hold, now: float) -> Fields:
    """The copy waits, and why."""
    begun_before = replica.phase == "Failed"
    fields: Fields = {"phase": "Failed" if begun_before else "Waiting"}
    if hold.reason is Reason.WINDOW_CLOSED:
        fields |= {"phase": "Waiting", "window": stamp(hold.until)}
    gone = () if "window" in fields else ("window",)
    return told(replica, fields, (*gone, "eta"), hold.reason, hold.message, now)


def leaving(replica: Replica, reason: Reason, message: str, now: float) -> Fields:
    """The copy is on its way out; what a running transfer may have written counts as there."""
    total = int(replica.status.get("bytesTotal") or replica.spec.bytes)
    moving = replica.phase in ("Copying", "Verifying")
    fields: Fields = {"phase": "Evicting"} | ({"bytesDone": total} if moving else {})
    return told(replica, fields, ("eta", "window", "retryAt", "rate"), reason, message, now)


def kept(replica: Replica, pins: Sequence[str], barred: bool, now: float) -> Fields:
    """Who keeps the copy, who has used it and when; `barred`: none of these may any more."""
    fields = dict(replica.status)
    shown = list(pins[:_MOST_PINS])
    if shown:
        fields["pinnedBy"] = shown
    else:
        fields.pop("pinnedBy", None)
    used = {pin.removeprefix(JOB).partition("/")[0] for pin in pins if pin.startswith(JOB)}
    known = [str(space) for space in fields.get("usedBy") or ()]
    if not used <= set(known):
        fields["usedBy"] = sorted([*known, *sorted(used - set(known))][-_MOST_USERS:])
    if not barred:
        fields.pop("barredAt", None)
    elif not fields.get("barredAt"):
        fields["barredAt"] = stamp(now)
    if used and now - seconds(str(fields.get("lastUsed") or "")) >= _USE_STEP:
        fields["lastUsed"] = stamp(now)
    return fields


def told(
    replica: Replica,
    fields: Fields,
    gone: Iterable[str],
    reason: Reason,
    message: str,
    now: float,
) -> Fields:
    """The status with these fields, without those, and with why it is not Verified."""
    meta = replica.body.metadata
    before = replica.status
    said = condition(before, VERIFIED, False, reason, message, generation=meta.generation, now=now)
    after = {name: value for name, value in before.items() if name not in set(gone)}
    return {**after, **fields, "observedGeneration": meta.generation, "conditions": [said]}
