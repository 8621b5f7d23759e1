"""How a job's status changes: pure functions from one status to the next.

Decides wording and bookkeeping of conditions, history, counters; not when a transition is due (see
`lifecycle.py`). Invariants: `epoch` never falls; a Complete or Failed condition that is True never
turns False; two equal statuses need no write.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from huiju.api.reasons import Reason
from huiju.centers.observe import Failure, Observation
from huiju.hub.clock import seconds, stamp
from huiju.hub.objects import (
    AvoidedCenter,
    AvoidedNode,
    Condition,
    JobStatus,
    PastPlacement,
    PlacementStatus,
    placement_fields,
)
from huiju.hub.settings import HubSettings

ACCEPTED, PLACED, RUNNING, COMPLETE, FAILED = (
    "Accepted",
    "Placed",
    "Running",
    "Complete",
    "Failed",
)
HISTORY = 10
_MOST_AVOIDED = 16


def condition(
    status: JobStatus, type_: str, value: bool, reason: Reason, message: str, now: float
) -> tuple[Condition, ...]:
    """The conditions with one of them set; its time moves only when its status flips."""
    text = "True" if value else "False"
    before = next((c for c in status.conditions if c.type == type_), None)
    since = _since(status, type_, text, now)
    made = Condition(
        type=type_,
        status=text,
        reason=reason,
        message=message,
        last_transition_time=since,
        observed_generation=status.observed_generation,
    )
    if before is None:
        return (*status.conditions, made)
    return tuple(made if c.type == type_ else c for c in status.conditions)


def _since(status: JobStatus, type_: str, text: str, now: float) -> str:
    """When a condition came to have this status: now, unless it has it already."""
    before = next((c for c in status.conditions if c.type == type_), None)
    return before.last_transition_time if before and before.status == text else stamp(now)


def holds(status: JobStatus, type_: str) -> bool:
    """Whether a condition is True."""
    return any(c.type == type_ and c.status == "True" for c in status.conditions)


def finished(status: JobStatus) -> bool:
    """Whether the job reached its end; latched."""
    return holds(status, COMPLETE) or holds(status, FAILED)


def over(before: JobStatus, after: JobStatus) -> str:
    """The center whose placement of the job this change ended; empty if it ended none."""
    if before.placement is None or finished(before):
        return ""
    return before.placement.center if after.placement is None or finished(after) else ""


def refused(status: JobStatus, reason: Reason, message: str, now: float) -> JobStatus:
    """The job cannot be run as it is written; it waits for the user."""
    return replace(
        status,
        phase="Queued",
        reason=reason,
        message=message,
        staging=None,
        conditions=condition(status, ACCEPTED, False, reason, message, now),
    )


def waiting(status: JobStatus, reason: str, message: str, now: float) -> JobStatus:
    """The job waits in its queue, and why."""
    accepted = replace(
        status,
        conditions=condition(
            status, ACCEPTED, True, Reason.ACCEPTED, "The job can be run as it is written.", now
        ),
    )
    conditions = accepted.conditions
    if not any(c.type == PLACED and c.status == "False" for c in conditions):
        # After a placement this condition goes on to say what ended it.
        conditions = condition(accepted, PLACED, False, Reason.QUEUED, "Waits in its queue.", now)
    return replace(accepted, phase="Queued", reason=reason, message=message, conditions=conditions)


def placed(status: JobStatus, placement: PlacementStatus, message: str, now: float) -> JobStatus:
    """The decision: this placement holds, under a new epoch."""
    if placement.epoch <= status.epoch:
        raise ValueError(f"epoch {placement.epoch} is not above {status.epoch}")
    base = replace(
        status,
        conditions=condition(
            status, ACCEPTED, True, Reason.ACCEPTED, "The job can be run as it is written.", now
        ),
    )
    base = replace(base, conditions=condition(base, PLACED, True, Reason.PLACED, message, now))
    if any(c.type == RUNNING for c in base.conditions):
        base = replace(
            base,
            conditions=condition(
                base, RUNNING, False, Reason.DISPATCHED, "The new attempt has not started.", now
            ),
        )
    return replace(
        base,
        phase="Dispatching",
        reason=Reason.PLACED,
        message=message,
        epoch=placement.epoch,
        placement=placement,
        staging=None,
        retry_at="",
        ready_workers=0,
        started_at="",
    )


def running(status: JobStatus, observed: Observation, now: float) -> JobStatus:
    """All workers of the current epoch run."""
    many = observed.ready != 1
    message = f"{observed.ready} worker{'s run' if many else ' runs'}."
    return replace(
        status,
        phase="Running",
        reason=Reason.RUNNING,
        message=message,
        ready_workers=observed.ready,
        started_at=status.started_at or stamp(observed.started_at or now),
        conditions=condition(status, RUNNING, True, Reason.RUNNING, message, now),
    )


def succeeded(status: JobStatus, observed: Observation, now: float) -> JobStatus:
    """The job reached its right end."""
    return _ended(status, COMPLETE, Reason.SUCCEEDED, "The job succeeded.", observed, now)


def failed(
    status: JobStatus, reason: Reason, message: str, observed: Observation | None, now: float
) -> JobStatus:
    """The job ended without success and is not tried again."""
    return _ended(status, FAILED, reason, message, observed, now)


def _ended(
    status: JobStatus,
    kind: str,
    reason: Reason,
    message: str,
    observed: Observation | None,
    now: float,
) -> JobStatus:
    phase = {COMPLETE: "Succeeded", FAILED: "Failed"}[kind]
    if reason is Reason.CANCELLED:
        phase = "Cancelled"
    base = status
    if any(c.type == RUNNING for c in status.conditions):
        base = replace(base, conditions=condition(base, RUNNING, False, reason, message, now))
    at = observed.finished_at if observed and observed.finished_at else now
    # By the center's clock, which nothing but the center answers for: how long the job stays here
    # after its end must not follow from it.
    placed_at = seconds(status.placement.placed_at) if status.placement else 0.0
    at = min(max(at, placed_at), now)
    started = observed.started_at if observed else None
    return replace(
        base,
        phase=phase,
        reason=reason,
        message=message,
        ready_workers=0,
        retry_at="",
        staging=None,
        started_at=status.started_at or (stamp(started) if started else ""),
        finished_at=stamp(at),
        conditions=condition(base, kind, True, reason, message, now),
    )


def suspended(status: JobStatus, now: float) -> JobStatus:
    """The user's suspension took effect: nothing of the job runs."""
    base = vacated(status, Reason.SUSPENDED, "Suspended by its user.", now)
    return replace(
        base,
        phase="Suspended",
        staging=None,
        reason=Reason.SUSPENDED,
        message="Suspended; resume to queue it.",
    )


