"""When a link carries data: hours of the sending center's local day.

Pure. Decides nothing about what moves. Invariant: hours are those of the wall clock, so a change to
summer time moves them with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, tzinfo
from typing import Final

Window = tuple[int, int]
"""First hour, and the hour at which it ends."""

_QUARTER: Final = 900
"""Seconds. Every zone's hours begin at a quarter of a UTC hour."""
_QUARTERS_AHEAD: Final = 4 * 24 * 2


def opens_at(windows: Iterable[Window], zone: tzinfo, now: float) -> float:
    """When the link is open next, seconds since the epoch: `now` while it is open."""
    return _first(windows, zone, now, wanted=True)


def closes_at(windows: Iterable[Window], zone: tzinfo, now: float) -> float:
    """When the link closes next: `now` while it is closed, infinity where it never does."""
    given = tuple(windows)
    if not given:
        return float("inf")
    found = _first(given, zone, now, wanted=False)
    return found if not _open(given, zone, found) else float("inf")


def _first(windows: Iterable[Window], zone: tzinfo, now: float, *, wanted: bool) -> float:
    given = tuple(windows)
    if not given or _open(given, zone, now) is wanted:
        return now
    start = int(now // _QUARTER) + 1
    for quarter in range(start, start + _QUARTERS_AHEAD):
        if _open(given, zone, quarter * _QUARTER) is wanted:
            return float(quarter * _QUARTER)
    return now  # the windows cover the whole day


def _open(windows: tuple[Window, ...], zone: tzinfo, at: float) -> bool:
    hour = datetime.fromtimestamp(at, zone).hour
    return any(first <= hour < end for first, end in windows)
