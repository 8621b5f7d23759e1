"""When and where a job that fits nowhere now could start, from the expected ends of others.

Decides the reservation of a blocked head: the earliest time at which enough nodes of one center
are free together, and which nodes. Rests on run times that users told; where no end is known the
time is infinite, and the nodes are those of the center that lacks least. Invariant: nodes held for
another job are left out, so reservations never overlap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import inf

from huiju.scheduling.capacity import Block, CenterState
from huiju.scheduling.filter import allowed_image
from huiju.scheduling.fit import Fitter
from huiju.scheduling.model import Alternative, Assignment, Placed, Vector
from huiju.scheduling.pack import Slot, pack
from huiju.scheduling.refusal import Want
from huiju.scheduling.world import Ends

Site = tuple[CenterState, Want]


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


def allowed(fitter: Fitter, states: Iterable[CenterState], now: float) -> Iterator[Site]:
    """Every center and alternative that the rules allow."""
    for state in states:
        if fitter.refused(state, now) is not None:
            continue
        for index, alternative in enumerate(fitter.shape.alternatives):
            if allowed_image(alternative.image, state.center):
                for want in fitter.wants(index, state):
                    yield state, want


def rooms(fitter: Fitter, states: Iterable[CenterState], now: float, uid: str) -> Iterator[Room]:
    """The room for a job in all centers; its own hold does not stand in its way."""
    return (
        Room(fitter, want, state, uid)
        for state, want in allowed(fitter, states, now)
        if fitter.most(want, state) >= fitter.shape.workers
    )


@dataclass(slots=True)
class _Known:
    """What was forecast for one center, and what it rests on."""

    state: CenterState
    capacity: int
    ends: Ends
    limit: float
    seen: Forecast | None

    def holds_at(self, state: CenterState, ends: Ends, now: float, limit: float) -> bool:
        return (
            self.state is state
            and self.capacity == state.capacity
            and self.ends is ends
            and limit <= self.limit
            and (self.seen is None or self.seen.at > now)
        )


def forecast(
    fitter: Fitter,
    states: Iterable[CenterState],
    ends_of: Callable[[str], Ends],
    now: float,
    uid: str,
    home: str = "",
    *,
    held: bool = False,
) -> Forecast | None:
    """The earliest start over all centers, None if none could ever take the job.

    What is kept for other jobs is left out unless `held`.
    """
    best: Forecast | None = None
    for state, want in allowed(fitter, states, now):
        limit = inf if best is None else best.at
        seen = _expect(fitter, state, want, ends_of(state.center.name), now, limit, uid, held)
        if seen is None or seen.at > limit:
            continue
        if best is None or _rank(seen, home) < _rank(best, home):
            best = seen
    return best


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
    key = (state.center.name, want.alternative, want.resource)
    known = fitter.forecasts.get(key)
    if isinstance(known, _Known) and not state.holds and known.holds_at(state, ends, now, limit):
        return known.seen
    seen = Room(fitter, want, state, uid, held=held).expect(ends, now, limit)
    if not state.holds:
        fitter.forecasts[key] = _Known(state, state.capacity, ends, limit, seen)
    return seen


def _rank(found: Forecast, home: str) -> tuple[float, int, bool, str, int]:
    missing = found.missing if found.at == inf else 0
    return (found.at, missing, found.center != home, found.center, found.alternative)


class Room:
    """One alternative in one center, as it would be once certain jobs have ended there."""

    def __init__(
        self, fitter: Fitter, want: Want, state: CenterState, uid: str, *, held: bool = False
    ) -> None:
        self.fitter, self.want, self.state = fitter, want, state
        self.units = want.per_worker * fitter.shape.workers
        """Of the whole gang."""
        self.blocks = [
            b
            for b in state.offers(want.model, want.resource)
            if held or b.hold is None or b.hold.job == uid
        ]
        counted = [(b, fitter.workers_on(want, b)) for b in self.blocks]
        self._count = sum(count * len(block.nodes) for block, count in counted)
        self._origin = {node: each for each in counted for node in each[0].nodes}
        room = state.room(want.model)
        self._lent = inf if room is None else room
        self.reset()

    def reset(self) -> None:
        """Nothing has ended."""
        self.count, self.room = self._count, self._lent
        """Workers that fit, units that the owner lends."""
        self.changed: dict[str, tuple[Block, int]] = {}
        """Nodes that were given room, as they are then, and the workers that each takes."""

    def fits(self) -> bool:
        """Whether the whole gang fits."""
        return self.count >= self.fitter.shape.workers and self.room >= self.units

    def give_back(self, placed: Placed) -> bool:
        """A job has ended; returns whether it freed anything that counts here."""
        chosen = placed.job.shape.alternatives[placed.alternative]
        before = (self.count, self.room)
        if chosen.model == self.want.model:
            self.room += placed.units
        for assignment in placed.assignments:
            self._free(assignment, chosen, placed.job.shape.request)
        return (self.count, self.room) != before

    def _free(self, assignment: Assignment, chosen: Alternative, request: Vector) -> None:
        node = assignment.node
        known = self.changed.get(node) or self._origin.get(node)
        if known is None:
            return
        before, count = known
        resource = next((r for m, r in before.kind.accelerators if m == chosen.model), "")
        free = dict(before.free)
        for name, amount in (*request, (resource, chosen.per_worker)):
            back = free.get(name, 0) + amount * assignment.workers
            free[name] = min(back, before.kind.allocatable.get(name, back))
        after = Block(before.kind, free, None, [node])
        workers = self.fitter.workers_on(self.want, after)
        self.count += workers - count
        self.changed[node] = (after, workers)

    def expect(self, ends: Ends, now: float, limit: float) -> Forecast | None:
        """The earliest time up to `limit` at which the gang fits."""
        missing = max(0, self.fitter.shape.workers - self.count)
        at, ended = now, 0
        for end, placed in ends.jobs:
            if self.fits():
                break
            if end > limit:
                return None
            at = max(end, now)
            ended += self.give_back(placed)
        if not self.fits():
            return None
        name = self.state.center.name
        nodes = self._nodes(self.fitter.shape.workers)
        return Forecast(at, name, self.want.alternative, nodes, missing, ended)

    def _nodes(self, workers: int) -> tuple[str, ...]:
        slots = []
        for block in self.blocks:
            names = [node for node in block.nodes if node not in self.changed]
            same = Block(block.kind, block.free, block.devices, names)
            slots.append((same, self.fitter.workers_on(self.want, same)))
        slots += self.changed.values()
        plan = pack(
            [
                Slot(b, len(b.nodes), k, b.free[self.want.resource])
                for b, k in slots
                if k and b.nodes
            ],
            workers,
            self.want.per_worker,
        )
        names_of: list[str] = []
        used: dict[int, int] = {}
        for block, nodes, _ in plan or ():
            first = used.get(id(block), 0)
            used[id(block)] = first + nodes
            names_of += block.nodes[first : first + nodes]
        return tuple(sorted(names_of))
