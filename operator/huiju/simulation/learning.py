"""What ended jobs tell of those to come: the mean run time by home and size.

Decides expectations only; true durations of jobs that have not ended are never looked at. Means
are rounded to two digits, so that jobs alike stay alike to the scheduler.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from huiju.simulation.engine import SimJob


class Learner:
    """Running means."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, int], tuple[int, float]] = {}

    def ended(self, one: SimJob) -> None:
        """A job has ended; its duration is now known."""
        count, total = self._seen.get(_key(one), (0, 0.0))
        self._seen[_key(one)] = (count + 1, total + one.duration)

    def expected(self, one: SimJob) -> float | None:
        """Seconds that a job is expected to run, None before any like it has ended."""
        known = self._seen.get(_key(one))
        if known is None:
            return None
        return max(1.0, float(f"{known[1] / known[0]:.2g}"))


def _key(one: SimJob) -> tuple[str, int]:
    shape = one.job.shape
    return (one.home, shape.workers * shape.alternatives[0].per_worker)
