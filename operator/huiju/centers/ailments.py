"""What went wrong with the hardware of nodes lately, as their objects and device plugins tell.

Pure; times are passed in. Decides what counts as news: more broken units than before, or a node
that is Ready no longer; what was broken when a node was first seen is old. Invariant: no more is
remembered than one line a node, for `RECENT` seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

RECENT: Final = 600.0
"""Seconds for which it may be why an attempt failed: gangs take their time to end."""


@dataclass(frozen=True, slots=True)
class NodeHealth:
    """How a node's hardware is."""

    ready: bool
    broken: Mapping[str, int]
    """Units by resource that the node has and that cannot be used, or not by other nodes."""


class Ailments:
    """Remembers what became worse; single-threaded."""

    def __init__(self) -> None:
        self._last: dict[str, NodeHealth] = {}
        self._news: dict[str, tuple[float, str]] = {}

    def note(self, node: str, health: NodeHealth | None, now: float) -> None:
        """A node is so now; None: it is gone. `now` in seconds on any steady clock."""
        before = self._last.pop(node, None)
        if health is not None:
            self._last[node] = health
        if before is None or health is None:
            return
        worse = _worse(before, health)
        if worse:
            self._news = {n: told for n, told in self._news.items() if now < told[0] + RECENT}
            self._news[node] = (now, worse)

    def of(self, node: str, now: float) -> str:
        """What became worse there lately, in words; empty if nothing did."""
        at, words = self._news.get(node, (0.0, ""))
        return words if words and now < at + RECENT else ""


def _worse(before: NodeHealth, after: NodeHealth) -> str:
    for name, units in sorted(after.broken.items()):
        if units > before.broken.get(name, 0):
            return f"{units} unit{'s' if units > 1 else ''} of {name} broke"
    return "it is not Ready any more" if before.ready and not after.ready else ""