def vacated(status: JobStatus, reason: str, message: str, now: float) -> JobStatus:
    """The placement no longer holds; the job waits again with its place kept."""
    if status.placement is None:
        return status
    past = PastPlacement(
        center=status.placement.center,
        epoch=status.placement.epoch,
        reason=reason,
        message=message[:512],
        ended_at=stamp(now),
    )
    base = status
    if any(c.type == RUNNING for c in status.conditions):
        why = Reason(reason)
        base = replace(base, conditions=condition(base, RUNNING, False, why, message, now))
    return replace(
        base,
        phase="Queued",
        reason=reason,
        message=message,
        placement=None,
        history=(past, *status.history)[:HISTORY],
        ready_workers=0,
        started_at="",
        conditions=condition(base, PLACED, False, Reason(reason), message, now),
    )


def attempt_failed(
    status: JobStatus,
    failure: Failure,
    reason: Reason,
    message: str,
    now: float,
    settings: HubSettings,
) -> JobStatus:
    """One attempt ended badly: count it, back off, avoid the center where that may help."""
    base = vacated(status, reason, message, now)
    match failure:
        case Failure.APPLICATION:
            return replace(
                base,
                application_failures=base.application_failures + 1,
                retry_at=stamp(now + _backoff(base.application_failures, settings)),
            )
        case Failure.PLACEMENT:
            # The next center may be tried at once: it is another one that failed.
            center = status.placement.center if status.placement else ""
            return replace(
                base,
                placement_failures=base.placement_failures + 1,
                avoid=avoiding(base, center, reason, now, settings),
            )
        case Failure.INFRASTRUCTURE if (
            reason is Reason.PREEMPTED_BY_OWNER and not _pushed_out_lately(status, now, settings)
        ):
            # Nothing failed. While it backed off, jobs behind it could take its cards.
            return base
        case Failure.INFRASTRUCTURE:
            return replace(
                base,
                placement_failures=base.placement_failures + 1,
                retry_at=stamp(now + min(_backoff(base.placement_failures, settings), 60.0)),
            )


def _pushed_out_lately(status: JobStatus, now: float, settings: HubSettings) -> bool:
    """Whether local pods have pushed the job out not long ago: then they may do so again."""
    return any(
        past.reason == Reason.PREEMPTED_BY_OWNER
        and now < seconds(past.ended_at) + settings.avoid_seconds
        for past in status.history
    )


def turned_away(
    status: JobStatus, center: str, reason: Reason, message: str, now: float, settings: HubSettings
) -> JobStatus:
    """A center would not take the job at all, so no placement was ever made there."""
    return replace(
        status,
        phase="Queued",
        reason=reason,
        message=f"{center}: {message}",
        placement_failures=status.placement_failures + 1,
        avoid=avoiding(status, center, reason, now, settings),
    )


def moved(status: JobStatus, message: str, now: float, settings: HubSettings) -> JobStatus:
    """The job left its center because it was told to: nothing is counted, and it goes elsewhere."""
    center = status.placement.center if status.placement else ""
    base = vacated(status, Reason.MOVED, message, now)
    return replace(base, avoid=avoiding(base, center, Reason.MOVED, now, settings))


