"""Why a pod ended or cannot start, told apart by whose fault it is.

Pure. Decides one pod at a time from what Kubernetes wrote on it. Invariants: what the node, the
scheduler or the center's owner did to a pod is never held against the application; what only may
pass by itself (a registry that timed out) is not called hopeless before its time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final

from huiju.api.reasons import Reason
from huiju.centers.launch import INDEX_ANNOTATION
from huiju.centers.objects import Condition, ContainerStatus, Pod, Terminated
from huiju.guard.terms import CODES, GUARD


class Failure(Enum):
    """Whose fault the end of an attempt was."""

    APPLICATION = "application"
    """The job's own: counts against its retries."""
    PLACEMENT = "placement"
    """The center cannot run it as placed: another center may."""
    INFRASTRUCTURE = "infrastructure"
    """Nodes, evictions, the owner's own pods: the job is queued again with its place kept."""


class Fault(Enum):
    """Whether a machine is at fault, and who says so."""

    NONE = "none"
    SEEN = "seen"
    """The center shows it."""
    CLAIMED = "claimed"
    """The program says so."""


@dataclass(frozen=True, slots=True)
class Cause:
    """What ended an attempt, or will."""

    failure: Failure
    reason: Reason
    message: str
    at: float = 0.0
    """Seconds since the epoch."""
    weak: bool = False
    """Holds only where nothing better is known: the pod was deleted, perhaps since others ended."""
    node: str = ""
    """Where the pod was that tells it."""
    code: int = 0
    """Exit code of the container that failed first, 0 where none is known."""
    fault: Fault = Fault.NONE


_DISRUPTIONS: Final = {
    "PreemptionByScheduler": (Reason.PREEMPTED_BY_OWNER, "gave way to a pod of higher priority"),
    "PreemptionByKubelet": (Reason.PREEMPTED_BY_OWNER, "gave way to a critical pod"),
    "DeletionByTaintManager": (Reason.NODE_LOST, "left a node that is lost or being emptied"),
    "DeletionByPodGC": (Reason.NODE_LOST, "was on a node that is gone"),
    "EvictionByEvictionAPI": (Reason.EVICTED, "was evicted"),
    "TerminationByKubelet": (Reason.EVICTED, "was ended by its node"),
}
_POD_REASONS: Final = {
    "Evicted": (Failure.INFRASTRUCTURE, Reason.EVICTED),
    "NodeLost": (Failure.INFRASTRUCTURE, Reason.NODE_LOST),
    "NodeShutdown": (Failure.INFRASTRUCTURE, Reason.NODE_LOST),
    "Shutdown": (Failure.INFRASTRUCTURE, Reason.NODE_LOST),
    "Terminated": (Failure.INFRASTRUCTURE, Reason.NODE_LOST),
    "Preempting": (Failure.INFRASTRUCTURE, Reason.PREEMPTED_BY_OWNER),
    # The device plugin or the kubelet turned the pod away after the scheduler had bound it.
    "UnexpectedAdmissionError": (Failure.INFRASTRUCTURE, Reason.POD_REJECTED),
    "NodeAffinity": (Failure.INFRASTRUCTURE, Reason.POD_REJECTED),
    "TopologyAffinityError": (Failure.INFRASTRUCTURE, Reason.POD_REJECTED),
    "DeadlineExceeded": (Failure.APPLICATION, Reason.RUNTIME_EXCEEDED),
}
_MACHINE_FAILED: Final = frozenset({"UnexpectedAdmissionError", "NodeLost"})
"""A device could not be given to the pod; the node went with the pod on it."""
_BROKEN: Final = re.compile(
    # CUDA and HIP, and NVIDIA's kernel driver; then torch_npu's words for what CANN says of a chip.
    r"(?i:uncorrectable (ecc|nvlink) error|cuda_error_(ecc|nvlink)_uncorrectable"
    r"|fallen off the bus)|\b(HBM MULTI BIT ECC|UCE|HCCS LINK) ERROR\b"
)
"""What drivers and runtimes say of broken hardware, and of nothing else."""
_LOST_TRACK: Final = "ContainerStatusUnknown"
_NO_IMAGE: Final = ("ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")
_MAYBE_NO_IMAGE: Final = ("ErrImagePull", "RegistryUnavailable", "ImageInspectError")
_NO_CONTAINER: Final = ("CreateContainerConfigError",)
_MAYBE_NO_CONTAINER: Final = ("CreateContainerError", "RunContainerError")
_PASSING: Final = (
    "timeout",
    "timed out",
    "connection refused",
    "connection reset",
    "no such host",
    "too many requests",
    "toomanyrequests",
    "eof",
    "502 ",
    "503 ",
    "504 ",
)
_LONGEST_WORDS: Final = 256


