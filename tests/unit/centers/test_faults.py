"""Which machine is at fault for the end of an attempt, and who says so."""

from __future__ import annotations

from typing import Any

import pytest

from huiju.api.reasons import Reason
from huiju.centers.ailments import RECENT, Ailments, NodeHealth
from huiju.centers.faults import Ailing, codes_of, well
from huiju.centers.mailbox import observation_of, report_of
from huiju.centers.objects import Pod, Workload
from huiju.centers.observe import Failure, Observation, State, observe
from huiju.centers.render import render
from huiju.centers.tracker import Tracker
from tests.inventory_worlds import ASCEND, B3, inventory, node
from tests.unit.centers.workloads import (
    HUB,
    T0,
    UID,
    condition,
    exited,
    job,
    pod,
    target,
    workload,
)

FAILED = condition("Failed", "BackoffLimitExceeded", "Job has reached the limit", 70)
ECC = "RuntimeError: CUDA error: uncorrectable ECC error encountered"


def see(job: Workload, *pods: Pod, ailing: Ailing = well) -> Observation:
    return observe(UID, 1, job, pods, T0 + 100, ailing=ailing)


def failing(**more: Any) -> Pod:
    return pod("Failed", containers=[exited(1)], **more)


def broken(*nodes: str) -> Ailing:
    return lambda name: "1 unit of huawei.com/Ascend910 broke" if name in nodes else ""


def test_a_failure_on_a_node_whose_device_broke_is_the_machines() -> None:
    seen = see(workload(FAILED), failing(), ailing=broken("n1"))
    assert (seen.reason, seen.failure) == (Reason.HARDWARE_FAULT, Failure.INFRASTRUCTURE)
    assert (seen.fault_node, seen.fault_claimed) == ("n1", False)
    assert "Node n1: 1 unit of huawei.com/Ascend910 broke" in seen.message
    assert "exited with code 1" in seen.message
    sound = see(workload(FAILED), failing(), ailing=broken("n2"))
    assert (sound.reason, sound.fault_node) == (Reason.APPLICATION_FAILED, "")


def test_any_node_of_a_gang_may_be_the_one() -> None:
    pods = (failing(), pod("Failed", index=1, node="n2", containers=[exited(143, at=62)]))
    seen = see(workload(FAILED, workers=2), *pods, ailing=broken("n2"))
    assert (seen.reason, seen.fault_node) == (Reason.HARDWARE_FAULT, "n2")


def test_a_hang_on_a_node_whose_device_broke_is_no_stall() -> None:
    guard = exited(94, message="NoProgress: nothing changed at /scratch/beat for 600 s")
    done = condition("Failed", "PodFailurePolicy", "Container huiju-guard failed", 70)
    hung = pod("Failed", containers=[exited(143)], guard=guard)
    assert see(workload(done), hung, ailing=broken("n1")).reason is Reason.HARDWARE_FAULT
    assert see(workload(done), hung).reason is Reason.NO_PROGRESS


@pytest.mark.parametrize(
    ("reason", "fault"),
    [("UnexpectedAdmissionError", "n1"), ("NodeLost", "n1"), ("Evicted", ""), ("OutOfcpu", "")],
)
def test_what_the_kubelet_says_of_a_pod_may_speak_against_its_node(reason: str, fault: str) -> None:
    seen = see(workload(FAILED), pod("Failed", containers=[], reason=reason, message="Allocate"))
    assert seen.failure is Failure.INFRASTRUCTURE
    assert (seen.fault_node, seen.fault_claimed) == (fault, False)


def test_a_node_that_left_its_pod_is_at_fault_if_it_is_down_and_not_if_it_was_emptied() -> None:
    left = condition("DisruptionTarget", "DeletionByTaintManager", "deleting due to NoExecute", 50)
    gone = pod("Failed", containers=[], conditions=[left])
    down: Ailing = lambda _: "it is not Ready any more"  # noqa: E731  one line says it
    seen = see(workload(FAILED), gone, ailing=down)
    assert (seen.reason, seen.fault_node) == (Reason.NODE_LOST, "n1")
    emptied = see(workload(FAILED), gone)
    assert (emptied.reason, emptied.fault_node) == (Reason.NODE_LOST, "")


@pytest.mark.parametrize(
    "words",
    [ECC, "... GPU has fallen off the bus.", "HBM MULTI BIT ECC ERROR", "x" * 3000 + " UCE ERROR"],
)
def test_words_that_drivers_use_of_broken_hardware_are_a_claim(words: str) -> None:
    dying = pod("Failed", containers=[exited(1, message=words)])
    seen = see(workload(FAILED), dying)
    assert (seen.reason, seen.failure) == (Reason.HARDWARE_FAULT, Failure.INFRASTRUCTURE)
    assert (seen.fault_node, seen.fault_claimed) == ("n1", True)
    confirmed = see(workload(FAILED), dying, ailing=broken("n1"))
    assert not confirmed.fault_claimed, "the center shows it too"


@pytest.mark.parametrize("words", ["", "CUDA error: an illegal memory access", "REDUCE ERROR"])
def test_other_words_are_the_applications_own(words: str) -> None:
    seen = see(workload(FAILED), pod("Failed", containers=[exited(1, message=words)]))
    assert (seen.reason, seen.fault_node) == (Reason.APPLICATION_FAILED, "")


