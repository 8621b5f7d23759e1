"""What a simulation says to a platform engineer: waits, moves, use of cards.

Decides nothing. Percentiles are the value at the floor of share times count of the sorted waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from huiju.simulation.engine import Result, Run


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
class Report:
    """One simulation in figures; times in seconds."""

    waits: Waits
    mean_completion: float
    """From submission to end."""
    slowdown: float
    """Mean of completion over run time, run time counted as at least 10 s."""
    moved: float
    """Share of jobs that ran away from home."""
    stops: int
    never: int
    """Jobs that no center could ever take."""
    makespan: float
    """From the first submission to the last end."""
    use: dict[str, float]
    """Share of card-time in use by center over the makespan, and `all`."""
    homes: dict[str, Waits]
    """Waits of each center's own users."""

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
    return Report(
        waits=waits_of(run.wait for run in done),
        mean_completion=sum(_completion(run) for run in done) / count,
        slowdown=sum(_slowdown(run) for run in done) / count,
        moved=sum(run.moved for run in done) / count,
        stops=sum(run.stops for run in done),
        never=len(result.runs) - len(done),
        makespan=span,
        use=_use(done, result.units, span),
        homes={home: waits_of(found) for home, found in sorted(homes.items())},
    )


def _completion(run: Run) -> float:
    return run.ended - run.job.job.submitted


def _slowdown(run: Run) -> float:
    return max(1.0, _completion(run) / max(10.0, _completion(run) - run.wait))


def _use(done: Sequence[Run], units: Mapping[str, int], span: float) -> dict[str, float]:
    busy = dict.fromkeys(units, 0.0)
    for run in done:
        busy[run.center] += run.busy
    found = {name: _share(busy[name], units[name] * span) for name in sorted(units)}
    found["all"] = _share(sum(busy.values()), sum(units.values()) * span)
    return found


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


_COLUMNS = ("", "jobs", "mean wait", "P50", "P95", "P99", "longest", "moved", "cards in use")


def table(reports: Mapping[str, Report]) -> str:
    """Several reports side by side, a line each; times in seconds."""
    rows: list[tuple[str, ...]] = [_COLUMNS]
    for name, one in reports.items():
        w = one.waits
        times = (f"{t:.0f}" for t in (w.mean, w.p50, w.p95, w.p99, w.longest))
        rows.append((name, str(w.jobs), *times, f"{one.moved:.1%}", f"{one.use['all']:.1%}"))
    widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS))]
    return "\n".join("  ".join(_cells(row, widths)) for row in rows)


def _cells(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    first, *rest = zip(row, widths, strict=True)
    return [first[0].ljust(first[1]), *(text.rjust(width) for text, width in rest)]
