"""What it takes to bring data over one link: the same figures for placement and for people.

Decides nothing. Invariant: never negative, and never less for more bytes or more files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from huiju.scheduling.model import DataNeed, Link

SECONDS_PER_FILE: Final = 0.004
"""Of small files one takes a round trip of about 30 ms, and eight move at once."""
_BYTES_PER_GIGABYTE: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Way:
    """From where, how long and at what price."""

    source: str
    seconds: float
    """Until all is there, the wait for the link to open included."""
    money: float
    waits: float = 0.0
    """Of the seconds, those before the link opens."""

    def rank(self, per_money: float) -> tuple[float, float, float, str]:
        """Sorts ways, best first; `per_money` is the seconds that one unit of money is worth."""
        return (self.seconds + self.money * per_money, self.seconds, self.money, self.source)


def way_over(need: DataNeed, source: str, link: Link, now: float) -> Way:
    """What it takes to bring all of a need over a link, with the link to itself."""
    waits = max(0.0, link.opens_at - now)
    moving = max(need.bytes / link.bytes_per_second, need.files * SECONDS_PER_FILE)
    money = need.bytes / _BYTES_PER_GIGABYTE * link.price_per_gigabyte
    return Way(source, waits + moving, money, waits)
