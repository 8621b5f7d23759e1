"""What is due for one job: a pure policy from (job, what its center shows, now) to a plan.

Decides transitions; does no I/O, so every row of it is table-tested. Invariants: a job with a
placement is never queued; an attempt that may still have live pods is stopped and seen stopped
before its placement is given up; a finished job stays finished.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from huiju.api.durations import parse_duration
from huiju.api.reasons import Reason
from huiju.centers.observe import Failure, Observation, State
from huiju.data.access import WITHDRAWS
from huiju.hub import failover, staging, withdrawal
from huiju.hub import status as transitions
from huiju.hub.clock import seconds
from huiju.hub.objects import JobObject, JobStatus, PlacementStatus
from huiju.hub.settings import HubSettings
from huiju.hub.withdrawal import Withdrawn


class Action(Enum):
    """What to do outside the job's own status."""

    NONE = "none"
    ENSURE = "ensure"
    """Create the bundle in the placement's center."""
    STOP = "stop"
    """Suspend the workload of the placement."""
    CLEAR = "clear"
    """Before the status is written: remove what was made for a workload that is not there."""
    DELETE = "delete"
    """Delete the job object: its time after the end is over."""


class Reach(Enum):
    """What the hub knows of the center that holds a placement."""

    SYNCED = "synced"
    """Everything that the center holds is known."""
    WAITING = "waiting"
    """Not read yet: nothing may be concluded from not seeing a workload."""
    LOST = "lost"
    """No proof of life for long: Unknown; see `failover.py` for when a job leaves it."""
    ABSENT = "absent"
    """The hub has no such center any more: what runs there can be neither seen nor stopped."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a job can be run as it is written; found by `acceptance.py`."""

    accepted: bool
    reason: Reason = Reason.ACCEPTED
    message: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a job's placement in its center."""

    reach: Reach = Reach.WAITING
    observed: Observation | None = None
    created: bool = False
    """This process has seen or made the workload of this epoch."""
    loss: failover.Loss | None = None
    """What is known of the center's loss, where it is lost."""


class Bringing(Enum):
    """How far a job's data is in the center that was chosen for it."""

    COMING = "coming"
    THERE = "there"
    FAILED = "failed"
    """It will not come, or not soon: another center is looked for."""


@dataclass(frozen=True, slots=True)
class Staged:
    """What is known of a job's data while it stages."""

    bringing: Bringing
    reason: Reason = Reason.STAGING
    message: str = ""
    until: float | None = None
    """The job waits for this center alone until then."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is due: the status to write, the action, whether the job waits in the scheduler."""

    status: JobStatus
    action: Action = Action.NONE
    reason: Reason = Reason.QUEUED
    message: str = ""
    queued: bool = False
    again: float | None = None
    """Look again at this time, seconds since the epoch."""
    fails_over: bool = False
    """The job leaves a lost center, as soon as its turn comes."""
    written_off: bool = False
    """The status gives up a placement in a center that does not answer."""


_KIND_OF_STOP: dict[Reason, Failure] = {
    Reason.IMAGE_PULL_FAILED: Failure.PLACEMENT,
    Reason.POD_REJECTED: Failure.PLACEMENT,
    Reason.QUOTA_EXCEEDED: Failure.PLACEMENT,
    Reason.UNSCHEDULABLE: Failure.PLACEMENT,
    Reason.PODS_NOT_READY: Failure.PLACEMENT,
    Reason.DISPATCH_REFUSED: Failure.PLACEMENT,
    Reason.GUARD_UNAVAILABLE: Failure.PLACEMENT,
    Reason.FOREIGN_OBJECT: Failure.PLACEMENT,
    Reason.APPLICATION_FAILED: Failure.APPLICATION,
    Reason.RUNTIME_EXCEEDED: Failure.APPLICATION,
}


def kind_of(reason: Reason) -> Failure:
    """Whose fault an attempt's end was; what is not known to be another's is infrastructure."""
    return _KIND_OF_STOP.get(reason, Failure.INFRASTRUCTURE)


