"""How fast one server is called: as fast as it likes.

Starts at a high ceiling, halves the rate that was really reached when the server says 429, and
recovers by a tenth a second. Pure: time is passed in. Invariant: the rate stays within
[floor, ceiling].
"""

from __future__ import annotations

import math


class AdaptiveRate:
    """A token bucket whose rate (calls per second) follows the server's refusals."""

    __slots__ = (
        "_base",
        "_burst",
        "_ceiling",
        "_count",
        "_cut_at",
        "_floor",
        "_next",
        "_reached",
        "_window",
    )

    GROWTH = 1.1
    """Factor per second at which a cut rate recovers: back from half in about 7 s."""
    MIN_CUT_GAP = 0.5
    """Refusals that come together, in seconds, are one message from the server."""

    def __init__(self, ceiling: float, *, floor: float = 5.0, burst: float = 0.25) -> None:
        self._ceiling = ceiling
        self._floor = min(floor, ceiling)
        self._burst = burst
        self._base = ceiling
        self._cut_at: float | None = None
        self._next = float("-inf")
        self._window = float("-inf")
        self._count = 0
        self._reached = 0.0

    def current(self, now: float) -> float:
        """Calls per second that are allowed at `now`."""
        if self._cut_at is None:
            return self._ceiling
        grown = self._base * math.pow(self.GROWTH, now - self._cut_at)
        if grown < self._ceiling:
            return grown
        self._cut_at = None
        self._base = self._ceiling
        return self._ceiling

    def delay(self, now: float, patience: float = float("inf")) -> float | None:
        """Take the next place in line and return the seconds to wait for it (0: go at once).

        None, and no place taken, where that would be `patience` seconds or more.
        """
        earliest = now - self._burst
        slot = self._next if self._next > earliest else earliest
        wait = slot - now
        if wait >= patience:
            return None
        self._measure(now)
        self._next = slot + 1.0 / self.current(now)
        return wait if wait > 0.0 else 0.0

    def refused(self, now: float) -> None:
        """Note a 429: halve the rate really reached, at most once in `MIN_CUT_GAP` seconds."""
        if self._cut_at is not None and now - self._cut_at < self.MIN_CUT_GAP:
            return
        elapsed = max(now - self._window, 0.1)
        reached = max(self._reached, self._count / elapsed)
        self._base = max(self._floor, min(self.current(now), reached) / 2)
        self._cut_at = now

    def _measure(self, now: float) -> None:
        """Count calls in windows of a second, so that a cut starts from what was reached."""
        elapsed = now - self._window
        if elapsed < 1.0:
            self._count += 1
            return
        self._reached = self._count / elapsed if elapsed < 2.0 else 0.0
        self._window = now
        self._count = 1
