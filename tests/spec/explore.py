"""Walks every state of the protocol's model, and shows the shortest way to a broken promise.

Decides what is checked. Invariant: breadth first, so the first violation has a minimal trace;
centers and jobs are alike, so states that differ only in their numbers are one.
"""

from __future__ import annotations

from collections import deque
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
) -> Found:
    """Walk all states; stops at the first violation of safety, or checks that none is stuck."""
    first = canonical(first or start(2, jobs, faults))
    numbers: dict[State, int] = {first: 0}
    parents: list[tuple[int, str]] = [(-1, "")]
    calm: list[list[int]] = [[]]
    good: list[bool] = [settled(first, rules)]
    waiting: deque[State] = deque([first])
    walked = 0
    while waiting:
        s = waiting.popleft()
        here = numbers[s]
        for fault, name, raw in steps(s, rules):
            walked += 1
            after = canonical(raw)
            there = numbers.get(after)
            if there is None:
                there = len(parents)
                numbers[after] = there
                parents.append((here, name))
                calm.append([])
                wrong = broken(after)
                if wrong:
                    return Found(there, walked, False, wrong, _trace(parents, there))
                good.append(settled(after, rules))
                if there >= most:
                    return Found(there, walked, False)
                waiting.append(after)
            if not fault:
                calm[there].append(here)
    stuck = _stuck(calm, good)
    if stuck is not None:
        words = "a job that no calm can finish, or a run that nobody owns"
        return Found(len(parents), walked, True, words, _trace(parents, stuck))
    return Found(len(parents), walked, True)


def _stuck(before: list[list[int]], good: list[bool]) -> int | None:
    """The first state from which no way without faults leads to a settled one."""
    reaches = list(good)
    todo = [number for number, is_good in enumerate(good) if is_good]
    while todo:
        for number in before[todo.pop()]:
            if not reaches[number]:
                reaches[number] = True
                todo.append(number)
    return next((number for number, ok in enumerate(reaches) if not ok), None)


def _trace(parents: list[tuple[int, str]], number: int) -> tuple[str, ...]:
    names: list[str] = []
    while number > 0:
        number, name = parents[number]
        names.append(name)
    return tuple(reversed(names))


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
