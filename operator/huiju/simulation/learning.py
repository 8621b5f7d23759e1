"""What ended jobs tell of those to come: the median run time by home and size.

Decides expectations only; true durations of jobs that have not ended are never looked at. The
median and not the mean, which a few very long jobs move so far that it fits none. Expectations are
rounded to two digits, so that jobs alike stay alike to the scheduler.
"""

from __future__ import annotations

from bisect import insort
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from huiju.simulation.engine import SimJob


class Learner:
    """The durations of ended jobs, sorted."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, int], list[float]] = {}

    def ended(self, one: SimJob) -> None:
        """A job has ended; its duration is now known."""
        insort(self._seen.setdefault(_key(one), []), one.duration)

    def expected(self, one: SimJob) -> float | None:
        """Seconds that a job is expected to run, None before any like it has ended."""
        known = self._seen.get(_key(one))
        if known is None:
            return None
        return max(1.0, float(f"{known[len(known) // 2]:.2g}"))


def _key(one: SimJob) -> tuple[str, int]:
    shape = one.job.shape
    return (one.home, shape.workers * shape.alternatives[0].per_worker)
