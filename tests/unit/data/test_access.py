"""Who may use data and where it may lie: default deny, and nothing relaxes a refusal."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from huiju.api.reasons import Reason
from huiju.data import access
from huiju.data.access import Grant, Place, Share

NOW = datetime(2026, 11, 26, tzinfo=UTC).timestamp()
DIGEST = "sha256:" + "a" * 64
SOUTH = Place("guiyang", "south", frozenset({"domestic"}))
NORTH = Place("ulanqab", "north", frozenset({"domestic"}))
ABROAD = Place("singapore", "abroad")


def version(name: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "manifestDigest": DIGEST,
        "bytes": 10,
        "files": 1,
        "createdAt": "2026-01-01T00:00:00Z",
        **more,
    }


def share(**spec: Any) -> Share:
    base = {
        "license": "CC-BY-4.0",
        "source": {"center": "guiyang", "files": {"path": "/exports"}},
        "versions": [version("v1"), version("v2")],
        "access": {"namespaces": ["team-*"]},
    }
    meta = {"namespace": "owners", "name": "corpus", "uid": "u1"}
    return access.share_of({"metadata": meta, "spec": base | spec})


def grant(decision: str | None = "Approved", at: float = 0.0, **spec: Any) -> Grant:
    base: dict[str, Any] = {
        "dataset": {"namespace": "owners", "name": "corpus"},
        "requestedBy": "li",
        "acceptedLicense": "CC-BY-4.0",
    }
    if decision is not None:
        base["decision"] = {"decision": decision, "by": "wang"}
    status = {"grantedAt": datetime.fromtimestamp(at, UTC).isoformat()} if at else {}
    meta = {"namespace": "team-b", "name": "corpus"}
    return access.grant_of({"metadata": meta, "spec": base | spec, "status": status})


def use(owner: Share, given: Grant | None, place: Place = SOUTH, who: str = "team-b") -> Any:
    wanted = access.version_of(owner.spec, "latest")
    assert not isinstance(wanted, access.Refused)
    refused = access.may_use(owner, given, who, wanted, place, NOW)
    return refused.reason if refused is not None else None


def test_without_a_grant_nobody_but_the_owner_may() -> None:
    assert use(share(), None) == Reason.NO_GRANT
    assert use(share(), None, who="owners") is None


@pytest.mark.parametrize(
    ("decision", "state", "reason"),
    [
        (None, "Requested", Reason.GRANT_REQUESTED),
        ("Approved", "Active", None),
        ("Denied", "Denied", Reason.GRANT_DENIED),
        ("Suspended", "Suspended", Reason.GRANT_SUSPENDED),
        ("Revoked", "Revoked", Reason.GRANT_REVOKED),
    ],
)
def test_a_grant_is_worth_what_the_owner_says(
    decision: str | None, state: str, reason: Reason | None
) -> None:
    assert access.judge_grant(share(), grant(decision), NOW).state == state
    assert use(share(), grant(decision)) == reason


def test_public_data_needs_no_person() -> None:
    standing = access.judge_grant(share(approval="Automatic"), grant(None), NOW)
    assert (standing.state, standing.decided_by) == ("Active", "automatic")


def test_agreed_before_anything_is_published() -> None:
    assert access.judge_grant(share(versions=[]), grant(), NOW).state == "Agreed"


def test_a_grant_ends_by_its_own_date_and_by_the_longest_life_that_the_share_allows() -> None:
    assert use(share(), grant(expiresAt="2026-11-25T00:00:00Z")) == Reason.GRANT_EXPIRED
    assert use(share(), grant(expiresAt="2026-11-27T00:00:00Z")) is None
    short = share(grantLifetime="1d")
    assert use(short, grant(at=NOW - 2 * 86_400)) == Reason.GRANT_EXPIRED
    assert use(short, grant(at=NOW - 3600)) is None
    standing = access.judge_grant(short, grant(at=NOW - 3600), NOW)
    assert standing.expires_at == NOW - 3600 + 86_400


def test_what_was_revoked_stays_so_after_its_end() -> None:
    late = grant("Revoked", expiresAt="2026-01-01T00:00:00Z")
    assert access.judge_grant(share(), late, NOW).state == "Revoked"


def test_terms_that_change_suspend_what_was_active() -> None:
    closed = share(access={"namespaces": ["team-a"]})
    assert access.judge_grant(closed, grant(at=NOW - 60), NOW).state == "Suspended"
    assert use(closed, grant(at=NOW - 60)) == Reason.UNKNOWN_DATASET


def test_who_may_not_see_a_share_learns_nothing_of_it() -> None:
    hidden = share(access={"namespaces": ["team-a"]}, description="very secret")
    assert not access.may_see(hidden, "team-b")
    there = access.judge_grant(hidden, grant(), NOW)
    nowhere = access.judge_grant(None, grant(), NOW)
    assert (there.reason, there.message) == (nowhere.reason, nowhere.message)


def test_purposes_and_centers_bind() -> None:
    narrow = share(access={"namespaces": ["team-b"], "purposes": ["research"]})
    assert use(narrow, grant(purpose="ads")) == Reason.PERMISSION_DENIED
    assert use(narrow, grant(purpose="research")) is None
    assert use(share(), grant(centers=["ulanqab"])) == Reason.PERMISSION_DENIED
    assert use(share(), grant(centers=["ulanqab"]), NORTH) is None
    barred = share(access={"namespaces": ["*"], "centers": ["guiyang"]})
    assert use(barred, grant(), NORTH) == Reason.PERMISSION_DENIED


@pytest.mark.parametrize(
    ("residency", "place", "refused"),
    [
        ({"regions": ["south"]}, NORTH, True),
        ({"regions": ["south"]}, SOUTH, False),
        ({"excludeRegions": ["north"]}, NORTH, True),
        ({"classes": ["domestic"]}, ABROAD, True),
        ({"classes": ["domestic"]}, NORTH, False),
        ({}, ABROAD, False),
    ],
)
def test_residency_binds_everybody_the_owner_too(
    residency: dict[str, Any], place: Place, refused: bool
) -> None:
    owner = share(residency=residency)
    expected = Reason.RESIDENCY_FORBIDS if refused else None
    assert use(owner, grant(), place) == expected
    assert use(owner, None, place, who="owners") == expected


def test_a_license_that_changed_between_versions_must_be_accepted_anew() -> None:
    changed = share(versions=[version("v1"), version("v2", license="CC-BY-NC-4.0")])
    assert use(changed, grant()) == Reason.LICENSE_NOT_ACCEPTED
    assert use(changed, grant(acceptedLicense="CC-BY-NC-4.0")) is None


def test_a_grant_for_another_share_is_none() -> None:
    other = grant(dataset={"namespace": "owners", "name": "other"})
    assert use(share(), other) == Reason.NO_GRANT


def test_channels_move_and_retired_versions_are_given_to_nobody() -> None:
    owner = share(channels=[{"name": "stable", "version": "v1"}])
    named = access.version_of(owner.spec, "stable")
    assert not isinstance(named, access.Refused)
    assert named.name == "v1"
    retired = share(retired=["v2"])
    latest = access.version_of(retired.spec, "latest")
    assert not isinstance(latest, access.Refused)
    assert latest.name == "v1"
    refused = access.version_of(retired.spec, "v2")
    assert isinstance(refused, access.Refused)
    assert "retired" in refused.message


def test_the_grant_that_is_worth_most_counts() -> None:
    grants = [grant("Revoked"), grant("Approved"), grant(None)]
    best = access.best_grant(share(), grants, "team-b", NOW)
    assert best is grants[1]
    assert access.best_grant(share(), grants, "team-c", NOW) is None
