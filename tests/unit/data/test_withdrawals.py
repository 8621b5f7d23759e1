"""For whom a copy was made, and when none of them may use it any more."""

from __future__ import annotations

from typing import Any

import pytest

from huiju.api.dataset import DatasetReplicaSpec
from huiju.api.reasons import Reason
from huiju.data import access
from huiju.data.access import Grant, Place
from huiju.hub.clock import stamp
from huiju.hub.datasets.catalog import Body, Meta, Replica
from huiju.hub.datasets.replicas import kept
from huiju.hub.datasets.withdrawals import barred
from tests.copy_worlds import NOW, share

HERE = Place("n1", "north")
SHARE = share(access={"namespaces": ["*"]})


def replica(*users: str, **status: Any) -> Replica:
    spec = {
        "dataset": {"namespace": "owners", "name": "corpus-u1"},
        "shareUid": "u1",
        "version": "v1",
        "manifestDigest": SHARE.spec.versions[0].manifest_digest,
        "bytes": 10,
        "files": 1,
        "center": "n1",
    }
    meta = Meta("corpus-v1-n1", "r1", "owners", "7", 1)
    fields = {"phase": "Verified", "usedBy": list(users), **status}
    return Replica(Body(meta, spec, fields), DatasetReplicaSpec.model_validate(spec))


def grant(space: str, decision: str = "Approved", **spec: Any) -> Grant:
    return access.grant_of(
        {
            "metadata": {"namespace": space, "name": "corpus"},
            "spec": {
                "dataset": {"namespace": "owners", "name": "corpus-u1"},
                "requestedBy": "li",
                "acceptedLicense": "CC0-1.0",
                "decision": {"decision": decision, "by": "wang"},
                **spec,
            },
        }
    )


@pytest.mark.parametrize(
    ("grants", "reason"),
    [
        ([grant("team-a", "Revoked")], Reason.GRANT_REVOKED),
        ([grant("team-a", "Suspended")], Reason.GRANT_SUSPENDED),
        ([grant("team-a", expiresAt=stamp(NOW - 1))], Reason.GRANT_EXPIRED),
        ([grant("team-a", centers=["n2"])], Reason.PERMISSION_DENIED),
        ([], Reason.NO_GRANT),
    ],
)
def test_who_lost_the_right_bars_the_copy(grants: list[Grant], reason: Reason) -> None:
    found = barred(replica("team-a"), SHARE, grants, HERE, NOW)
    assert found is not None
    assert found.reason is reason


def test_one_that_may_use_it_is_enough() -> None:
    grants = [grant("team-a", "Revoked"), grant("team-b")]
    assert barred(replica("team-a", "team-b"), SHARE, grants, HERE, NOW) is None
    assert barred(replica("team-a", "owners"), SHARE, grants, HERE, NOW) is None
    assert barred(replica("team-a"), SHARE, grants, HERE, NOW) is not None


def test_a_copy_that_was_made_for_no_job_is_not_barred() -> None:
    assert barred(replica(), SHARE, [], HERE, NOW) is None


def test_a_new_license_binds_new_jobs_and_takes_nothing_away() -> None:
    grants = [grant("team-a", acceptedLicense="MIT")]
    assert barred(replica("team-a"), SHARE, grants, HERE, NOW) is None


def test_users_and_the_beginning_of_the_grace_are_written_once() -> None:
    first = kept(replica("team-b"), ["job team-a/train", "rule near"], False, NOW)
    assert first["usedBy"] == ["team-a", "team-b"]
    since = kept(replica("team-a"), [], True, NOW)
    assert since["barredAt"] == stamp(NOW)
    later = kept(replica("team-a", barredAt=stamp(NOW)), [], True, NOW + 60)
    assert later["barredAt"] == stamp(NOW)
    assert "barredAt" not in kept(replica("team-a", barredAt=stamp(NOW)), [], False, NOW)