def decide(
    job: JobObject,
    verdict: Verdict,
    seen: Seen,
    now: float,
    settings: HubSettings,
    staged: Staged | None = None,
    withdrawn: Withdrawn | None = None,
) -> Plan:
    """What is due for `job` now; `staged` tells of its data while that is on its way, `withdrawn`
    of what it has mounted and may not use any more."""
    status = transitions.observed(job.status, job.metadata.generation)
    if transitions.finished(status):
        return _after_the_end(job, status, now, settings)
    status = withdrawal.noted(status, withdrawn if status.placement else None, now)
    if status.placement is None:
        return _without_placement(job, status, verdict, staged, now, settings)
    match seen.reach:
        case Reach.WAITING:
            return Plan(status)
        case Reach.LOST:
            return _lost(job, status, status.placement, seen.loss, now, settings)
        case Reach.ABSENT:
            return Plan(_in_no_center(job, status, status.placement.center, now))
        case Reach.SYNCED:
            ends = withdrawal.ends_at(status, withdrawn) if withdrawn is not None else None
            if withdrawn is None or ends is None or now < ends:
                plan = _with_placement(job, status, status.placement, seen, now, settings)
                return plan if ends is None else _looked_at(_untold(plan, now), ends)
            return _untold(
                _taken(job, status, status.placement, withdrawn, seen, now, settings), now
            )


def _after_the_end(job: JobObject, status: JobStatus, now: float, settings: HubSettings) -> Plan:
    stay = max(parse_duration(job.spec.ttl_after_finished), settings.tombstone_seconds)
    due = seconds(status.finished_at) + stay
    if now >= due:
        return Plan(status, Action.DELETE)
    return Plan(status, again=due)


def _without_placement(
    job: JobObject,
    status: JobStatus,
    verdict: Verdict,
    staged: Staged | None,
    now: float,
    settings: HubSettings,
) -> Plan:
    if job.spec.cancel:
        return Plan(
            transitions.failed(status, Reason.CANCELLED, "Cancelled by its user.", None, now)
        )
    if job.spec.suspend or job.metadata.deletion_timestamp:
        return Plan(transitions.suspended(status, now))
    if not verdict.accepted:
        again = now + settings.refused_recheck
        return Plan(transitions.refused(status, verdict.reason, verdict.message, now), again=again)
    if status.staging is None or staged is None:
        return Plan(status, queued=True)
    match staged.bringing:
        case Bringing.THERE:
            return Plan(status, queued=True, again=staged.until)
        case Bringing.COMING:
            return Plan(staging.still_staging(status, staged.message))
        case Bringing.FAILED:
            why = (staged.reason, staged.message)
            return Plan(staging.not_staged(status, *why, now, settings), queued=True)


def _with_placement(
    job: JobObject,
    status: JobStatus,
    placement: PlacementStatus,
    seen: Seen,
    now: float,
    settings: HubSettings,
) -> Plan:
    observed = seen.observed
    if observed is None:
        return _workload_missing(job, status, seen, now, settings)
    match observed.state:
        case State.SUCCEEDED:
            # Success counts even if the user asked to stop meanwhile: the work is done.
            return Plan(transitions.succeeded(status, observed, now))
        case State.GONE:
            return _workload_missing(job, status, seen, now, settings)
        case State.SUSPENDED:
            return _stopped(job, status, placement, observed, now, settings)
        case State.FAILED:
            return _failed(job, status, placement, observed, now, settings)
        case State.PENDING | State.RUNNING:
            return _alive(job, status, placement, observed, now, settings)


def _looked_at(plan: Plan, at: float) -> Plan:
    """The plan, and a look at this time at the latest."""
    return replace(plan, again=min(plan.again or at, at))


def _untold(plan: Plan, now: float) -> Plan:
    """The plan; a job that has left its placement has no data that could be taken from it."""
    if plan.status.placement is not None:
        return plan
    return replace(plan, status=withdrawal.noted(plan.status, None, now))


def _taken(
    job: JobObject,
    status: JobStatus,
    placement: PlacementStatus,
    withdrawn: Withdrawn,
    seen: Seen,
    now: float,
    settings: HubSettings,
) -> Plan:
    """Its time with data that it may not use is over: nothing of it starts, and what runs stops."""
    observed = seen.observed
    missing = observed is None or observed.state is State.GONE
    if missing and _unwanted(job) is None:
        after = transitions.vacated(status, withdrawn.reason, withdrawn.message, now)
        return Plan(after, Action.CLEAR)
    plan = _with_placement(job, status, placement, seen, now, settings)
    alive = observed is not None and observed.state in (State.PENDING, State.RUNNING)
    if alive and plan.action is Action.NONE:
        return Plan(status, Action.STOP, withdrawn.reason, withdrawn.message)
    return plan


