"""What the federation was good for: the demo's jobs against the same jobs without it.

Decides the figures and their words. "At home" is the same scheduling cycle with every job kept in
its home center, event-driven, with no delay of any API server; "federated, ideal" is that cycle
with all centers. Times are seconds of the demo.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Group
from rich.panel import Panel
from rich.table import Table

from demo.baseline import Run, simulated
from demo.scene import SITES, Recorded
from demo.watch import Picture


@dataclass(frozen=True, slots=True)
class Figures:
    """One column of the report."""

    mean_wait: float
    median_wait: float
    p95_wait: float
    waited: int
    """Jobs that waited more than five seconds."""
    moved: float
    """Part of the accelerator time that ran away from home."""
    use: float
    """Part of all accelerator time that was used, until the last job ended."""
    makespan: float


def figures(jobs: list[Recorded], runs: dict[str, Run], compression: float) -> Figures:
    """The figures of one way to run the jobs."""
    waits = sorted(run.started - run.submitted for run in runs.values())
    work = {job.name: job.cards * job.duration / compression for job in jobs if job.name in runs}
    away = sum(work[j.name] for j in jobs if j.name in runs and runs[j.name].center != j.home.name)
    begin = min(run.submitted for run in runs.values())
    end = max(run.ended for run in runs.values())
    cards = sum(site.units for site in SITES)
    return Figures(
        mean_wait=sum(waits) / len(waits),
        median_wait=waits[len(waits) // 2],
        p95_wait=waits[int(0.95 * (len(waits) - 1))],
        waited=sum(wait > 5.0 for wait in waits),
        moved=away / sum(work.values()),
        use=sum(work.values()) / (cards * (end - begin)),
        makespan=end - begin,
    )


def measured(picture: Picture) -> dict[str, Run]:
    """The runs that were seen; jobs that never ended are left out."""
    return {
        name: Run(life.submitted, life.running, life.ended, life.center)
        for name, life in picture.lives.items()
        if life.submitted is not None and life.running is not None and life.ended is not None
    }


def render(picture: Picture, jobs: list[Recorded], compression: float) -> Panel:
    """The report as a table of three columns."""
    columns = (
        figures(jobs, simulated(jobs, compression, federated=False), compression),
        figures(jobs, simulated(jobs, compression, federated=True), compression),
        figures(jobs, measured(picture), compression),
    )
    table = Table(
        "", "at home (simulated)", "federated (simulated)", "federated (measured)", box=None
    )
    rows: tuple[tuple[str, Callable[[Figures], str]], ...] = (
        ("mean wait", lambda f: f"{f.mean_wait:.1f} s"),
        ("median wait", lambda f: f"{f.median_wait:.1f} s"),
        ("95th percentile of waits", lambda f: f"{f.p95_wait:.1f} s"),
        ("jobs that waited over 5 s", lambda f: str(f.waited)),
        ("accelerator time away from home", lambda f: f"{f.moved:.0%}"),
        ("use of all accelerators", lambda f: f"{f.use:.0%}"),
        ("last job ended after", lambda f: f"{f.makespan:.0f} s"),
    )
    for name, show in rows:
        table.add_row(name, *(show(column) for column in columns))
    title = f"{len(jobs)} recorded jobs, time compressed {compression:g} times"
    note = "measured times include the API servers, schedulers and kubelets of four clusters"
    return Panel(Group(table, note), title=title, expand=False)


def explore(kubeconfig: Path, first: Recorded) -> str:
    """Three commands to try on what was left up."""
    return "\n".join(
        (
            "The federation is up. Try:",
            f"  export KUBECONFIG={kubeconfig} PATH=$PWD/.venv/bin:$PATH",
            "  kubectl-huiju centers -o wide",
            "  kubectl-huiju jobs -A",
            f"  kubectl-huiju why {first.name} -n {first.namespace}",
            "`make demo-down` leaves nothing behind.",
        )
    )