def when(text: str | None) -> float | None:
    """Seconds since the epoch of an RFC 3339 time."""
    return datetime.fromisoformat(text).timestamp() if text else None


def worker_of(pod: Pod) -> str:
    """What a person calls the pod: its worker's number, or its name where it is the only one."""
    index = (pod.metadata.annotations or {}).get(INDEX_ANNOTATION)
    return f"Pod {pod.metadata.name}" if index is None else f"Worker {index}"


def condition_of(conditions: list[Condition], kind: str) -> Condition | None:
    """The condition of this type if it holds."""
    return next((c for c in conditions if c.type == kind and c.status == "True"), None)


def end_of(pod: Pod) -> Cause | None:
    """What ended the pod before its time, or is ending it; None if nothing did."""
    disruption = condition_of(pod.status.conditions, "DisruptionTarget")
    if disruption is not None and pod.status.phase != "Succeeded":
        return _disrupted(pod, disruption)
    if pod.status.phase in ("Failed", "Succeeded"):
        # Also of one that ended well: a program that heeds its TERM often does, and is not done.
        stopped = _stopped_by_guard(pod)
        if stopped is not None:
            return stopped
    if pod.status.phase == "Failed":
        named = _named(pod)
        if named is not None:
            return named
    deleted = when(pod.metadata.deletion_timestamp)
    if deleted is not None and pod.status.phase != "Succeeded":
        message = f"{worker_of(pod)} was deleted in the center, not by Huiju."
        return Cause(Failure.INFRASTRUCTURE, Reason.EVICTED, message, deleted, weak=True)
    if pod.status.phase == "Failed":
        return _exited(pod)
    return None


def _disrupted(pod: Pod, disruption: Condition) -> Cause:
    known = _DISRUPTIONS.get(disruption.reason)
    if pod.status.reason == "Preempting":
        known = _DISRUPTIONS["PreemptionByKubelet"]
    reason, words = known or (Reason.EVICTED, "was disrupted")
    return Cause(
        Failure.INFRASTRUCTURE,
        reason,
        f"{_placed(pod)} {words}{_said(disruption.message or pod.status.message)}",
        when(disruption.last_transition_time) or 0.0,
        node=pod.spec.node_name,
    )


def _stopped_by_guard(pod: Pod) -> Cause | None:
    """The guard had the pod stopped, and left word of it behind."""
    for status in pod.status.init_container_statuses:
        left = status.state.terminated
        if status.name != GUARD or left is None:
            continue
        for word, code in CODES.items():
            if left.exit_code == code or left.message.startswith(f"{word}:"):
                words = left.message.removeprefix(f"{word}:")
                message = f"{_placed(pod)} was stopped by its guard{_said(words)}"
                return Cause(
                    Failure.INFRASTRUCTURE,
                    Reason(word),
                    message,
                    _ended_at(pod),
                    node=pod.spec.node_name,
                )
    return None


def guard_word(message: str) -> Reason | None:
    """Why a guard stopped its pod, from what the workload's own condition says of exit codes."""
    if f"Container {GUARD} " not in message:
        return None
    words = (Reason(word) for word, code in CODES.items() if f"exit code {code} " in message)
    return next(words, None)


