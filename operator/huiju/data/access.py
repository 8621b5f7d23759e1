"""Who may use a data set, and where it may lie: asked at the grant, at placement, at each signing.

Pure, and the same function on the hub and in the center that serves the data, each with its own
clock. Decides nothing about bytes. Invariants: what is not named is denied; a refusal by residency
is relaxed by nothing; nobody decides on a request of their own; what was denied, revoked or has
expired stays so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from huiju.api.dataset import (
    DatasetGrantSpec,
    DatasetShareSpec,
    Decision,
    GrantState,
    Version,
)
from huiju.api.durations import parse_duration
from huiju.api.reasons import Reason
from huiju.scheduling.filter import matches

LATEST: Final = "latest"
WITHDRAWS: Final = frozenset(
    {
        Reason.GRANT_REQUESTED,
        Reason.GRANT_DENIED,
        Reason.GRANT_SUSPENDED,
        Reason.GRANT_REVOKED,
        Reason.GRANT_EXPIRED,
        Reason.NO_GRANT,
        Reason.PERMISSION_DENIED,
        Reason.UNKNOWN_DATASET,
        Reason.RESIDENCY_FORBIDS,
    }
)
"""Refusals that take from running jobs what they have. A new license is none: it binds those who
come after it."""
AUTOMATIC: Final = "automatic"


@dataclass(frozen=True, slots=True)
class Refused:
    """Why not, in a word and for a person."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Share:
    """A DatasetShare as its owner wrote it."""

    namespace: str
    name: str
    uid: str
    spec: DatasetShareSpec

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Grant:
    """A DatasetGrant and what its status remembers."""

    namespace: str
    name: str
    spec: DatasetGrantSpec
    granted_at: float = 0.0
    """When it became active first, 0 for never; the longest life is counted from here."""

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Standing:
    """What a grant is worth at a moment."""

    state: GrantState
    reason: Reason
    message: str
    decided_by: str = ""
    expires_at: float | None = None

    @property
    def active(self) -> bool:
        """Whether jobs may use the data now."""
        return self.state == "Active"


@dataclass(frozen=True, slots=True)
class Place:
    """What is said of a center where data may come to lie."""

    name: str
    region: str
    residency: frozenset[str] = frozenset()


def may_see(share: Share, namespace: str) -> bool:
    """Whether people of the namespace may know that the share exists."""
    allowed = tuple(share.spec.access.namespaces)
    return namespace == share.namespace or matches(allowed, namespace)


def version_of(spec: DatasetShareSpec, name: str) -> Version | Refused:
    """The version that a version's or a channel's name, or `latest`, means now."""
    channels = {channel.name: channel.version for channel in spec.channels}
    wanted = channels.get(name, name)
    usable = [version for version in spec.versions if version.name not in spec.retired]
    if wanted == LATEST and usable:
        return usable[-1]
    for version in usable:
        if version.name == wanted:
            return version
    known = ", ".join([*(version.name for version in usable), *channels]) or "none"
    retired = " is retired" if wanted in spec.retired else " does not exist"
    return Refused(Reason.UNKNOWN_VERSION, f"version {name!r}{retired}; there are {known}")


def license_of(spec: DatasetShareSpec, version: Version) -> str:
    """The license of a version."""
    return version.license or spec.license


def judge_grant(share: Share | None, grant: Grant, now: float) -> Standing:
    """What the grant is worth now; `share` is None where there is none of that name."""
    if share is None:
        ref = grant.spec.dataset
        message = f"there is no DatasetShare {ref.namespace}/{ref.name}, or none for this namespace"
        return Standing("Requested", Reason.UNKNOWN_DATASET, message)
    decision = grant.spec.decision
    decided_by = decision.by if decision is not None else ""
    word = _word(decision) if decision is not None else ""
    match decision.decision if decision is not None else None:
        case "Denied":
            return Standing("Denied", Reason.GRANT_DENIED, f"Denied{word}", decided_by)
        case "Revoked":
            return Standing("Revoked", Reason.GRANT_REVOKED, f"Revoked{word}", decided_by)
        case _:
            pass
    ends = _ends(share.spec, grant)
    if ends is not None and now >= ends:
        return Standing("Expired", Reason.GRANT_EXPIRED, "Its time is over.", decided_by, ends)
    barred = _terms(share, grant)
    if barred is not None:
        state: GrantState = "Suspended" if grant.granted_at else "Requested"
        return Standing(state, barred.reason, barred.message, decided_by, ends)
    match decision.decision if decision is not None else None:
        case "Suspended":
            return Standing(
                "Suspended", Reason.GRANT_SUSPENDED, f"Suspended{word}", decided_by, ends
            )
        case None if share.spec.approval == "Manual":
            message = f"Waits for a decision of the owners of {share.key}."
            return Standing("Requested", Reason.GRANT_REQUESTED, message, "", ends)
        case _:
            decided_by = decided_by or AUTOMATIC
    if not share.spec.versions:
        message = "Agreed; nothing is published yet."
        return Standing("Agreed", Reason.NOTHING_PUBLISHED, message, decided_by, ends)
    return Standing("Active", Reason.GRANT_ACTIVE, f"Agreed by {decided_by}.", decided_by, ends)


