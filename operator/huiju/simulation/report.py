"""What a simulation says to a platform engineer: waits, moves, use of accelerators, fairness.

Decides nothing. Percentiles are the value at the floor of share times count of the sorted values.
Fairness is Jain's index over the mean bounded slowdown of queues or users: 1 if all fare alike, 1/n
if one of n bears everything. Fragmentation is the share of free accelerator-time on nodes that were
partly in use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from huiju.simulation.engine import Result, Run
from huiju.simulation.timeline import Level, Timeline

_SHORT = 10.0
"""Seconds that a run time counts at least in a bounded slowdown."""
_CURVE = 200


@dataclass(frozen=True, slots=True)
class Waits:
    """Waiting times of some jobs, in seconds."""

    jobs: int
    mean: float
    p50: float
    p95: float
    p99: float
    longest: float
    waited: int
    """Jobs that waited at all."""


@dataclass(frozen=True, slots=True)
class Fairness:
    """How evenly some groups of jobs fare."""

    groups: int
    index: float
    """Jain's index over their mean bounded slowdowns."""
    best: float
    """Mean bounded slowdown of the group that fares best."""
    worst: float


@dataclass(frozen=True, slots=True)
class Course:
    """The network over time, slice by slice."""

    start: float
    width: float
    """Seconds of a slice."""
    use: list[float]
    """Share of all accelerators in use."""
    stranded: list[float]
    """Share of all accelerators that were free on partly used nodes."""
    waiting: list[float]
    """Jobs that waited, on average."""


@dataclass(frozen=True, slots=True)
class Report:
    """One simulation in figures; times in seconds."""

    waits: Waits
    completion: Waits
    """From submission to end."""
    slowdown: Waits
    """Completion over run time, run time counted as at least 10 s; no times."""
    moved: float
    """Share of jobs that ran away from home."""
    bytes_moved: int
    staging: float
    """Mean seconds in which jobs held accelerators and waited for data; part of the wait."""
    stops: int
    never: int
    """Jobs that no center that they may use could ever take."""
    makespan: float
    """From the first submission to the last end."""
    use: dict[str, float]
    """Share of accelerator-time in use by center over the makespan, and `all`."""
    fragmentation: dict[str, float]
    """By center, and `all`."""
    queues: Fairness
    users: Fairness
    """Of jobs that name a user."""
    homes: dict[str, Waits]
    """Waits of each center's own users."""
    course: Course
    curve: list[float]
    """Waits at equal steps of the share of jobs, from none to all."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def waits_of(waits: Iterable[float]) -> Waits:
    """Figures of some waits; zeros if there are none."""
    found = sorted(waits)
    if not found:
        return Waits(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0)

    def at(share: float) -> float:
        return found[int(share * len(found))]

    waited = sum(1 for wait in found if wait > 1e-6)
    mean = sum(found) / len(found)
    return Waits(len(found), mean, at(0.5), at(0.95), at(0.99), found[-1], waited)


def report(result: Result) -> Report:
    """The figures of a result."""
    done = [run for run in result.runs if not run.reason]
    homes: dict[str, list[float]] = {}
    for run in done:
        homes.setdefault(run.job.home, []).append(run.wait)
    first = min((run.job.job.submitted for run in done), default=0.0)
    span = max((run.ended for run in done), default=0.0) - first
    count = max(1, len(done))
    waits = sorted(run.wait for run in done)
    return Report(
        waits=waits_of(waits),
        completion=waits_of(map(_completion, done)),
        slowdown=waits_of(map(_slowdown, done)),
        moved=sum(run.moved for run in done) / count,
        bytes_moved=result.bytes_moved,
        staging=sum(run.staged for run in done) / count,
        stops=sum(run.stops for run in done),
        never=len(result.runs) - len(done),
        makespan=span,
        use=_use(done, result.units, span),
        fragmentation=_fragmentation(result, span),
        queues=_fairness(done, lambda run: run.job.job.queue),
        users=_fairness(done, lambda run: run.job.user),
        homes={home: waits_of(found) for home, found in sorted(homes.items())},
        course=_course(result.timeline, result.units),
        curve=[waits[at * (len(waits) - 1) // _CURVE] for at in range(_CURVE + 1)] if waits else [],
    )


def _completion(run: Run) -> float:
    return run.ended - run.job.job.submitted


def _slowdown(run: Run) -> float:
    return max(1.0, _completion(run) / max(_SHORT, _completion(run) - run.wait))


def _use(done: Sequence[Run], units: Mapping[str, int], span: float) -> dict[str, float]:
    busy = dict.fromkeys(units, 0.0)
    for run in done:
        busy[run.center] += run.busy
    found = {name: _share(busy[name], units[name] * span) for name in sorted(units)}
    found["all"] = _share(sum(busy.values()), sum(units.values()) * span)
    return found


def _fragmentation(result: Result, span: float) -> dict[str, float]:
    line, units = result.timeline, result.units
    stranded = {name: line.stranded[name].total() for name in sorted(units)}
    free = {name: units[name] * span - line.used[name].total() for name in units}
    found = {name: _share(stranded[name], free[name]) for name in stranded}
    found["all"] = _share(sum(stranded.values()), sum(free.values()))
    return found


def _fairness(done: Iterable[Run], group: Callable[[Run], str]) -> Fairness:
    groups: dict[str, list[float]] = {}
    for run in done:
        name = group(run)
        if name:
            groups.setdefault(name, []).append(_slowdown(run))
    means = [sum(found) / len(found) for found in groups.values()]
    if not means:
        return Fairness(0, 1.0, 0.0, 0.0)
    index = sum(means) ** 2 / (len(means) * sum(mean * mean for mean in means))
    return Fairness(len(means), index, min(means), max(means))


def _course(line: Timeline, units: Mapping[str, int]) -> Course:
    whole = sum(units.values()) * line.width
    return Course(
        line.start,
        line.width,
        _shares(line.used.values(), whole),
        _shares(line.stranded.values(), whole),
        [amount / line.width for amount in line.waiting.slices],
    )


def _shares(levels: Iterable[Level], whole: float) -> list[float]:
    found = [level.slices for level in levels]
    longest = max(map(len, found), default=0)
    return [
        _share(sum(each[at] for each in found if at < len(each)), whole) for at in range(longest)
    ]


def _share(part: float, whole: float) -> float:
    return min(1.0, max(0.0, part / whole)) if whole > 0 else 0.0
