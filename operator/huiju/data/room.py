"""Room in the stores: reserved before a copy begins, and made by removing what nobody needs.

Pure; one `Room` lives for one look at everything. Decides what may go and in which order.
Invariants: what copies hold together never exceeds a store's capacity by a new one; the last
verified copy of a version does not go while the owner's files cannot be had; no copy goes that
something keeps, or that another is read from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from huiju.data.copies import Copy, Holder, Wanted, taken


class Room:
    """The stores of all centers during one look; what is reserved and evicted here is counted."""

    def __init__(
        self,
        holders: Mapping[str, Holder],
        copies: Sequence[Copy],
        wanted: Wanted,
        served: Collection[str],
    ) -> None:
        self._holders = holders
        self._copies = copies
        self._wanted = wanted
        self._served = served
        """UIDs of shares whose owner can hand the data out now, files and all."""
        self._used = {name: taken(copies, name) for name in holders}
        self._verified = Counter(
            (copy.id.share, copy.id.version)
            for copy in copies
            if copy.verified and copy.id.part.whole
        )
        self._read = {
            (copy.id.share, copy.id.version, copy.source)
            for copy in copies
            if copy.moving and copy.source
        }
        self._out: set[str] = set()

    def used(self, center: str) -> int:
        """Bytes that are taken, by what was reserved in this look too."""
        return self._used.get(center, 0)

    def kept(self, copy: Copy) -> str:
        """What keeps a copy from being removed, empty where nothing does."""
        by = self._wanted.by.get(copy.id)
        if by:
            return by[0]
        if self.read_from(copy):
            return "another copy is read from it"
        return self.irreplaceable(copy)

    def read_from(self, copy: Copy) -> bool:
        """Whether another copy is being read from this one."""
        at = (copy.id.share, copy.id.version, copy.id.center)
        return copy.phase == "Verified" and at in self._read

    def irreplaceable(self, copy: Copy) -> str:
        """Whether it is the only one from which the version can still be had."""
        if not (copy.verified and copy.id.part.whole) or copy.id.share in self._served:
            return ""
        last = self._verified[copy.id.share, copy.id.version] <= 1
        return "the last verified copy while the owner's files cannot be had" if last else ""

    def evict(self, copy: Copy) -> None:
        """Count a copy as going; its bytes stay taken until it is gone."""
        if copy.key in self._out:
            return
        self._out.add(copy.key)
        if copy.verified and copy.id.part.whole:
            self._verified[copy.id.share, copy.id.version] -= 1

    def evicted(self, copy: Copy) -> bool:
        """Whether it was counted as going."""
        return copy.key in self._out

    def reserve(self, copy: Copy) -> bool:
        """Take the copy's bytes if there is room now; what it holds already is not asked twice."""
        center = copy.id.center
        need = copy.bytes - copy.holds
        holder = self._holders[center]
        if self._used[center] + need > holder.capacity:
            return False
        self._used[center] += need
        return True

    def make(self, copy: Copy) -> tuple[Copy, ...] | None:
        """Copies to remove, least recently used first, so that this one fits; None: it never will.

        Empty where enough is on its way out already.
        """
        center = copy.id.center
        holder = self._holders[center]
        need = copy.bytes - copy.holds
        leaving = sum(
            c.holds for c in self._copies if c.id.center == center and (c.going or self.evicted(c))
        )
        after = self._used[center] - leaving + need
        if after <= holder.capacity:
            return ()
        chosen: list[Copy] = []
        freed: Counter[tuple[str, str]] = Counter()
        for victim in self._victims(center, copy):
            if after <= min(holder.floor, holder.capacity):
                break
            which = (victim.id.share, victim.id.version)
            counted = victim.verified and victim.id.part.whole
            alone = self._verified[which] - freed[which] <= 1
            if counted and alone and victim.id.share not in self._served:
                continue
            freed[which] += int(counted)
            chosen.append(victim)
            after -= victim.holds
        return tuple(chosen) if after <= holder.capacity else None

    def _victims(self, center: str, but: Copy) -> Iterable[Copy]:
        """What may go of a center, that of longest disuse first."""
        found = [
            copy
            for copy in self._copies
            if copy.id.center == center
            and copy.key != but.key
            and copy.holds
            and not copy.going
            and not copy.moving
            and not self.evicted(copy)
            and not self.kept(copy)
        ]
        return sorted(found, key=lambda c: (c.verified, c.seen, c.key))
