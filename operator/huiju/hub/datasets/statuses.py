"""What is written into the statuses of grants and shares.

Pure: from what is known to the fields, conditions included. Invariant: equal facts give equal
fields, so that nothing is written when nothing changed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from huiju.api.reasons import Reason
from huiju.data.access import Grant, Standing
from huiju.data.copies import Shortfall
from huiju.hub.clock import stamp
from huiju.hub.datasets.catalog import KnownGrant, KnownShare, Replica

Fields = dict[str, Any]
_MOST_REQUESTS: Final = 64
_LONGEST: Final = 1024


def condition(
    before: Fields,
    kind: str,
    status: bool | None,
    reason: Reason,
    message: str,
    *,
    generation: int,
    now: float,
) -> Fields:
    """A condition; its time moves only when its status flips."""
    text = "Unknown" if status is None else str(status)
    known: Fields = next((c for c in before.get("conditions") or [] if c.get("type") == kind), {})
    since = known.get("lastTransitionTime") if known.get("status") == text else None
    return {
        "type": kind,
        "status": text,
        "reason": str(reason),
        "message": message[:_LONGEST],
        "observedGeneration": generation,
        "lastTransitionTime": since or stamp(now),
    }


def grant_status(known: KnownGrant, standing: Standing, now: float) -> Fields:
    """The status of a grant."""
    before, generation = known.body.status, known.body.metadata.generation
    granted = before.get("grantedAt") or (stamp(now) if standing.active else None)
    fields = {
        "observedGeneration": generation,
        "conditions": [
            condition(
                before,
                "Active",
                standing.active,
                standing.reason,
                standing.message,
                generation=generation,
                now=now,
            )
        ],
        "state": standing.state,
        "decidedBy": standing.decided_by or None,
        "grantedAt": granted,
        "expiresAt": stamp(standing.expires_at) if standing.expires_at is not None else None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def share_status(
    known: KnownShare,
    replicas: Iterable[Replica],
    grants: Iterable[tuple[KnownGrant, Standing]],
    shortfalls: list[Fields],
    served: tuple[bool | None, Reason, str],
    now: float,
) -> Fields:
    """The status of a share; `served` is whether its owner's center can hand the data out."""
    spec, before, generation = known.share.spec, known.status, known.generation

    def made(kind: str, status: bool | None, reason: Reason, message: str) -> Fields:
        return condition(before, kind, status, reason, message, generation=generation, now=now)

    published = bool(spec.versions)
    accepted = (
        (True, Reason.PUBLISHED, "Versions can be named by jobs.")
        if published
        else (False, Reason.NOTHING_PUBLISHED, "`kubectl huiju dataset publish` adds a version.")
    )
    met = "; ".join(f"{s['rule']}: {s['have']} of {s['want']}, {s['message']}" for s in shortfalls)
    reason = Reason(shortfalls[0]["reason"]) if shortfalls else Reason.COPIES_MET
    standings = list(grants)
    fields: Fields = {
        "observedGeneration": generation,
        "conditions": [
            made("Published", *accepted),
            made("Served", *served),
            made("CopiesMet", not shortfalls, reason, met or "Every copy rule is met."),
        ],
        "copies": sum(replica.verified for replica in replicas),
        "grants": sum(standing.active for _, standing in standings),
        "requests": _requests(standings),
        "shortfalls": shortfalls,
    }
    if spec.versions:
        fields["latest"] = spec.versions[-1].name
    return fields


def shortfall_fields(short: Shortfall) -> Fields:
    """A copy rule that is not met, as the API has it."""
    return {
        "rule": short.rule,
        "have": short.have,
        "want": short.want,
        "reason": str(short.reason),
        "message": short.message[:_LONGEST],
    }


def _requests(standings: list[tuple[KnownGrant, Standing]]) -> list[Fields]:
    waiting = [
        (known.body.metadata.creation_timestamp, known.grant)
        for known, standing in standings
        if standing.reason is Reason.GRANT_REQUESTED
    ]
    waiting.sort(key=lambda each: (each[0], each[1].key))
    return [_request(grant, since) for since, grant in waiting[:_MOST_REQUESTS]]


def _request(grant: Grant, since: str) -> Fields:
    return {
        "namespace": grant.namespace,
        "name": grant.name,
        "requestedBy": grant.spec.requested_by,
        "purpose": grant.spec.purpose,
        "since": since,
    }