def _named(pod: Pod) -> Cause | None:
    """The end of a pod that its kubelet gave a name, or lost track of."""
    at = _ended_at(pod)
    node, reason = pod.spec.node_name, pod.status.reason
    said = _said(pod.status.message)
    if reason in _POD_REASONS:
        failure, ours = _POD_REASONS[reason]
        fault = Fault.SEEN if node and reason in _MACHINE_FAILED else Fault.NONE
        message = f"{_placed(pod)}: {reason}{said}"
        return Cause(failure, ours, message, at, node=node, fault=fault)
    if reason.startswith("OutOf"):
        message = f"{_placed(pod)} found no room ({reason}){said}"
        return Cause(Failure.INFRASTRUCTURE, Reason.POD_REJECTED, message, at)
    if any(ended.reason == _LOST_TRACK for _, ended in _terminations(pod)):
        message = f"{_placed(pod)} was lost track of by its node."
        return Cause(
            Failure.INFRASTRUCTURE, Reason.NODE_LOST, message, at, node=node, fault=Fault.SEEN
        )
    if reason and not _terminations(pod):
        message = f"{_placed(pod)} was turned away ({reason}){said}"
        return Cause(Failure.PLACEMENT, Reason.POD_REJECTED, message, at)
    return None


def _exited(pod: Pod) -> Cause:
    """The application's own failure."""
    failed = [(name, ended) for name, ended in _terminations(pod) if ended.exit_code]
    code, fault = 0, Fault.NONE
    if not failed:
        message = f"{_placed(pod)} failed{_said(pod.status.message)}"
    else:
        name, ended = failed[0]
        code = ended.exit_code
        if pod.spec.node_name and _BROKEN.search(ended.message):
            fault = Fault.CLAIMED
        why = "" if ended.reason in ("", "Error") else f" ({ended.reason})"
        message = (
            f"{_placed(pod)}: container {name} exited with code {ended.exit_code}{why}"
            f"{_said(ended.message)}"
        )
    return Cause(
        Failure.APPLICATION,
        Reason.APPLICATION_FAILED,
        message,
        _ended_at(pod),
        node=pod.spec.node_name,
        code=code,
        fault=fault,
    )


def hindrance_of(pod: Pod, *, late: bool) -> Cause | None:
    """What keeps a bound pod from starting; `late` once there was time enough for it to pass."""
    for status in (*pod.status.init_container_statuses, *pod.status.container_statuses):
        waiting = status.state.waiting
        if waiting is None:
            continue
        said = _said(waiting.message)
        if waiting.reason in _NO_IMAGE or (late and waiting.reason in _MAYBE_NO_IMAGE):
            if not late and any(word in said.lower() for word in _PASSING):
                continue
            message = f"{_placed(pod)}: image {status.image!r}: {waiting.reason}{said}"
            return Cause(Failure.PLACEMENT, Reason.IMAGE_PULL_FAILED, message)
        if waiting.reason in _NO_CONTAINER or (late and waiting.reason in _MAYBE_NO_CONTAINER):
            message = f"{_placed(pod)}: container {status.name}: {waiting.reason}{said}"
            return Cause(Failure.PLACEMENT, Reason.POD_REJECTED, message)
    return None


def started_at(pod: Pod) -> float | None:
    """When the last of the pod's containers began; None if one has not."""
    times = [_began(status) for status in pod.status.container_statuses]
    known = [time for time in times if time is not None]
    return max(known) if known and len(known) == len(times) else None


def _began(status: ContainerStatus) -> float | None:
    state = status.state
    if state.running is not None:
        return when(state.running.started_at)
    return when(state.terminated.started_at) if state.terminated is not None else None


def _terminations(pod: Pod) -> list[tuple[str, Terminated]]:
    return [
        (status.name, status.state.terminated)
        for status in (*pod.status.init_container_statuses, *pod.status.container_statuses)
        if status.state.terminated is not None
    ]


def _ended_at(pod: Pod) -> float:
    times = [when(ended.finished_at) for _, ended in _terminations(pod)]
    known = [time for time in times if time is not None]
    return min(known) if known else when(pod.status.start_time) or 0.0


def _placed(pod: Pod) -> str:
    node = pod.spec.node_name
    return f"{worker_of(pod)} on node {node}" if node else worker_of(pod)


def _said(words: str) -> str:
    """What the server said, cut to a bearable length, as the end of a sentence."""
    text = " ".join(words.split())
    if len(text) > _LONGEST_WORDS:
        text = f"{text[: _LONGEST_WORDS - 1]}…"
    return f": {text}" if text else "."
