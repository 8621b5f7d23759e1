"""What a workload and its pods show of one epoch of a job.

Pure: from the objects and the time to an `Observation`. Decides states and whose fault an end was.
Invariants: FAILED and SUSPENDED are said only when no pod may still run; success is said only by
the workload's own condition; equal objects give equal observations.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from huiju.api.durations import format_duration
from huiju.api.reasons import Reason
from huiju.centers.causes import (
    Cause,
    Failure,
    Fault,
    condition_of,
    end_of,
    guard_word,
    started_at,
    when,
)
from huiju.centers.faults import Ailing, claims, codes_of, judged, well
from huiju.centers.names import (
    FAILOVER,
    GUARDED,
    HARDWARE_CODES,
    PLACEMENT,
    STOP_MESSAGE,
    STOP_REASON,
)
from huiju.centers.objects import Condition, Pod, Workload
from huiju.centers.starting import cannot_start
from huiju.guard.terms import CODES, GUARD

__all__ = ["Failure", "Observation", "State", "first_cause", "observe", "unsettled"]

OVERDUE: Final = 60.0
"""Seconds past its allowed end after which a pod that a dead node cannot confirm counts as gone."""
_WORDS: Final = frozenset(reason.value for reason in Reason)


class State(Enum):
    """How far one epoch of a job is."""

    PENDING = "pending"
    """Not all workers run; or the last of them are still ending."""
    RUNNING = "running"
    """All workers have started."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SUSPENDED = "suspended"
    """Stopped, and no pod is left that might run."""
    GONE = "gone"
    """Neither the workload nor a pod of it is left."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What a center shows of one epoch of a job; times in seconds since the epoch."""

    job_uid: str
    epoch: int
    state: State
    ready: int
    """Workers that run, or have ended well."""
    bound: int
    """Workers that have a node."""
    reason: Reason | None = None
    message: str = ""
    failure: Failure | None = None
    """Whose fault it is; on PENDING and RUNNING it means: stop it, it cannot get well."""
    started_at: float | None = None
    finished_at: float | None = None
    since: float = 0.0
    """When this state began, as far as the objects tell."""
    placement: str = ""
    """The hub's word on the placement that it stands for, as the workload carries it."""
    fault_node: str = ""
    """The node whose hardware is at fault for the end, empty if none is."""
    fault_claimed: bool = False
    """Only the program says so."""

    @property
    def stopping(self) -> bool:
        """Whether it was told to stop while pods of it may still run."""
        return self.state is State.PENDING and self.reason is not None and self.failure is None


def observe(
    job_uid: str,
    epoch: int,
    workload: Workload | None,
    pods: Sequence[Pod],
    now: float,
    *,
    remembered: Cause | None = None,
    trouble: str = "",
    ailing: Ailing = well,
) -> Observation:
    """What is to be seen at `now`.

    `remembered` is the cause of an end that the pods told before they went (see `first_cause`),
    `trouble` why the center makes no pods, in its own words, `ailing` what is known of nodes.
    """
    live = [pod for pod in pods if _may_run(pod, now)]
    if workload is None:
        return _without_workload(job_uid, epoch, live)
    begun = _begun(workload, pods)
    seen = Observation(
        job_uid,
        epoch,
        State.PENDING,
        ready=sum(pod.status.phase in ("Running", "Succeeded") for pod in pods),
        bound=sum(bool(pod.spec.node_name) for pod in pods),
        started_at=begun,
        since=when(workload.metadata.creation_timestamp) or 0.0,
        placement=workload.note(PLACEMENT),
    )
    status = workload.status
    complete = condition_of(status.conditions, "Complete")
    if complete is not None and _is_guarded(workload, pods):
        return _guarded_end(seen, workload, complete, pods, live, remembered, ailing)
    if complete is not None:
        return _succeeded(seen, workload, complete)
    failed = condition_of(status.conditions, "Failed")
    ending = failed or condition_of(status.conditions, "FailureTarget")
    if ending is not None:
        # The controller says Failed only once no pod is left, and of a dead node one always is.
        if live or (failed is None and _left(workload, pods, live) > 0):
            return seen  # it is ending: the last pods have their grace period
        cause = first_cause(pods, remembered, codes_of(workload.note(HARDWARE_CODES)))
        return _failed(seen, workload, ending, cause, _nodes(pods), ailing)
    if workload.spec.suspend:
        return _stopping(seen, workload, pods, live, remembered, ailing)
    return _going(seen, workload, pods, now, trouble)


