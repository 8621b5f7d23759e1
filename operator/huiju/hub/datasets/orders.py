"""What a center is told of a transfer, and what its answers make of a replica.

Pure: from replica, share and mailbox to the fields that are written. Invariants: a copy is Verified
only by the word of the transfer that the replica's epoch names, with the digest that was asked for;
equal facts give equal fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from huiju.api.reasons import Reason
from huiju.data.access import Grant, Share
from huiju.data.copies import JOB
from huiju.data.naming import copy_folder
from huiju.hub.clock import pause_ends, seconds, stamp
from huiju.hub.datasets.catalog import Replica
from huiju.hub.datasets.replicas import VERIFIED, told
from huiju.hub.datasets.statuses import condition

Fields = dict[str, Any]
_FIRST_PAUSE: Final = 15.0
_LONGEST_PAUSE: Final = 1800.0
"""Seconds between two transfers that fail."""
_REFUSED_PAUSE: Final = 60.0
"""Seconds at least after a refusal, which people end and not time."""
_MOST_JOBS: Final = 8
"""Named in a request for links; one that reads the data is enough."""
_BARRED: Final = frozenset(
    {
        Reason.GRANT_REVOKED,
        Reason.GRANT_EXPIRED,
        Reason.GRANT_SUSPENDED,
        Reason.GRANT_DENIED,
        Reason.NO_GRANT,
        Reason.PERMISSION_DENIED,
        Reason.SIGNATURE_INVALID,
    }
)
_TELLS_OF_THE_COPY: Final = frozenset({Reason.CHECKSUM_MISMATCH, Reason.MANIFEST_MISSING})
_SPOKEN: Final = {str(reason) for reason in Reason}


@dataclass(frozen=True, slots=True)
class Terms:
    """What a link allows a transfer."""

    rate: int = 0
    """Bytes per second; 0 is without limit."""
    windows: tuple[tuple[int, int], ...] = ()
    zone: str = "UTC"


def mode_of(replica: Replica) -> str | None:
    """What its center is to do for a replica now; None for nothing."""
    if not replica.status.get("epoch"):
        return None
    match replica.phase:
        case "Copying":
            return "Repair" if replica.status.get("repair") else "Pull"
        case "Verifying":
            return "Verify"
        case "Evicting":
            return "Remove"
        case _:
            return None


def copy_spec(replica: Replica, share: Share | None, mode: str, terms: Terms) -> Fields:
    """The order of a transfer, without an answer to what it asks for."""
    spec, meta = replica.spec, replica.body.metadata
    fields: Fields = {
        "replica": {"namespace": meta.namespace, "name": meta.name},
        "epoch": int(replica.status["epoch"]),
        "mode": mode,
        "source": str(replica.status.get("source") or spec.center),
        "digest": spec.manifest_digest,
        "folder": copy_folder(spec.share_uid, spec.version, spec.include, spec.exclude),
        "bytes": spec.bytes,
        "include": list(spec.include),
        "exclude": list(spec.exclude),
        "rate": terms.rate,
        "windows": [{"fromHour": first, "toHour": end} for first, end in terms.windows],
        "zone": terms.zone,
    }
    key = share.spec.signing_key if share is not None else None
    return fields | ({"signingKey": key} if key else {})


def serving_spec(
    replica: Replica, share: Share, grants: Iterable[Grant], need: Mapping[str, Any]
) -> Fields:
    """The request for links of a transfer."""
    spec = replica.spec
    namespaces = on_behalf(replica)
    asked = sorted(grant.key for grant in grants if grant.namespace in namespaces)
    return {
        "share": {"namespace": share.namespace, "name": share.name},
        "shareUid": spec.share_uid,
        "digest": spec.manifest_digest,
        "center": spec.center,
        "epoch": int(replica.status["epoch"]),
        "namespaces": namespaces,
        "grants": [
            {"namespace": key.partition("/")[0], "name": key.partition("/")[2]} for key in asked
        ],
        "replica": {
            "namespace": replica.body.metadata.namespace,
            "name": replica.body.metadata.name,
        },
        "jobs": [
            {"namespace": space, "name": name}
            for space, name in _jobs(replica)
            if space == share.namespace
        ][:_MOST_JOBS],
        "include": list(spec.include),
        "exclude": list(spec.exclude),
        "need": dict(need),
    }


def on_behalf(replica: Replica) -> list[str]:
    """Namespaces that want the copy: those of jobs, and the share's own for all that is not one."""
    pins = [str(pin) for pin in replica.status.get("pinnedBy") or ()]
    jobs = {space for space, _ in _jobs(replica)}
    own = replica.spec.wanted or any(not pin.startswith(JOB) for pin in pins)
    return sorted(jobs | ({replica.spec.dataset.namespace} if own else set()))


