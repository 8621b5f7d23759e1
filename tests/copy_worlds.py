"""Worlds of shares, stores and copies for tests of what is due for copies, and their clockwork."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from huiju.api.dataset import ReplicaPhase
from huiju.data import access
from huiju.data.access import Place, Share
from huiju.data.copies import WHOLE, Copy, CopyId, Demand, Holder, Part, version_named
from huiju.data.moves import Plan, plan

NOW = 1_795_000_000.0
OWNER = "home"


def share(uid: str = "u1", sizes: Sequence[int] = (10,), **spec: Any) -> Share:
    """A share of the center `home` whose versions v1, v2, ... have these many bytes."""
    base: dict[str, Any] = {
        "license": "CC0-1.0",
        "source": {"center": OWNER, "files": {"path": "/exports"}},
        "versions": [
            {
                "name": f"v{number}",
                "manifestDigest": "sha256:" + f"{number:x}".zfill(64),
                "bytes": size,
                "files": 1,
                "createdAt": "2026-01-01T00:00:00Z",
            }
            for number, size in enumerate(sizes, 1)
        ],
    }
    meta = {"namespace": "owners", "name": f"corpus-{uid}", "uid": uid}
    return access.share_of({"metadata": meta, "spec": base | spec})


def holder(name: str, capacity: int = 100, region: str = "north", **more: Any) -> Holder:
    """A center with a store."""
    return Holder(Place(name, region), capacity, floor=capacity * 9 // 10, **more)


def federation(*others: Holder, **owner: Any) -> dict[str, Holder]:
    """The owner's center, linked to all others."""
    routes = {each.name: 0.0 for each in others}
    home = Holder(Place(OWNER, "south"), **({"routes": routes} | owner))
    return {each.name: each for each in (home, *others)}


def copy(center: str, phase: ReplicaPhase = "Verified", size: int = 10, **more: Any) -> Copy:
    """A copy of version v1 of share u1."""
    version, uid, part = more.pop("version", "v1"), more.pop("share", "u1"), more.pop("part", WHOLE)
    which = CopyId(uid, version, center, part)
    done = size if phase in ("Verified", "Verifying", "Evicting") else 0
    epoch = 0 if phase in ("Pending", "Waiting") else 1
    key = f"owners/{uid}-{version}-{center}-{'-'.join(part.include)}"
    known = {"done": done, "epoch": epoch, "created": NOW - 100} | more
    return Copy(key, which, size, phase, **known)


@dataclass
class World:
    """What is stored, and how it goes on: transfers move, end or fail, and what goes is gone."""

    shares: list[Share]
    holders: dict[str, Holder]
    copies: dict[str, Copy] = field(default_factory=dict)
    demands: tuple[Demand, ...] = ()
    now: float = NOW

    def plan(self) -> Plan:
        """What is due."""
        copies = list(self.copies.values())
        return plan(self.shares, self.holders, copies, self.demands, self.now)

    def carry_out(self, due: Plan, only: int | None = None) -> None:
        """Store what was decided; `only` the first so many writes, as when the hub dies then."""
        writes: list[Any] = [*due.make, *due.evict, *due.start]
        for write in writes[:only]:
            if hasattr(write, "epoch"):
                moved = {"epoch": write.epoch, "source": write.source}
                self._put(write.copy, phase="Copying", **moved)
            elif hasattr(write, "copy"):
                if write.copy.epoch:
                    self._put(write.copy, phase="Evicting", done=write.copy.holds)
                else:
                    del self.copies[write.copy.key]
            else:
                self._make(write.id)

    def _put(self, copy: Copy, **change: Any) -> None:
        self.copies[copy.key] = replace(copy, **change)

    def _make(self, which: CopyId) -> None:
        share = next(each for each in self.shares if each.uid == which.share)
        version = version_named(share, which.version)
        assert version is not None
        key = f"owners/{which.share}-{which.version}-{which.center}-{'-'.join(which.part.include)}"
        self.copies[key] = Copy(key, which, version.bytes, created=self.now)

    def advance(self, fates: Mapping[str, str]) -> None:
        """Each moving copy fares as its fate says; what is on its way out is gone."""
        self.now += 60
        for key, copy in list(self.copies.items()):
            match copy.phase, fates.get(key, "ends"):
                case "Evicting", _:
                    del self.copies[key]
                case "Copying" | "Verifying", "ends":
                    self._put(copy, phase="Verified", done=copy.bytes, source="")
                case "Copying" | "Verifying", "fails":
                    change = {"done": copy.bytes // 2, "retry_at": self.now + 30}
                    self._put(copy, phase="Failed", source="", **change)
                case _:
                    pass


def part(*include: str) -> Part:
    """A part of a version."""
    return Part(include)
