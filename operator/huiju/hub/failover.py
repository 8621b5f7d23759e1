"""Whether a job leaves a center that is lost: a pure policy.

Decides when nothing of the job can run there any more, and whether the job is then to run
elsewhere; not when its turn comes among many (see `failovers.py`). Invariant: a placement is given
up only when its guarded containers have ended by the center's lease, or the center's owner said
that nothing runs there, and only of a loss that another hub would read in the center's status.
"""

from __future__ import annotations

from dataclasses import dataclass

from huiju.api.reasons import Reason
from huiju.hub.clock import stamp
from huiju.hub.objects import JobObject, PlacementStatus


@dataclass(frozen=True, slots=True)
class Loss:
    """What is known of a center that is lost; times are seconds since the epoch."""

    since: float
    """Its last sign of life."""
    recorded: bool
    """The center's status tells of the loss, so a restart forgets none of it."""
    guards_end: float
    """No guarded container runs there from then on."""
    guards_ended: bool
    """That time has come, by the clock that counts it, and the loss is recorded."""
    dead: bool
    """The owner declared that nothing runs there any more."""


@dataclass(frozen=True, slots=True)
class Stays:
    """The job stays bound to the lost center; `message` says until when, or what would free it."""

    message: str
    again: float | None = None
    """Look again at this time, seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class GivenUp:
    """The placement is over: the job is to run elsewhere."""

    reason: Reason
    message: str


def nothing_runs(placement: PlacementStatus, loss: Loss) -> bool:
    """Whether no container of the placement can run any more."""
    return loss.recorded and (loss.dead or (placement.guarded and loss.guards_ended))


def judge(job: JobObject, placement: PlacementStatus, loss: Loss, now: float) -> Stays | GivenUp:
    """What becomes of a job in a lost center whose user has not asked to stop it."""
    silent = f"Center {placement.center} does not answer since {stamp(loss.since)}"
    kept = _kept_by_its_user(job, placement)
    if kept:
        return Stays(f"{silent}; {kept}")
    if nothing_runs(placement, loss):
        if loss.dead:
            return GivenUp(Reason.DECLARED_DEAD, f"{silent}, and its owner declared it dead.")
        ended = f"the job's pods have stopped there by {stamp(loss.guards_end)}"
        return GivenUp(Reason.CENTER_LOST, f"{silent}; {ended}.")
    if loss.dead:
        return Stays(f"{silent}, which is being recorded.", again=now + 1.0)
    if not placement.guarded:
        return Stays(
            f"{silent}; nothing stops the job's pods there, which carry no guard, so it stays bound"
            f" to it until the center returns or is declared dead (kubectl huiju declare-dead"
            f" {placement.center})."
        )
    return Stays(
        f"{silent}; unless it returns, the job runs elsewhere from {stamp(loss.guards_end)} on,"
        " when its pods there have stopped.",
        again=max(loss.guards_end, now + 1.0),
    )


def _kept_by_its_user(job: JobObject, placement: PlacementStatus) -> str:
    """Why its user's word keeps the job where it is, empty if it does not."""
    failover, done = job.spec.failover, job.status.failovers
    if job.spec.failover_from_epoch == placement.epoch:
        return ""
    cure = f"kubectl huiju failover {job.metadata.name} -n {job.metadata.namespace}"
    match failover.policy:
        case "Reschedule" if done < failover.max_attempts:
            return ""
        case "Reschedule":
            return (
                f"the job ran elsewhere {done} times already, which is spec.failover.maxAttempts,"
                f" so it stays bound to it ({cure} has it go on)."
            )
        case "Ask":
            return f"the job waits for its user's word to run elsewhere: {cure}"
        case _:
            return f"the job stays bound to it (spec.failover.policy is Never; or {cure})."