def _word(decision: Decision) -> str:
    return f" by {decision.by}" + (f": {decision.reason}" if decision.reason else "")


def _ends(spec: DatasetShareSpec, grant: Grant) -> float | None:
    ends = []
    if grant.spec.expires_at is not None:
        ends.append(datetime.fromisoformat(grant.spec.expires_at).timestamp())
    if spec.grant_lifetime is not None and grant.granted_at:
        ends.append(grant.granted_at + parse_duration(spec.grant_lifetime))
    return min(ends, default=None)


def _terms(share: Share, grant: Grant) -> Refused | None:
    """Why the share's own terms do not let this namespace and purpose in."""
    if not may_see(share, grant.namespace):
        # No word of the share's terms: who may not see it learns nothing of it.
        ref = grant.spec.dataset
        message = f"there is no DatasetShare {ref.namespace}/{ref.name}, or none for this namespace"
        return Refused(Reason.UNKNOWN_DATASET, message)
    purposes = share.spec.access.purposes
    if purposes and grant.spec.purpose not in purposes:
        allowed = ", ".join(purposes)
        message = f"purpose {grant.spec.purpose} is not allowed, only {allowed}"
        return Refused(Reason.PERMISSION_DENIED, message)
    return None


def may_lie(spec: DatasetShareSpec, place: Place) -> Refused | None:
    """Why no copy may lie in a center."""
    residency = spec.residency
    where = f"region {place.region}"
    if place.region in residency.exclude_regions:
        return Refused(Reason.RESIDENCY_FORBIDS, f"the data must not lie in {where}")
    if residency.regions and place.region not in residency.regions:
        allowed = ", ".join(residency.regions)
        return Refused(
            Reason.RESIDENCY_FORBIDS, f"is in {where}, the data may lie in {allowed} only"
        )
    missing = [each for each in residency.classes if each not in place.residency]
    if missing:
        granted = ", ".join(sorted(place.residency)) or "none"
        return Refused(
            Reason.RESIDENCY_FORBIDS,
            f"the data must stay in {', '.join(missing)}, the center grants {granted}",
        )
    if not matches(tuple(spec.access.centers), place.name) and place.name != spec.source.center:
        return Refused(Reason.PERMISSION_DENIED, "spec.access.centers of the share leave it out")
    return None


def may_use(
    share: Share, grant: Grant | None, namespace: str, version: Version, place: Place, now: float
) -> Refused | None:
    """Why jobs of a namespace may not use a version in a center, None where they may.

    The share's own namespace needs no grant; residency binds it all the same.
    """
    barred = may_lie(share.spec, place)
    if barred is not None:
        return barred
    if namespace == share.namespace:
        return None
    if grant is None or grant.namespace != namespace:
        return Refused(
            Reason.NO_GRANT,
            f"namespace {namespace} has no grant for {share.key}; ask for one with"
            f" `kubectl huiju dataset grant {share.key} -n {namespace}`",
        )
    ref = grant.spec.dataset
    if (ref.namespace, ref.name) != (share.namespace, share.name):
        return Refused(Reason.NO_GRANT, f"grant {grant.key} is for {ref.namespace}/{ref.name}")
    standing = judge_grant(share, grant, now)
    if not standing.active:
        return Refused(standing.reason, f"grant {grant.key}: {standing.message}")
    if grant.spec.centers and place.name not in grant.spec.centers:
        allowed = ", ".join(grant.spec.centers)
        return Refused(
            Reason.PERMISSION_DENIED, f"grant {grant.key} is for {allowed}, not {place.name}"
        )
    wanted = license_of(share.spec, version)
    if grant.spec.accepted_license != wanted:
        return Refused(
            Reason.LICENSE_NOT_ACCEPTED,
            f"grant {grant.key} accepts {grant.spec.accepted_license or 'no license'},"
            f" version {version.name} has {wanted}",
        )
    return None


def best_grant(share: Share, grants: Iterable[Grant], namespace: str, now: float) -> Grant | None:
    """The grant of the namespace for the share that is worth most now."""
    order = ("Active", "Agreed", "Suspended", "Requested", "Expired", "Revoked", "Denied")
    ours = [
        grant
        for grant in grants
        if grant.namespace == namespace
        and (grant.spec.dataset.namespace, grant.spec.dataset.name) == (share.namespace, share.name)
    ]
    ranked = sorted(ours, key=lambda g: (order.index(judge_grant(share, g, now).state), g.name))
    return ranked[0] if ranked else None


def share_of(body: Mapping[str, Any]) -> Share:
    """A share from its object; raises pydantic's ValidationError where it makes no sense."""
    meta = body["metadata"]
    spec = DatasetShareSpec.model_validate(body.get("spec") or {})
    return Share(str(meta.get("namespace", "")), str(meta["name"]), str(meta.get("uid", "")), spec)


def grant_of(body: Mapping[str, Any]) -> Grant:
    """A grant from its object; raises pydantic's ValidationError where it makes no sense."""
    meta = body["metadata"]
    spec = DatasetGrantSpec.model_validate(body.get("spec") or {})
    granted = str((body.get("status") or {}).get("grantedAt") or "")
    at = datetime.fromisoformat(granted).timestamp() if granted else 0.0
    return Grant(str(meta.get("namespace", "")), str(meta["name"]), spec, at)
