"""What keeps the workers of an attempt from running, and when that is for good.

Pure: from the workload, its pods and the time to a `Cause`. Decides when waiting is over: at once
for what cannot pass by itself, else at `schedulingDeadline` (no node) or `readyDeadline` (a node,
and still no running container). Invariant: pods that all run are never a cause.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from huiju.api.durations import format_duration, parse_duration
from huiju.api.reasons import Reason
from huiju.centers.causes import Cause, Failure, condition_of, hindrance_of, when, worker_of
from huiju.centers.names import READY_DEADLINE, SCHEDULING_DEADLINE
from huiju.centers.objects import Pod, Workload

_DEFAULT_DEADLINE: Final = "5m"


def cannot_start(
    workload: Workload, pods: Sequence[Pod], since: float, now: float, trouble: str
) -> Cause | None:
    """Why the workers will not all run, at `now`; None while they may.

    `since` is when the workload was made, `trouble` why the center makes no pods, in its own words.
    """
    allowed = _deadline(workload)
    late = now >= since + allowed
    bound = sum(bool(pod.spec.node_name) for pod in pods)
    for pod in pods:
        hindrance = hindrance_of(pod, late=late)
        if hindrance is not None:
            return hindrance
    if len(pods) < workload.spec.completions and trouble:
        refused = _refused(trouble)
        if refused is not None or late:
            message = f"The center makes no pods: {trouble}"
            return Cause(Failure.PLACEMENT, refused or Reason.POD_REJECTED, message)
    if late and bound < workload.spec.completions:
        return _unschedulable(workload, pods, bound, allowed)
    return _not_ready(workload, pods, now)


def _not_ready(workload: Workload, pods: Sequence[Pod], now: float) -> Cause | None:
    """All workers have nodes and their time to run there is over."""
    allowed = _ready_deadline(workload)
    bound_at = [at for pod in pods if (at := _bound_at(pod)) is not None]
    workers = workload.spec.completions
    if allowed is None or len(bound_at) < workers or now < max(bound_at) + allowed:
        return None
    slow = next((pod for pod in pods if pod.status.phase == "Pending"), None)
    if slow is None:
        return None
    waiting = {
        one.state.waiting.reason
        for one in (*slow.status.init_container_statuses, *slow.status.container_statuses)
        if one.state.waiting is not None and one.state.waiting.reason
    }
    words = f": {', '.join(sorted(waiting))}" if waiting else ""
    ready = sum(pod.status.phase in ("Running", "Succeeded") for pod in pods)
    message = (
        f"{ready} of {workers} workers that have nodes ran within {format_duration(allowed)};"
        f" {worker_of(slow)} on node {slow.spec.node_name} does not{words}"
    )
    return Cause(Failure.PLACEMENT, Reason.PODS_NOT_READY, message)


def _bound_at(pod: Pod) -> float | None:
    bound = condition_of(pod.status.conditions, "PodScheduled") if pod.spec.node_name else None
    return when(bound.last_transition_time) if bound is not None else None


def _ready_deadline(workload: Workload) -> float | None:
    """Seconds that workers with nodes have to run; None where an older agent noted nothing."""
    try:
        return parse_duration(workload.note(READY_DEADLINE))
    except (ValueError, OverflowError):
        return None


def _deadline(workload: Workload) -> float:
    """Seconds that the workers have to find nodes; the center may have spoilt what was noted."""
    try:
        return parse_duration(workload.note(SCHEDULING_DEADLINE) or _DEFAULT_DEADLINE)
    except (ValueError, OverflowError):
        return parse_duration(_DEFAULT_DEADLINE)


def _refused(trouble: str) -> Reason | None:
    """What an admission's refusal of pods means; None where it may pass by itself."""
    if "exceeded quota" in trouble:
        return Reason.QUOTA_EXCEEDED
    # A new namespace gets its service account a moment later.
    if "service account" in trouble:
        return None
    if "forbidden" in trouble or "denied" in trouble:
        return Reason.POD_REJECTED
    return None


def _unschedulable(workload: Workload, pods: Sequence[Pod], bound: int, allowed: float) -> Cause:
    words = ""
    for pod in pods:
        for condition in pod.status.conditions:
            if condition.type == "PodScheduled" and condition.status == "False":
                words = f": {condition.message}"
    message = (
        f"{bound} of {workload.spec.completions} workers found a node within"
        f" {format_duration(allowed)}{words or '.'}"
    )
    return Cause(Failure.PLACEMENT, Reason.UNSCHEDULABLE, message)
