"""Data on its way to the centers where jobs need it: links are shared, copies are kept.

Decides which copy a move is read from and which old copies make room. A move takes the link with
the fewest moves on it; moves on one link share it equally; two jobs that need the same data in one
center wait for one move. Copies beyond a center's room go when nobody uses them, the one that was
needed longest ago first. Invariants: the first copy of a data set stays where it was; bytes count
once a move.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf

GIGABYTE = 1_000_000_000
TEN_GBIT = 1_250_000_000
"""Bytes per second of a link of 10 Gbit/s."""
TERABYTE = 1_000_000_000_000
_Route = tuple[str, str]
_Copy = tuple[str, str]
_NEARLY = 1.0
"""Bytes that rounding may leave."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Data that jobs need."""

    name: str
    bytes: int
    home: str
    """Where the copy is that never goes."""


@dataclass(slots=True)
class _Move:
    dataset: str
    to: str
    left: float
    waiting: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Link:
    moves: list[_Move] = field(default_factory=list)
    since: float = 0.0


class Stager:
    """Copies and moves; without data sets nothing is ever missing."""

    def __init__(
        self,
        datasets: Iterable[Dataset] = (),
        *,
        rate: int = TEN_GBIT,
        rates: Mapping[_Route, int] | None = None,
        room: int = TERABYTE,
    ) -> None:
        self._rate, self._rates, self._room = rate, rates or {}, room
        self._known = {each.name: each for each in datasets}
        self._copies = {each.name: {each.home} for each in self._known.values()}
        self._links: dict[_Route, _Link] = {}
        self._moves: dict[_Copy, _Move] = {}
        self._missing: dict[str, int] = {}
        """Moves that a job still waits for."""
        self._pins: dict[str, list[_Copy]] = {}
        self._pinned: dict[_Copy, int] = {}
        self._kept: dict[str, dict[str, int]] = {}
        """Copies that may go by center, the one needed longest ago first, and their bytes."""
        self._changed: dict[str, None] = {}
        self.bytes_moved = 0

    def copies(self, dataset: str) -> frozenset[str]:
        """Centers that have a whole copy."""
        return frozenset(self._copies[dataset])

    def changes(self) -> list[str]:
        """Data sets of which a copy came or went since this was asked last."""
        found, self._changed = list(self._changed), {}
        return found

    def next(self) -> float:
        """When the next move ends as things stand, infinite if there is none."""
        return min((self._due(route, link) for route, link in self._links.items()), default=inf)

    def _due(self, route: _Route, link: _Link) -> float:
        least = min(move.left for move in link.moves)
        return link.since + least * len(link.moves) / self._speed(route)

    def _speed(self, route: _Route) -> int:
        return self._rates.get(route, self._rate)

    def bring(self, uid: str, datasets: Iterable[str], center: str, now: float) -> bool:
        """A job needs the data in the center; True if all of it is there now."""
        missing = 0
        for name in datasets:
            copy = (name, center)
            self._pins.setdefault(uid, []).append(copy)
            self._pinned[copy] = self._pinned.get(copy, 0) + 1
            if center in self._copies[name]:
                self._touch(name, center)
                continue
            move = self._moves.get(copy) or self._begin(name, center, now)
            move.waiting.append(uid)
            missing += 1
        if missing:
            self._missing[uid] = missing
        return not missing

    def _begin(self, name: str, center: str, now: float) -> _Move:
        routes = [(source, center) for source in sorted(self._copies[name])]
        route = min(routes, key=lambda r: self._load(r) / self._speed(r))
        link = self._links.setdefault(route, _Link(since=now))
        self._progress(route, link, now)
        size = self._known[name].bytes
        move = self._moves[name, center] = _Move(name, center, float(size))
        link.moves.append(move)
        self.bytes_moved += size
        return move

    def _load(self, route: _Route) -> int:
        link = self._links.get(route)
        return 1 + (0 if link is None else len(link.moves))

    def _progress(self, route: _Route, link: _Link, now: float) -> None:
        if link.moves:
            each = (now - link.since) * self._speed(route) / len(link.moves)
            for move in link.moves:
                move.left -= each
        link.since = now

    def advance(self, now: float) -> list[str]:
        """It is `now`: the jobs that have all their data since."""
        ready: list[str] = []
        for route, link in list(self._links.items()):
            if self._due(route, link) > now:
                continue
            self._progress(route, link, now)
            done = [move for move in link.moves if move.left <= _NEARLY]
            link.moves = [move for move in link.moves if move.left > _NEARLY]
            for move in done:
                ready += self._arrived(move)
            if not link.moves:
                del self._links[route]
        return ready

    def _arrived(self, move: _Move) -> list[str]:
        del self._moves[move.dataset, move.to]
        self._copies[move.dataset].add(move.to)
        self._changed[move.dataset] = None
        kept = self._kept.setdefault(move.to, {})
        kept[move.dataset] = self._known[move.dataset].bytes
        self._make_room(move.to, kept)
        ready = []
        for uid in move.waiting:
            left = self._missing.get(uid)
            if left is None:
                continue
            if left > 1:
                self._missing[uid] = left - 1
            else:
                del self._missing[uid]
                ready.append(uid)
        return ready

    def _touch(self, name: str, center: str) -> None:
        kept = self._kept.get(center)
        if kept and name in kept:
            kept[name] = kept.pop(name)

    def _make_room(self, center: str, kept: dict[str, int]) -> None:
        over = sum(kept.values()) - self._room
        for name in list(kept):
            if over <= 0:
                return
            if self._pinned.get((name, center)):
                continue
            over -= kept.pop(name)
            self._copies[name].discard(center)
            self._changed[name] = None

    def release(self, uid: str) -> None:
        """A job needs its data no longer; what it waited for still arrives."""
        self._missing.pop(uid, None)
        for copy in self._pins.pop(uid, ()):
            self._pinned[copy] -= 1
            if not self._pinned[copy]:
                del self._pinned[copy]
