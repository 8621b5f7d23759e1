"""How long it takes to bring data to a center, and what it costs: what placement and people ask.

Pure. Learns each link's rate from the transfers that it has carried; what is declared holds where
nothing was seen, and again after a long silence. Decides nothing. Invariants: no figure is
negative, more bytes never take less time, and p90 is never below the expected time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from huiju.scheduling.model import DataNeed, Link
from huiju.scheduling.ways import SECONDS_PER_FILE, Way, way_over

LEAST_LEARNED: Final = 10**9
"""Bytes. Smaller transfers tell of their beginning and end, not of the link."""
REMEMBERED: Final = 50
"""Transfers on a link that are looked at, the newest."""
_NEWEST_WEIGHS: Final = 0.3
_HALF_LIFE: Final = 7 * 86_400.0
"""Seconds of silence after which half of what was learned is left."""
_UNKNOWN_SPREAD: Final = math.log(2.0)
"""Of a link that nothing was seen of: in one of ten cases it takes twice as long."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A transfer that came to its right end."""

    source: str
    center: str
    bytes: int
    files: int
    began: float
    """Seconds since the epoch."""
    seconds: float

    @property
    def ended(self) -> float:
        """Seconds since the epoch."""
        return self.began + self.seconds


@dataclass(frozen=True, slots=True)
class Rate:
    """What a link carries."""

    bytes_per_second: float
    spread: float = _UNKNOWN_SPREAD
    """Logarithm of how much slower than expected one of ten transfers is."""
    seen: int = 0
    """Transfers that it was learned from."""

    @property
    def late(self) -> float:
        """How many times as long it takes in one of ten cases."""
        return math.exp(self.spread)


def learn(declared: float, finished: Iterable[Finished], now: float) -> Rate:
    """The rate of one link, whose finished transfers these are."""
    known = sorted(finished, key=lambda each: each.ended)[-REMEMBERED:]
    mean, seen, last = math.log(declared), 0, 0.0
    slower = [_UNKNOWN_SPREAD]
    for each in known:
        if each.bytes < LEAST_LEARNED or each.seconds <= 0 or _by_files(each):
            continue
        found = math.log(_carried(each, known) / each.seconds)
        if seen:
            slower.append(mean - found)
        mean += (max(_NEWEST_WEIGHS, 1 / (seen + 1)) if seen else 1.0) * (found - mean)
        seen, last = seen + 1, each.ended
    kept = 0.5 ** (max(0.0, now - last) / _HALF_LIFE) if seen else 0.0
    rate = declared * math.exp(kept * (mean - math.log(declared)))
    spread = max(0.0, sorted(slower)[math.ceil(0.9 * len(slower)) - 1])
    return Rate(rate, _UNKNOWN_SPREAD + kept * (spread - _UNKNOWN_SPREAD), seen)


def _by_files(one: Finished) -> bool:
    """Whether the number of its files, not the link, set its pace."""
    return one.files * SECONDS_PER_FILE > one.seconds / 2


def _carried(one: Finished, others: Sequence[Finished]) -> float:
    """Bytes that the link carried while this transfer ran, those of others beside it included."""
    total = 0.0
    for other in others:
        shared = min(one.ended, other.ended) - max(one.began, other.began)
        if shared > 0 and other.seconds > 0:
            total += other.bytes * shared / other.seconds
    return total


@dataclass(frozen=True, slots=True)
class Estimate:
    """What it takes to have the data in a center."""

    source: str
    """Center that it would come from; empty where it is there already."""
    bytes: int
    """Bytes that are missing."""
    seconds: float = 0.0
    """Until it is there, as expected."""
    p90: float = 0.0
    """Not exceeded in nine of ten cases."""
    money: float = 0.0
    opens_at: float = 0.0
    """When the link opens next; 0 where it is open, or none is needed."""


def estimate(
    need: DataNeed,
    center: str,
    ways: Iterable[tuple[str, Link, Rate, Sequence[int]]],
    now: float,
) -> Estimate | None:
    """The best of the ways to bring a need to a center; None where there is none.

    A way is the source, the link as declared, its rate, and the bytes that each transfer on it
    still has to move; these share the link equally.
    """
    if center in need.copies:
        return Estimate("", 0)
    found: list[tuple[Way, Estimate]] = []
    for source, link, rate, others in ways:
        beside = sum(min(left, need.bytes) for left in others)
        told = replace(link, bytes_per_second=max(1, int(rate.bytes_per_second)))
        own = way_over(need, source, told, now)
        shared = way_over(replace(need, bytes=need.bytes + beside), source, told, now)
        moving = shared.seconds - shared.waits
        late = shared.waits + moving * rate.late
        opens = link.opens_at if own.waits else 0.0
        made = Estimate(source, need.bytes, shared.seconds, late, own.money, opens)
        found.append((shared, made))
    if not found:
        return None
    return min(found, key=lambda each: each[0].rank(0.0))[1]