def _jobs(replica: Replica) -> list[tuple[str, str]]:
    """Jobs that keep the copy, by namespace and name."""
    pins = [str(pin) for pin in replica.status.get("pinnedBy") or ()]
    found = [pin.removeprefix(JOB).partition("/") for pin in pins if pin.startswith(JOB)]
    return [(space, name) for space, _, name in found]


# --- what became of it ----------------------------------------------------------------------------


def followed(replica: Replica, copy: Fields, now: float) -> Fields | None:
    """The replica's status after what its center says; None where that is of another transfer."""
    status, mode = copy, mode_of(replica)
    if mode is None or (status.get("epoch"), status.get("mode")) != (
        replica.status.get("epoch"),
        mode,
    ):
        return None
    match str(status.get("state")):
        case "Done":
            return _done(replica, status, mode, now)
        case "Removed":
            return told(replica, {"phase": "Gone", "bytesDone": 0, "rate": 0}, (), *_GONE, now)
        case "Failed":
            reason, message = str(status.get("reason")), str(status.get("message") or "")
            path = str(status.get("path") or "")
            known = Reason(reason) if reason in _SPOKEN else Reason.TRANSFER_FAILED
            return failed(replica, known, message, path, now)
        case _:
            return _under_way(replica, status, mode, now)


_GONE: Final = (Reason.COPY_EVICTED, "Its bytes are gone.")


def _done(replica: Replica, status: Fields, mode: str, now: float) -> Fields:
    digest = str(status.get("digest") or "")
    if replica.whole and digest != replica.spec.manifest_digest:
        message = f"The center copied {digest or 'nothing'}, not the version's own manifest."
        return failed(replica, Reason.CHECKSUM_MISMATCH, message, "", now)
    began = seconds(str(status.get("startedAt") or ""))
    ended = seconds(str(status.get("endedAt") or ""))
    fields: Fields = {
        "phase": "Verified",
        "verifiedAt": stamp(ended or now),
        "verifiedDigest": digest,
        "attempt": 0,
        "rate": 0,
    }
    if mode != "Pull":
        # A puller that finds a finished copy believes its marker; these two read every byte.
        fields["checked"] = replica.spec.verify
    gone = ["eta", "window", "retryAt", "repair"]
    if mode != "Verify":
        size = int(status.get("bytesTotal") or 0)
        fields |= {
            "bytesDone": size,
            "bytesTotal": size,
            "filesDone": int(status.get("filesDone") or 0),
            "seconds": max(1, round(ended - began)) if began else 1,
            "fetched": int(status.get("fetched") or 0),
        }
        gone.append("lastError")
    meta = replica.body.metadata
    said = condition(
        replica.status,
        VERIFIED,
        True,
        Reason.VERIFIED,
        f"All digests are right; copied from {replica.status.get('source')}.",
        generation=meta.generation,
        now=now,
    )
    after = {name: value for name, value in replica.status.items() if name not in gone}
    return {**after, **fields, "observedGeneration": meta.generation, "conditions": [said]}


def retry_at(replica: Replica, now: float) -> float:
    """When it is tried again, in seconds since the epoch; 0 where nothing is waited for."""
    status = replica.status
    longest = max(_pause(int(status.get("attempt") or 0)), _REFUSED_PAUSE)
    return pause_ends(str(status.get("retryAt") or ""), longest, now)


