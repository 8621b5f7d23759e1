"""When placed jobs are expected to end, in order, for each model in a center.

Decides what is expected of a job that outlives its expectation. Invariants: an expectation stands
until it has passed, so what follows changes one by one equals what is made anew; jobs that were
told to stop come first.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator
from math import inf

from huiju.scheduling.model import JobShape, Placed

Speed = Callable[[JobShape, int], float]
_Entry = tuple[float, float, str, Placed]
"""Expected end, start, uid, job."""


def expected_end(placed: Placed, now: float, speed: Speed) -> float:
    """When a placed job is expected to end, infinite if nobody told.

    A job that outlives its expectation is expected to run as long as the middle one of the known
    run times of jobs like it that are longer still; one that outlives them all, half as long again,
    and so on; but none beyond its longest run time. So an expectation stands until it has passed.
    """
    job = placed.job
    latest = inf if job.max_runtime is None else placed.started + job.max_runtime
    if job.expected_runtime is None:
        return latest if latest > now else inf
    rate = speed(job.shape, placed.alternative)
    runtime, longer, known = max(1.0, job.expected_runtime), 0, job.runtimes
    while placed.started + runtime / rate <= now:
        longer = bisect_right(known, runtime, longer)
        left = len(known) - longer
        runtime = known[longer + left // 2] if left else 1.5 * runtime
    end = placed.started + runtime / rate
    return latest if now < latest < end else end


class Ends:
    """Jobs by expected end; follows those that come, go, are told to stop, or run on."""

    __slots__ = ("_at", "_entries", "_new", "_of", "version")

    def __init__(self) -> None:
        self._entries: list[_Entry] = []
        self._of: dict[str, _Entry] = {}
        self._new: dict[str, tuple[Placed, bool]] = {}
        """Jobs of which it was not asked yet when they end, and whether they were told to stop."""
        self._at = -inf
        """The time that it was last brought to."""
        self.version = 0
        """Rises with every change."""

    def add(self, placed: Placed, *, stopping: bool) -> None:
        """A job is placed here, or is told to stop."""
        self.remove(placed.job.uid)
        self._new[placed.job.uid] = (placed, stopping)

    def remove(self, uid: str) -> None:
        """A job is gone; unknown uids are ignored."""
        self._new.pop(uid, None)
        entry = self._of.pop(uid, None)
        if entry is not None:
            del self._entries[bisect_left(self._entries, entry[:3])]
            self.version += 1

    def follow(self, now: float, speed: Speed) -> Ends:
        """Bring it to `now`; returns itself."""
        if now == self._at and not self._new:
            return self
        self._at, entries = now, self._entries
        for placed, stopping in self._new.values():
            self._put(placed, -inf if stopping else expected_end(placed, now, speed))
        self._new.clear()
        at = bisect_left(entries, (-inf, inf))
        while at < len(entries) and entries[at][0] <= now:
            placed = entries.pop(at)[3]
            self._put(placed, expected_end(placed, now, speed))
        return self

    def _put(self, placed: Placed, end: float) -> None:
        entry = self._of[placed.job.uid] = (end, placed.started, placed.job.uid, placed)
        insort(self._entries, entry)
        self.version += 1

    @property
    def first(self) -> float:
        """The first end, infinite if none is known; minus infinite if a job is stopping."""
        return self._entries[0][0] if self._entries else inf

    def jobs(self) -> Iterator[tuple[float, Placed]]:
        """Expected ends and jobs, first end first."""
        return ((end, placed) for end, _, _, placed in self._entries)
