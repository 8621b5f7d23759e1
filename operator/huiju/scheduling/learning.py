"""What ended jobs tell of those to come: how long jobs alike ran.

Decides what a job is expected to run, from jobs of the same key (who asks, and for how much) that
have ended, never from hindsight. The median and not the mean, which a few very long jobs move so
far that it fits none; and quantiles, the upper ones closer together, for what is still to come of a
job that has outlived the median. Rounded to two digits, so that jobs alike stay alike to the
scheduler. Invariant: memory is bounded, by the latest run times of a key and by the number of keys;
the key that was told of least recently goes first.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

_RECENT: Final = 1000
_KEYS: Final = 2000
_SHARES: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0)
"""Of the jobs that ended, those that ran no longer than each quantile."""


@dataclass(frozen=True, slots=True)
class RunTimes:
    """What is expected of a job, in seconds on its first alternative."""

    expected: float | None = None
    """The median, None before any job alike has ended."""
    quantiles: tuple[float, ...] = ()
    """Ascending, each once."""
    ended: int = 0
    """How many ended jobs tell this."""


NOTHING: Final = RunTimes()


class _Seen:
    """The latest run times of one key."""

    __slots__ = ("_latest", "_sorted", "_told")

    def __init__(self, recent: int) -> None:
        self._latest = deque[float](maxlen=recent)
        self._sorted = array("d")
        self._told: RunTimes | None = None

    def add(self, seconds: float) -> None:
        latest, ordered = self._latest, self._sorted
        if len(latest) == latest.maxlen:
            del ordered[bisect_left(ordered, latest[0])]
        latest.append(seconds)
        insort(ordered, seconds)
        self._told = None

    def told(self) -> RunTimes:
        if self._told is None:
            count = len(self._sorted)
            found = [_rounded(self._sorted[min(count - 1, int(s * count))]) for s in _SHARES]
            median = _rounded(self._sorted[count // 2])
            self._told = RunTimes(median, tuple(dict.fromkeys(found)), count)
        return self._told


class Learner:
    """The run times of ended jobs by key, at most `recent` each of at most `keys` keys."""

    def __init__(self, recent: int = _RECENT, keys: int = _KEYS) -> None:
        self._recent, self._keys = recent, keys
        self._seen: dict[Hashable, _Seen] = {}

    def ended(self, key: Hashable, seconds: float) -> None:
        """A job ended of itself after so many seconds on its first alternative."""
        seen = self._seen.pop(key, None) or _Seen(self._recent)
        self._seen[key] = seen
        if len(self._seen) > self._keys:
            del self._seen[next(iter(self._seen))]
        seen.add(seconds)

    def told(self, key: Hashable) -> RunTimes:
        """What ended jobs of the key tell."""
        seen = self._seen.get(key)
        return NOTHING if seen is None else seen.told()


def _rounded(seconds: float) -> float:
    return max(1.0, float(f"{seconds:.2g}"))