def first_cause(
    pods: Sequence[Pod], remembered: Cause | None = None, codes: frozenset[int] = frozenset()
) -> Cause | None:
    """The first thing that went wrong, of what these pods show and what was seen before.

    `codes` are the exit codes by which the program says that the machine is at fault.
    """
    causes = [claims(cause, codes) for pod in pods if (cause := end_of(pod)) is not None]
    if remembered is not None:
        causes.append(remembered)
    if any(cause.reason in _BY_GUARD for cause in causes):
        # Workers whose peers were stopped may fail sooner than these end.
        causes = [cause for cause in causes if cause.failure is not Failure.APPLICATION]
    elif any(cause.fault is not Fault.NONE for cause in causes):
        # The peers of a worker whose machine failed fail for want of it, some of them sooner.
        causes = [c for c in causes if c.fault is not Fault.NONE or not _of_application(c)]
    # On a tie the application is not to blame.
    return min(
        causes,
        key=lambda c: (c.weak, c.at, c.failure is Failure.APPLICATION, c.message),
        default=None,
    )


def _of_application(cause: Cause) -> bool:
    return cause.failure is Failure.APPLICATION


def _nodes(pods: Iterable[Pod]) -> list[str]:
    return [pod.spec.node_name for pod in pods]


def unsettled(seen: Observation) -> bool:
    """True where the same objects may show something else later."""
    return seen.state is State.PENDING


def _may_run(pod: Pod, now: float) -> bool:
    if pod.status.phase in ("Succeeded", "Failed"):
        return False
    end = when(pod.metadata.deletion_timestamp)
    return end is None or now < end + OVERDUE


def _begun(workload: Workload, pods: Sequence[Pod]) -> float | None:
    """When the last worker started; after the pods are gone, when the workload did."""
    times = [time for pod in pods if (time := started_at(pod)) is not None]
    if len(times) >= workload.spec.completions:
        return max(times)
    finished = condition_of(workload.status.conditions, "Complete")
    return when(workload.status.start_time) if finished is not None else None


def _without_workload(job_uid: str, epoch: int, live: Sequence[Pod]) -> Observation:
    """Someone removed the workload; its pods may take their grace period to end."""
    state = State.PENDING if live else State.GONE
    message = "The workload was removed in the center, not by Huiju."
    return Observation(job_uid, epoch, state, 0, len(live), Reason.WORKLOAD_GONE, message)


def _succeeded(seen: Observation, workload: Workload, complete: Condition) -> Observation:
    at = when(workload.status.completion_time) or when(complete.last_transition_time)
    return replace(seen, state=State.SUCCEEDED, finished_at=at, since=at or 0.0)


_BY_GUARD: Final = frozenset(map(Reason, CODES))


def _is_guarded(workload: Workload, pods: Sequence[Pod]) -> bool:
    if (workload.metadata.labels or {}).get(FAILOVER) == GUARDED:
        return True
    return any(one.name == GUARD for pod in pods for one in pod.status.init_container_statuses)


def _guarded_end(
    seen: Observation,
    workload: Workload,
    complete: Condition,
    pods: Sequence[Pod],
    live: Sequence[Pod],
    remembered: Cause | None,
    ailing: Ailing,
) -> Observation:
    """A program that its guard stopped may end well without being done: its pods tell."""
    if live:
        return seen  # what their guards leave behind is not known yet
    causes = [remembered, *map(end_of, pods)]
    cause = next((c for c in causes if c is not None and c.reason in _BY_GUARD), None)
    if cause is None:
        return _succeeded(seen, workload, complete)
    return _failed(seen, workload, complete, cause, _nodes(pods), ailing)


