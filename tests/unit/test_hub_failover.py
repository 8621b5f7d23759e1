"""When a job leaves a lost center, and how many leave at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from huiju.api.reasons import Reason
from huiju.hub import status as transitions
from huiju.hub.clock import stamp
from huiju.hub.failover import GivenUp, Loss, Stays, judge, nothing_runs
from huiju.hub.failovers import Failovers
from huiju.hub.lifecycle import Action, Plan, Reach, Seen, decide
from huiju.hub.objects import JobObject, JobStatus, PlacementStatus
from tests.unit.test_hub_lifecycle import NOW, OK, SETTINGS, job, placed, placement, words

END = NOW + 75
LOSS = Loss(since=NOW - 40, recorded=True, guards_end=END, guards_ended=False, dead=False)
OVER = replace(LOSS, guards_end=NOW - 1, guards_ended=True)
DEAD = replace(LOSS, dead=True)
RESCHEDULE = {"policy": "Reschedule"}


def at(epoch: int = 1, *, guarded: bool = True) -> PlacementStatus:
    return msgspec.structs.replace(placement(epoch), guarded=guarded)


def lost(loss: Loss, *, guarded: bool = True, told: bool = True, **spec: Any) -> Plan:
    """What is due for a job in the lost center; `told`: it is Unknown already."""
    status = msgspec.structs.replace(placed(), placement=at(guarded=guarded))
    if told:
        status = transitions.unknown(status, "Center south does not answer.", NOW - 1)
    return decide(job(status, **spec), OK, Seen(Reach.LOST, loss=loss), NOW, SETTINGS)


def test_a_guarded_job_leaves_when_its_pods_have_stopped_and_not_before() -> None:
    waits = lost(LOSS, failover=RESCHEDULE)
    assert waits.status.placement == at()
    assert waits.again == END
    assert stamp(END) in waits.status.message
    leaves = lost(OVER, failover=RESCHEDULE)
    assert leaves.fails_over
    assert leaves.status.placement is None
    assert (leaves.status.reason, leaves.status.failovers) == (Reason.CENTER_LOST, 1)
    assert leaves.status.epoch == 1, "the next placement gets a higher one"
    assert leaves.status.history[0].reason == Reason.CENTER_LOST
    assert [a.center for a in leaves.status.avoid] == ["south"]
    assert not leaves.status.retry_at
    assert leaves.status.placement_failures == 0
    assert leaves.action is Action.NONE


def test_that_it_leaves_is_told_before_it_does() -> None:
    first = lost(OVER, told=False, failover=RESCHEDULE)
    assert first.status.placement == at()
    assert first.status.phase == "Unknown"
    assert first.again == NOW
    then = decide(
        job(first.status, failover=RESCHEDULE), OK, Seen(Reach.LOST, loss=OVER), NOW, SETTINGS
    )
    assert then.fails_over


def test_no_loss_that_a_restart_would_forget_moves_a_job() -> None:
    unrecorded = replace(DEAD, recorded=False, guards_ended=True)
    assert not nothing_runs(at(), unrecorded)
    plan = lost(unrecorded, failover=RESCHEDULE)
    assert plan.status.placement is not None
    assert plan.again is not None, "it is looked at again: the record takes a moment"


@pytest.mark.parametrize("spec", [{}, {"failover": {"policy": "Ask"}}])
@pytest.mark.parametrize("loss", [LOSS, OVER, DEAD])
def test_only_its_user_moves_a_job_that_is_not_to_leave_by_itself(
    spec: dict[str, Any], loss: Loss
) -> None:
    plan = lost(loss, **spec)
    assert plan.status.placement is not None
    assert "kubectl huiju failover train -n team-a" in plan.status.message


@pytest.mark.parametrize("policy", ["Never", "Ask", "Reschedule"])
def test_the_users_word_counts_for_one_epoch_and_when_nothing_runs(policy: str) -> None:
    said: dict[str, Any] = {"failover": {"policy": policy}, "failoverFromEpoch": 1}
    assert lost(DEAD, guarded=False, **said).fails_over
    assert lost(DEAD, guarded=False, **said).status.reason == Reason.DECLARED_DEAD
    assert lost(OVER, **said).fails_over
    unstopped = lost(OVER, guarded=False, **said)
    assert unstopped.status.placement is not None, "nothing stops its pods there"
    assert "declare-dead south" in unstopped.status.message
    other: dict[str, Any] = {"failover": {"policy": policy}, "failoverFromEpoch": 2}
    assert lost(DEAD, **other).fails_over is (policy == "Reschedule")


def test_an_unguarded_job_leaves_a_center_that_was_declared_dead() -> None:
    assert not lost(OVER, guarded=False, failover=RESCHEDULE).fails_over
    assert lost(DEAD, guarded=False, failover=RESCHEDULE).fails_over


def test_failovers_are_counted_and_have_a_limit() -> None:
    twice: dict[str, Any] = {"policy": "Reschedule", "maxAttempts": 2}
    made = job(with_failovers(1), failover=twice)
    assert isinstance(judge(made, at(), OVER, NOW), GivenUp)
    made = job(with_failovers(2), failover=twice)
    kept = judge(made, at(), OVER, NOW)
    assert isinstance(kept, Stays)
    assert "maxAttempts" in kept.message
    word = job(with_failovers(2), failover=twice, failoverFromEpoch=1)
    assert isinstance(judge(word, at(), OVER, NOW), GivenUp)


def with_failovers(number: int) -> JobStatus:
    return msgspec.structs.replace(placed(), placement=at(), failovers=number)


@pytest.mark.parametrize(
    ("spec", "phase"), [({"cancel": True}, "Cancelled"), ({"suspend": True}, "Suspended")]
)
def test_a_job_that_is_to_stop_stops_when_nothing_of_it_runs(
    spec: dict[str, Any], phase: str
) -> None:
    early = lost(LOSS, failover=RESCHEDULE, **spec)
    assert early.status.phase == "Unknown"
    assert not early.written_off
    assert lost(OVER, failover=RESCHEDULE, **spec).written_off, "its write may still be under way"
    assert early.again == END
    assert "when center south answers again" in early.status.message
    assert lost(OVER, failover=RESCHEDULE, **spec).status.phase == phase
    assert lost(LOSS, guarded=False, **spec).status.phase == "Unknown"
    assert lost(DEAD, guarded=False, **spec).status.phase == phase


def test_failover_can_be_switched_off() -> None:
    status = msgspec.structs.replace(placed(), placement=at())
    made: JobObject = job(status, failover=RESCHEDULE)
    off = replace(SETTINGS, failover=False)
    plan = decide(made, OK, Seen(Reach.LOST, loss=OVER), NOW, off)
    assert plan.status.placement == at()
    assert "switched off" in plan.status.message
    assert words(plan.status)["Running"] == "Unknown"


def test_what_is_said_of_a_lost_job_follows_what_holds() -> None:
    first = lost(LOSS, failover=RESCHEDULE).status
    later = decide(
        job(first, failover={"policy": "Ask"}), OK, Seen(Reach.LOST, loss=LOSS), NOW + 5, SETTINGS
    ).status
    assert "waits for its user's word" in later.message
    same = decide(
        job(later, failover={"policy": "Ask"}), OK, Seen(Reach.LOST, loss=LOSS), NOW + 9, SETTINGS
    ).status
    assert not transitions.differ(later, same), "what has not changed is not written again"


def test_jobs_leave_at_a_pace() -> None:
    pace = Failovers(60, 100.0)
    assert [pace.take(100.0) for _ in range(60)] == [0.0] * 60
    assert pace.take(100.0) == pytest.approx(1.0)
    assert pace.take(100.5) == pytest.approx(0.5)
    assert pace.take(101.0) == 0.0
    assert pace.take(101.0) > 0.0
    assert pace.take(50.0) > 0.0, "a clock that stepped back gives no turns"
    assert sum(not pace.take(1000.0) for _ in range(100)) == 60, "no more than a minute's are kept"
