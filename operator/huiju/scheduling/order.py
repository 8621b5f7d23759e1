"""Who waits, and who is next: classes of equal jobs, lines by queue, turns down the tree.

Decides the order. Inside a queue: by submission, where one point of priority outweighs a fixed
time of waiting, then by uid; so the order never changes while jobs wait, and no job starves. Among
queues: at each level of the tree the one with the lowest share (see `share`), then the one whose
next job comes first. Invariant: the order is total and depends on nothing but jobs and usage.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from dataclasses import dataclass, field

from huiju.scheduling.fit import Fitter
from huiju.scheduling.model import Job
from huiju.scheduling.share import Share

Place = tuple[float, float, str]
"""Place in a line: time after priority, submission, uid; lower is earlier."""


def place_of(job: Job, step: float) -> Place:
    """A job's place in its queue; `step` is what a point of priority outweighs in seconds."""
    return (job.submitted - job.priority * step, job.submitted, job.uid)


@dataclass(frozen=True, slots=True)
class ClassKey:
    """What jobs of one class have in common: everything that a decision looks at but their age."""

    queue: str
    fitter: Fitter
    """One object for equal shapes and avoided centers."""
    expected_runtime: float | None
    max_runtime: float | None


@dataclass(slots=True, eq=False)
class JobClass:
    """Waiting jobs of one queue that are decided alike."""

    key: ClassKey
    line: list[Place] = field(default_factory=list)
    reason: str = ""
    message: str = ""
    untold: set[str] = field(default_factory=set)
    """uids that were not told the reason yet."""

    def head(self) -> Place:
        """The place of the job that is next in the class."""
        return self.line[0]

    def add(self, place: Place) -> None:
        """A job joins."""
        insort(self.line, place)
        self.untold.add(place[2])

    def remove(self, place: Place) -> None:
        """A job leaves."""
        del self.line[bisect_left(self.line, place)]
        self.untold.discard(place[2])

    def ahead_of(self, place: Place) -> int:
        """Jobs of this class before a place."""
        return bisect_left(self.line, place)


class Leaf:
    """The line of one queue during a cycle."""

    __slots__ = ("_heads", "_nested", "share", "top")

    def __init__(self, share: Share, classes: list[JobClass], *, nested: bool) -> None:
        self.share = share
        self._nested = nested
        self._heads = [(c.head(), i, c) for i, c in enumerate(classes)]
        heapq.heapify(self._heads)
        self.top = True
        """Whether no job was passed over yet: the next one is the queue's head."""

    def __bool__(self) -> bool:
        return bool(self._heads)

    def head(self) -> tuple[Place, JobClass]:
        """The next job's place and class."""
        place, _, found = self._heads[0]
        return place, found

    def rank(self) -> tuple[int, float, Place]:
        """Rank among the queues on the same level.

        Jobs of a queue that has others below it compete with these as a child of weight 1.
        """
        own = (1, float(self.share.own)) if self._nested else self.share.rank()
        return (*own, self._heads[0][0])

    def advance(self, *, blocked: bool) -> None:
        """The head was placed and has left its class, or its class cannot go now."""
        _, index, found = self._heads[0]
        if blocked or not found.line:
            heapq.heappop(self._heads)
        else:
            heapq.heapreplace(self._heads, (found.head(), index, found))
        if blocked:
            self.top = False


class Branch:
    """A queue with queues below it during a cycle; its own jobs compete as one more child."""

    __slots__ = ("_heap", "share")

    def __init__(self, share: Share | None, children: list[Leaf | Branch]) -> None:
        self.share = share
        self._heap = [(c.rank(), i, c) for i, c in enumerate(children)]
        heapq.heapify(self._heap)

    def __bool__(self) -> bool:
        return bool(self._heap)

    def rank(self) -> tuple[int, float, Place]:
        """Rank among the queues on the same level."""
        own = self.share.rank() if self.share is not None else (0, 0.0)
        return (*own, self._heap[0][0][2])

    def leaf(self) -> Leaf:
        """The line whose turn it is."""
        child = self._heap[0][2]
        return child if isinstance(child, Leaf) else child.leaf()

    def settle(self) -> None:
        """The line whose turn it was has changed: put it where it now belongs."""
        _, index, child = self._heap[0]
        if isinstance(child, Branch):
            child.settle()
        if child:
            heapq.heapreplace(self._heap, (child.rank(), index, child))
        else:
            heapq.heappop(self._heap)


def turns(lines: dict[str, tuple[Share, list[JobClass]]]) -> Branch:
    """The tree of turns over the queues in which jobs wait."""
    shares = {above.queue.name: above for share, _ in lines.values() for above in share.path}
    below: dict[str, list[Leaf | Branch]] = {}
    for share in sorted(shares.values(), key=lambda s: (-len(s.path), s.queue.name)):
        name = share.queue.name
        children = below.pop(name, [])
        node: Leaf | Branch
        if name in lines:
            leaf = Leaf(share, lines[name][1], nested=bool(children))
            node = Branch(share, [*children, leaf]) if children else leaf
        else:
            node = Branch(share, children)
        parent = share.path[1].queue.name if len(share.path) > 1 else ""
        below.setdefault(parent, []).append(node)
    return Branch(None, below.get("", []))
