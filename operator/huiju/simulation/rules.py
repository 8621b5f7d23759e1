"""Simple rules that others use, on the same traces, to see what the scheduler is worth.

Decides nothing that Huiju uses. One pool of equal nodes; jobs of up to a node take the fullest
node that still fits, larger jobs take whole free nodes. Invariant: at each instant finished jobs
leave first, then arrivals join, then the line is served.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Callable, Sequence

from huiju.simulation.traces import TraceJob

Order = Callable[[TraceJob], tuple[float, ...]]


def fifo(job: TraceJob) -> tuple[float, ...]:
    """Submission, then place in the file."""
    return (job.submit, job.index)


def sjf(job: TraceJob) -> tuple[float, ...]:
    """Shortest first, by true durations; then as `fifo`."""
    return (job.duration, job.submit, job.index)


class Pool:
    """Free units of equal nodes."""

    def __init__(self, nodes: int, size: int) -> None:
        self.size = size
        self._free: list[list[int]] = [[] for _ in range(size + 1)]
        """Sorted node numbers by free units."""
        self._free[size] = list(range(nodes))

    def take(self, units: int) -> list[tuple[int, int]] | None:
        """Nodes and units on each, None if the job does not fit."""
        size = self.size
        if units <= size:
            for free in range(units, size + 1):
                if self._free[free]:
                    node = self._free[free].pop(0)
                    insort(self._free[free - units], node)
                    return [(node, units)]
            return None
        nodes = -(-units // size)
        if len(self._free[size]) < nodes:
            return None
        taken = self._free[size][:nodes]
        del self._free[size][:nodes]
        for node in taken:
            insort(self._free[0], node)
        return [(node, size) for node in taken]

    def give(self, taken: list[tuple[int, int]]) -> None:
        """Return what `take` gave."""
        for node, units in taken:
            for free, nodes in enumerate(self._free):
                at = bisect_left(nodes, node)
                if at < len(nodes) and nodes[at] == node:
                    del nodes[at]
                    insort(self._free[free + units], node)
                    break


def waits(
    jobs: Sequence[TraceJob], nodes: int, size: int, order: Order, *, strict: bool
) -> dict[int, float]:
    """Seconds that each job waits, by its place in the file; `strict` lets nobody pass.

    Jobs larger than the pool are left out.
    """
    pool = Pool(nodes, size)
    arrivals = sorted((j for j in jobs if -(-j.gpus // size) <= nodes), key=fifo)
    ends: list[tuple[float, int, list[tuple[int, int]]]] = []
    line: list[tuple[tuple[float, ...], TraceJob]] = []
    found: dict[int, float] = {}
    at = 0
    while at < len(arrivals) or ends:
        now = min(
            arrivals[at].submit if at < len(arrivals) else float("inf"),
            ends[0][0] if ends else float("inf"),
        )
        while ends and ends[0][0] <= now:
            pool.give(heapq.heappop(ends)[2])
        while at < len(arrivals) and arrivals[at].submit <= now:
            insort(line, (order(arrivals[at]), arrivals[at]), key=lambda item: item[0])
            at += 1
        line = _serve(line, pool, now, ends, found, strict)
    return found


def _serve(
    line: list[tuple[tuple[float, ...], TraceJob]],
    pool: Pool,
    now: float,
    ends: list[tuple[float, int, list[tuple[int, int]]]],
    found: dict[int, float],
    strict: bool,
) -> list[tuple[tuple[float, ...], TraceJob]]:
    refused = pool.size * 1_000_000
    before = len(found)
    for at, (_, job) in enumerate(line):
        taken = pool.take(job.gpus) if job.gpus < refused else None
        if taken is None:
            refused = min(refused, job.gpus)
            if strict:
                return line[at:]
            continue
        found[job.index] = now - job.submit
        heapq.heappush(ends, (now + job.duration, job.index, taken))
    if len(found) == before:
        return line
    return [item for item in line if item[1].index not in found]
