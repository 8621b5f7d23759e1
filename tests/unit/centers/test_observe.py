"""What a workload and its pods show: states, and whose fault an end was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from huiju.api.reasons import Reason
from huiju.centers.causes import Cause
from huiju.centers.objects import Pod, Workload
from huiju.centers.observe import OVERDUE, Failure, Observation, State, observe
from tests.unit.centers.workloads import (
    T0,
    UID,
    condition,
    exited,
    pod,
    running,
    stamp,
    waiting,
    workload,
)


def see(
    job: Workload | None,
    *pods: Pod,
    now: float = 100,
    remembered: Cause | None = None,
    trouble: str = "",
) -> Observation:
    return observe(UID, 1, job, pods, T0 + now, remembered=remembered, trouble=trouble)


def disruption(reason: str, message: str = "", at: float = 50) -> Mapping[str, Any]:
    return condition("DisruptionTarget", reason, message, at)


FAILED = condition("Failed", "BackoffLimitExceeded", "Job has reached the limit", 70)
BY_POLICY = condition("Failed", "PodFailurePolicy", "Pod a/b has condition DisruptionTarget", 70)


def test_a_new_workload_is_pending_since_it_was_made() -> None:
    seen = see(workload(workers=2))
    assert (seen.state, seen.ready, seen.bound, seen.failure) == (State.PENDING, 0, 0, None)
    assert seen.since == T0


def test_a_gang_runs_only_when_all_its_workers_do() -> None:
    gang = workload(workers=3)
    some = see(gang, pod(index=0), pod(index=1), pod("Pending", index=2))
    assert (some.state, some.ready, some.bound) == (State.PENDING, 2, 3)
    every = see(gang, *(pod(index=i) for i in range(3)))
    assert (every.state, every.ready) == (State.RUNNING, 3)
    assert every.started_at == T0 + 12
    assert every.since == T0 + 12


def test_a_worker_that_ended_well_before_the_others_changes_nothing() -> None:
    gang = workload(workers=2)
    before = see(gang, pod(index=0), pod(index=1))
    after = see(gang, pod("Succeeded", index=0), pod(index=1))
    assert after.state is State.RUNNING
    assert after.ready == before.ready == 2


def test_pods_that_all_ended_well_are_no_success_until_the_workload_says_so() -> None:
    assert see(workload(), pod("Succeeded")).state is State.RUNNING
    done = workload(condition("Complete", at=80), completionTime=stamp(80), startTime=stamp(1))
    seen = see(done, pod("Succeeded"))
    assert seen.state is State.SUCCEEDED
    assert seen.finished_at == T0 + 80
    assert seen.started_at == T0 + 10


def test_a_success_whose_pods_are_gone_is_still_one() -> None:
    done = workload(condition("Complete", at=80), startTime=stamp(1))
    seen = see(done)
    assert (seen.state, seen.started_at, seen.finished_at) == (State.SUCCEEDED, T0 + 1, T0 + 80)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (exited(3), "container train exited with code 3"),
        (exited(137, reason="OOMKilled"), "exited with code 137 (OOMKilled)"),
        (exited(1, message="loss is NaN"), "exited with code 1: loss is NaN"),
        (exited(128, reason="StartError", message="no such file"), "128 (StartError)"),
    ],
)
def test_an_exit_code_is_the_applications_fault(state: dict[str, Any], words: str) -> None:
    seen = see(workload(FAILED), pod("Failed", containers=[state]))
    assert (seen.state, seen.failure) == (State.FAILED, Failure.APPLICATION)
    assert seen.reason is Reason.APPLICATION_FAILED
    assert words in seen.message
    assert "Worker 0 on node n1" in seen.message
    assert seen.finished_at == T0 + 70


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("PreemptionByScheduler", Reason.PREEMPTED_BY_OWNER),
        ("DeletionByTaintManager", Reason.NODE_LOST),
        ("DeletionByPodGC", Reason.NODE_LOST),
        ("EvictionByEvictionAPI", Reason.EVICTED),
        ("TerminationByKubelet", Reason.EVICTED),
        ("SomethingNew", Reason.EVICTED),
    ],
)
def test_a_disrupted_pod_is_never_the_applications_fault(reason: str, expected: Reason) -> None:
    ended = pod("Failed", containers=[exited(143)], conditions=[disruption(reason)], deleted=55)
    seen = see(workload(BY_POLICY), ended)
    assert (seen.state, seen.failure, seen.reason) == (
        State.FAILED,
        Failure.INFRASTRUCTURE,
        expected,
    )


@pytest.mark.parametrize(
    ("reason", "failure", "expected"),
    [
        ("Evicted", Failure.INFRASTRUCTURE, Reason.EVICTED),
        ("NodeLost", Failure.INFRASTRUCTURE, Reason.NODE_LOST),
        ("Terminated", Failure.INFRASTRUCTURE, Reason.NODE_LOST),
        ("Preempting", Failure.INFRASTRUCTURE, Reason.PREEMPTED_BY_OWNER),
        ("UnexpectedAdmissionError", Failure.INFRASTRUCTURE, Reason.POD_REJECTED),
        ("OutOfhuawei.com/Ascend910", Failure.INFRASTRUCTURE, Reason.POD_REJECTED),
        ("NodeAffinity", Failure.INFRASTRUCTURE, Reason.POD_REJECTED),
        ("SysctlForbidden", Failure.PLACEMENT, Reason.POD_REJECTED),
        ("DeadlineExceeded", Failure.APPLICATION, Reason.RUNTIME_EXCEEDED),
    ],
)
def test_what_the_kubelet_calls_an_end_decides_whose_it_is(
    reason: str, failure: Failure, expected: Reason
) -> None:
    seen = see(workload(FAILED), pod("Failed", reason=reason, message="because"))
    assert (seen.failure, seen.reason) == (failure, expected)
    assert "because" in seen.message


def test_a_container_that_its_node_lost_track_of_is_a_lost_node() -> None:
    lost = exited(137, reason="ContainerStatusUnknown")
    seen = see(workload(FAILED), pod("Failed", containers=[lost]))
    assert (seen.failure, seen.reason) == (Failure.INFRASTRUCTURE, Reason.NODE_LOST)


def test_in_a_gang_the_first_end_counts_not_what_it_brought_about() -> None:
    gang = workload(FAILED, workers=3)
    first = pod("Failed", index=1, containers=[exited(7, at=60)])
    follower = pod("Failed", index=0, containers=[exited(143, at=62)], deleted=61)
    late = pod("Failed", index=2, containers=[exited(1, at=65)])
    seen = see(gang, follower, late, first)
    assert "Worker 1" in seen.message
    assert "code 7" in seen.message
    assert seen.failure is Failure.APPLICATION


def test_a_lost_node_that_made_other_workers_fail_is_what_ended_the_gang() -> None:
    gang = workload(FAILED, workers=2)
    gone = pod("Failed", index=0, conditions=[disruption("DeletionByTaintManager", at=50)])
    victim = pod("Failed", index=1, containers=[exited(1, at=58)])
    assert see(gang, victim, gone).reason is Reason.NODE_LOST


def test_a_pod_deleted_by_hand_is_no_failure_of_the_application() -> None:
    ended = pod("Failed", containers=[exited(143)], deleted=40)
    seen = see(workload(FAILED), ended)
    assert (seen.failure, seen.reason) == (Failure.INFRASTRUCTURE, Reason.EVICTED)
    assert "deleted in the center" in seen.message


def test_what_gone_pods_told_is_remembered() -> None:
    cause = Cause(Failure.INFRASTRUCTURE, Reason.PREEMPTED_BY_OWNER, "gave way", T0 + 50)
    seen = see(workload(BY_POLICY), remembered=cause)
    assert (seen.reason, seen.message) == (Reason.PREEMPTED_BY_OWNER, "gave way")


def test_without_pods_the_workloads_own_word_tells_a_disruption() -> None:
    seen = see(workload(BY_POLICY))
    assert (seen.failure, seen.reason) == (Failure.INFRASTRUCTURE, Reason.EVICTED)
    assert "DisruptionTarget" in seen.message


def test_without_pods_a_plain_failure_is_the_applications() -> None:
    seen = see(workload(FAILED))
    assert (seen.failure, seen.reason) == (Failure.APPLICATION, Reason.APPLICATION_FAILED)


def test_too_long_a_run_is_told_with_its_limit() -> None:
    ended = condition("Failed", "DeadlineExceeded", "Job was active longer", 90)
    killed = pod("Failed", containers=[exited(143)], deleted=85)
    seen = see(workload(ended, limit=5400), killed)
    assert (seen.failure, seen.reason) == (Failure.APPLICATION, Reason.RUNTIME_EXCEEDED)
    assert "1h30m" in seen.message


@pytest.mark.parametrize("kind", ["Failed", "FailureTarget"])
def test_nothing_is_called_failed_while_a_pod_may_still_run(kind: str) -> None:
    ending = workload(condition(kind, "BackoffLimitExceeded"), workers=2)
    dead = pod("Failed", index=0, containers=[exited(1)])
    seen = see(ending, dead, pod(index=1, deleted=130))
    assert (seen.state, seen.failure) == (State.PENDING, None)


def test_a_pod_on_a_dead_node_keeps_no_failure_back() -> None:
    """The Job controller says Failed once no pod is left, and this one stays for ever."""
    dying = workload(condition("FailureTarget", "BackoffLimitExceeded"), workers=2, terminating=1)
    peer = pod("Failed", index=0, containers=[exited(1)])
    lost = pod(index=1, deleted=130)
    assert see(dying, peer, lost, now=189).state is State.PENDING
    seen = see(dying, peer, lost, now=191)
    assert (seen.state, seen.failure) == (State.FAILED, Failure.APPLICATION)
    unseen = workload(condition("FailureTarget", "BackoffLimitExceeded"), workers=2, terminating=2)
    assert see(unseen, peer, lost, now=191).state is State.PENDING, "another pod may still run"


# --- what cannot start ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (waiting("ImagePullBackOff", "manifest unknown"), Reason.IMAGE_PULL_FAILED),
        (waiting("InvalidImageName", "couldn't parse"), Reason.IMAGE_PULL_FAILED),
        (waiting("ErrImageNeverPull"), Reason.IMAGE_PULL_FAILED),
        (waiting("CreateContainerConfigError", 'secret "x" not found'), Reason.POD_REJECTED),
    ],
)
def test_a_pod_that_can_never_start_is_a_failure_of_placement(
    state: dict[str, Any], reason: Reason
) -> None:
    seen = see(workload(), pod("Pending", containers=[state]))
    assert seen.state is State.PENDING
    assert (seen.failure, seen.reason) == (Failure.PLACEMENT, reason)
    assert state["waiting"]["reason"] in seen.message


@pytest.mark.parametrize(
    "state",
    [
        waiting("ErrImagePull", "manifest unknown"),
        waiting("ImagePullBackOff", "dial tcp 10.0.0.1:443: i/o timeout"),
        waiting("CreateContainerError", "device busy"),
    ],
)
def test_what_may_pass_by_itself_gets_the_time_of_the_deadline(state: dict[str, Any]) -> None:
    stuck = pod("Pending", containers=[state])
    assert see(workload(), stuck, now=299).failure is None
    assert see(workload(), stuck, now=300).failure is Failure.PLACEMENT


def bound_at(seconds: float) -> list[Mapping[str, Any]]:
    return [{"type": "PodScheduled", "status": "True", "lastTransitionTime": stamp(seconds)}]


def test_a_container_that_is_being_created_gets_the_time_of_the_ready_deadline() -> None:
    gang = workload(workers=2, annotations={"huiju.dev/ready-deadline": "30m"})
    scheduled = bound_at(100)
    first = pod(index=0, conditions=scheduled)
    slow = pod("Pending", index=1, containers=[waiting("ContainerCreating")], conditions=scheduled)
    assert see(gang, first, slow, now=1899).failure is None
    seen = see(gang, first, slow, now=1900)
    assert (seen.failure, seen.reason) == (Failure.PLACEMENT, Reason.PODS_NOT_READY)
    assert seen.message == (
        "1 of 2 workers that have nodes ran within 30m; Worker 1 on node n1 does not:"
        " ContainerCreating"
    )


def test_a_workload_that_says_nothing_of_being_ready_waits_for_its_containers() -> None:
    scheduled = bound_at(0)
    slow = pod("Pending", containers=[waiting("ContainerCreating")], conditions=scheduled)
    assert see(workload(), slow, now=7200).failure is None
    spoilt = workload(annotations={"huiju.dev/ready-deadline": "soon"})
    assert see(spoilt, slow, now=7200).failure is None


def test_a_gang_that_finds_no_nodes_in_time_is_given_up_with_the_schedulers_words() -> None:
    gang = workload(workers=2, annotations={"huiju.dev/scheduling-deadline": "2m"})
    refused = {
        **condition("PodScheduled", "Unschedulable", "0/3 nodes are available"),
        "status": "False",
    }
    unbound = pod("Pending", index=1, node="", conditions=[refused])
    assert see(gang, pod(index=0), unbound, now=119).failure is None
    seen = see(gang, pod(index=0), unbound, now=120)
    assert (seen.failure, seen.reason) == (Failure.PLACEMENT, Reason.UNSCHEDULABLE)
    assert "1 of 2 workers" in seen.message
    assert "0/3 nodes are available" in seen.message


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ('pods "x" is forbidden: exceeded quota: compute, requested', Reason.QUOTA_EXCEEDED),
        ('pods "x" is forbidden: violates PodSecurity "restricted"', Reason.POD_REJECTED),
        ('admission webhook "w" denied the request: no', Reason.POD_REJECTED),
    ],
)
def test_a_workload_that_gets_no_pods_tells_why(trouble: str, reason: Reason) -> None:
    seen = see(workload(), trouble=trouble)
    assert (seen.failure, seen.reason) == (Failure.PLACEMENT, reason)
    assert trouble in seen.message


@pytest.mark.parametrize(
    "trouble",
    [
        'failed calling webhook "w": connection refused',
        'pods "x" is forbidden: error looking up service account a/default: not found',
    ],
)
def test_trouble_that_may_pass_is_waited_for(trouble: str) -> None:
    assert see(workload(), trouble=trouble).failure is None
    assert see(workload(), trouble=trouble, now=300).reason is Reason.POD_REJECTED


# --- stopping and going --------------------------------------------------------------------

STOPPED = {"huiju.dev/stop-reason": "Preempted", "huiju.dev/stop-message": "for another"}


def test_a_stopped_workload_is_suspended_only_when_no_pod_is_left() -> None:
    stopping = workload(condition("Suspended", at=40), suspend=True, annotations=STOPPED)
    ending = see(stopping, pod(deleted=130))
    assert (ending.state, ending.reason, ending.failure) == (
        State.PENDING,
        Reason.PREEMPTED,
        None,
    )
    done = see(stopping)
    assert (done.state, done.reason, done.message) == (
        State.SUSPENDED,
        Reason.PREEMPTED,
        "for another",
    )
    assert done.since == T0 + 40


@pytest.mark.parametrize("status", [{"active": 1}, {"terminating": 2}])
def test_pods_that_only_the_controller_knows_of_are_waited_for(status: dict[str, Any]) -> None:
    stopping = workload(condition("Suspended"), suspend=True, **status)
    assert see(stopping).state is State.PENDING


def test_a_stop_that_the_controller_has_not_seen_is_waited_for() -> None:
    assert see(workload(suspend=True)).state is State.PENDING


def test_a_pod_that_a_dead_node_never_confirms_counts_as_gone_in_the_end() -> None:
    stopping = workload(condition("Suspended"), suspend=True, terminating=1)
    lost = pod(deleted=90)
    assert see(stopping, lost, now=90 + OVERDUE - 1).state is State.PENDING
    assert see(stopping, lost, now=90 + OVERDUE).state is State.SUSPENDED


def test_a_gang_with_a_worker_on_a_dead_node_is_not_waited_for_for_ever() -> None:
    gang = workload(workers=2)
    conditions = [disruption("DeletionByTaintManager")]
    lost = pod(index=1, deleted=90, conditions=conditions)
    assert see(gang, pod(index=0), lost, now=100).failure is None
    seen = see(gang, pod(index=0), lost, now=90 + OVERDUE)
    assert (seen.failure, seen.reason) == (Failure.INFRASTRUCTURE, Reason.NODE_LOST)


def test_a_workload_suspended_by_somebody_else_has_no_reason() -> None:
    seen = see(workload(condition("Suspended"), suspend=True))
    assert (seen.state, seen.reason, seen.message) == (State.SUSPENDED, None, "")


def test_a_finished_workload_is_finished_though_it_was_to_be_stopped() -> None:
    done = workload(condition("Complete"), suspend=True, annotations=STOPPED)
    assert see(done).state is State.SUCCEEDED


def test_a_removed_workload_is_gone_when_its_last_pod_is() -> None:
    assert see(None, pod()).state is State.PENDING
    assert see(None, pod("Failed")).state is State.GONE
    assert see(None).state is State.GONE


def test_equal_objects_give_equal_observations() -> None:
    gang = workload(workers=2)
    pods = [pod(index=0), pod(index=1, containers=[running(at=33)])]
    assert see(gang, *pods) == see(gang, *reversed(pods), now=500)


# --- guarded ---

GUARDED = {"huiju.dev/failover": "guarded"}
OUT_OF_LEASE = exited(
    0, reason="Completed", message="LeaseEnded: the center's lease ran out; no answer"
)
DONE = condition("Complete", "", "", 70)


@pytest.mark.parametrize(
    "guard", [OUT_OF_LEASE, exited(93, message=""), exited(137, message="LeaseEnded: gone")]
)
@pytest.mark.parametrize("code", [0, 1, 143])
def test_what_a_guard_stopped_is_neither_success_nor_the_programs_fault(
    guard: Mapping[str, Any], code: int
) -> None:
    """A program that heeds its TERM saves a checkpoint and ends well: it is not done."""
    phase, end = ("Failed", FAILED) if code else ("Succeeded", DONE)
    ended = pod(phase, containers=[exited(code)], guard=guard)
    seen = see(workload(end, labels=GUARDED), ended)
    assert (seen.state, seen.reason) == (State.FAILED, Reason.LEASE_ENDED)
    assert seen.failure is Failure.INFRASTRUCTURE
    assert "Worker 0 on node n1 was stopped by its guard" in seen.message


def test_a_guarded_job_that_ends_by_itself_succeeds_or_fails_as_any_other() -> None:
    quiet = exited(0, reason="Completed")
    done = pod("Succeeded", containers=[exited(0)], guard=quiet)
    assert see(workload(DONE, labels=GUARDED), done).state is State.SUCCEEDED
    assert see(workload(DONE, labels=GUARDED)).state is State.SUCCEEDED
    broken = pod("Failed", containers=[exited(1)], guard=quiet)
    seen = see(workload(FAILED, labels=GUARDED), broken)
    assert (seen.reason, seen.failure) == (Reason.APPLICATION_FAILED, Failure.APPLICATION)


def test_success_of_a_guarded_job_waits_until_its_guards_have_spoken() -> None:
    """Workload and pods are told apart in time: the pod may still be seen as it was before."""
    seen = see(workload(DONE, labels=GUARDED), pod("Running", guard=running()))
    assert seen.state is State.PENDING


def test_a_gang_whose_peers_fail_first_still_ended_by_the_lease() -> None:
    peer = pod("Failed", index=0, containers=[exited(1, at=61)], guard=exited(0))
    stopped = pod("Failed", index=1, containers=[exited(143, at=90)], guard=OUT_OF_LEASE)
    seen = see(workload(FAILED, workers=2, labels=GUARDED), peer, stopped)
    assert seen.reason is Reason.LEASE_ENDED


def test_the_workload_itself_tells_of_the_lease_when_its_pods_are_gone() -> None:
    words = "Container huiju-guard for pod a/b failed with exit code 93 matching FailJob rule"
    seen = see(workload(condition("Failed", "PodFailurePolicy", words, 70), labels=GUARDED))
    assert (seen.reason, seen.failure) == (Reason.LEASE_ENDED, Failure.INFRASTRUCTURE)


@pytest.mark.parametrize("code", [0, 1])
def test_a_job_that_hung_is_neither_done_nor_at_fault(code: int) -> None:
    """The workload of a job without failover says nothing of a guard; its pod does."""
    phase, end = ("Failed", FAILED) if code else ("Succeeded", DONE)
    hung = exited(94, message="NoProgress: nothing changed at /scratch/beat for 600 s")
    seen = see(workload(end), pod(phase, containers=[exited(code)], guard=hung))
    assert (seen.reason, seen.failure) == (Reason.NO_PROGRESS, Failure.INFRASTRUCTURE)
    assert "/scratch/beat" in seen.message
    words = "Container huiju-guard for pod a/b failed with exit code 94 matching FailJob rule"
    later = see(workload(condition("Failed", "PodFailurePolicy", words, 70)))
    assert later.reason is Reason.NO_PROGRESS
