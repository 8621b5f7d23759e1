"""Where each queue stands: what it asks for, what falls to it, what it borrows and lends.

Decides nothing: these are figures for people, computed in the order in which `share` ranks queues,
as if jobs could be cut into crumbs. Level by level: guarantees come first, in proportion to them
where they do not all fit; the rest is poured by weight, to the same level for all, up to what each
asks for and its ceiling. Amounts are normalized compute in GFLOPS and count for a queue and all
queues below it. Invariants: siblings never get more than there is, nobody more than a ceiling, and
on every level as much is borrowed as is lent (up to rounding).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from huiju.scheduling.capacity import total_free
from huiju.scheduling.model import JobShape
from huiju.scheduling.share import Share
from huiju.scheduling.world import World

_OWN = ""
"""Stands among the children of a queue for its own jobs; no queue has this name."""
_ROUNDING = 1e-3
"""GFLOPS by which a product of floats may miss the whole number that it stands for."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One queue, together with all queues below it."""

    queue: str
    guarantee: int
    usage: int
    """What placed jobs hold."""
    asked: int
    """What waiting jobs ask for, those that back off left out."""
    share: int
    """What would fall to it if every queue asked for all that it may have."""
    deserved: int
    """What falls to it now, others asking for what they ask for."""
    borrowed: int
    """What it holds of guarantees that queues beside it do not use."""
    lent: int
    """What queues beside it hold of its guarantee."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one of several takes part with when an amount is poured out."""

    weight: int
    guarantee: int
    wants: int


def standings(world: World) -> tuple[Standing, ...]:
    """All queues by name."""
    free = total_free(world.centers.values())
    asked, shares = _asked(world), world.tree.shares()
    roots = [share for share in shares if len(share.path) == 1]
    there = free + sum(root.usage for root in roots)
    ideal = {s.queue.name: there for s in shares if not s.children and not s.fault}
    together = _with_below(shares, asked)
    steady = _Level(ideal).poured(there, roots)
    now = _Level(asked).poured(there, roots)
    loans = Loans(roots, free)
    return tuple(
        Standing(
            name := share.queue.name,
            share.queue.guarantee,
            share.usage,
            together[name],
            steady.get(name, 0),
            now.get(name, 0),
            loans.borrowed.get(name, 0),
            loans.lent.get(name, 0),
        )
        for share in shares
    )


def _asked(world: World) -> dict[str, int]:
    """What the waiting jobs of each queue itself ask for, by their first alternative there is."""
    tree = world.tree
    sizes = {fitter: _size(world, fitter.shape) for fitter in world.fitters()}
    return {
        queue: sum(len(each.line) * sizes[each.key.fitter] for each in line.classes.values())
        for queue, line in world.lines.items()
        if tree.fault(queue) is None
    }


def _size(world: World, shape: JobShape) -> int:
    sizes = (each.per_worker * world.gflops(each.model) for each in shape.alternatives)
    return shape.workers * next(filter(None, sizes), 0)


def _with_below(shares: Sequence[Share], own: Mapping[str, int]) -> dict[str, int]:
    found: dict[str, int] = {}
    for share in shares:
        for above in share.path:
            name = above.queue.name
            found[name] = found.get(name, 0) + own.get(share.queue.name, 0)
    return found


# --- what falls to whom -----------------------------------------------------------------------


