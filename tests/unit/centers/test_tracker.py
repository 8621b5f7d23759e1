"""Two streams and our own writes bring news out of order; what is told stays right."""

from __future__ import annotations

import msgspec
import pytest

from huiju.api.reasons import Reason
from huiju.centers.objects import Pod, Workload
from huiju.centers.observe import Failure, Observation, State
from huiju.centers.tracker import Tracker, identity_of
from tests.unit.centers.workloads import HUB, T0, UID, condition, exited, pod, workload

FAILED = condition("Failed", "BackoffLimitExceeded", "Job has reached the limit", 70)


class Told:
    """A tracker and what it told."""

    def __init__(self, *, started: bool = True) -> None:
        self.seen: list[Observation] = []
        self.now = 100.0
        self.tracker = Tracker(HUB, self.seen.append, lambda: T0 + self.now)
        if started:
            self.tracker.start()

    @property
    def states(self) -> list[State]:
        return [one.state for one in self.seen]

    def job(self, made: Workload | None, old: Workload | None = None) -> None:
        self.tracker.workload_changed(old, made)

    def pod(self, made: Pod | None, old: Pod | None = None) -> None:
        self.tracker.pod_changed(old, made)


def test_nothing_is_told_before_everything_was_read() -> None:
    told = Told(started=False)
    told.job(workload(FAILED))
    assert told.seen == []
    assert told.tracker.observations_of(UID) == ()
    assert told.tracker.held_epoch(UID) == 1
    told.pod(pod("Failed", containers=[], reason="Evicted"))
    told.tracker.start()
    assert [one.reason for one in told.seen] == [Reason.EVICTED]


def test_a_change_that_shows_nothing_new_is_not_told() -> None:
    told = Told()
    told.job(workload())
    told.job(workload(startTime="2027-01-15T08:00:01Z"))
    assert told.states == [State.PENDING]


def test_pods_that_come_before_their_workload_are_not_taken_for_orphans() -> None:
    told = Told()
    told.pod(pod())
    told.pod(pod("Succeeded"))
    assert set(told.states) == {State.PENDING}
    assert all(one.reason is None for one in told.seen)
    told.job(workload(condition("Complete")))
    assert told.states[-1] is State.SUCCEEDED


def test_an_end_waits_for_the_pods_that_tell_its_cause() -> None:
    told = Told()
    told.job(workload())
    told.pod(pod())
    told.job(workload(FAILED))
    assert State.FAILED not in told.states
    told.pod(pod("Failed", containers=[exited(5)]))
    assert told.states[-1] is State.FAILED
    assert "code 5" in told.seen[-1].message


def test_the_cause_outlives_its_pod() -> None:
    told = Told()
    told.job(workload())
    told.pod(pod())
    preempted = pod(
        deleted=60, conditions=[condition("DisruptionTarget", "PreemptionByScheduler", "", 50)]
    )
    told.pod(preempted)
    told.pod(None, preempted)
    told.job(workload(condition("Failed", "PodFailurePolicy", "…", 70)))
    assert (told.seen[-1].failure, told.seen[-1].reason) == (
        Failure.INFRASTRUCTURE,
        Reason.PREEMPTED_BY_OWNER,
    )


def test_a_removed_workload_is_gone_only_with_its_last_pod() -> None:
    told = Told()
    made, running = workload(), pod()
    told.job(made)
    told.pod(running)
    told.job(None, made)
    assert told.tracker.held_epoch(UID) == 1
    told.pod(None, running)
    assert told.states[-2:] == [State.PENDING, State.GONE]
    assert told.tracker.held_epoch(UID) == 0
    assert list(told.tracker) == []


def test_an_older_event_does_not_undo_what_a_write_returned() -> None:
    told = Told()
    told.tracker.note(workload(suspend=True))
    stale = workload()
    stale.metadata.resource_version = "9"
    told.job(stale)
    entry = told.tracker.entry(UID, 1)
    assert entry is not None
    assert entry.workload is not None
    assert entry.workload.spec.suspend


def test_a_deadline_passes_without_any_event() -> None:
    told = Told()
    told.job(workload())
    (entry,) = told.tracker.unsettled()
    told.now = 301.0
    assert told.tracker.observations_of(UID)[0].reason is Reason.UNSCHEDULABLE
    told.tracker.look(entry)
    assert told.seen[-1].reason is Reason.UNSCHEDULABLE


def test_epochs_of_one_job_are_apart() -> None:
    told = Told()
    told.job(workload())
    later = workload(condition("Complete"))
    later.metadata.annotations = {"huiju.dev/origin": f"{HUB}/team-a/train/{UID}/4"}
    told.job(later)
    assert told.tracker.held_epoch(UID) == 4
    assert {one.epoch: one.state for one in told.tracker.observations_of(UID)} == {
        1: State.PENDING,
        4: State.SUCCEEDED,
    }


@pytest.mark.parametrize(
    "origin",
    ["", "x", f"ffffffff/team-a/train/{UID}/1", f"{HUB}/team-a/train/{UID}/one", f"{HUB}/a/1"],
)
def test_a_workload_of_unknown_origin_is_not_ours(origin: str) -> None:
    made = msgspec.structs.replace(workload())
    made.metadata.annotations = {"huiju.dev/origin": origin}
    assert identity_of(made, HUB) is None
    told = Told()
    told.job(made)
    assert told.seen == []


def test_pods_whose_workload_never_shows_have_none() -> None:
    told = Told()
    told.pod(pod())
    assert told.seen[-1].reason is None
    told.now += 121
    (seen,) = told.tracker.observations_of(UID)
    assert (seen.state, seen.reason) == (State.PENDING, Reason.WORKLOAD_GONE)


def test_a_pod_of_a_dead_node_without_a_workload_holds_nothing_up() -> None:
    told = Told(started=False)
    told.pod(pod(deleted=30))
    told.tracker.start()
    assert told.states == [State.PENDING]
    told.now += 121
    for entry in told.tracker.unsettled():
        told.tracker.look(entry)
    assert told.states == [State.PENDING, State.GONE]
    assert told.tracker.observations_of(UID) == ()