def _alive(
    job: JobObject,
    status: JobStatus,
    placement: PlacementStatus,
    observed: Observation,
    now: float,
    settings: HubSettings,
) -> Plan:
    unwanted = _unwanted(job)
    if unwanted is not None:
        return Plan(status, Action.STOP, *unwanted)
    if job.spec.move_from_epoch == placement.epoch:
        message = f"Moved away from {placement.center}."
        return Plan(status, Action.STOP, Reason.MOVED, message)
    if observed.failure is not None:
        reason = observed.reason or Reason.EVICTED
        return Plan(status, Action.STOP, reason, observed.message)
    if observed.state is State.RUNNING:
        return Plan(transitions.running(status, observed, now))
    due = seconds(placement.placed_at) + parse_duration(job.spec.scheduling_deadline)
    if status.started_at:
        again = due if due > now else None
        return Plan(transitions.reachable_again(status, now), again=again)
    # The center should say so itself; one that says nothing is gone by all the same.
    bound = observed.bound >= job.spec.workers
    last = due + settings.deadline_slack
    if bound:
        last += parse_duration(job.spec.ready_deadline)
    if now >= last and not observed.stopping:
        reason, message = _overdue(job, placement, observed)
        told = transitions.not_started(status, reason, message, now)
        return Plan(told, Action.STOP, reason, message)
    # Once it is over, what the center shows decides; looking again at once would find the same.
    again = due if due > now else last if last > now else None
    return Plan(transitions.reachable_again(status, now), again=again)


def _overdue(
    job: JobObject, placement: PlacementStatus, observed: Observation
) -> tuple[Reason, str]:
    workers = job.spec.workers
    reason = Reason.UNSCHEDULABLE
    words = f"{observed.bound} of {workers} workers found a node within"
    allowed = job.spec.scheduling_deadline
    if observed.bound >= workers:
        reason, allowed = Reason.PODS_NOT_READY, job.spec.ready_deadline
        words = f"{observed.ready} of {workers} workers that have nodes ran within"
    return reason, (
        f"{words} {allowed}, as far as center {placement.center} shows; it was"
        " told to stop them, and the job leaves it once it has said that they are stopped."
    )


def _lost(
    job: JobObject,
    status: JobStatus,
    placement: PlacementStatus,
    loss: failover.Loss | None,
    now: float,
    settings: HubSettings,
) -> Plan:
    if loss is None:
        message = f"Center {placement.center} does not answer; the job stays bound to it."
        return Plan(transitions.unknown(status, message, now))
    unwanted = _unwanted(job)
    if unwanted is not None:
        if failover.nothing_runs(placement, loss):
            return Plan(_end_unwanted(job, status, unwanted, now), written_off=True)
        message = f"{unwanted[1]} Takes effect when center {placement.center} answers again."
        again = loss.guards_end if placement.guarded and loss.guards_end > now else None
        return Plan(transitions.unknown(status, message, now), again=again)
    match failover.judge(job, placement, loss, now):
        case failover.Stays(message, again):
            return Plan(transitions.unknown(status, message, now), again=again)
        case failover.GivenUp(_, message) if not settings.failover:
            message = f"{message} Failover is switched off for all jobs (--no-failover)."
            return Plan(transitions.unknown(status, message, now))
        case failover.GivenUp(_, message) if status.phase != "Unknown":
            # Told first, so that whatever follows, a return too, changes the job's object again.
            return Plan(transitions.unknown(status, message, now), again=now)
        case failover.GivenUp(reason, message):
            after = transitions.failed_over(status, reason, message, now, settings)
            return Plan(after, fails_over=True, written_off=True)


def _in_no_center(job: JobObject, status: JobStatus, center: str, now: float) -> JobStatus:
    """Cancelling is the one way out: only the user may give up what might still be running."""
    if not job.spec.cancel:
        return transitions.unheld(status, center, now)
    message = (
        f"Cancelled by its user while ComputeCenter {center} was deleted; what runs there is"
        " stopped if the center joins again."
    )
    return transitions.failed(status, Reason.CANCELLED, message, None, now)


def _unwanted(job: JobObject) -> tuple[Reason, str] | None:
    if job.spec.cancel:
        return Reason.CANCELLED, "Cancelled by its user."
    if job.spec.suspend or job.metadata.deletion_timestamp:
        return Reason.SUSPENDED, "Suspended by its user."
    return None


