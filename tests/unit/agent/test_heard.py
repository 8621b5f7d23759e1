"""What a puller's lines come to, from lines alone."""

from __future__ import annotations

import json
from typing import Any

from huiju.agent.heard import Heard, heard_before
from huiju.api.transfer import CenterCopySpec, CenterCopyStatus

SPEC = CenterCopySpec.model_validate(
    {
        "replica": {"namespace": "team-a", "name": "corpus-1"},
        "epoch": 2,
        "mode": "Pull",
        "source": "west",
        "digest": "sha256:" + "1" * 64,
        "folder": "huiju-data/u/f",
        "bytes": 100,
    }
)


def line(event: str, at: float, **fields: Any) -> str:
    return json.dumps({"event": event, "replica": "u1", "epoch": 2, "at": at, **fields})


def heard(*lines: str, pod: str = "p1") -> Heard:
    made = Heard("u1", 2, "Pull")
    for each in lines:
        made.line(each, pod)
    return made


def progress(at: float, done: int) -> str:
    return line(
        "progress", at, bytesDone=done, bytesTotal=100, filesDone=1, filesTotal=4, rate=7, limit=9
    )


def test_progress_needs_and_the_end() -> None:
    need = {"seq": 5, "first": 0, "count": 5000, "publicKey": "k"}
    made = heard(line("need", 10.0, **need), progress(11.0, 60))
    status = made.status({}, 3, 20.0)
    assert status["state"] == "Running"
    assert status["need"] == need
    assert (status["bytesDone"], status["limit"], status["filesTotal"]) == (60, 9, 4)
    assert status["conditions"][0]["reason"] == "Copying"
    made.line(line("done", 15.0, digest="d", bytes=100, files=4, verifiedAt="x", fetched=1), "p1")
    status = made.status(status, 3, 21.0)
    assert (status["state"], status["digest"], status["bytesDone"]) == ("Done", "d", 100)
    assert status["conditions"][0]["status"] == "True"
    CenterCopyStatus.model_validate(status)


def test_time_for_which_the_link_was_closed_is_left_out() -> None:
    made = heard(
        progress(100.0, 1),
        line("waiting", 110.0, reason="WindowClosed", until=5000.0),
        progress(5000.0, 2),
        line("done", 5005.0, digest="d", bytes=100, files=4),
    )
    status = made.status({}, 1, 0.0)
    assert status["startedAt"].endswith("00:01:40.000000Z")
    assert status["endedAt"].endswith("00:01:55.000000Z")


def test_a_closed_link_is_told_with_its_opening() -> None:
    made = heard(line("waiting", 110.0, reason="WindowClosed", until=5000.0))
    status = made.status({}, 1, 0.0)
    assert (status["state"], status["rate"]) == ("Waiting", 0)
    assert status["until"].endswith("01:23:20.000000Z")


def test_what_is_read_again_or_of_another_transfer_says_nothing() -> None:
    made = heard(progress(11.0, 60), progress(12.0, 70))
    for again in (
        progress(11.0, 60),
        "no json",
        "[]",
        json.dumps({"event": "done", "replica": "u2", "epoch": 2, "at": 99}),
        json.dumps({"event": "done", "replica": "u1", "epoch": 1, "at": 99}),
    ):
        made.line(again, "p1")
    assert made.status({}, 1, 0.0)["bytesDone"] == 70
    assert not made.over


def test_another_pod_may_have_another_clock() -> None:
    made = heard(progress(500.0, 60))
    made.line(progress(20.0, 61), "p2")
    assert made.status({}, 1, 0.0)["bytesDone"] == 61


def test_the_last_word_stands() -> None:
    made = heard(line("failed", 5.0, reason="ChecksumMismatch", message="bad", path="a/b"))
    made.line(line("done", 6.0, digest="d", bytes=1, files=1), "p1")
    status = made.status({}, 1, 0.0)
    assert (status["state"], status["reason"], status["path"]) == (
        "Failed",
        "ChecksumMismatch",
        "a/b",
    )
    assert heard_before("u1", SPEC, status).over
    other = SPEC.model_copy(update={"epoch": 3})
    assert heard_before("u1", other, status).state == "Pending"


def test_two_lines_of_one_moment_are_both_heard() -> None:
    made = Heard("u1", 2, "Verify")
    made.line(line("verified", 5.0, files=4, bad=1, digest="d"), "p1")
    assert not made.over
    made.line(line("failed", 5.0, reason="ChecksumMismatch", message="1 of 4", path="a"), "p1")
    assert made.status({}, 1, 0.0)["reason"] == "ChecksumMismatch"


def test_an_unknown_reason_is_a_failed_transfer() -> None:
    made = heard(line("failed", 5.0, reason="Fenced", message="another has it"))
    assert made.status({}, 1, 0.0)["reason"] == "TransferFailed"


def test_why_the_pod_waits_is_told_until_it_speaks() -> None:
    made = Heard("u1", 2, "Pull")
    made.pending("ImagePullBackOff")
    assert made.status({}, 1, 0.0)["message"] == "ImagePullBackOff"
    made.line(progress(1.0, 1), "p1")
    made.pending("late")
    assert "message" not in made.status({}, 1, 0.0)


def test_what_came_over_the_network_adds_up_over_pods() -> None:
    made = heard(line("progress", 1, bytesDone=10, bytesTotal=100, fetched=12))
    made.line(line("progress", 2, bytesDone=15, bytesTotal=100, fetched=5), "p2")
    made.line(line("done", 3, digest="sha256:1", bytes=100, files=1, fetched=90), "p2")
    status = made.status({}, 1, 4)
    assert status["fetched"] == 102
    CenterCopyStatus.model_validate(status)
