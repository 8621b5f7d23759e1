"""The hub's side of a mailbox, as far as it needs no server."""

from __future__ import annotations

from typing import Any

import msgspec

from huiju.centers.mailbox import Work
from huiju.centers.names import MOST_EPOCH
from huiju.centers.observe import State
from huiju.hub.mailbox import Mailbox
from huiju.hub.wishes import MOST_ATTEMPTS, outdated
from huiju.kube.client import Client
from huiju.kube.credentials import Credentials

UID = "uid"


def body(version: int, *attempts: dict[str, Any], **status: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": UID,
            "namespace": "huiju-center-north",
            "uid": "u",
            "resourceVersion": str(version),
            "generation": version,
        },
        "spec": {"job": {"namespace": "team", "name": "job"}, "attempts": list(attempts)},
        "status": status,
    }


def test_what_was_written_is_seen_before_the_watch_tells_of_it() -> None:
    client = Client(Credentials("https://nowhere.invalid"), name="hub")
    mailbox = Mailbox(client, "north", "hub", lambda: None, lambda _: None)
    mailbox.note(body(7, {"epoch": 1}))
    (seen,) = mailbox.observations_of(UID)
    assert (seen.epoch, seen.state) == (1, State.PENDING)
    assert mailbox.held_epoch(UID) == 1
    assert [held.epoch for held in mailbox.held()] == [1]
    mailbox.note(body(5))  # an older answer that came late
    assert mailbox.held_epoch(UID) == 1


def test_an_epoch_that_no_name_can_carry_is_not_seen() -> None:
    client = Client(Credentials("https://nowhere.invalid"), name="hub")
    mailbox = Mailbox(client, "north", "hub", lambda: None, lambda _: None)
    lies = [{"epoch": epoch, "state": "running"} for epoch in (-1, 0, MOST_EPOCH + 1)]
    mailbox.note(body(7, {"epoch": 1}, attempts=lies))
    assert [seen.epoch for seen in mailbox.observations_of(UID)] == [1]


def test_what_may_not_run_any_more_lies_in_the_mailbox_without_its_objects() -> None:
    """Two attempts of a job with a large template did not fit into one CenterWork."""
    large = {"epoch": 1, "desired": "Run", "objects": [{"kind": "Job"}], "workload": "w"}
    (kept,) = outdated(None, [large])
    assert kept == {"epoch": 1, "desired": "Stop", "reason": "Preempted", "workload": "w"}


def test_of_older_attempts_none_may_run_and_not_all_are_kept() -> None:
    old = [{"epoch": epoch, "desired": "Run"} for epoch in range(1, MOST_ATTEMPTS + 3)]
    kept = outdated(None, old)
    assert [one["desired"] for one in kept[:3]] == ["Remove", "Remove", "Stop"]
    assert {one["desired"] for one in kept[2:]} == {"Stop"}
    gone = msgspec.convert(body(9, {"epoch": 1, "desired": "Remove"}, observedGeneration=9), Work)
    assert next(one["epoch"] for one in outdated(gone, old)) == 2