def test_a_job_names_the_exit_codes_by_which_it_blames_the_machine() -> None:
    view = job(retry={"maxAttempts": 3, "hardwareExitCodes": [75, 76]})
    notes = render(view, target()).objects[-1]["metadata"]["annotations"]
    codes = notes["huiju.dev/hardware-exit-codes"]
    assert codes_of(codes) == {75, 76}
    made = workload(FAILED, annotations={"huiju.dev/hardware-exit-codes": codes})
    seen = see(made, pod("Failed", containers=[exited(76)]))
    assert (seen.fault_node, seen.fault_claimed) == ("n1", True)
    assert see(made, pod("Failed", containers=[exited(1)])).fault_node == ""
    assert codes_of("75,x, 76,-1,²") == {75}, "a center may have spoilt what was noted"


def test_the_worker_that_blames_its_machine_is_heard_before_its_peers() -> None:
    peers = (
        pod("Failed", index=0, containers=[exited(1, message="NCCL timeout", at=58)]),
        pod("Failed", index=1, node="n2", containers=[exited(1, message=ECC, at=60)]),
    )
    seen = see(workload(FAILED, workers=2), *peers)
    assert (seen.reason, seen.fault_node) == (Reason.HARDWARE_FAULT, "n2")


def test_an_end_that_has_another_cause_for_certain_is_no_machines() -> None:
    limit = workload(condition("Failed", "DeadlineExceeded", "", 70), limit=60)
    seen = see(limit, failing(), ailing=broken("n1"))
    assert (seen.reason, seen.fault_node) == (Reason.RUNTIME_EXCEEDED, "")


def test_a_pod_on_a_dead_node_that_had_to_be_stopped_tells_it_once_it_is_gone() -> None:
    told: list[Observation] = []
    tracker = Tracker(HUB, told.append, lambda: T0 + 100, broken("n1"))
    tracker.start()
    notes = {"huiju.dev/stop-reason": "NodeLost", "huiju.dev/stop-message": "lost"}
    left = condition("DisruptionTarget", "DeletionByTaintManager", "deleting", 50)
    dead = pod(conditions=[left], deleted=20)
    tracker.pod_changed(None, dead)
    tracker.workload_changed(
        None, workload(condition("Suspended"), suspend=True, annotations=notes)
    )
    tracker.pod_changed(dead, None)
    last = told[-1]
    assert (last.state, last.reason) == (State.SUSPENDED, Reason.NODE_LOST)
    assert last.fault_node == "n1"


def test_what_was_once_the_machines_fault_stays_so_when_its_trouble_is_forgotten() -> None:
    told: list[Observation] = []
    trouble = ["it broke"]
    tracker = Tracker(HUB, told.append, lambda: T0 + 100, lambda _: trouble[0])
    tracker.start()
    tracker.workload_changed(None, workload())
    tracker.pod_changed(None, failing())
    tracker.workload_changed(workload(), workload(FAILED))
    trouble[0] = ""
    tracker.pod_changed(failing(), None)
    (seen,) = tracker.observations_of(UID)
    assert (seen.reason, seen.fault_node) == (Reason.HARDWARE_FAULT, "n1")


def test_an_agent_reports_the_node_as_it_saw_it() -> None:
    seen = see(workload(FAILED), pod("Failed", containers=[exited(1, message=ECC)]))
    assert observation_of(UID, report_of(seen)) == seen


# --- what is known of nodes ---


def test_what_was_broken_when_a_node_was_first_seen_is_old() -> None:
    known = Ailments()
    known.note("n", NodeHealth(True, {ASCEND: 1}), 0.0)
    assert known.of("n", 0.0) == ""
    known.note("n", NodeHealth(True, {ASCEND: 3}), 10.0)
    assert known.of("n", 10.0) == f"3 units of {ASCEND} broke"
    known.note("n", NodeHealth(True, {ASCEND: 2}), 20.0)
    assert known.of("n", 10.0 + RECENT - 1) != "", "that one was mended does not undo it"
    assert known.of("n", 10.0 + RECENT) == ""


def test_a_node_that_is_not_ready_any_more_is_news_and_one_that_left_is_not() -> None:
    known = Ailments()
    known.note("n", NodeHealth(True, {}), 0.0)
    known.note("n", NodeHealth(False, {}), 1.0)
    assert "not Ready" in known.of("n", 2.0)
    known.note("m", NodeHealth(True, {}), 0.0)
    known.note("m", None, 1.0)
    known.note("m", NodeHealth(True, {ASCEND: 8}), 2.0)
    assert known.of("m", 3.0) == ""


def test_the_inventory_tells_broken_devices_and_those_without_a_link() -> None:
    told = {f"{ASCEND}-Unhealthy": "Ascend910-3", f"{ASCEND}-NetworkUnhealthy": "Ascend910-5"}
    devices = {ASCEND: "8"}
    made = inventory(node("n", devices, B3, allocatable={ASCEND: "7"}, annotations=told))
    assert made.health("n") == NodeHealth(True, {ASCEND: 2})
    assert made.health("elsewhere") is None
