"""What centers looked like over time: accelerators in use, and free ones on broken nodes.

Decides nothing. Time is cut into equal slices from the first to the last submission; what comes
later gets further slices of the same width. Invariant: every level counts for exactly the time that
it lasted.
"""

from __future__ import annotations

from collections.abc import Mapping

_SLICES = 240


class Level:
    """An amount that changes at moments; its integral by slice."""

    __slots__ = ("_amount", "_since", "_start", "_width", "slices")

    def __init__(self, start: float, width: float) -> None:
        self._start, self._width = start, width
        self._since, self._amount = start, 0.0
        self.slices: list[float] = []
        """Amount times seconds."""

    def set(self, now: float, amount: float) -> None:
        """From now on it is so much."""
        if self._amount:
            self._fill(now)
        self._since, self._amount = max(now, self._since), amount

    def _fill(self, now: float) -> None:
        at = self._since
        while at < now:
            index = int((at - self._start) / self._width)
            end = min(now, self._start + (index + 1) * self._width)
            if end <= at:  # the end of a slice that rounding takes for its own inside
                index, end = index + 1, min(now, self._start + (index + 2) * self._width)
            while len(self.slices) <= index:
                self.slices.append(0.0)
            self.slices[index] += self._amount * (end - at)
            at = end

    def total(self) -> float:
        """Amount times seconds up to the latest change."""
        return sum(self.slices)


class Timeline:
    """The levels of a network."""

    def __init__(self, start: float, end: float, units: Mapping[str, int]) -> None:
        self.start = start
        self.width = max(1.0, (end - start) / _SLICES)
        """Seconds of a slice."""
        self._units = units
        self.used = {name: Level(start, self.width) for name in units}
        """Accelerators in use."""
        self.stranded = {name: Level(start, self.width) for name in units}
        """Free accelerators on nodes that are partly in use."""
        self.waiting = Level(start, self.width)
        """Jobs that wait."""

    def note(self, center: str, now: float, free: int, whole: int) -> None:
        """So many accelerators of a center are free now, and so many of these on whole nodes."""
        self.used[center].set(now, self._units[center] - free)
        self.stranded[center].set(now, free - whole)

    def waits(self, now: float, count: int) -> None:
        """So many jobs wait now."""
        self.waiting.set(now, count)
