"""What is ordered for a replica, and what its center's word makes of it, from facts alone."""

from __future__ import annotations

from typing import Any

import pytest

from huiju.api.dataset import DatasetReplicaSpec, DatasetReplicaStatus
from huiju.api.reasons import Reason
from huiju.api.transfer import CenterCopySpec, CenterServingSpec
from huiju.data.access import grant_of, share_of
from huiju.hub.clock import seconds
from huiju.hub.datasets.catalog import Body, Meta, Replica
from huiju.hub.datasets.orders import (
    Terms,
    copy_spec,
    failed,
    followed,
    mode_of,
    on_behalf,
    retry_at,
    serving_spec,
    worth_writing,
)

NOW = 1_800_000_000.0
DIGEST = "sha256:" + "1" * 64
SHARE = share_of(
    {
        "metadata": {"namespace": "owners", "name": "corpus", "uid": "s1"},
        "spec": {
            "license": "MIT",
            "signingKey": "PEM",
            "source": {"center": "west", "files": {"path": "/exports"}},
        },
    }
)


def replica(phase: str, *, spec: dict[str, Any] | None = None, **status: Any) -> Replica:
    given = {
        "dataset": {"namespace": "owners", "name": "corpus"},
        "shareUid": "s1",
        "version": "v1",
        "manifestDigest": DIGEST,
        "bytes": 100,
        "files": 2,
        "center": "north",
        **(spec or {}),
    }
    meta = Meta("corpus-1", "u1", "owners", "7", 3)
    told = {"phase": phase, "epoch": 4, "source": "west", "attempt": 0, **status}
    return Replica(Body(meta, given, told), DatasetReplicaSpec.model_validate(given))


def said(state: str, mode: str = "Pull", **more: Any) -> dict[str, Any]:
    return {"epoch": 4, "mode": mode, "state": state, **more}


def told(found: dict[str, Any] | None) -> tuple[str, str]:
    assert found is not None
    DatasetReplicaStatus.model_validate(found)
    return found["phase"], found["conditions"][0]["reason"]


@pytest.mark.parametrize(
    ("phase", "more", "mode"),
    [
        ("Copying", {}, "Pull"),
        ("Copying", {"repair": True}, "Repair"),
        ("Copying", {"epoch": 0}, None),
        ("Verifying", {}, "Verify"),
        ("Evicting", {}, "Remove"),
        ("Verified", {}, None),
        ("Failed", {}, None),
        ("Waiting", {}, None),
    ],
)
def test_what_is_to_be_done_follows_from_the_phase(
    phase: str, more: dict[str, Any], mode: str | None
) -> None:
    assert mode_of(replica(phase, **more)) == mode


def test_the_order_is_one_that_the_api_takes() -> None:
    terms = Terms(50, ((22, 24), (0, 6)), "Asia/Shanghai")
    spec = CenterCopySpec.model_validate(copy_spec(replica("Copying"), SHARE, "Pull", terms))
    assert (spec.epoch, spec.mode, spec.source, spec.rate) == (4, "Pull", "west", 50)
    assert spec.signing_key == "PEM"
    assert [(w.from_hour, w.to_hour) for w in spec.windows] == [(22, 24), (0, 6)]
    assert spec.folder.startswith("huiju-data/s1/")


def test_links_are_asked_for_on_behalf_of_those_who_want_the_copy() -> None:
    grants = [
        grant_of(
            {
                "metadata": {"namespace": space, "name": f"corpus-{space}"},
                "spec": {
                    "dataset": {"namespace": "owners", "name": "corpus"},
                    "requestedBy": "li",
                    "acceptedLicense": "MIT",
                },
            }
        )
        for space in ("team-b", "team-c")
    ]
    need = {"seq": 1, "first": 0, "count": 10, "publicKey": "k"}
    one = replica("Copying", pinnedBy=["job team-b/train"])
    spec = CenterServingSpec.model_validate(serving_spec(one, SHARE, grants, need))
    assert spec.namespaces == ["team-b"]
    assert [ref.name for ref in spec.grants] == ["corpus-team-b"]
    assert spec.replica is not None
    assert (spec.replica.namespace, spec.jobs) == ("owners", [])
    mine = replica("Copying", pinnedBy=["job owners/train", "job team-b/train", "rule near"])
    spec = CenterServingSpec.model_validate(serving_spec(mine, SHARE, grants, need))
    assert [(job.namespace, job.name) for job in spec.jobs] == [("owners", "train")]
    assert on_behalf(replica("Copying", pinnedBy=["job b/t", "rule near"])) == ["b", "owners"]
    assert on_behalf(replica("Copying", spec={"wanted": True})) == ["owners"]
    assert on_behalf(replica("Copying")) == []


def test_what_is_said_of_another_transfer_changes_nothing() -> None:
    for other in ({"epoch": 3}, {"mode": "Repair"}, {}):
        status = said("Done", digest=DIGEST) | other if other else {}
        assert followed(replica("Copying"), status, NOW) is None
    assert followed(replica("Verified"), said("Done", digest=DIGEST), NOW) is None


