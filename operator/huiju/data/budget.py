"""How transfers share a link: equal rates that together never exceed what the link has.

Pure: each transfer's rate in force and the one that its puller keeps to go in, the rates to order
come out. Decides nothing about which transfers run. Invariant: what is ordered, and what pullers
may still keep to until they have heard, together stay within the link's rate; so one that begins
gets only what the others have given up already.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_LEAST = 2
"""One that begins waits until it gets at least its share divided by this."""


@dataclass(frozen=True, slots=True)
class Line:
    """One transfer on a link, in bytes per second."""

    ordered: int = 0
    """Rate that it was given; 0 has not begun."""
    kept: int = 0
    """Rate that its puller says it keeps to; 0 has not said."""

    @property
    def takes(self) -> int:
        """What it may take now."""
        return max(self.ordered, self.kept)


def shared(rate: int, lines: Mapping[str, Line]) -> dict[str, int]:
    """The rate of each transfer from now on; 0 where it must wait for the others to slow down."""
    if not lines:
        return {}
    share = max(1, rate // len(lines))
    found = {name: min(line.ordered, share) for name, line in lines.items()}
    left = rate - sum(max(found[name], line.takes) for name, line in lines.items())
    for name, line in sorted(lines.items()):
        if line.ordered >= share:
            continue
        # What it takes already is counted; only what is more comes out of what is left.
        more = min(share, max(line.takes, found[name]) + max(0, left)) - found[name]
        begins = not line.ordered
        if more <= 0 or (begins and found[name] + more < max(1, share // _LEAST)):
            continue
        left -= max(0, found[name] + more - line.takes)
        found[name] += more
    return found