class _Level:
    """Pours an amount down the tree, by what each queue's own jobs ask for."""

    def __init__(self, asked: Mapping[str, int]) -> None:
        self._asked = asked
        self._wants: dict[int, int] = {}
        self._keeps: dict[int, int] = {}
        self._found: dict[str, int] = {}

    def poured(self, amount: int, roots: Sequence[Share]) -> dict[str, int]:
        """What falls to each queue."""
        self._pour(amount, roots, None)
        return self._found

    def wants(self, share: Share) -> int:
        """What the queue and those below hold and ask for, at most its ceiling."""
        known = self._wants.get(id(share))
        if known is None:
            ceiling = share.queue.ceiling
            known = self._own(share) + sum(map(self.wants, share.children))
            known = known if ceiling is None else min(known, ceiling)
            self._wants[id(share)] = known
        return known

    def _own(self, share: Share) -> int:
        return share.own + self._asked.get(share.queue.name, 0)

    def _kept(self, share: Share) -> int:
        """What the queue does not lend, whether it asks for it or not."""
        known = self._keeps.get(id(share))
        if known is None:
            limit = share.queue.lending_limit
            own = 0 if limit is None else share.queue.guarantee - limit
            known = self._keeps[id(share)] = max(own, sum(map(self._kept, share.children)))
        return known

    def _pour(self, amount: int, children: Sequence[Share], parent: Share | None) -> None:
        parts = [
            Part(s.queue.weight, s.queue.guarantee, max(self.wants(s), self._kept(s)))
            for s in children
        ]
        if parent is not None:
            # Jobs of a queue that has others below it compete as one more child.
            parts.append(Part(1, 0, self._own(parent)))
        for child, part in zip(children, pour(amount, parts), strict=False):
            self._found[child.queue.name] = min(part, self.wants(child))
            if child.children:
                self._pour(part, child.children, child)


def pour(amount: int, parts: Sequence[Part]) -> list[int]:
    """What of an amount falls to each of the parts."""
    first = [min(part.guarantee, part.wants) for part in parts]
    if sum(first) >= amount:
        return _level(
            amount, [(p.guarantee, 0, most) for p, most in zip(parts, first, strict=True)]
        )
    return _level(amount, [(p.weight, low, p.wants) for p, low in zip(parts, first, strict=True)])


def _level(amount: int, parts: Sequence[tuple[int, int, int]]) -> list[int]:
    """Raise all parts (weight, least, most) to one level by weight until the amount is used."""
    left = float(amount - sum(low for _, low, _ in parts))
    edges: list[tuple[float, int]] = []
    for weight, low, high in parts:
        if weight and low < high:
            edges += [(low / weight, weight), (high / weight, -weight)]
    level, slope = 0.0, 0
    for edge, change in sorted(edges):
        step = (edge - level) * slope
        if step >= left:
            break
        left, level, slope = left - step, edge, slope + change
    if slope:
        level += left / slope
    return [max(low, min(high, int(level * weight + _ROUNDING))) for weight, low, high in parts]


# --- what is borrowed and lent ----------------------------------------------------------------


class Loans:
    """Guarantees that others hold, level by level.

    A loan is what queues hold beyond their guarantees, as far as those beside them lack of theirs
    what is not free. Where there are several, it falls to them in proportion.
    """

    def __init__(self, roots: Sequence[Share], free: int) -> None:
        self.borrowed: dict[str, int] = {}
        self.lent: dict[str, int] = {}
        self._free = free
        self._settle(roots, free, {})

    def _settle(self, group: Sequence[Share], spare: int, others: dict[str, int]) -> None:
        """Siblings, what they could take without taking it from one another, who else borrows."""
        over = {s.queue.name: max(0, s.usage - s.queue.guarantee) for s in group} | others
        lack = {s.queue.name: max(0, s.queue.guarantee - s.usage) for s in group}
        lends = {s.queue.name: _lends(s, lack[s.queue.name]) for s in group}
        total = min(sum(over.values()), sum(lack.values()) - spare, sum(lends.values()))
        if total > 0:
            self.borrowed |= _divided(total, over)
            self.lent |= _divided(total, lends)
        for share in group:
            if share.children:
                owed = share.queue.guarantee - share.usage
                self._settle(share.children, max(self._free, owed), {_OWN: share.own})


def _lends(share: Share, lack: int) -> int:
    limit = share.queue.lending_limit
    return lack if limit is None else min(lack, limit)


def _divided(total: int, parts: Mapping[str, int]) -> dict[str, int]:
    whole = sum(parts.values())
    return {name: total * part // whole for name, part in parts.items()}
