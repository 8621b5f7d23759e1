"""Simple rules that others use, on the same traces, to see what the scheduler is worth.

Decides nothing that Huiju uses. Jobs of up to a node take the fullest node that still fits, larger
jobs take whole free nodes. Invariants: a line is served in the order of its keys, and the order is
total; a job never gets room in a center that its rule does not name.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from huiju.simulation.traces import TraceJob

Key = tuple[float, ...]
Order = Callable[[TraceJob], Key]


def fifo(job: TraceJob) -> Key:
    """Submission, then place in the file."""
    return (job.submit, job.index)


def sjf(job: TraceJob) -> Key:
    """Shortest first, by true durations; then as `fifo`."""
    return (job.duration, job.submit, job.index)


class Pool:
    """Free units of equal nodes."""

    def __init__(self, nodes: int, size: int) -> None:
        self.nodes, self.size = nodes, size
        self.free = nodes * size
        """Units that nobody holds."""
        self._left = [size] * nodes
        self._by_free: list[list[int]] = [[] for _ in range(size + 1)]
        """Sorted node numbers by free units."""
        self._by_free[size] = list(range(nodes))

    def whole(self) -> int:
        """Units on nodes of which nobody holds anything."""
        return len(self._by_free[self.size]) * self.size

    def ever(self, units: int) -> bool:
        """Whether the job would fit if nothing else ran."""
        return -(-units // self.size) <= self.nodes

    def take(self, units: int) -> Taken | None:
        """Nodes and the units on each, None if the job does not fit."""
        size, by_free = self.size, self._by_free
        if units <= size:
            for free in range(units, size + 1):
                if by_free[free]:
                    return ((self._take(free, units), units),)
            return None
        count, rest = divmod(units, size)
        if len(by_free[size]) < count + bool(rest):
            return None
        found = [(self._take(size, size), size) for _ in range(count)]
        if rest:
            # The last node stays open for others.
            found.append((self._take(size, rest), rest))
        return tuple(found)

    def _take(self, free: int, units: int) -> int:
        node = self._by_free[free].pop(0)
        self._move(node, free - units)
        return node

    def _move(self, node: int, left: int) -> None:
        self.free += left - self._left[node]
        self._left[node] = left
        insort(self._by_free[left], node)

    def give(self, taken: Taken) -> None:
        """Return what `take` gave."""
        for node, units in taken:
            left = self._left[node]
            line = self._by_free[left]
            del line[bisect_left(line, node)]
            self._move(node, left + units)


Taken = tuple[tuple[int, int], ...]
"""Nodes, and the units on each of them."""


@dataclass(frozen=True, slots=True)
class Start:
    """A job that got room."""

    job: TraceJob
    pool: str
    taken: Taken


Choice = Callable[[TraceJob, Mapping[str, Pool]], Iterable[str]]
"""The pools that a job may take, in the order in which they are tried.

Depends on nothing of the job but its cluster and its models.
"""
_Kind = tuple[str, tuple[str, ...], int]
"""Cluster, models and size: jobs alike in these fit or do not fit alike."""


class Line:
    """Jobs that wait for the same pools."""

    def __init__(
        self, pools: Mapping[str, Pool], order: Order, choice: Choice, *, strict: bool
    ) -> None:
        self._pools, self._order, self._choice, self._strict = pools, order, choice, strict
        self._waiting: dict[_Kind, list[tuple[Key, TraceJob]]] = {}
        """Heaps."""

    def join(self, job: TraceJob) -> None:
        """A job waits."""
        kind = (job.cluster, job.models, job.gpus)
        heapq.heappush(self._waiting.setdefault(kind, []), (self._order(job), job))

    def serve(self) -> list[Start]:
        """Give room to all that get any now; with `strict` nobody passes one that gets none."""
        found: list[Start] = []
        waiting = self._waiting
        heads = [(line[0][0], kind) for kind, line in waiting.items()]
        heapq.heapify(heads)
        refused: dict[tuple[str, tuple[str, ...]], int] = {}
        while heads:
            kind = heads[0][1]
            least = refused.get(kind[:2])
            start = None
            if least is None or kind[2] < least:
                start = self._start(waiting[kind][0][1])
            if start is None:
                if self._strict:
                    break
                # Where a job does not fit no larger one does.
                refused[kind[:2]] = kind[2] if least is None else min(least, kind[2])
                heapq.heappop(heads)
                continue
            found.append(start)
            line = waiting[kind]
            heapq.heappop(line)
            if line:
                heapq.heapreplace(heads, (line[0][0], kind))
            else:
                del waiting[kind]
                heapq.heappop(heads)
        return found

    def _start(self, job: TraceJob) -> Start | None:
        for name in self._choice(job, self._pools):
            taken = self._pools[name].take(job.gpus)
            if taken is not None:
                return Start(job, name, taken)
        return None


def waits(
    jobs: Sequence[TraceJob], nodes: int, size: int, order: Order, *, strict: bool
) -> dict[int, float]:
    """Seconds that each job waits in one pool, by its place in the file.

    At each instant ended jobs leave first, then arrivals join, then the line is served. Jobs larger
    than the pool are left out.
    """
    pool = Pool(nodes, size)
    line = Line({"": pool}, order, lambda job, pools: ("",), strict=strict)
    arrivals = sorted((j for j in jobs if pool.ever(j.gpus)), key=fifo)
    ends: list[tuple[float, int, Taken]] = []
    found: dict[int, float] = {}
    at, count = 0, len(arrivals)
    while at < count or ends:
        now = arrivals[at].submit if at < count else ends[0][0]
        if ends and ends[0][0] < now:
            now = ends[0][0]
        while ends and ends[0][0] <= now:
            pool.give(heapq.heappop(ends)[2])
        while at < count and arrivals[at].submit <= now:
            line.join(arrivals[at])
            at += 1
        for start in line.serve():
            job = start.job
            found[job.index] = now - job.submit
            heapq.heappush(ends, (now + job.duration, job.index, start.taken))
    return found
