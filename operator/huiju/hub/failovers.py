"""How many jobs leave lost centers at once: a pace for all of them together.

Decides whose turn it is, not whether a job may leave (see `failover.py`). A loss of many centers is
more often the hub's own network than theirs, so jobs leave one after another, and a platform
engineer has time to look and to switch it off. Invariant: in any span of a minute at most twice
`per_minute` turns are given.
"""

from __future__ import annotations


class Failovers:
    """Turns at a steady pace; those not used are kept for up to a minute."""

    def __init__(self, per_minute: int, now: float) -> None:
        """`now` and all later times are seconds on one clock that never steps back."""
        self._rate = per_minute / 60.0
        self._most = float(per_minute)
        self._turns = self._most
        self._at = now

    def take(self, now: float) -> float:
        """0.0 if this is a job's turn, which is then used; else seconds until the next one."""
        self._turns = min(self._most, self._turns + max(0.0, now - self._at) * self._rate)
        self._at = max(self._at, now)
        if self._turns >= 1.0:
            self._turns -= 1.0
            return 0.0
        return (1.0 - self._turns) / self._rate
