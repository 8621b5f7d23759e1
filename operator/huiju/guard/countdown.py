"""How long the center's lease still holds, as one pod knows it.

Pure but for its clock, which is given. Decides what an answer of the sentinel is worth. Invariants:
an answer counts from the moment at which its question was *sent*, so a slow answer grants no more
than a quick one; the end of the lease only ever moves to later; without an answer there is none.
"""

from __future__ import annotations

import json
import math
import time
from typing import Any

if hasattr(time, "CLOCK_BOOTTIME"):

    def boottime() -> float:
        """Seconds since boot, sleep of the machine included."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

else:  # macOS, where only the lab runs a guard

    def boottime() -> float:
        """Seconds on the monotonic clock."""
        return time.monotonic()


class NoAnswer(Exception):
    """What came from the sentinel's address is no answer on this center's lease."""


class Countdown:
    """The lease of one center; times are seconds on this machine's boot-time clock."""

    def __init__(self, center: str = "") -> None:
        self._center = center
        self._until = -math.inf

    def hear(self, sent: float, body: bytes) -> float:
        """Take in an answer to the question that was sent at `sent`; returns its seconds.

        An answer of 0 takes nothing back: a sentinel that has just started knows of no lease.

        Raises:
            NoAnswer: the body is no answer, or one for another center.
        """
        center, remaining = _parse(body)
        if remaining and self._center and center != self._center:
            raise NoAnswer(f"the sentinel speaks for center {center!r}, not {self._center!r}")
        self._until = max(self._until, sent + remaining)
        return remaining

    def left(self, now: float) -> float:
        """Seconds that the lease holds; 0 when it ran out or was never seen."""
        return max(0.0, self._until - now)


def _parse(body: bytes) -> tuple[str, float]:
    """Center and seconds of an answer: `{"center", "remainingSeconds", "leaseSeconds"}`."""
    try:
        found = json.loads(body)
    except ValueError as error:
        raise NoAnswer(f"no JSON: {error}") from None
    if not isinstance(found, dict):
        raise NoAnswer("no JSON object")
    remaining, lease = _span(found, "remainingSeconds"), _span(found, "leaseSeconds")
    if remaining > lease:
        raise NoAnswer("more of the lease is left than was granted")
    center = found.get("center")
    return center if isinstance(center, str) else "", remaining


def _span(found: dict[str, Any], name: str) -> float:
    value = found.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise NoAnswer(f"{name} is no number")
    try:
        seconds = float(value)
    except OverflowError:
        seconds = math.inf
    if not math.isfinite(seconds) or seconds < 0:
        raise NoAnswer(f"{name} is no span of a lease: {seconds}")
    return seconds