def _failed(
    seen: Observation,
    workload: Workload,
    failed: Condition,
    cause: Cause | None,
    nodes: Sequence[str],
    ailing: Ailing,
) -> Observation:
    at = when(failed.last_transition_time)
    known = judged(_by_condition(workload, failed, cause), nodes, ailing)
    return replace(
        seen,
        state=State.FAILED,
        ready=0,
        reason=known.reason,
        message=known.message,
        failure=known.failure,
        finished_at=at,
        since=at or 0.0,
        fault_node=known.node if known.fault is not Fault.NONE else "",
        fault_claimed=known.fault is Fault.CLAIMED,
    )


def _by_condition(workload: Workload, failed: Condition, cause: Cause | None) -> Cause:
    """The workload's own word on its end goes first where it is exact; else the pods' word."""
    if failed.reason == "DeadlineExceeded":
        limit = workload.spec.active_deadline_seconds
        allowed = f" ({format_duration(limit)})" if limit else ""
        message = f"Ran longer than spec.maxRuntime allows{allowed}."
        return Cause(Failure.APPLICATION, Reason.RUNTIME_EXCEEDED, message)
    disrupted = failed.reason == "PodFailurePolicy"
    word = guard_word(failed.message) if disrupted else None
    if word is not None:
        told = cause is not None and cause.reason in _BY_GUARD
        return cause if cause and told else Cause(Failure.INFRASTRUCTURE, word, failed.message)
    if cause is not None and not (disrupted and cause.failure is Failure.APPLICATION):
        return cause
    if disrupted:
        return Cause(Failure.INFRASTRUCTURE, Reason.EVICTED, failed.message)
    message = failed.message or "The workload failed."
    return Cause(Failure.APPLICATION, Reason.APPLICATION_FAILED, message)


def _stopping(
    seen: Observation,
    workload: Workload,
    pods: Sequence[Pod],
    live: Sequence[Pod],
    remembered: Cause | None,
    ailing: Ailing,
) -> Observation:
    reason = _reason(workload.note(STOP_REASON))
    message = workload.note(STOP_MESSAGE)
    stopped = condition_of(workload.status.conditions, "Suspended")
    if stopped is None or live or _left(workload, pods, live) > 0:
        return replace(seen, reason=reason, message=message)
    at = when(stopped.last_transition_time) or 0.0
    ended = replace(
        seen, state=State.SUSPENDED, ready=0, bound=0, reason=reason, message=message, since=at
    )
    cause = first_cause(pods, remembered)
    if cause is None or cause.reason is not reason:
        return ended
    # It was stopped because it could not end by itself, as on a dead node.
    known = judged(cause, (), ailing)
    return replace(ended, fault_node=known.node if known.fault is Fault.SEEN else "")


def _left(workload: Workload, pods: Sequence[Pod], live: Sequence[Pod]) -> int:
    """Pods that may run by the controller's own count, less those that nobody can confirm any more:
    one may have been made and not be seen here yet."""
    overdue = sum(pod.status.phase in ("Pending", "Running") for pod in pods) - len(live)
    return workload.status.active + workload.status.terminating - overdue


def _reason(word: str) -> Reason | None:
    return Reason(word) if word in _WORDS else None


def _going(
    seen: Observation, workload: Workload, pods: Sequence[Pod], now: float, trouble: str
) -> Observation:
    lost = _confirmed_by_nobody(pods, now)
    if lost is not None:
        return _hopeless(seen, lost)
    if seen.ready >= workload.spec.completions:
        return replace(seen, state=State.RUNNING, since=seen.started_at or seen.since)
    cause = cannot_start(workload, pods, seen.since, now, trouble)
    return seen if cause is None else _hopeless(seen, cause)


def _hopeless(seen: Observation, cause: Cause) -> Observation:
    return replace(seen, reason=cause.reason, message=cause.message, failure=cause.failure)


def _confirmed_by_nobody(pods: Sequence[Pod], now: float) -> Cause | None:
    """A pod on a dead node never ends by itself, and the workload would wait for it for ever."""
    overdue = [
        pod for pod in pods if pod.status.phase in ("Pending", "Running") and not _may_run(pod, now)
    ]
    return first_cause(overdue)