def test_verified_by_the_digest_that_was_asked_for() -> None:
    end = said(
        "Done",
        digest=DIGEST,
        bytesDone=100,
        bytesTotal=100,
        filesDone=2,
        startedAt="2027-01-15T07:00:00.000000Z",
        endedAt="2027-01-15T07:00:30.400000Z",
    )
    found = followed(replica("Copying", attempt=2, retryAt="x", lastError={}), end, NOW)
    assert told(found) == ("Verified", "Verified")
    assert found is not None
    assert (found["seconds"], found["attempt"], found["verifiedDigest"]) == (30, 0, DIGEST)
    assert "lastError" not in found
    other = followed(replica("Copying"), end | {"digest": "sha256:" + "2" * 64}, NOW)
    assert told(other) == ("Failed", "ChecksumMismatch")
    part = followed(
        replica("Copying", spec={"include": ["a/*"]}), end | {"digest": "sha256:" + "2" * 64}, NOW
    )
    assert told(part) == ("Verified", "Verified")


def test_failures_are_tried_again_later_each_time() -> None:
    error = said("Failed", reason="SourceChanged", message="size", path="a/b")
    pauses = []
    for attempt in range(12):
        found = followed(replica("Copying", attempt=attempt), error, NOW)
        assert told(found) == ("Failed", "SourceChanged")
        assert found is not None
        assert found["attempt"] == attempt + 1
        assert found["lastError"]["path"] == "a/b"
        pauses.append(seconds(found["retryAt"]) - NOW)
    assert pauses == sorted(pauses)
    assert pauses[0] == 15
    assert pauses[-1] == 1800
    barred = followed(
        replica("Copying"), said("Failed", reason="GrantRevoked", message="ended"), NOW
    )
    assert barred is not None
    assert seconds(barred["retryAt"]) - NOW == 60


def test_a_copy_that_is_found_wrong_is_mended_at_once() -> None:
    bad = said("Failed", "Verify", reason="ChecksumMismatch", message="1 of 2", path="a")
    found = followed(replica("Verifying"), bad, NOW)
    assert told(found) == ("Failed", "ChecksumMismatch")
    assert found is not None
    assert found["repair"] is True
    assert seconds(found["retryAt"]) == NOW
    lost = said("Failed", "Verify", reason="TransferFailed", message="its node was lost")
    found = followed(replica("Verifying"), lost, NOW)
    assert told(found) == ("Verified", "Verified")  # as it was, and checked again later
    assert found is not None
    assert "checked" not in found
    assert seconds(found["retryAt"]) > NOW
    gone = said("Failed", "Verify", reason="ManifestMissing", message="no copy")
    found = followed(replica("Verifying"), gone, NOW)
    assert found is not None
    assert "repair" not in found


def test_a_check_keeps_what_was_learned_of_the_link() -> None:
    good = said("Done", "Verify", digest=DIGEST)
    found = followed(
        replica("Verifying", spec={"verify": 3}, seconds=77, bytesTotal=100, filesDone=2), good, NOW
    )
    assert found is not None
    assert told(found) == ("Verified", "Verified")
    assert (found["seconds"], found["checked"], found["bytesTotal"]) == (77, 3, 100)


def test_on_its_way() -> None:
    moving = said("Running", bytesDone=40, bytesTotal=100, filesDone=1, rate=6)
    found = followed(replica("Copying", window="x"), moving, NOW)
    assert told(found) == ("Copying", "Copying")
    assert found is not None
    assert seconds(found["eta"]) == NOW + 10
    assert "window" not in found
    closed = said("Waiting", until="2027-01-15T22:00:00.000000Z", bytesDone=40, bytesTotal=100)
    found = followed(found_as("Copying", found), closed, NOW)
    assert told(found) == ("Copying", "WindowClosed")
    assert found is not None
    assert found["window"] == "2027-01-15T22:00:00Z"
    assert "eta" not in found
    waits = followed(replica("Copying"), said("Pending", message="ImagePullBackOff"), NOW)
    assert waits is not None
    assert waits["conditions"][0]["message"] == "ImagePullBackOff"


def found_as(phase: str, status: dict[str, Any]) -> Replica:
    return replica(phase, **{k: v for k, v in status.items() if k != "phase"})


def test_removed_and_a_removal_that_fails() -> None:
    assert told(followed(replica("Evicting"), said("Removed", "Remove"), NOW))[0] == "Gone"
    error = said("Failed", "Remove", reason="PermissionDenied", message="denied")
    found = followed(replica("Evicting"), error, NOW)
    assert found is not None
    assert found["phase"] == "Evicting"
    assert found["attempt"] == 1
    again = followed(found_as("Evicting", found), error, NOW + 1)
    assert again is not None
    assert again["attempt"] == 1


def test_little_news_is_written_seldom() -> None:
    before = {"phase": "Copying", "bytesDone": 0, "bytesTotal": 1000}
    little, much = before | {"bytesDone": 5}, before | {"bytesDone": 20}
    assert not worth_writing(before, little, NOW, NOW + 2, 5.0)
    assert worth_writing(before, little, NOW, NOW + 5, 5.0)
    assert worth_writing(before, much, NOW, NOW + 1, 5.0)
    assert not worth_writing(before, much, NOW, NOW + 0.5, 5.0)
    assert worth_writing(before, before | {"phase": "Verified"}, NOW, NOW, 5.0)


@pytest.mark.parametrize("attempt", [0, 3, 30])
def test_a_copy_waits_for_no_time_that_a_clock_which_ran_ahead_wrote(attempt: int) -> None:
    """A failed transfer's retry is waited for, unless it is further away than any pause."""
    before = replica("Copying", attempt=attempt)
    after = replica(**failed(before, Reason.TRANSFER_FAILED, "no", "", NOW))
    assert NOW < retry_at(after, NOW) <= NOW + 1800
    assert retry_at(after, NOW - 3600) == 0