def failed_over(
    status: JobStatus, reason: Reason, message: str, now: float, settings: HubSettings
) -> JobStatus:
    """The job leaves a lost center: no failure is counted, and it keeps its place in the queue."""
    center = status.placement.center if status.placement else ""
    base = vacated(status, reason, message, now)
    return replace(
        base,
        failovers=base.failovers + 1,
        avoid=avoiding(base, center, reason, now, settings),
    )


def avoiding(
    status: JobStatus, center: str, reason: Reason, now: float, settings: HubSettings
) -> tuple[AvoidedCenter, ...]:
    """The centers to avoid, with one more."""
    until = stamp(now + settings.avoid_seconds)
    others = (a for a in status.avoid if seconds(a.until) > now and a.center != center)
    return (AvoidedCenter(center=center, reason=reason, until=until), *others)[:_MOST_AVOIDED]


def _backoff(failures: int, settings: HubSettings) -> float:
    return float(min(settings.retry_base * 2 ** min(failures, 16), settings.retry_max))


def as_fields(status: JobStatus) -> dict[str, Any]:
    """The status as the API wants it."""
    fields: dict[str, Any] = msgspec.to_builtins(status)
    if status.placement is not None:
        fields["placement"] = placement_fields(status.placement)
    return fields


def differ(before: JobStatus, after: JobStatus) -> bool:
    """Whether a status is worth a write.

    A job on which nothing was judged yet gets none only to say so.
    """
    if before == after:
        return False
    return bool(before.conditions) or observed(before, after.observed_generation) != after


def merge_patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """RFC 7386 patch between two JSON objects; lists are replaced whole."""
    made: dict[str, Any] = {name: None for name in before if name not in after}
    for name, value in after.items():
        old = before.get(name)
        if old == value and name in before:
            continue
        if isinstance(old, dict) and isinstance(value, dict):
            made[name] = merge_patch(old, value)
        else:
            made[name] = value
    return made


def observed(status: JobStatus, generation: int | None) -> JobStatus:
    """The status as judged on this generation of the spec."""
    return replace(status, observed_generation=generation)


def unknown(status: JobStatus, message: str, now: float) -> JobStatus:
    """The center does not answer: nobody knows how the job fares."""
    return _unseen(status, Reason.CENTER_UNREACHABLE, message, now)


def unheld(status: JobStatus, center: str, now: float) -> JobStatus:
    """The center was deleted from the hub: nobody can see or stop what may still run there."""
    message = (
        f"ComputeCenter {center} was deleted, or now leads to another cluster. The job stays bound"
        " to it, since what runs there may go on: join the same cluster under this name again to"
        " follow the job, or cancel it."
    )
    return _unseen(status, Reason.CENTER_DELETED, message, now)


def _unseen(status: JobStatus, reason: Reason, message: str, now: float) -> JobStatus:
    if status.phase == "Unknown" and (status.reason, status.message) == (reason, message):
        return status
    kept = tuple(c for c in status.conditions if c.type != RUNNING)
    made = Condition(
        type=RUNNING,
        status="Unknown",
        reason=reason,
        message=message,
        last_transition_time=_since(status, RUNNING, "Unknown", now),
        observed_generation=status.observed_generation,
    )
    return replace(
        status,
        phase="Unknown",
        reason=reason,
        message=message,
        conditions=(*kept, made),
    )


def reachable_again(status: JobStatus, now: float) -> JobStatus:
    """The center answers again and the attempt has not started yet."""
    if status.phase != "Unknown":
        return status
    message = "The center answers again; the workers have not all started."
    return replace(
        status,
        phase="Dispatching",
        reason=Reason.DISPATCHED,
        message=message,
        conditions=condition(status, RUNNING, False, Reason.DISPATCHED, message, now),
    )


def not_started(status: JobStatus, reason: Reason, message: str, now: float) -> JobStatus:
    """The center shows no nodes for the attempt, or no pods that run, and was told to stop it."""
    if status.reason == reason:
        return status
    return replace(
        reachable_again(status, now),
        phase="Dispatching",
        reason=reason,
        message=message,
    )


def stalled(status: JobStatus) -> JobStatus:
    """One more attempt that showed no progress."""
    return replace(status, stalls=status.stalls + 1)


def counted(status: JobStatus) -> JobStatus:
    """One more failure of the application."""
    return replace(status, application_failures=status.application_failures + 1)


def machine_failed(status: JobStatus, center: str, observed: Observation, now: float) -> JobStatus:
    """The hardware of a node failed under the job, which keeps off it from now on."""
    node = observed.fault_node
    entry = AvoidedNode(
        center=center,
        node=node,
        reason=status.reason,
        at=stamp(min(observed.finished_at or now, now)),
        claimed=observed.fault_claimed,
    )
    others = (one for one in status.avoid_nodes if (one.center, one.node) != (center, node))
    return replace(
        status,
        avoid_nodes=(entry, *others)[:_MOST_AVOIDED],
        hardware_faults=status.hardware_faults + 1,
    )
