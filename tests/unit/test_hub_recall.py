"""What a restored hub takes over, and what it waits for before it places anything."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest

from huiju.api.center import ComputeCenterSpec
from huiju.api.reasons import Reason
from huiju.centers.observe import Observation, State
from huiju.hub import status as transitions
from huiju.hub.center import CONNECTING, CenterRuntime, Standing
from huiju.hub.jobcache import JobCache
from huiju.hub.lifecycle import Reach, Seen
from huiju.hub.objects import JobObject, JobStatus, PlacementStatus
from huiju.hub.proof import Proof
from huiju.hub.recall import Recall, recalled
from huiju.hub.sites import Sites
from tests.unit.test_hub_lifecycle import NOW, job, placed, placement

KEY = bytes(32)
PUSH: Any = {"push": {"kubeconfigSecret": {"name": "s", "namespace": "n"}}}


class Center:
    """As much of a center as is asked here."""

    def __init__(self, name: str, *epochs: Observation, connection: Any = None) -> None:
        self.name, self.identity = name, f"cluster-of-{name}"
        self.spec = ComputeCenterSpec.model_validate(
            {"connection": connection or PUSH, "region": name}
        )
        self.epochs = epochs
        self.synced, self.lost, self.unread = True, False, False
        self.standing = CONNECTING

    def observations_of(self, uid: str) -> tuple[Observation, ...]:
        return tuple(one for one in self.epochs if one.job_uid == uid)

    def job_uids(self) -> set[str]:
        return {one.job_uid for one in self.epochs}

    def leave_unread(self) -> None:
        self.unread = True

    def was_read(self) -> None:
        self.unread = False


class Jobs:
    def __init__(self, *jobs: JobObject) -> None:
        self._jobs = {one.metadata.uid: one for one in jobs}

    def by_uid(self, uid: str) -> JobObject | None:
        return self._jobs.get(uid)


def at(center: str, epoch: int) -> PlacementStatus:
    return msgspec.structs.replace(placement(epoch), center=center, nodes=())


def shown(
    center: str, epoch: int, state: State = State.RUNNING, key: bytes = KEY, cluster: str = ""
) -> Observation:
    proof = Proof()
    proof.use(key)
    said = msgspec.structs.replace(at(center, epoch), cluster=cluster)
    return Observation("u1", epoch, state, 1, 1, placement=proof.note("u1", said))


def recall(*centers: Center, jobs: tuple[JobObject, ...] = ()) -> Recall:
    sites, proof = Sites(), Proof()
    proof.use(KEY)
    for center in centers:
        sites.add(cast(CenterRuntime, center))
    return Recall(sites, cast(JobCache, Jobs(*jobs)), proof, lambda: None)


def test_a_later_placement_is_found_whatever_became_of_it() -> None:
    for state in (State.PENDING, State.RUNNING, State.SUCCEEDED, State.FAILED, State.SUSPENDED):
        found = recall(Center("north", shown("north", 2, state))).forgotten(job(placed(1)))
        assert found == at("north", 2)


def test_the_latest_counts() -> None:
    centers = [Center(name, shown(name, epoch)) for name, epoch in (("a", 3), ("b", 5), ("c", 4))]
    found = recall(*centers).forgotten(job())
    assert found is not None
    assert (found.center, found.epoch) == ("b", 5)


@pytest.mark.parametrize(
    "seen",
    [
        shown("south", 1),
        shown("south", 2, key=bytes([1] * 32)),
        shown("elsewhere", 2),
        shown("south", 2, cluster="another cluster"),
        Observation("u1", 2, State.RUNNING, 1, 1),
    ],
    ids=["known", "forged", "another center's", "another cluster's", "unsigned"],
)
def test_what_does_not_count(seen: Observation) -> None:
    assert recall(Center("south", seen)).forgotten(job(placed(1))) is None


def test_a_finished_job_has_forgotten_nothing() -> None:
    ended = transitions.failed(placed(1), Reason.CANCELLED, "", None, NOW)
    assert recall(Center("south", shown("south", 2))).forgotten(job(ended)) is None


def test_the_status_goes_on_from_there() -> None:
    after = recalled(placed(1), at("north", 4), NOW)
    assert (after.epoch, after.placement) == (4, at("north", 4))
    assert [(past.epoch, past.reason) for past in after.history] == [(1, Reason.HUB_RESTORED)]
    assert after.reason == Reason.HUB_RESTORED
    first = recalled(JobStatus(), at("north", 1), NOW)
    assert (first.epoch, first.history) == (1, ())


def test_nothing_is_placed_before_a_center_that_answered_was_read() -> None:
    east, west = Center("east"), Center("west")
    west.synced = False
    found = recall(east, west)
    found.begin({"east", "west"}, NOW)
    found.opened("east")
    assert not found.complete
    west.synced = True
    found.opened("west")
    assert found.complete
    west.synced = False
    assert found.complete, "only the first time: later losses are another matter"


@pytest.mark.parametrize("why", ["lost", "refused", "gone", "silent before"])
def test_who_is_not_waited_for(why: str) -> None:
    west = Center("west")
    west.synced = False
    found = recall(*() if why == "gone" else (west,))
    found.begin(set() if why == "silent before" else {"west"}, NOW)
    west.lost = why == "lost"
    if why == "refused":
        west.standing = Standing(False, Reason.CREDENTIAL_INVALID, "")
    else:
        found.opened("west")
    assert found.complete
    assert not west.unread


def test_a_center_that_shows_what_was_forgotten_stops_placing_until_it_is_taken_over() -> None:
    train = job(placed(1))
    east, west = Center("east", shown("east", 2)), Center("west")
    west.synced, west.lost = False, True
    found = recall(east, west, jobs=(train,))
    found.begin(set(), NOW)
    found.opened("east")
    assert not found.complete
    assert not found.restored, "perhaps the newer status is on its way"
    found.taken_over(train)
    assert found.restored
    assert not found.complete
    assert "west" in found.held_back
    assert west.unread
    assert not east.unread
    west.synced, west.lost = True, False
    found.opened("west")
    assert found.complete


def test_the_newer_status_came_and_nothing_was_forgotten() -> None:
    train = job(placed(1))
    found = recall(Center("east", shown("east", 2)), jobs=(train,))
    found.opened("east")
    found.settled("u1")
    assert found.complete
    assert not found.restored


def test_another_hub_goes_on_waiting() -> None:
    west = Center("west")
    west.synced, west.unread = False, True
    found = recall(west)
    found.begin(set(), NOW)
    assert found.restored
    assert not found.complete


def test_a_center_that_was_shut_out_is_not_waited_for() -> None:
    out = Center("out", connection={"pull": {"approved": "Denied"}})
    out.synced = False
    found = recall(Center("east", shown("east", 2)), out)
    found.taken_over(job(placed(1)))
    assert not out.unread
    assert found.complete


def test_after_a_restore_what_was_placed_before_is_not_made_again() -> None:
    """It may have run and gone since the backup: its epoch would be used twice."""
    found = recall(Center("south"))
    train = job(placed(1))
    nothing = Seen(Reach.SYNCED)
    found.begin(set(), NOW + 60)
    assert not found.seen(train, nothing).created
    found.taken_over(train)
    assert found.seen(train, nothing).created
    found.begin(set(), 0.0)
    found.restored = True
    assert not found.seen(train, nothing).created, "placed by this hub itself"
