"""Why jobs wait: the last reason that the cycle gave, and when it may be written to the job.

Decides how seldom a waiting job's status is written: not before a short delay (most jobs are placed
sooner), then only when the reason's word changes, and at most once in an interval.
"""

from __future__ import annotations

from dataclasses import dataclass

from huiju.hub.settings import HubSettings


@dataclass(slots=True)
class Waiting:
    """One job's wait."""

    reason: str
    message: str
    since: float
    written: float = 0.0


class Waits:
    """Waiting jobs by UID; times are seconds since the epoch."""

    def __init__(self, settings: HubSettings) -> None:
        self._settings = settings
        self._waiting: dict[str, Waiting] = {}

    def note(self, uid: str, reason: str, message: str, now: float) -> None:
        """The cycle left this job waiting."""
        known = self._waiting.get(uid)
        if known is None:
            self._waiting[uid] = Waiting(reason, message, now)
            return
        known.reason, known.message = reason, message

    def drop(self, uid: str) -> None:
        """The job waits no longer."""
        self._waiting.pop(uid, None)

    def get(self, uid: str) -> Waiting | None:
        """What is known of a job's wait."""
        return self._waiting.get(uid)

    def due(self, uid: str, written_reason: str, now: float) -> tuple[Waiting | None, float | None]:
        """The wait to write now, or the time at which to look again (both None: nothing due)."""
        known = self._waiting.get(uid)
        if known is None or known.reason == written_reason:
            return None, None
        earliest = max(
            known.since + self._settings.waiting_write_delay,
            known.written + self._settings.waiting_write_interval if known.written else 0.0,
        )
        if now < earliest:
            return None, earliest
        known.written = now
        return known, None
