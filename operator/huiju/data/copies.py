"""Which copies of shared data should exist, and what keeps each: rules, jobs, people and pins.

Pure. Decides what is wanted, not when it moves (`moves.py`) nor what goes when room is short
(`room.py`). Invariants: no copy is wanted where residency or access forbid it; a rule that cannot
be met is told with what it lacks and never fails; copies that are there are kept before others are
made, those of centers apart that are away.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from huiju.api.dataset import CopyRule, ReplicaPhase, Version
from huiju.api.reasons import Reason
from huiju.data.access import Place, Refused, Share, may_lie, version_of

_WHOLLY: Final[frozenset[ReplicaPhase]] = frozenset({"Copying", "Verifying", "Verified"})


@dataclass(frozen=True, slots=True)
class Part:
    """Patterns of the files that a copy has; none of either is the whole version."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether nothing is left out."""
        return not self.include and not self.exclude


WHOLE: Final = Part()
JOB: Final = "job "
"""How the word for a job that keeps a copy begins; its `namespace/name` follows."""


def part_of(include: Iterable[str], exclude: Iterable[str]) -> Part:
    """The part that these patterns name, whatever their order."""
    return Part(tuple(sorted(set(include))), tuple(sorted(set(exclude))))


@dataclass(frozen=True, slots=True)
class CopyId:
    """What a copy is a copy of, and where."""

    share: str
    """UID of the share."""
    version: str
    center: str
    part: Part = WHOLE


@dataclass(frozen=True, slots=True)
class Holder:
    """A center as copies see it."""

    place: Place
    capacity: int = 0
    """Bytes that copies may take together; 0 is no store."""
    floor: int = 0
    """Bytes down to which unused copies go once room is needed."""
    answers: bool = True
    """Whether the hub has proof of its life."""
    away: bool = False
    """Silent for so long, or declared dead, that its copies count for no rule."""
    routes: Mapping[str, float] = field(default_factory=dict)
    """Centers that it may send to, and since or from when the link is open (epoch seconds)."""

    @property
    def name(self) -> str:
        """Name of the center."""
        return self.place.name


@dataclass(frozen=True, slots=True)
class Copy:
    """A replica as stored."""

    key: str
    """`namespace/name` of the DatasetReplica."""
    id: CopyId
    bytes: int
    """Bytes that it will have, or has."""
    phase: ReplicaPhase = "Pending"
    epoch: int = 0
    """0 is never begun."""
    done: int = 0
    """Bytes that are there."""
    wanted: bool = False
    """A person asked for it."""
    leaving: bool = False
    """Its object is being deleted."""
    created: float = 0.0
    used: float = 0.0
    """When a job last needed it, 0 for never."""
    retry_at: float = 0.0
    source: str = ""
    """Center that it is read from while it moves."""
    damaged_source: bool = False
    """Its last transfer found the owner's files missing or changed."""
    barred: Refused | None = None
    """Why none of the namespaces that it was made for may use it any more."""
    barred_at: float = 0.0
    """Since when that is known, 0 for not noted yet."""

    @property
    def verified(self) -> bool:
        """Whether it can be mounted."""
        return self.phase == "Verified" and not self.leaving

    @property
    def moving(self) -> bool:
        """Whether it is being made now."""
        return self.phase in ("Copying", "Verifying")

    @property
    def going(self) -> bool:
        """Whether it is on its way out."""
        return self.leaving or self.phase in ("Evicting", "Gone")

    @property
    def holds(self) -> int:
        """Bytes of the store that are its own: all of them from the start of its transfer on."""
        kept = self.phase in _WHOLLY or (self.done > 0 and self.phase != "Gone")
        return self.bytes if kept else 0

    @property
    def seen(self) -> float:
        """When it was of use last."""
        return max(self.used, self.created)


@dataclass(frozen=True, slots=True)
class Demand:
    """A job that needs, or holds, a version in a center."""

    job: str
    """`namespace/name`."""
    id: CopyId


@dataclass(frozen=True, slots=True)
class Shortfall:
    """A rule that is not met."""

    rule: str
    have: int
    want: int
    reason: Reason
    message: str


@dataclass(slots=True)
class Wanted:
    """What should exist: by copy, what keeps it; and what the rules lack."""

    by: dict[CopyId, list[str]] = field(default_factory=dict)
    shortfalls: dict[str, list[Shortfall]] = field(default_factory=dict)
    """By the share's UID."""

    def add(self, copy: CopyId, by: str) -> None:
        """One more that keeps it."""
        self.by.setdefault(copy, []).append(by)


def wanted(
    shares: Iterable[Share],
    holders: Mapping[str, Holder],
    copies: Sequence[Copy],
    demands: Iterable[Demand],
) -> Wanted:
    """The copies that should exist, and what keeps each of them."""
    found = Wanted()
    present: dict[tuple[str, str, str], list[Copy]] = {}
    for copy in copies:
        if not copy.going or (copy.leaving and copy.phase == "Verified"):
            at = (copy.id.share, copy.id.version, copy.id.center)
            present.setdefault(at, []).append(copy)
        if copy.wanted:
            found.add(copy.id, "asked for")
    for demand in demands:
        found.add(_served_by(demand.id, present), JOB + demand.job)
    for share in shares:
        for center in share.spec.pins:
            for copy in _copies_in(share, center, present):
                found.add(copy.id, "pinned")
        for rule in share.spec.copies:
            short = _apply(share, rule, holders, present, copies, found)
            if short is not None:
                found.shortfalls.setdefault(share.uid, []).append(short)
    return found


