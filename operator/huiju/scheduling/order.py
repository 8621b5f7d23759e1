"""Who waits, and who is next: classes of equal jobs, lines by queue, turns down the tree.

Decides the order. Inside a queue: by submission, where one point of priority outweighs a fixed
time of waiting, then by uid; so the order never changes while jobs wait, and no job starves. Among
queues: at each level of the tree the one with the lowest share (see `share`), then the one whose
next job comes first. Invariant: the order is total and depends on nothing but jobs and usage.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Mapping
from itertools import islice
from operator import attrgetter

from huiju.scheduling.filter import matches
from huiju.scheduling.fit import Kind
from huiju.scheduling.model import Job
from huiju.scheduling.share import Share

Place = tuple[float, float, str]
"""Place in a line: time after priority, submission, uid; lower is earlier."""


def place_of(job: Job, step: float) -> Place:
    """A job's place in its queue; `step` is what a point of priority outweighs in seconds."""
    return (job.submitted - job.priority * step, job.submitted, job.uid)


class JobClass:
    """Waiting jobs of one queue that are decided alike."""

    __slots__ = ("first", "key", "line", "message", "queue", "reason", "step", "untold")

    def __init__(self, queue: str, key: Kind, step: float) -> None:
        self.queue = queue
        self.key = key
        self.step = step
        """What a point of priority outweighs, in seconds."""
        self.line: list[Job] = []
        """In the order of their places."""
        self.first = 0.0
        """What comes first in the place of the head, for who looks for it among many."""
        self.reason = ""
        self.message = ""
        self.untold: list[str] | None = None
        """uids that were not told the reason yet."""

    def place(self, job: Job) -> Place:
        """Where a job belongs."""
        return place_of(job, self.step)

    def head(self) -> Place:
        """The place of the job that is next in the class."""
        return place_of(self.line[0], self.step)

    def add(self, job: Job) -> None:
        """A job joins."""
        insort(self.line, job, key=self.place)
        self.first = self.head()[0]
        if self.untold is None:
            self.untold = []
        self.untold.append(job.uid)

    def remove(self, job: Job) -> None:
        """A job leaves."""
        del self.line[self.ahead_of(self.place(job))]
        if self.line:
            self.first = self.head()[0]
        if self.untold is not None and job.uid in self.untold:
            self.untold.remove(job.uid)

    def replace(self, job: Job) -> None:
        """Something is known about a job that changes neither its place nor its class."""
        self.line[self.ahead_of(self.place(job))] = job

    def ahead_of(self, place: Place) -> int:
        """Jobs of this class before a place."""
        return bisect_left(self.line, place, key=self.place)


def _head(found: JobClass) -> Place:
    return place_of(found.line[0], found.step)


_first = attrgetter("first")


class Line:
    """The classes that wait in one queue, in the order of their heads."""

    __slots__ = ("barred", "classes", "heads", "namespaces")

    def __init__(self) -> None:
        self.classes: dict[Kind, JobClass] = {}
        self.heads: list[JobClass] = []
        """The classes whose namespace the queue admits, by the places of their heads."""
        self.barred: set[JobClass] = set()
        """The classes whose namespace it does not admit."""
        self.namespaces: tuple[str, ...] = ("*",)
        """What the queue admits."""

    def admit(self, namespaces: tuple[str, ...]) -> None:
        """The queue admits these namespaces."""
        if namespaces == self.namespaces:
            return
        self.namespaces = namespaces
        self.heads, self.barred = [], set()
        for each in self.classes.values():
            self._enter(each)

    def _enter(self, found: JobClass) -> None:
        if matches(self.namespaces, found.key.fitter.shape.namespace):
            self.heads.insert(self._at(found), found)
        else:
            self.barred.add(found)

    def _leave(self, found: JobClass) -> None:
        if found in self.barred:
            self.barred.remove(found)
        else:
            del self.heads[self._at(found)]

    def _at(self, found: JobClass) -> int:
        """Where the class is among the heads, or belongs."""
        heads = self.heads
        low = bisect_left(heads, found.first, key=_first)
        high = bisect_right(heads, found.first, low, key=_first)
        return low if low == high else bisect_left(heads, found.head(), low, high, key=_head)

    def add(self, found: JobClass, job: Job) -> None:
        """A job joins a class of this line."""
        if found.line and found.head() < found.place(job):
            found.add(job)
            return
        if found.line:
            self._leave(found)
        found.add(job)
        self._enter(found)

    def remove(self, found: JobClass, job: Job) -> None:
        """A job leaves a class of this line."""
        if found.line[0].uid != job.uid:
            found.remove(job)
            return
        self._leave(found)
        found.remove(job)
        if found.line:
            self._enter(found)

    def ahead_of(self, place: Place) -> int:
        """Jobs in the line before a place."""
        return sum(each.ahead_of(place) for each in self.classes.values())


Tell = Callable[[JobClass, str, str], None]


class Leaf:
    """The line of one queue during a cycle.

    Walks along the heads. What a cycle does to the line leaves everything before the walker as it
    is: a class whose job was placed moves back to the place of its next job, or is gone.
    """

    __slots__ = ("_at", "_nested", "_tell", "line", "share", "top")

    def __init__(self, share: Share, line: Line, tell: Tell, *, nested: bool) -> None:
        self.share = share
        self.line = line
        self.top = True
        """Whether no job was passed over yet: the next one is the queue's head."""
        self._tell = tell
        self._nested = nested
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self.line.heads)

    def head(self) -> JobClass:
        """The class whose first job is next."""
        return self.line.heads[self._at]

    def rank(self) -> tuple[int, float, Place]:
        """Rank among the queues on the same level.

        Jobs of a queue that has others below it compete with these as a child of weight 1.
        """
        own = (1, float(self.share.own)) if self._nested else self.share.rank()
        return (*own, self.line.heads[self._at].head())

    def advance(self, *, blocked: bool) -> None:
        """The head was placed and has left its class, or its class cannot go now."""
        if blocked:
            self._at += 1
            self.top = False
        if not self.top:
            self._skip()

    def _skip(self) -> None:
        """Pass over those of whom it is known already that they fit nowhere; they are told."""
        heads = self.line.heads
        for at, found in enumerate(islice(heads, self._at, None), self._at):
            answer = found.key.answer
            if answer is None:
                self._at = at
                return
            if found.untold is not None or found.reason != answer[0]:
                self._tell(found, *answer)
        self._at = len(heads)


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


def turns(lines: Mapping[str, tuple[Share, Line]], tell: Tell) -> Branch:
    """The tree of turns over the queues in which jobs wait."""
    shares = {above.queue.name: above for share, _ in lines.values() for above in share.path}
    below: dict[str, list[Leaf | Branch]] = {}
    for share in sorted(shares.values(), key=lambda s: (-len(s.path), s.queue.name)):
        name = share.queue.name
        children = below.pop(name, [])
        node: Leaf | Branch
        if name in lines:
            leaf = Leaf(share, lines[name][1], tell, nested=bool(children))
            node = Branch(share, [*children, leaf]) if children else leaf
        else:
            node = Branch(share, children)
        parent = share.path[1].queue.name if len(share.path) > 1 else ""
        below.setdefault(parent, []).append(node)
    return Branch(None, below.get("", []))
