"""A job that runs on data that was taken from it: told at once, stopped when its grace is over.

Pure, as `status.py` is. Decides what of it stands in the job's status, and when the job's time is
over. Invariant: the grace is counted from what was written into the status, so it survives the hub.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from huiju.api.reasons import Reason
from huiju.hub.clock import seconds, stamp
from huiju.hub.objects import Condition, JobStatus
from huiju.hub.status import condition

DATA_ALLOWED: Final = "DataAllowed"


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """Data that a placed job may not use any more."""

    reason: Reason
    message: str
    """Which data, and why not."""
    grace: float
    """Seconds that the job has from when it was told."""


def noted(status: JobStatus, withdrawn: Withdrawn | None, now: float) -> JobStatus:
    """The status that tells of it, or tells nothing any more."""
    known = _told(status)
    if withdrawn is None:
        if known is None:
            return status
        kept = tuple(each for each in status.conditions if each.type != DATA_ALLOWED)
        return replace(status, conditions=kept)
    ends = (seconds(known.last_transition_time) if known else now) + withdrawn.grace
    message = f"{withdrawn.message} The job is stopped at {stamp(ends)}."
    made = condition(status, DATA_ALLOWED, False, withdrawn.reason, message, now)
    return replace(status, conditions=made)


def ends_at(status: JobStatus, withdrawn: Withdrawn) -> float:
    """When the job's time is over; of a status in which it is noted."""
    known = _told(status)
    return seconds(known.last_transition_time) + withdrawn.grace if known else 0.0


def told(status: JobStatus) -> str | None:
    """What its users are told of it, None where there is nothing to tell."""
    known = _told(status)
    return known.message if known is not None else None


def _told(status: JobStatus) -> Condition | None:
    return next((each for each in status.conditions if each.type == DATA_ALLOWED), None)