def _workload_missing(
    job: JobObject, status: JobStatus, seen: Seen, now: float, settings: HubSettings
) -> Plan:
    unwanted = _unwanted(job)
    if unwanted is not None:
        return Plan(_end_unwanted(job, status, unwanted, now), Action.CLEAR)
    if not (seen.created or status.started_at):
        return Plan(status, Action.ENSURE)
    message = "The workload was removed in the center, not by Huiju."
    again = _requeue(job, status, Reason.WORKLOAD_GONE, message, now, settings)
    return replace(again, action=Action.CLEAR)


def _stopped(
    job: JobObject,
    status: JobStatus,
    placement: PlacementStatus,
    observed: Observation,
    now: float,
    settings: HubSettings,
) -> Plan:
    unwanted = _unwanted(job)
    if unwanted is not None:
        return Plan(_end_unwanted(job, status, unwanted, now))
    reason = observed.reason or Reason.EVICTED
    message = observed.message or "The workload was suspended in the center, not by Huiju."
    plan = _requeue(job, status, reason, message, now, settings)
    if not observed.fault_node:
        return plan
    return replace(
        plan, status=transitions.machine_failed(plan.status, placement.center, observed, now)
    )


def _end_unwanted(
    job: JobObject, status: JobStatus, unwanted: tuple[Reason, str], now: float
) -> JobStatus:
    if job.spec.cancel:
        return transitions.failed(status, *unwanted, None, now)
    return transitions.suspended(status, now)


def _failed(
    job: JobObject,
    status: JobStatus,
    placement: PlacementStatus,
    observed: Observation,
    now: float,
    settings: HubSettings,
) -> Plan:
    unwanted = _unwanted(job)
    if unwanted is not None:
        return Plan(_end_unwanted(job, status, unwanted, now))
    reason = observed.reason or Reason.APPLICATION_FAILED
    failure = observed.failure or kind_of(reason)
    if observed.fault_node:
        if not observed.fault_claimed or status.hardware_faults < settings.claimed_faults:
            after = transitions.attempt_failed(
                status, Failure.INFRASTRUCTURE, reason, observed.message, now, settings
            )
            return Plan(transitions.machine_failed(after, placement.center, observed, now))
        reason, failure = Reason.APPLICATION_FAILED, Failure.APPLICATION
    if reason is Reason.NO_PROGRESS:
        return _stalled(job, status, observed, now, settings)
    if failure is not Failure.APPLICATION:
        return Plan(
            transitions.attempt_failed(status, failure, reason, observed.message, now, settings),
            queued=False,
        )
    if status.application_failures + 1 < job.spec.retry.max_attempts:
        return _requeue(job, status, reason, observed.message, now, settings)
    tries = status.application_failures + 1
    message = observed.message if tries == 1 else f"{observed.message} ({tries} attempts)"
    ended = transitions.failed(status, reason, message, observed, now)
    return Plan(transitions.counted(ended))


def _stalled(
    job: JobObject, status: JobStatus, observed: Observation, now: float, settings: HubSettings
) -> Plan:
    """It hung: perhaps the machine's fault, perhaps its own, so it is tried again, but not for
    ever."""
    stalls, message = status.stalls + 1, observed.message
    allowed = job.spec.progress.max_restarts if job.spec.progress else 0
    if stalls > allowed:
        message = f"{message} (for the {stalls}. time; spec.progress.maxRestarts is {allowed})"
        ended = transitions.failed(status, Reason.NO_PROGRESS, message, observed, now)
        return Plan(transitions.stalled(ended))
    again = transitions.attempt_failed(
        status, Failure.INFRASTRUCTURE, Reason.NO_PROGRESS, message, now, settings
    )
    return Plan(transitions.stalled(again))


def _requeue(
    job: JobObject,
    status: JobStatus,
    reason: Reason,
    message: str,
    now: float,
    settings: HubSettings,
) -> Plan:
    if reason is Reason.PREEMPTED or reason in WITHDRAWS:
        # Nothing failed: it waits at its old place, without back-off, and nothing is counted.
        return Plan(transitions.vacated(status, reason, message, now))
    if reason is Reason.MOVED:
        return Plan(transitions.moved(status, message, now, settings))
    failure = kind_of(reason)
    return Plan(transitions.attempt_failed(status, failure, reason, message, now, settings))