def _pause(attempt: int) -> float:
    return min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(max(attempt - 1, 0), 10))


def failed(replica: Replica, reason: Reason, message: str, path: str, now: float) -> Fields:
    """A transfer that ended without a copy; it is tried again, later with each time."""
    if replica.phase == "Evicting" and retry_at(replica, now) > now:
        return replica.status  # counted already; the removal is tried again then
    if mode_of(replica) == "Verify" and reason not in _TELLS_OF_THE_COPY:
        return _not_checked(replica, reason, message, now)
    attempt = int(replica.status.get("attempt") or 0) + 1
    pause = _pause(attempt)
    if reason in _BARRED:
        pause = max(pause, _REFUSED_PAUSE)
    broken = mode_of(replica) == "Verify" and reason is Reason.CHECKSUM_MISMATCH
    error = {"reason": str(reason), "message": message[:1024], "at": stamp(now)}
    fields: Fields = {
        "phase": "Evicting" if replica.phase == "Evicting" else "Failed",
        "attempt": attempt,
        "retryAt": stamp(now if broken else now + pause),
        "rate": 0,
        "lastError": error | ({"path": path[:1024]} if path else {}),
    }
    if broken:
        fields["repair"] = True
    where = f"{path}: " if path and path not in message else ""
    return told(replica, fields, ("eta", "window"), reason, f"{where}{message}", now)


def _not_checked(replica: Replica, reason: Reason, message: str, now: float) -> Fields:
    """The check came to no end: the copy is what it was before, and is checked again later."""
    found = told(replica, {"phase": "Verified"}, ("eta", "window"), reason, message, now)
    said = condition(
        replica.status,
        VERIFIED,
        True,
        Reason.VERIFIED,
        f"The check that was asked for came to no end ({reason}: {message}); it is tried again.",
        generation=replica.body.metadata.generation,
        now=now,
    )
    return found | {"retryAt": stamp(now + _REFUSED_PAUSE), "conditions": [said]}


def _under_way(replica: Replica, status: Fields, mode: str, now: float) -> Fields:
    done, total = int(status.get("bytesDone") or 0), int(status.get("bytesTotal") or 0)
    rate = int(status.get("rate") or 0)
    message = str(status.get("message") or "")
    if mode in ("Verify", "Remove"):
        doing = "All digests are being checked." if mode == "Verify" else "Its bytes are removed."
        reason = Reason.COPYING if mode == "Verify" else Reason.COPY_EVICTED
        return told(replica, {}, (), reason, message or doing, now)
    fields: Fields = {"filesDone": int(status.get("filesDone") or 0), "rate": rate}
    if total:
        fields |= {"bytesDone": done, "bytesTotal": total}
    gone = ["window", "eta"]
    match str(status.get("state")):
        case "Waiting":
            until = str(status.get("until") or "")
            fields["window"] = stamp(seconds(until))
            gone.remove("window")
            reason, message = Reason.WINDOW_CLOSED, "The link is closed now."
        case "Running":
            reason, message = Reason.COPYING, f"Copied from {replica.status.get('source')}."
            if rate and total:
                fields["eta"] = stamp(now + (total - done) / rate)
                gone.remove("eta")
        case _:
            reason = Reason.TRANSFER_PENDING
            message = message or "The center has not begun yet."
    return told(replica, fields, gone, reason, message, now)


def worth_writing(before: Fields, after: Fields, written: float, now: float, least: float) -> bool:
    """Whether a change is one that people or jobs act on, or the last was long enough ago."""
    if before.get("phase") != after.get("phase") or _said(before) != _said(after):
        return True
    total = int(after.get("bytesTotal") or 0)
    moved = int(after.get("bytesDone") or 0) - int(before.get("bytesDone") or 0)
    step = bool(total) and moved * 50 >= total and now >= written + 1.0
    return step or now >= written + least


def _said(status: Fields) -> tuple[object, object]:
    said: Fields = next(iter(status.get("conditions") or []), {})
    return said.get("reason"), said.get("message")
