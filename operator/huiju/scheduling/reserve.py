"""When and where a job that fits nowhere now could start, from the expected ends of others.

Decides the reservation of a blocked head: the earliest time at which enough nodes of one center
are free together, and which nodes. Rests on run times that users told; where no end is known the
time is infinite, and the nodes are those of the center that lacks least. Invariant: nodes held for
another job are left out, so reservations never overlap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import inf

from huiju.scheduling.capacity import Block, CenterState
from huiju.scheduling.filter import allowed_image, refuse
from huiju.scheduling.fit import Fitter, Want
from huiju.scheduling.model import Placed
from huiju.scheduling.pack import Slot, pack


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


Ends = Sequence[tuple[float, Placed]]
"""Jobs in a center by expected end."""


def forecast(
    fitter: Fitter,
    states: Iterable[CenterState],
    ends: Callable[[str], Ends],
    now: float,
    uid: str,
    home: str = "",
) -> Forecast | None:
    """The earliest start over all centers, None if no center could ever take the job.

    `uid` names the job, whose own hold does not stand in its way.
    """
    best: Forecast | None = None
    for state in states:
        if refuse(fitter.shape, fitter.avoid, state.center, now) is not None:
            continue
        limit = inf if best is None else best.at
        for index, alternative in enumerate(fitter.shape.alternatives):
            if not allowed_image(alternative.image, state.center):
                continue
            for want in fitter.wants(index, state):
                found = _Search(fitter, want, state, uid).run(ends(state.center.name), now, limit)
                if found and (best is None or _rank(found, home) < _rank(best, home)):
                    best = found
    return best


def _rank(found: Forecast, home: str) -> tuple[float, int, bool, str, int]:
    missing = found.missing if found.at == inf else 0
    return (found.at, missing, found.center != home, found.center, found.alternative)


class _Search:
    """One alternative in one center: gives jobs' nodes back in order of their ends."""

    def __init__(self, fitter: Fitter, want: Want, state: CenterState, uid: str) -> None:
        self.fitter, self.want, self.state = fitter, want, state
        self.blocks = [b for b in state.blocks.values() if b.hold is None or b.hold.job == uid]
        self.count = 0
        self.changed: dict[str, Block] = {}
        self.origin: dict[str, Block] = {}
        room = state.room(want.model)
        self.room = inf if room is None else room

    def run(self, ends: Ends, now: float, limit: float) -> Forecast | None:
        fitter, workers = self.fitter, self.fitter.shape.workers
        units = self.want.per_worker * workers
        self.count = sum(fitter.workers_on(self.want, b) * len(b.nodes) for b in self.blocks)
        missing, at, ended = max(0, workers - self.count), now, 0
        if self.count < workers or self.room < units:
            self.origin = {node: block for block in self.blocks for node in block.nodes}
            for end, placed in ends:
                if end > limit:
                    return None
                ended += 1
                at = max(end, now)
                self._give_back(placed)
                if self.count >= workers and self.room >= units:
                    break
            else:
                return None
        nodes = self._nodes(workers)
        name = self.state.center.name
        return Forecast(at, name, self.want.alternative, nodes, missing, ended)

    def _give_back(self, placed: Placed) -> None:
        chosen = placed.job.shape.alternatives[placed.alternative]
        if chosen.model == self.want.model:
            self.room += placed.units
        for assignment in placed.assignments:
            node = assignment.node
            before = self.changed.get(node) or self.origin.get(node)
            if before is None:
                continue
            resource = next((r for m, r in before.kind.accelerators if m == chosen.model), "")
            free = dict(before.free)
            for name, amount in (*placed.job.shape.request, (resource, chosen.per_worker)):
                back = free.get(name, 0) + amount * assignment.workers
                free[name] = min(back, before.kind.allocatable.get(name, back))
            after = Block(before.kind, free, None, [node])
            self.count += self.fitter.workers_on(self.want, after)
            self.count -= self.fitter.workers_on(self.want, before)
            self.changed[node] = after

    def _nodes(self, workers: int) -> tuple[str, ...]:
        slots = []
        for block in self.blocks:
            names = [node for node in block.nodes if node not in self.changed]
            same = Block(block.kind, block.free, block.devices, names)
            slots.append((same, self.fitter.workers_on(self.want, same)))
        slots += [(b, self.fitter.workers_on(self.want, b)) for b in self.changed.values()]
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
