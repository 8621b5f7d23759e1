"""Walks every state of the protocol's model, and shows the shortest way to a broken promise.

Decides what is checked. Invariant: breadth first, so the first violation has a minimal trace;
centers and jobs are alike, so states that differ only in their numbers are one.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations

from tests.spec.protocol import (
    GATED,
    LIVE,
    RUNS,
    Center,
    Job,
    Rules,
    State,
    start,
    steps,
)


@dataclass(frozen=True, slots=True)
class Found:
    """What one walk found."""

    states: int
    steps: int
    complete: bool
    """Every state within the bound was seen."""
    violation: str = ""
    trace: tuple[str, ...] = ()
    """The shortest way there."""


def broken(s: State) -> str:
    """The safety promise that this state breaks; empty if it breaks none."""
    for job in s.jobs:
        if sum(state in RUNS for state in job.state) > 1:
            return "two live runs of one job"
        valid = [
            e
            for e, state in enumerate(job.state)
            if state == LIVE and s.centers[job.where[e]].lease.left
        ]
        if len(valid) > 1:
            return "two valid epochs of one job"
        if job.reused:
            return "an epoch was given twice"
    return ""


def settled(s: State, rules: Rules) -> bool:
    """Each job is done, or has used up its epochs and is reported; no live run without an owner."""
    for job in s.jobs:
        spent = len(job.where) >= rules.epochs
        if not job.end and not spent:
            return False
        for e, state in enumerate(job.state):
            owned = job.epoch == e + 1 and job.place == job.where[e] and not job.end
            if state in (GATED, *RUNS) and not owned:
                return False
    return True


def explore(
    rules: Rules,
    *,
    first: State | None = None,
    jobs: int = 1,
    faults: int = 1,
    most: int = 10_000_000,
    progress: Callable[[int, int], None] = lambda _seen, _left: None,
) -> Found:
    """Walk all states; stops at the first violation of safety, or checks that none is stuck.

    A state that was seen is known by a hash of 64 bits: that two of ten million share one has a
    chance of 1 in 400,000. About 150 bytes a state.
    """
    first = canonical(first or start(2, jobs, faults))
    walk = _Walk()
    walk.enter(first, 0, settled(first, rules))
    level = [(0, first)]
    while level:
        after_it: list[tuple[int, State]] = []
        for here, s in level:
            for fault, _name, raw in steps(s, rules):
                after = canonical(raw)
                there, is_new = walk.step(here, after, fault)
                if not is_new:
                    continue
                walk.enter(after, here, settled(after, rules))
                wrong = broken(after)
                if wrong or there >= most:
                    way = walk.trace(first, rules, there) if wrong else ()
                    return Found(there, walk.steps, False, wrong, way)
                after_it.append((there, after))
        level = after_it
        progress(walk.states, len(level))
    stuck = walk.stuck()
    if stuck is not None:
        words = "a job that no calm can finish, or a run that nobody owns"
        return Found(walk.states, walk.steps, True, words, walk.trace(first, rules, stuck))
    return Found(walk.states, walk.steps, True)


class _Walk:
    """What is kept of the states that were seen, in the order of their numbers."""

    def __init__(self) -> None:
        self.steps = 0
        self._numbers: dict[int, int] = {}
        self._parents = array("I")
        self._good = bytearray()
        """1 for a state from which a settled one can be reached without faults."""
        self._from = array("I")
        self._to = array("I")
        """Steps without faults."""

    @property
    def states(self) -> int:
        return len(self._parents)

    def enter(self, state: State, parent: int, is_settled: bool) -> None:
        """A state that is new gets the next number."""
        self._numbers[hash(state)] = len(self._parents)
        self._parents.append(parent)
        self._good.append(is_settled)

    def step(self, here: int, after: State, fault: bool) -> tuple[int, bool]:
        """Where a step leads, and whether nobody was there before."""
        self.steps += 1
        known = self._numbers.get(hash(after))
        there = len(self._parents) if known is None else known
        if not fault:
            self._from.append(here)
            self._to.append(there)
        return there, known is None

    def stuck(self) -> int | None:
        """The first state from which no way without faults leads to a settled one."""
        before, first = self._backwards()
        todo = [number for number, is_good in enumerate(self._good) if is_good]
        while todo:
            there = todo.pop()
            for number in before[first[there] : first[there + 1]]:
                if not self._good[number]:
                    self._good[number] = 1
                    todo.append(number)
        found = self._good.find(0)
        return None if found < 0 else found

    def _backwards(self) -> tuple[array[int], array[int]]:
        """States by those that they lead to, and where those of each begin."""
        first = array("I", bytes(4 * (self.states + 1)))
        for there in self._to:
            first[there] += 1
        for number in range(1, len(first)):
            first[number] += first[number - 1]
        before = array("I", bytes(4 * len(self._to)))
        for here, there in zip(self._from, self._to, strict=True):
            first[there] -= 1
            before[first[there]] = here
        return before, first

    def trace(self, first: State, rules: Rules, number: int) -> tuple[str, ...]:
        """The names of the steps that lead to a state on a shortest way."""
        way = []
        while number:
            way.append(number)
            number = self._parents[number]
        names, state = [], first
        for wanted in reversed(way):
            for _fault, name, raw in steps(state, rules):
                after = canonical(raw)
                if self._numbers.get(hash(after)) == wanted:
                    names.append(name)
                    state = after
                    break
        return tuple(names)


def canonical(s: State) -> State:
    """The state with centers and jobs in a fixed order."""
    best: tuple[tuple[Center, ...], tuple[Job, ...]] | None = None
    for order in _orders(len(s.centers)):
        centers = tuple(s.centers[c] for c in order)
        if best is not None and centers > best[0]:
            continue
        jobs = s.jobs if order == tuple(range(len(order))) else _renamed(s.jobs, order)
        found = (centers, tuple(sorted(jobs)))
        if best is None or found < best:
            best = found
    if best is None:
        return s
    return s._replace(centers=best[0], jobs=best[1])


@lru_cache
def _orders(number: int) -> tuple[tuple[int, ...], ...]:
    return tuple(permutations(range(number)))


def _renamed(jobs: tuple[Job, ...], order: tuple[int, ...]) -> tuple[Job, ...]:
    new = {old: c for c, old in enumerate(order)} | {-1: -1}
    return tuple(
        job._replace(place=new[job.place], where=tuple(new[c] for c in job.where)) for job in jobs
    )