_Present = Mapping[tuple[str, str, str], list[Copy]]


def _served_by(wanted: CopyId, present: _Present) -> CopyId:
    """A whole copy serves whoever needs a part."""
    here = present.get((wanted.share, wanted.version, wanted.center), ())
    whole = next((copy.id for copy in here if copy.id.part.whole), None)
    return whole if whole is not None else wanted


def _copies_in(share: Share, center: str, present: _Present) -> Iterator[Copy]:
    for version in share.spec.versions:
        yield from present.get((share.uid, version.name, center), ())


def _apply(
    share: Share,
    rule: CopyRule,
    holders: Mapping[str, Holder],
    present: _Present,
    copies: Sequence[Copy],
    found: Wanted,
) -> Shortfall | None:
    """Want the copies of one rule; what it lacks, if anything."""
    version = version_of(share.spec, rule.version)
    if isinstance(version, Refused):
        return Shortfall(rule.name, 0, rule.copies, version.reason, version.message)
    owner = share.spec.source.center
    home = holders.get(owner)
    own = int(home is not None and not home.away and counts(rule, home.place))
    refused: dict[str, Refused] = {}
    able: list[tuple[tuple[int, int, str], CopyId]] = []
    whole: dict[str, Copy] = {}
    for name, holder in sorted(holders.items()):
        if name == owner or not counts(rule, holder.place):
            continue
        if holder.away:
            refused[name] = Refused(Reason.PEER_UNREACHABLE, "it does not answer any more")
            continue
        at = (share.uid, version.name, name)
        here = next((c for c in present.get(at, ()) if c.id.part.whole), None)
        barred = may_lie(share.spec, holder.place)
        if barred is None and here is None:
            barred = cannot_hold(holder, version.bytes, home, owner)
        if barred is not None:
            refused[name] = barred
            continue
        if here is not None:
            whole[name] = here
        rank = _rank(here)
        room = 0 if here is not None else taken(copies, name) - holder.capacity
        able.append(((rank, room, name), CopyId(share.uid, version.name, name)))
    chosen = [copy for _, copy in sorted(able, key=lambda each: each[0])][: rule.copies - own]
    for copy in chosen:
        found.add(copy, f"rule {rule.name}")
    have = own + sum(c.center in whole and whole[c.center].verified for c in chosen)
    if have >= rule.copies:
        return None
    return _lacks(rule, have, own + len(chosen), refused)


def counts(rule: CopyRule, place: Place) -> bool:
    """Whether a copy in a center counts for a rule."""
    if place.name in rule.exclude_centers:
        return False
    if rule.centers and place.name not in rule.centers:
        return False
    return not rule.regions or place.region in rule.regions


def _rank(here: Copy | None) -> int:
    """Copies that are there come first, so that none is made beside them."""
    if here is None:
        return 3
    return 0 if here.verified else 1 if here.moving else 2


def cannot_hold(holder: Holder, bytes: int, sender: Holder | None, owner: str) -> Refused | None:
    """Why a center can never get a copy of so many bytes, as things are declared."""
    if not holder.capacity:
        return Refused(Reason.NO_DATA_STORE, "it declares no spec.dataStore")
    if bytes > holder.capacity:
        return Refused(
            Reason.QUOTA_EXCEEDED,
            f"the copy has {bytes} bytes, its store takes {holder.capacity} in all",
        )
    if holder.name != owner and (sender is None or holder.name not in sender.routes):
        return Refused(Reason.NO_ROUTE, f"center {owner} declares no link to it")
    return None


def taken(copies: Iterable[Copy], center: str) -> int:
    """Bytes that copies hold in a center, those on their way in and out among them."""
    return sum(copy.holds for copy in copies if copy.id.center == center)


def _lacks(rule: CopyRule, have: int, planned: int, refused: Mapping[str, Refused]) -> Shortfall:
    if planned >= rule.copies:
        many = rule.copies - have
        message = f"{many} cop{'ies are' if many > 1 else 'y is'} on the way"
        return Shortfall(rule.name, have, rule.copies, Reason.COPYING, message)
    told = "; ".join(f"{name}: {why.message}" for name, why in list(refused.items())[:3])
    more = f", and {len(refused) - 3} more" if len(refused) > 3 else ""
    message = "no other center may hold one" + (f" ({told}{more})" if told else "")
    return Shortfall(rule.name, have, rule.copies, Reason.NO_ELIGIBLE_CENTER, message)


def version_named(share: Share, name: str) -> Version | None:
    """The version of this very name, retired or not."""
    return next((v for v in share.spec.versions if v.name == name), None)
