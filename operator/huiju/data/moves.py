"""What is due for the copies of all shares: which to make, begin, hold back, and remove.

Pure: one look at everything that is known gives one plan. Decides by what is wanted (`copies.py`)
and by the room there is (`room.py`). Invariants: a copy begins only with its bytes reserved, over
a link that is declared and open, from the center that may sign for the data; its epoch is one above
every earlier, so that only the one who began it last may write; what runs on is never begun twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from huiju.api.durations import parse_duration
from huiju.api.reasons import Reason
from huiju.data.access import Refused, Share, may_lie
from huiju.data.copies import (
    JOB,
    Copy,
    CopyId,
    Demand,
    Holder,
    Shortfall,
    Wanted,
    cannot_hold,
    version_named,
    wanted,
)
from huiju.data.room import Room

MOST_ON_A_LINK: Final = 4
"""Transfers on one link at once; more share the same bytes and all end later."""


@dataclass(frozen=True, slots=True)
class Make:
    """A copy that has no object yet."""

    id: CopyId
    by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Start:
    """Begin a transfer under a new epoch; its bytes are reserved by the write that says so."""

    copy: Copy
    source: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Hold:
    """A copy that waits, and why."""

    copy: Copy
    reason: Reason
    message: str
    until: float = 0.0
    """When it may begin at the earliest, where that is known."""


@dataclass(frozen=True, slots=True)
class Evict:
    """Remove a copy's bytes, then its object; one that was never begun has no bytes."""

    copy: Copy
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What is due."""

    make: tuple[Make, ...]
    start: tuple[Start, ...]
    hold: tuple[Hold, ...]
    evict: tuple[Evict, ...]
    pins: Mapping[CopyId, Sequence[str]]
    """What keeps each copy."""
    shortfalls: Mapping[str, Sequence[Shortfall]]
    """What copy rules lack, by the share's UID."""


def plan(
    shares: Sequence[Share],
    holders: Mapping[str, Holder],
    copies: Sequence[Copy],
    demands: Iterable[Demand],
    now: float,
) -> Plan:
    """What is due now."""
    by_uid = {share.uid: share for share in shares}
    jobs = tuple(demands)
    want = wanted(shares, holders, copies, jobs)
    served = {share.uid for share in shares if _served(share, holders, copies)}
    room = Room(holders, copies, want, served)
    look = _Look(by_uid, holders, copies, want, room, {d.id for d in jobs}, now)
    evicted = look.leave()
    started, held = look.begin()
    there = {copy.id for copy in copies}
    made = tuple(
        Make(each, tuple(by))
        for each, by in sorted(want.by.items(), key=_name)
        if each not in there
    )
    return Plan(
        made, tuple(started), tuple(held), (*evicted, *look.removed), want.by, want.shortfalls
    )


def _name(item: tuple[CopyId, list[str]]) -> tuple[str, str, str, tuple[str, ...]]:
    copy = item[0]
    return (copy.share, copy.version, copy.center, copy.part.include + copy.part.exclude)


def _served(share: Share, holders: Mapping[str, Holder], copies: Iterable[Copy]) -> bool:
    owner = holders.get(share.spec.source.center)
    damaged = any(copy.damaged_source for copy in copies if copy.id.share == share.uid)
    return owner is not None and owner.answers and not damaged


