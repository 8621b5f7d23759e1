"""The tree of queues: what each holds, what it is owed, and what it may still take.

Decides the order among queues that compete and the limits they run into. Usage is normalized
compute in GFLOPS and counts for a queue and all queues above it. Invariants: no queue ever holds
more than its ceiling, the sum over its descendants included; what a queue does not lend stays free
for it; a queue below its guarantee goes before one that is above.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from huiju.scheduling import reasons
from huiju.scheduling.model import Queue

Fault = tuple[str, str]
"""Reason and message."""


def tflops(gflops: int) -> str:
    """An amount for a message, in the unit that users write: `2400` or `0.5`."""
    return f"{gflops / 1000:.3f}".rstrip("0").rstrip(".")


@dataclass(slots=True, eq=False)
class Share:
    """One queue in the tree."""

    queue: Queue
    path: tuple[Share, ...] = ()
    """From the queue itself up to its root."""
    children: list[Share] = field(default_factory=list)
    own: int = 0
    """What jobs of the queue itself hold."""
    usage: int = 0
    """What the queue and all queues below it hold."""
    fault: Fault | None = None
    home: str = ""

    def rank(self) -> tuple[int, float]:
        """Lower goes first among siblings: guarantees by how far they are met, then by weight."""
        if self.usage < self.queue.guarantee:
            return (0, self.usage / self.queue.guarantee)
        return (1, self.usage / self.queue.weight)


class Tree:
    """All queues; rebuilt when one changes, counted when a job comes or goes."""

    def __init__(self) -> None:
        self._queues: dict[str, Queue] = {}
        self._own: dict[str, int] = {}
        self._shares: dict[str, Share] = {}
        self._stale = False
        self._reserves = False

    def set(self, queue: Queue) -> None:
        """Add or replace a queue."""
        self._queues[queue.name] = queue
        self._stale = True

    def drop(self, name: str) -> None:
        """Remove a queue; what its jobs hold is still counted for them."""
        self._queues.pop(name, None)
        self._stale = True

    def add(self, name: str, gflops: int) -> None:
        """Count what a job of the queue takes (negative: gives back)."""
        self._own[name] = self._own.get(name, 0) + gflops
        if not self._own[name]:
            del self._own[name]
        if not self._stale:
            _count(self._shares.get(name), gflops)

    def copy(self) -> Tree:
        """The same queues and usage, counted apart from now on."""
        made = Tree()
        made._queues, made._own, made._stale = dict(self._queues), dict(self._own), True
        return made

    def share(self, name: str) -> Share | None:
        """The queue of this name, None if there is none."""
        self._refresh()
        return self._shares.get(name)

    def shares(self) -> list[Share]:
        """All queues by name."""
        self._refresh()
        return [self._shares[name] for name in sorted(self._shares)]

    def fault(self, name: str) -> Fault | None:
        """Why the queue admits no job at all, None if it does."""
        share = self.share(name)
        if share is None:
            return reasons.UNKNOWN_QUEUE, f"there is no queue {name!r}"
        return share.fault

    def ceiling(self, share: Share, gflops: int) -> Share | None:
        """The first queue from here upwards that would rise above its ceiling."""
        for above in share.path:
            ceiling = above.queue.ceiling
            if ceiling is not None and above.usage + gflops > ceiling:
                return above
        return None

    def unlent(self, share: Share) -> int:
        """What other queues keep to themselves and do not hold yet: not for this queue."""
        self._refresh()
        if not self._reserves:
            return 0
        own = set(map(id, share.path))
        roots = [s for s in self._shares.values() if len(s.path) == 1]
        return sum(_unlent(root, own) for root in roots)

    def borrows(self, share: Share, gflops: int) -> bool:
        """Whether a queue on the path would go beyond its guarantee, so that it borrows."""
        return all(above.usage + gflops > above.queue.guarantee for above in share.path)

    def _refresh(self) -> None:
        if not self._stale:
            return
        self._stale = False
        self._shares = {name: Share(queue) for name, queue in sorted(self._queues.items())}
        self._reserves = any(q.lending_limit is not None for q in self._queues.values())
        for share in self._shares.values():
            share.fault = self._link(share)
        for share in self._shares.values():
            if len(share.path) > 1:
                share.path[1].children.append(share)
            share.home = next((s.queue.home_center for s in share.path if s.queue.home_center), "")
        for name, held in self._own.items():
            _count(self._shares.get(name), held)

    def _link(self, share: Share) -> Fault | None:
        path, fault = [share], None
        while path[-1].queue.parent:
            name = path[-1].queue.parent
            above = self._shares.get(name)
            if above is None:
                fault = reasons.PARENT_MISSING, f"parent queue {name!r} does not exist"
                break
            if above in path:
                fault = reasons.QUEUE_CYCLE, f"queue {name!r} is above itself"
                break
            path.append(above)
        share.path = tuple(path)
        if fault is None:
            for above in path:
                if above.queue.stopped:
                    return reasons.QUEUE_STOPPED, f"queue {above.queue.name!r} is stopped"
        return fault


def _count(share: Share | None, gflops: int) -> None:
    if share is not None:
        share.own += gflops
        for above in share.path:
            above.usage += gflops


def _unlent(share: Share, own: set[int]) -> int:
    below = sum(_unlent(child, own) for child in share.children)
    limit = share.queue.lending_limit
    if limit is None or id(share) in own:
        return below
    return max(below, share.queue.guarantee - limit - share.usage, 0)
