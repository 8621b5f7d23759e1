"""What moves on the links between centers now, as the metrics show it.

Decides how the words of transfers add up. Invariant: a byte is counted once, whichever process of
the transfer had it; what had come before this hub began is not counted by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from huiju.telemetry.metrics import HubMetrics

Fields = dict[str, Any]
_Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Moving:
    """A transfer under way: the words of its center."""

    uid: str
    epoch: int
    source: str
    center: str
    told: Fields
    """Status of its CenterCopy, empty while there is none of this transfer."""
    begun: float
    """When the transfer was decided, seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Flow:
    """A link, as it is shown."""

    source: str
    center: str
    transfers: int
    rate: int
    budget: int


class Flows:
    """Counts for one hub process."""

    def __init__(self, metrics: HubMetrics, began: float) -> None:
        self._metrics = metrics
        self._began = began
        self._counted: dict[tuple[str, int], int] = {}

    def show(self, moving: Iterable[Moving], budgets: Mapping[_Pair, int]) -> None:
        """Take what is told of all transfers now; `budgets` are the declared links."""
        many = dict.fromkeys(budgets, 0)
        rates = dict.fromkeys(budgets, 0)
        there = set()
        for one in moving:
            pair = (one.source, one.center)
            there.add((one.uid, one.epoch))
            many[pair] = many.get(pair, 0) + 1
            running = one.told.get("state") == "Running"
            rates[pair] = rates.get(pair, 0) + (int(one.told.get("rate") or 0) if running else 0)
            self._count(one)
        self._counted = {key: size for key, size in self._counted.items() if key in there}
        self._metrics.links(
            Flow(*pair, many[pair], rates[pair], budgets.get(pair, 0)) for pair in sorted(many)
        )

    def _count(self, one: Moving) -> None:
        key, now = (one.uid, one.epoch), int(one.told.get("fetched") or 0)
        before = self._counted.get(key)
        if before is None and one.begun < self._began:
            before = now  # an earlier hub has counted it, or nobody
        came = now - (before or 0)
        if came > 0:
            self._metrics.link_carried(one.source, one.center, came)
        self._counted[key] = now if one.told else self._counted.get(key, 0)

    def ended(self, one: Moving, result: str) -> None:
        """A transfer ended; its last words are counted."""
        self._count(one)
        self._metrics.transfer_ended(one.source, one.center, result)
