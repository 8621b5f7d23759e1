"""When and where a job that fits nowhere now could start, from the expected ends of others.

Decides the reservation of a blocked head: in each center the earliest time at which enough nodes
are free together, and which nodes; of all centers the one where waiting and running cost least.
Rests on run times that users told or ended jobs tell; where no end is known the time is infinite,
and the nodes are those of the center that lacks least. Invariant: nodes held for another job are
left out, so reservations never overlap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf

from huiju.scheduling.capacity import Block, CenterState, Counts, NodeKind
from huiju.scheduling.ends import Ends
from huiju.scheduling.fit import Fitter, Site
from huiju.scheduling.model import Placed
from huiju.scheduling.pack import Slot, pack
from huiju.scheduling.refusal import Want

_Then = tuple[NodeKind, dict[str, int], int]
"""A node as it will be: its kind, what is free, and how many workers it takes."""
_ROUNDED = 1e-3
"""Seconds by which sums of times may be off; who ties must not be left out."""
EndsOf = Callable[[CenterState, Want], Ends]


@dataclass(frozen=True, slots=True)
class Forecast:
    """A start that is expected, if nothing else takes the room."""

    at: float
    """Seconds since the epoch; infinite if it rests on an end that nobody knows."""
    center: str
    alternative: int
    nodes: tuple[str, ...]
    missing: int
    """Workers that have no place now."""
    waits_for: int
    """Jobs that must end first."""
    learned: bool = False
    """Whether it rests on run times that no user told, but ended jobs."""


@dataclass(slots=True)
class _Known:
    """What was forecast for one center, and what it rests on."""

    state: CenterState
    version: int
    ends: int
    limit: float
    seen: Forecast | None

    def holds_at(self, state: CenterState, version: int, ends: int, now: float, to: float) -> bool:
        return (
            self.state is state
            and self.version == version
            and self.ends == ends
            and to <= self.limit
            and (self.seen is None or self.seen.at > now)
        )


def forecast(
    fitter: Fitter,
    sites: Iterable[Site],
    ends_of: EndsOf,
    now: float,
    uid: str,
    home: str,
    cost: Callable[[CenterState, Want], float],
    *,
    uncertain: float = 0.0,
    held: bool = False,
) -> Forecast | None:
    """The start that costs least, waiting included, None if no center could ever take the job.

    `cost` is what running there costs besides the wait, in seconds; `uncertain` is what it costs
    for each worker that has no place now, where ends are but learned: so nodes that came free for
    a gang are not left for another center that only promises to be sooner. What is kept for other
    jobs is left out unless `held`.
    """
    best: tuple[tuple[float, int, float, bool, str, int], Forecast] | None = None
    for state, want in sites:
        more = cost(state, want)
        limit = inf if best is None else best[0][0] - more + _ROUNDED
        seen = _expect(fitter, state, want, ends_of(state, want), now, limit, uid, held)
        if seen is None:
            continue
        missing = seen.missing if seen.at == inf else 0
        away = seen.center != home
        doubt = uncertain * seen.missing if seen.learned else 0.0
        rank = (seen.at + more + doubt, missing, more, away, seen.center, seen.alternative)
        if best is None or rank < best[0]:
            best = (rank, seen)
    return None if best is None else best[1]


def starts_by(
    fitter: Fitter, sites: Iterable[Site], ends_of: EndsOf, now: float, uid: str, until: float
) -> bool:
    """Whether a job that fits nowhere now is expected to start by `until`.

    Centers where nothing ends so soon cost nothing.
    """
    for state, want in sites:
        ends = ends_of(state, want)
        if ends.first <= until:
            seen = _expect(fitter, state, want, ends, now, until, uid, held=False)
            if seen is not None and seen.at <= until:
                return True
    return False


def _expect(
    fitter: Fitter,
    state: CenterState,
    want: Want,
    ends: Ends,
    now: float,
    limit: float,
    uid: str,
    held: bool,
) -> Forecast | None:
    if fitter.most(want, state) < fitter.shape.workers:
        return None
    if held or (state.holds and any(hold.job == uid for hold in state.holds)):
        return Room(fitter, want, state, uid, held=held).expect(ends, now, limit)
    key = (state.center.name, want.alternative, want.resource)
    version = state.index[want.model, want.resource].version
    known = fitter.forecasts.get(key)
    if isinstance(known, _Known) and known.holds_at(state, version, ends.version, now, limit):
        return known.seen
    seen = Room(fitter, want, state, uid).expect(ends, now, limit)
    fitter.forecasts[key] = _Known(state, version, ends.version, limit, seen)
    return seen


class Room:
    """One alternative in one center, as it would be once certain jobs have ended there."""

    def __init__(
        self, fitter: Fitter, want: Want, state: CenterState, uid: str, *, held: bool = False
    ) -> None:
        self.fitter, self.want, self.state = fitter, want, state
        self.units = want.per_worker * fitter.shape.workers
        """Of the whole gang."""
        self._held = held
        self._uid = uid
        self._special = held or any(hold.job == uid for hold in state.holds)
        """Whether not only nodes that nobody holds are looked at."""
        offer = state.index[want.model, want.resource]
        known = None if self._special else offer.open.get(want.key)
        if known is None:
            known = fitter.room(want, self._blocks())
            if not self._special:
                offer.open[want.key] = known
        self._count = known
        room = state.room(want.model)
        self._lent = inf if room is None else room
        self.reset()

    def _blocks(self) -> list[Block]:
        offer = self.state.index[self.want.model, self.want.resource]
        return [block for block in offer.blocks.values() if self._open(block)]

    def _open(self, block: Block) -> bool:
        return self._held or block.hold is None or block.hold.job == self._uid

    def counts(self, node: str) -> bool:
        """Whether the node is one of those looked at."""
        return self._block(node) is not None

    def _block(self, node: str) -> Block | None:
        block = self.state.where.get(node)
        if block is None or not self._open(block):
            return None
        return block if (self.want.model, self.want.resource) in block.kind.accelerators else None

    def reset(self) -> None:
        """Nothing has ended."""
        self.count, self.room = self._count, self._lent
        """Workers that fit, units that the owner lends."""
        self.changed: dict[str, _Then] = {}
        """Nodes that were given room."""

    def fits(self) -> bool:
        """Whether the whole gang fits."""
        return self.count >= self.fitter.shape.workers and self.room >= self.units

    def give_back(self, placed: Placed) -> bool:
        """A job has ended; returns whether it freed anything that counts here."""
        chosen = placed.job.shape.alternatives[placed.alternative]
        before = (self.count, self.room)
        if chosen.model == self.want.model:
            self.room += placed.units
        alike: dict[tuple[int, int], _Then] = {}
        for assignment in placed.assignments:
            node, workers = assignment.node, assignment.workers
            known = self.changed.get(node)
            if known is not None:
                kind, free, count = known
                then = self._then(kind, free, workers, placed)
            elif (block := self._block(node)) is not None:
                count = min(self.fitter.shape.workers, self.want.ask.on(block))
                # The nodes of a gang are mostly alike, so what becomes of one becomes of all.
                key = (id(block), workers)
                found = alike.get(key)
                then = found or self._then(block.kind, block.free, workers, placed)
                alike[key] = then
            else:
                continue
            self.count += then[2] - count
            self.changed[node] = then
        return (self.count, self.room) != before

    def _then(self, kind: NodeKind, free: dict[str, int], workers: int, placed: Placed) -> _Then:
        """A node once so many of the job's workers have left it."""
        chosen = placed.job.shape.alternatives[placed.alternative]
        resource = next((r for m, r in kind.accelerators if m == chosen.model), "")
        left = dict(free)
        for name, amount in (*placed.job.shape.request, (resource, chosen.per_worker)):
            back = left.get(name, 0) + amount * workers
            left[name] = min(back, kind.allocatable.get(name, back))
        return kind, left, min(self.fitter.shape.workers, self.want.ask.count(kind, left, None))

    def expect(self, ends: Ends, now: float, limit: float) -> Forecast | None:
        """The earliest time up to `limit` at which the gang fits."""
        missing = max(0, self.fitter.shape.workers - self.count)
        at, ended, learned = now, 0, False
        for end, placed in ends.jobs():
            if self.fits():
                break
            if end > limit:
                return None
            at = max(end, now)
            if self.give_back(placed):
                ended += 1
                learned = learned or placed.job.alike > 0
        if not self.fits():
            return None
        name = self.state.center.name
        nodes = self._nodes(self.fitter.shape.workers)
        return Forecast(at, name, self.want.alternative, nodes, missing, ended, learned)

    def _nodes(self, workers: int) -> tuple[str, ...]:
        ask, most, slots = self.want.ask, self.fitter.shape.workers, []
        for block in self._blocks():
            here = min(most, ask.on(block))
            nodes = [node for node in block.nodes if node not in self.changed] if here else []
            if nodes:
                same = Block(block.kind, block.free, block.devices, nodes, block.counts)
                slots.append(Slot(same, len(nodes), here, block.free[self.want.resource]))
        for node, (kind, free, here) in self.changed.items():
            if here:
                then = Block(kind, free, None, [node], Counts())
                slots.append(Slot(then, 1, here, free[self.want.resource]))
        plan = pack(slots, workers, self.want.per_worker)
        names_of: list[str] = []
        used: dict[int, int] = {}
        for block, count, _ in plan or ():
            first = used.get(id(block), 0)
            used[id(block)] = first + count
            names_of += block.nodes[first : first + count]
        return tuple(sorted(names_of))