class _Look:
    """One look at everything; keeps count of what it has decided."""

    def __init__(
        self,
        shares: Mapping[str, Share],
        holders: Mapping[str, Holder],
        copies: Sequence[Copy],
        want: Wanted,
        room: Room,
        demanded: set[CopyId],
        now: float,
    ) -> None:
        self._shares = shares
        self._holders = holders
        self._copies = copies
        self._want = want
        self._room = room
        self._demanded = demanded
        self._now = now
        self._busy = Counter((c.source, c.id.center) for c in copies if c.moving)
        self.removed: list[Evict] = []
        """What goes to make room."""

    # --- what goes whether room is needed or not -------------------------------------------------

    def leave(self) -> list[Evict]:
        """Copies that nobody may have, that a person took back, or that nobody needs."""
        found = []
        for copy in sorted(self._copies, key=lambda c: (c.seen, c.key)):
            due = self._due_to_leave(copy)
            if due is not None and copy.phase not in ("Evicting", "Gone"):
                self._room.evict(copy)
                found.append(due)
        return found

    def _due_to_leave(self, copy: Copy) -> Evict | None:
        if self._in_use(copy):
            return None
        if copy.leaving:
            return Evict(copy, Reason.COPY_EVICTED, "Its object was deleted.")
        share = self._shares.get(copy.id.share)
        if share is None:
            return Evict(copy, Reason.UNKNOWN_DATASET, "Its share is no more.")
        holder = self._holders.get(copy.id.center)
        barred = may_lie(share.spec, holder.place) if holder is not None else None
        if barred is not None and not self._room.irreplaceable(copy):
            return Evict(copy, barred.reason, f"No copy may lie here: {barred.message}.")
        if self._room.kept(copy):
            return None
        if not copy.verified:
            return Evict(copy, Reason.COPY_EVICTED, "Nobody needs it any more.")
        return self._withdrawn(copy, share) or self._unused(copy, share)

    def _withdrawn(self, copy: Copy, share: Share) -> Evict | None:
        grace = parse_duration(share.spec.revocation_grace)
        if copy.barred is None or not copy.barred_at or self._now < copy.barred_at + grace:
            return None
        message = f"Nobody that it was made for may use it any more: {copy.barred.message}"
        return Evict(copy, copy.barred.reason, message)

    def _unused(self, copy: Copy, share: Share) -> Evict | None:
        if share.spec.unused_lifetime is None:
            return None
        stays = parse_duration(share.spec.unused_lifetime)
        if self._now < copy.seen + stays:
            return None
        message = f"No job needed it for {share.spec.unused_lifetime}."
        return Evict(copy, Reason.COPY_EVICTED, message)

    def _in_use(self, copy: Copy) -> bool:
        """Whether a job has it mounted, or is about to, or another copy is read from it."""
        return copy.phase == "Verified" and (
            any(by.startswith(JOB) for by in self._want.by.get(copy.id, ()))
            or self._room.read_from(copy)
        )

    # --- what begins ------------------------------------------------------------------------------

    def begin(self) -> tuple[list[Start], list[Hold]]:
        """The transfers that begin now, and why the others do not."""
        started, held = [], []
        waiting = [
            copy
            for copy in self._copies
            if copy.phase in ("Pending", "Waiting", "Failed")
            and not copy.going
            and not self._room.evicted(copy)
        ]
        for copy in sorted(waiting, key=self._turn):
            answer = self._judge(copy)
            if isinstance(answer, Start):
                self._busy[answer.source, copy.id.center] += 1
                started.append(answer)
            else:
                held.append(answer)
        return started, held

    def _turn(self, copy: Copy) -> tuple[bool, bool, float, str]:
        """Whose turn it is: what jobs wait for, then what people asked for, then the oldest."""
        return (copy.id not in self._demanded, not copy.wanted, copy.created, copy.key)

    def _judge(self, copy: Copy) -> Start | Hold:
        barred = self._barred(copy)
        if barred is not None:
            return Hold(copy, barred.reason, barred.message)
        source = self._shares[copy.id.share].spec.source.center
        waits = self._waits(copy, source)
        if waits is not None:
            return waits
        if not self._room.reserve(copy):
            return self._wait_for_room(copy)
        return Start(copy, source, copy.epoch + 1)

    def _barred(self, copy: Copy) -> Refused | None:
        """What waiting does not cure."""
        share = self._shares.get(copy.id.share)
        if share is None:
            return Refused(Reason.UNKNOWN_DATASET, "Its share is no more.")
        if version_named(share, copy.id.version) is None or (
            copy.id.version in share.spec.retired and copy.id not in self._demanded
        ):
            return Refused(
                Reason.UNKNOWN_VERSION, f"Version {copy.id.version} is retired or not there."
            )
        holder = self._holders.get(copy.id.center)
        if holder is None:
            return Refused(Reason.PEER_UNREACHABLE, f"There is no ComputeCenter {copy.id.center}.")
        source = share.spec.source.center
        return may_lie(share.spec, holder.place) or cannot_hold(
            holder, copy.bytes, self._holders.get(source), source
        )

    def _waits(self, copy: Copy, source: str) -> Hold | None:
        """What time cures."""
        center = copy.id.center
        for name in (center, source):
            if not self._holders[name].answers:
                return Hold(copy, Reason.PEER_UNREACHABLE, f"Center {name} does not answer.")
        if copy.retry_at > self._now:
            message = "The last transfer failed; it is tried again."
            return Hold(copy, Reason.TRANSFER_FAILED, message, copy.retry_at)
        if center == source:
            return None
        opens = self._holders[source].routes[center]
        if opens > self._now:
            message = f"The link from {source} to {center} is closed now."
            return Hold(copy, Reason.WINDOW_CLOSED, message, opens)
        if self._busy[source, center] >= MOST_ON_A_LINK:
            message = f"{MOST_ON_A_LINK} transfers use the link from {source} to {center}."
            return Hold(copy, Reason.LINK_BUSY, message)
        return None

    def _wait_for_room(self, copy: Copy) -> Hold:
        center = copy.id.center
        holder, used = self._holders[center], self._room.used(center)
        figures = f"{copy.bytes} bytes are needed, {used} of {holder.capacity} are taken"
        going = self._room.make(copy)
        if going is None:
            message = f"{figures}, and what is there is in use or kept."
            return Hold(copy, Reason.QUOTA_EXCEEDED, message)
        for each in going:
            self._room.evict(each)
            message = "Removed to make room for a copy that is needed."
            self.removed.append(Evict(each, Reason.COPY_EVICTED, message))
        # No refusal: whoever waits for it, a job that stages among them, gets it in a moment.
        return Hold(copy, Reason.TRANSFER_PENDING, f"{figures}; room is being made.")
