"""How a job's status changes while its data is brought to the center that was chosen for it.

Pure, as `status.py` is. Invariants: a job that stages has no placement and no epoch of its own; the
versions that its data means are fixed from the first choice on.
"""

from __future__ import annotations

from msgspec.structs import replace

from huiju.api.reasons import Reason
from huiju.hub.clock import stamp
from huiju.hub.objects import DataStatus, JobStatus, StagingStatus
from huiju.hub.settings import HubSettings
from huiju.hub.status import avoiding, waiting


def staging(
    status: JobStatus, center: str, data: tuple[DataStatus, ...], message: str, now: float
) -> JobStatus:
    """A center was chosen to which the job's data has to be brought first."""
    base = waiting(status, Reason.STAGING, message, now)
    return replace(
        base,
        phase="Staging",
        staging=StagingStatus(center=center, since=stamp(now)),
        data=data,
        retry_at="",
    )


def still_staging(status: JobStatus, message: str) -> JobStatus:
    """The data is not all there yet."""
    return replace(status, phase="Staging", reason=Reason.STAGING, message=message)


def not_staged(
    status: JobStatus, reason: Reason, message: str, now: float, settings: HubSettings
) -> JobStatus:
    """The data cannot be brought to the center: another is looked for."""
    center = status.staging.center if status.staging is not None else ""
    return replace(
        status,
        phase="Queued",
        reason=reason,
        message=message,
        staging=None,
        avoid=avoiding(status, center, reason, now, settings),
    )
