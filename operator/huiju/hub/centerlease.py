"""One center's lease on the hub's side: its times, its fence, and what the status keeps of both.

Decides which profile is in force and what an earlier hub's status is worth. Invariants: while
guarded jobs run under a profile, none that waits shorter comes into force, and none that waits
longer before the status tells of it; what the status says of
a center's last word counts only while it also says that the center is lost, since words may have
followed otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, Literal

from huiju.api.center import LeaseProfileName
from huiju.centers.lease import LeaseProfile, LeaseTerms, give_up_after, sentinel_url
from huiju.hub.clock import seconds, stamp
from huiju.hub.fence import Fence

Fields = dict[str, Any]
CLOCKS_APART: Final = 10.0
"""Seconds by which the clocks of two machines of the hub may differ."""


class CenterLease:
    """What the hub knows of one center's lease.

    `status` is the ComputeCenter's as an earlier hub left it; `now` is seconds on the boot-time
    clock, `wall` seconds since the epoch, both of the same moment.
    """

    def __init__(
        self,
        profiles: Mapping[str, LeaseProfile],
        wanted: LeaseProfileName,
        status: Fields,
        now: float,
        wall: float,
    ) -> None:
        self._profiles = profiles
        kept = status.get("lease") or {}
        known: Any = kept.get("profile")
        self.profile: LeaseProfileName = wanted if known not in profiles else known
        """Name of the profile in force."""
        self.announced: LeaseProfileName | Literal[""] = ""
        """A profile that waits longer, and is in force once the status tells of it: another hub
        that starts from the status must not give up sooner than what this one has granted."""
        self.fence = Fence(profiles[self.profile], now)
        self._lost = bool(status.get("lostSince"))
        if self._lost and kept.get("endsBy"):
            left = seconds(str(kept["endsBy"])) - wall + CLOCKS_APART
            self.fence.recall(now + left)
        self._told = (self.fence.ends_by, str(kept.get("endsBy") or "")) if self._lost else None
        if not self._lost and _held(status):
            self.fence.expect(now)

    @property
    def recorded_lost(self) -> bool:
        """Whether the status says that the center is lost: another hub would start from there."""
        return self._lost

    def written(self, status: Fields) -> None:
        """The hub's API server has acknowledged this status."""
        self._lost = bool(status.get("lostSince"))
        announced = self.announced
        if announced and (status.get("lease") or {}).get("profile") == announced:
            self.profile, self.announced = announced, ""
            self.fence.use(self._profiles[announced])

    def ended(self, now: float) -> bool:
        """Whether no guarded container can run in the center any more, and a restart forgets none
        of it."""
        return self._lost and not self.fence.is_open and now >= self.fence.ends_by

    def guards_end(self, now: float, wall: float) -> float:
        """When no guarded container can run in the center any more, in seconds since the epoch; of
        a center whose loss was told the time that was told."""
        told = self._told
        if told is not None and told[0] == self.fence.ends_by and told[1]:
            return seconds(told[1])
        return math.ceil(wall + self.fence.ends_by - now)

    def settle(self, wanted: LeaseProfileName, *, guarded: bool) -> None:
        """Bring the wanted profile into force where that is safe; `guarded`: guarded jobs run.

        One that waits longer is announced in the status first, and in force once that is stored.
        """
        self.announced = ""
        if wanted == self.profile:
            return
        after, before = self._profiles[wanted], self._profiles[self.profile]
        if give_up_after(after) > give_up_after(before):
            self.announced = wanted
        elif not guarded:
            self.profile = wanted
            self.fence.use(after)

    def has_sentinel(self, now: float) -> bool:
        """Whether a sentinel in the center is at work, so that guards would learn of the lease."""
        return self.fence.asks(now)

    def terms(self, namespace: str) -> LeaseTerms:
        """What guards of this center are told; `namespace` is Huiju's own there."""
        return LeaseTerms(sentinel_url(namespace), self.fence.profile)

    def fields(self, *, lost: bool, now: float, wall: float) -> Fields:
        """`status.lease`; while the center is lost with the end of the last word."""
        made: Fields = {"profile": self.announced or self.profile}
        if not lost:
            return made
        ends_by = self.fence.ends_by
        if self._told is None or self._told[0] != ends_by or not self._told[1]:
            self._told = (ends_by, stamp(math.ceil(wall + ends_by - now)))
        made["endsBy"] = self._told[1]
        return made


def _held(status: Fields) -> bool:
    conditions = status.get("conditions") or []
    return any(c.get("type") == "Leased" and c.get("status") == "True" for c in conditions)
