"""Every row of a job's way: what is due, given what the job and its center show."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from huiju.api.reasons import Reason
from huiju.centers.observe import Failure, Observation, State
from huiju.hub import staging
from huiju.hub import status as transitions
from huiju.hub.clock import seconds
from huiju.hub.lifecycle import Action, Bringing, Reach, Seen, Staged, Verdict, decide
from huiju.hub.objects import DataStatus, JobObject, JobStatus, PlacementStatus
from huiju.hub.settings import HubSettings
from huiju.hub.withdrawal import Withdrawn

NOW = 1_800_000_000.0
SETTINGS = HubSettings()
OK = Verdict(True)


def job(status: JobStatus | None = None, **spec: Any) -> JobObject:
    body = {
        "metadata": {
            "name": "train",
            "namespace": "team-a",
            "uid": "u1",
            "resourceVersion": "7",
            "generation": 1,
            "creationTimestamp": "2026-11-01T00:00:00Z",
        },
        "spec": {
            "queue": "research",
            "accelerators": [{"model": "ascend-910b3", "perWorker": 8}],
            "template": {"spec": {"containers": [{"name": "main", "image": "i"}]}},
            **spec,
        },
    }
    made = msgspec.json.decode(msgspec.json.encode(body), type=JobObject)
    if status is not None:
        made = msgspec.structs.replace(made, status=status)
    return made


def placement(epoch: int = 1) -> PlacementStatus:
    return PlacementStatus(
        center="south",
        epoch=epoch,
        alternative=0,
        model="ascend-910b3",
        resource="huawei.com/Ascend910",
        namespace="huiju-x-team-a",
        workload=f"train-u1-{epoch}",
        placed_at="2027-01-15T08:00:00Z",
        nodes=("n1",),
    )


def placed(epoch: int = 1) -> JobStatus:
    before = transitions.observed(JobStatus(), 1)
    return transitions.placed(before, placement(epoch), "Placed.", NOW - 60)


def observed(
    state: State,
    failure: Failure | None = None,
    reason: Reason | None = None,
    epoch: int = 1,
    ready: int = 0,
) -> Seen:
    return Seen(
        Reach.SYNCED,
        Observation(
            job_uid="u1",
            epoch=epoch,
            state=state,
            ready=ready,
            bound=ready,
            reason=reason,
            message="because" if reason else "",
            failure=failure,
            started_at=NOW - 30 if ready else None,
            finished_at=None,
            since=NOW - 60,
        ),
        created=True,
    )


def words(status: JobStatus) -> dict[str, str]:
    return {c.type: c.status for c in status.conditions}


def test_a_new_job_waits_and_costs_no_write() -> None:
    plan = decide(job(), OK, Seen(), NOW, SETTINGS)
    assert plan.queued
    assert plan.action is Action.NONE
    assert not transitions.differ(JobStatus(), plan.status)


def test_a_job_that_cannot_be_run_is_refused_with_the_reason() -> None:
    verdict = Verdict(False, Reason.UNKNOWN_QUEUE, "spec.queue: there is no such queue")
    plan = decide(job(), verdict, Seen(), NOW, SETTINGS)
    assert not plan.queued
    assert words(plan.status) == {"Accepted": "False"}
    assert plan.status.reason == Reason.UNKNOWN_QUEUE


def test_a_committed_placement_is_dispatched() -> None:
    plan = decide(job(placed()), OK, Seen(Reach.SYNCED), NOW, SETTINGS)
    assert plan.action is Action.ENSURE
    assert not plan.queued


@pytest.mark.parametrize("reach", [Reach.WAITING, Reach.LOST])
def test_nothing_is_created_or_moved_while_a_center_is_not_known(reach: Reach) -> None:
    plan = decide(job(placed()), OK, Seen(reach), NOW, SETTINGS)
    assert plan.action is Action.NONE
    assert not plan.queued
    assert plan.status.placement == placement()


def test_a_lost_center_makes_its_jobs_unknown_not_failed() -> None:
    before = transitions.running(
        placed(), observed(State.RUNNING, ready=4).observed or pytest.fail("no observation"), NOW
    )
    plan = decide(job(before), OK, Seen(Reach.LOST), NOW, SETTINGS)
    assert plan.status.phase == "Unknown"
    assert words(plan.status)["Running"] == "Unknown"
    assert not transitions.finished(plan.status)


def test_running_workers_make_the_job_running_once() -> None:
    first = decide(job(placed()), OK, observed(State.RUNNING, ready=4), NOW, SETTINGS)
    assert first.status.phase == "Running"
    again = decide(job(first.status), OK, observed(State.RUNNING, ready=4), NOW + 9, SETTINGS)
    assert not transitions.differ(first.status, again.status)


def test_success_is_latched() -> None:
    done = decide(job(placed()), OK, observed(State.SUCCEEDED), NOW, SETTINGS).status
    assert words(done)["Complete"] == "True"
    later = decide(job(done), OK, observed(State.FAILED, Failure.APPLICATION), NOW, SETTINGS)
    assert later.status.phase == "Succeeded"
    assert not transitions.differ(done, later.status)


def test_success_counts_even_when_the_user_cancels_meanwhile() -> None:
    plan = decide(job(placed(), cancel=True), OK, observed(State.SUCCEEDED), NOW, SETTINGS)
    assert plan.status.phase == "Succeeded"


def test_an_application_failure_counts_and_ends_the_job_at_the_limit() -> None:
    seen = observed(State.FAILED, Failure.APPLICATION, Reason.APPLICATION_FAILED)
    first = decide(job(placed(), retry={"maxAttempts": 2}), OK, seen, NOW, SETTINGS)
    assert first.status.placement is None
    assert first.status.application_failures == 1
    assert seconds(first.status.retry_at) > NOW
    second = transitions.placed(first.status, placement(2), "Placed.", NOW)
    last = decide(
        job(second, retry={"maxAttempts": 2}),
        OK,
        observed(State.FAILED, Failure.APPLICATION, Reason.APPLICATION_FAILED, epoch=2),
        NOW,
        SETTINGS,
    )
    assert words(last.status)["Failed"] == "True"
    assert last.status.application_failures == 2


@pytest.mark.parametrize(
    ("failure", "reason", "avoids"),
    [
        (Failure.INFRASTRUCTURE, Reason.NODE_LOST, False),
        (Failure.INFRASTRUCTURE, Reason.EVICTED, False),
        (Failure.PLACEMENT, Reason.QUOTA_EXCEEDED, True),
    ],
)
def test_what_is_not_the_users_fault_never_counts_against_retries(
    failure: Failure, reason: Reason, avoids: bool
) -> None:
    plan = decide(job(placed()), OK, observed(State.FAILED, failure, reason), NOW, SETTINGS)
    assert plan.status.placement is None
    assert plan.status.application_failures == 0
    assert plan.status.placement_failures == 1
    assert [a.center for a in plan.status.avoid] == (["south"] if avoids else [])
    assert plan.status.history[0].reason == reason


def test_who_is_pushed_out_by_the_owner_loses_no_time_unless_it_happens_again() -> None:
    pushed_out = observed(State.FAILED, Failure.INFRASTRUCTURE, Reason.PREEMPTED_BY_OWNER)
    first = decide(job(placed()), OK, pushed_out, NOW, SETTINGS).status
    assert first.placement is None
    assert not first.retry_at, "whoever waits behind it would take its place"
    assert (first.application_failures, first.placement_failures) == (0, 0)
    again = transitions.placed(first, placement(2), "Placed.", NOW + 5)
    pushed_out = observed(State.FAILED, Failure.INFRASTRUCTURE, Reason.PREEMPTED_BY_OWNER, epoch=2)
    soon = decide(job(again), OK, pushed_out, NOW + 60, SETTINGS).status
    assert soon.retry_at
    assert soon.placement_failures == 1
    later = NOW + SETTINGS.avoid_seconds + 1
    assert not decide(job(again), OK, pushed_out, later, SETTINGS).status.retry_at


def test_a_live_workload_that_cannot_start_is_stopped_before_its_placement_is_given_up() -> None:
    seen = observed(State.PENDING, Failure.PLACEMENT, Reason.IMAGE_PULL_FAILED)
    plan = decide(job(placed()), OK, seen, NOW, SETTINGS)
    assert plan.action is Action.STOP
    assert plan.status.placement == placement()
    stopped = observed(State.SUSPENDED, None, Reason.IMAGE_PULL_FAILED)
    after = decide(job(plan.status), OK, stopped, NOW, SETTINGS)
    assert after.status.placement is None
    assert after.status.avoid[0].center == "south"


def test_suspend_stops_waits_and_lets_go() -> None:
    suspended = job(placed(), suspend=True)
    stop = decide(suspended, OK, observed(State.RUNNING, ready=4), NOW, SETTINGS)
    assert stop.action is Action.STOP
    assert stop.reason is Reason.SUSPENDED
    done = decide(suspended, OK, observed(State.SUSPENDED), NOW, SETTINGS)
    assert done.status.phase == "Suspended"
    assert done.status.placement is None
    resumed = decide(job(done.status), OK, Seen(), NOW, SETTINGS)
    assert resumed.queued


def test_a_moved_job_stops_counts_nothing_and_goes_elsewhere() -> None:
    moving = job(placed(3), moveFromEpoch=3)
    plan = decide(moving, OK, observed(State.RUNNING, epoch=3), NOW, SETTINGS)
    assert (plan.action, plan.reason) == (Action.STOP, Reason.MOVED)
    ended = observed(State.SUSPENDED, reason=Reason.MOVED, epoch=3)
    status = decide(moving, OK, ended, NOW, SETTINGS).status
    assert (status.phase, status.reason, status.placement) == ("Queued", "Moved", None)
    assert (status.application_failures, status.placement_failures) == (0, 0)
    assert not status.retry_at
    assert [a.center for a in status.avoid] == ["south"]


@pytest.mark.parametrize("told", [0, 2, 4])
def test_only_the_epoch_that_was_named_is_moved(told: int) -> None:
    staying = job(placed(3), moveFromEpoch=told)
    assert (
        decide(staying, OK, observed(State.RUNNING, epoch=3), NOW, SETTINGS).action is Action.NONE
    )


def test_cancel_ends_the_job_whether_it_waits_or_runs() -> None:
    waiting = decide(job(cancel=True), OK, Seen(), NOW, SETTINGS)
    assert waiting.status.phase == "Cancelled"
    running = job(placed(), cancel=True)
    assert decide(running, OK, observed(State.RUNNING), NOW, SETTINGS).action is Action.STOP
    ended = decide(running, OK, observed(State.SUSPENDED), NOW, SETTINGS)
    assert ended.status.phase == "Cancelled"
    assert transitions.finished(ended.status)


def test_a_workload_removed_by_hand_is_run_again_under_a_new_epoch() -> None:
    plan = decide(job(placed()), OK, Seen(Reach.SYNCED, None, created=True), NOW, SETTINGS)
    assert plan.action is Action.CLEAR, "what was made for it goes first"
    assert plan.status.placement is None
    assert plan.status.reason == Reason.WORKLOAD_GONE
    assert plan.status.epoch == 1


def test_a_finished_job_stays_for_its_time_and_then_goes() -> None:
    done = decide(job(placed()), OK, observed(State.SUCCEEDED), NOW, SETTINGS).status
    stays = decide(job(done, ttlAfterFinished="2h"), OK, Seen(), NOW + 3600, SETTINGS)
    assert stays.action is Action.NONE
    assert stays.again == pytest.approx(NOW + 7200, abs=1)
    goes = decide(job(done, ttlAfterFinished="2h"), OK, Seen(), NOW + 7201, SETTINGS)
    assert goes.action is Action.DELETE
    hurried = decide(job(done, ttlAfterFinished="1s"), OK, Seen(), NOW + 60, SETTINGS)
    assert hurried.action is Action.NONE


def test_an_epoch_never_comes_twice() -> None:
    with pytest.raises(ValueError, match="epoch 1 is not above 1"):
        transitions.placed(placed(1), placement(1), "Placed.", NOW)


def test_a_transition_time_moves_only_when_the_status_flips() -> None:
    first = transitions.waiting(JobStatus(), "NoNodeFits", "needs 8", NOW)
    later = transitions.waiting(first, "QueueCeiling", "over", NOW + 600)
    times = {c.type: c.last_transition_time for c in first.conditions}
    assert {c.type: c.last_transition_time for c in later.conditions} == times


def test_what_is_written_leaves_out_what_is_gone_and_keeps_required_zeros() -> None:
    before = placed()
    assert transitions.as_fields(before)["placement"]["alternative"] == 0
    vacated = transitions.vacated(before, Reason.NODE_LOST, "lost", NOW)
    assert "placement" not in transitions.as_fields(vacated)
    assert transitions.differ(before, vacated)


def test_a_job_whose_center_was_deleted_says_so_and_is_not_moved() -> None:
    running = decide(job(placed()), OK, observed(State.RUNNING, ready=1), NOW, SETTINGS).status
    plan = decide(job(running), OK, Seen(Reach.ABSENT), NOW, SETTINGS)
    assert plan.action is Action.NONE
    assert not plan.queued
    assert plan.status.placement == running.placement
    assert (plan.status.phase, plan.status.reason) == ("Unknown", Reason.CENTER_DELETED)
    assert "join the same cluster" in plan.status.message
    assert words(plan.status)["Running"] == "Unknown"
    again = decide(job(plan.status), OK, Seen(Reach.ABSENT), NOW + 60, SETTINGS)
    assert not transitions.differ(plan.status, again.status)


def test_losing_and_then_deleting_a_center_is_one_unknown_with_two_reasons() -> None:
    lost = decide(job(placed()), OK, Seen(Reach.LOST), NOW, SETTINGS).status
    gone = decide(job(lost), OK, Seen(Reach.ABSENT), NOW + 60, SETTINGS).status
    assert (lost.reason, gone.reason) == (Reason.CENTER_UNREACHABLE, Reason.CENTER_DELETED)
    since = {c.type: c.last_transition_time for c in lost.conditions}["Running"]
    assert {c.type: c.last_transition_time for c in gone.conditions}["Running"] == since


def test_only_its_user_can_give_up_a_job_of_a_deleted_center() -> None:
    asked = job(placed(), cancel=True)
    ended = decide(asked, OK, Seen(Reach.ABSENT), NOW, SETTINGS).status
    assert (ended.phase, ended.reason) == ("Cancelled", Reason.CANCELLED)
    assert "if the center joins again" in ended.message
    paused = decide(job(placed(), suspend=True), OK, Seen(Reach.ABSENT), NOW, SETTINGS).status
    assert paused.phase == "Unknown"


@pytest.mark.parametrize("wish", ["cancel", "suspend"])
@pytest.mark.parametrize("created", [False, True])
def test_what_was_made_for_a_workload_that_is_not_there_is_cleared(
    wish: str, created: bool
) -> None:
    asked = job(placed(), **{wish: True})
    plan = decide(asked, OK, Seen(Reach.SYNCED, None, created=created), NOW, SETTINGS)
    assert plan.action is Action.CLEAR


def test_a_pending_job_past_its_deadline_is_not_looked_at_again_at_once() -> None:
    waiting = decide(job(placed()), OK, observed(State.PENDING), NOW, SETTINGS)
    assert waiting.again is not None
    assert waiting.again > NOW
    late = decide(job(placed()), OK, observed(State.PENDING), NOW + 3600, SETTINGS)
    assert late.action is Action.STOP
    assert late.again is None


def test_a_job_that_hangs_is_placed_again_so_often_and_then_ends() -> None:
    progress = {"file": "/scratch/beat", "deadline": "10m", "maxRestarts": 2}
    hung = observed(State.FAILED, Failure.INFRASTRUCTURE, Reason.NO_PROGRESS)
    status = placed()
    for stalls in (1, 2):
        status = decide(job(status, progress=progress), OK, hung, NOW, SETTINGS).status
        assert (status.stalls, status.phase, status.placement) == (stalls, "Queued", None)
        assert status.application_failures == 0, "nobody knows whose fault it was"
        assert status.retry_at
        status = transitions.placed(status, placement(stalls + 1), "Placed.", NOW)
    ended = decide(job(status, progress=progress), OK, hung, NOW, SETTINGS).status
    assert words(ended)["Failed"] == "True"
    assert (ended.reason, ended.stalls) == (Reason.NO_PROGRESS, 3)
    assert "maxRestarts is 2" in ended.message


# --- data on its way ---


def staging_status() -> JobStatus:
    fixed = DataStatus("/data", "owners", "corpus", "u9", "v1", "sha256:" + "a" * 64)
    return staging.staging(JobStatus(), "south", (fixed,), "on the way", NOW)


def test_a_job_whose_data_is_coming_is_not_queued_and_holds_nothing() -> None:
    plan = decide(job(staging_status()), OK, Seen(), NOW, SETTINGS, Staged(Bringing.COMING))
    assert not plan.queued
    assert plan.status.phase == "Staging"
    assert plan.status.placement is None
    assert plan.status.staging is not None


def test_once_the_data_is_there_the_job_is_queued_and_its_choice_is_kept() -> None:
    there = Staged(Bringing.THERE, until=NOW + 60)
    plan = decide(job(staging_status()), OK, Seen(), NOW, SETTINGS, there)
    assert plan.queued
    assert plan.again == NOW + 60
    assert plan.status.staging is not None
    after = transitions.placed(plan.status, placement(), "placed", NOW)
    assert after.staging is None
    assert after.data


def test_data_that_does_not_come_sends_the_job_to_another_center() -> None:
    failed = Staged(Bringing.FAILED, Reason.NO_ROUTE, "no link")
    plan = decide(job(staging_status()), OK, Seen(), NOW, SETTINGS, failed)
    assert plan.queued
    assert plan.status.staging is None
    assert [(each.center, each.reason) for each in plan.status.avoid] == [("south", "NoRoute")]
    assert plan.status.data, "the versions stay fixed"


@pytest.mark.parametrize("spec", [{"cancel": True}, {"suspend": True}])
def test_a_job_that_is_not_wanted_gives_its_staging_up(spec: dict[str, Any]) -> None:
    stopped = job(staging_status(), **spec)
    plan = decide(stopped, OK, Seen(), NOW, SETTINGS, Staged(Bringing.COMING))
    assert plan.status.staging is None
    refused = decide(job(staging_status()), Verdict(False), Seen(), NOW, SETTINGS)
    assert refused.status.staging is None


# --- data that was taken away while the job runs ------------------------------------------------

REVOKED = Withdrawn(Reason.GRANT_REVOKED, "team-b/corpus v1: grant revoked.", 600.0)


def taken(status: JobStatus, seen: Seen, now: float, **spec: Any) -> Any:
    return decide(job(status, **spec), OK, seen, now, SETTINGS, None, REVOKED)


def test_a_job_is_told_at_once_and_stopped_when_its_grace_is_over() -> None:
    running = observed(State.RUNNING, ready=1)
    told = taken(placed(), running, NOW)
    assert told.action is Action.NONE
    assert told.again == NOW + 600
    assert words(told.status)["DataAllowed"] == "False"
    said = next(c for c in told.status.conditions if c.type == "DataAllowed")
    assert said.reason == "GrantRevoked"
    assert "stopped at 2027-01-15T08:10:00Z" in said.message
    # A hub that starts in between goes on with the time that was written.
    assert taken(told.status, running, NOW + 500).action is Action.NONE
    due = taken(told.status, running, NOW + 600)
    assert (due.action, due.reason) == (Action.STOP, Reason.GRANT_REVOKED)
    gone = observed(State.SUSPENDED, reason=Reason.GRANT_REVOKED)
    after = taken(told.status, gone, NOW + 610).status
    assert after.placement is None
    assert after.history[0].reason == "GrantRevoked"
    assert after.placement_failures == 0
    assert "DataAllowed" not in words(after), "with the same write: nothing will be stopped now"
    refused = Verdict(False, Reason.GRANT_REVOKED, "revoked")
    waits = decide(job(after), refused, Seen(), NOW + 620, SETTINGS).status
    assert (waits.phase, waits.reason) == ("Queued", "GrantRevoked")
    assert "DataAllowed" not in words(waits)


def test_a_job_that_may_use_its_data_again_in_time_runs_on() -> None:
    running = observed(State.RUNNING, ready=1)
    told = taken(placed(), running, NOW)
    again = decide(job(told.status), OK, running, NOW + 599, SETTINGS)
    assert again.action is Action.NONE
    assert "DataAllowed" not in words(again.status)
    # Revoked anew, the grace is a new one.
    assert taken(again.status, running, NOW + 700).action is Action.NONE


def test_nothing_starts_with_data_whose_grace_is_over() -> None:
    told = taken(placed(), Seen(Reach.SYNCED), NOW)
    assert told.action is Action.ENSURE
    late = taken(told.status, Seen(Reach.SYNCED), NOW + 601)
    assert late.action is Action.CLEAR
    assert late.status.placement is None


def test_work_that_is_done_counts_whatever_became_of_the_right_to_its_data() -> None:
    told = taken(placed(), observed(State.RUNNING, ready=1), NOW)
    done = taken(told.status, observed(State.SUCCEEDED), NOW + 601)
    assert done.status.phase == "Succeeded"


def test_what_its_user_wants_goes_before() -> None:
    running = observed(State.RUNNING, ready=1)
    told = taken(placed(), running, NOW)
    due = taken(told.status, running, NOW + 601, cancel=True)
    assert (due.action, due.reason) == (Action.STOP, Reason.CANCELLED)


@pytest.mark.parametrize("said", [NOW - 10 * 365 * 86_400, NOW + 10 * 365 * 86_400])
def test_when_a_job_ended_is_no_centers_to_invent(said: float) -> None:
    seen = observed(State.SUCCEEDED)
    assert seen.observed is not None
    lies = replace(seen, observed=replace(seen.observed, finished_at=said))
    ended = decide(job(placed()), OK, lies, NOW + 60, SETTINGS).status
    assert NOW <= seconds(ended.finished_at) <= NOW + 60
    after = decide(job(ended), OK, Seen(), NOW + 3000, SETTINGS)
    assert after.action is Action.NONE, "it stays for an hour whatever its center says"
