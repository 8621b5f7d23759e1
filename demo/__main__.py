"""`make demo`: a recorded trace through a hub and three centers, and what it was good for.

Decides the pace and when it is over: exit code 0 only if every job succeeded, 1 if not, 130 if it
was interrupted (the clusters are then ended).
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from typing import Final

from rich.console import Console
from rich.live import Live

from demo import federation, report, table
from demo.scene import SITES, Recorded, manifest, recorded
from demo.watch import Picture, watching
from huiju.kube.client import Client
from huiju.kube.resources import CROSS_REGION_JOBS
from lab.cluster import ClusterFailed
from lab.hubprocess import HubFailed
from lab.programs import ProgramsMissing
from lab.progress import Progress

COMPRESSION: Final = 720.0
"""Recorded seconds in one second of the demo: twelve hours are a minute."""
_LONGEST: Final = 240.0
"""Seconds after which jobs that have not ended are given up."""


def main() -> int:
    """Run `up` or `down`; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    up = verbs.add_parser("up", help="start the federation, run the trace, print the report")
    up.add_argument(
        "--compression",
        type=float,
        default=COMPRESSION,
        help=f"recorded seconds in one second (default: {COMPRESSION:g})",
    )
    verbs.add_parser("down", help="end everything that `up` started")
    options = parser.parse_args()
    if options.verb == "down":
        print("demo: everything is gone" if federation.down() else "demo: nothing was up")
        return 0
    try:
        return asyncio.run(run(options.compression))
    except KeyboardInterrupt:
        federation.down()
        print("demo: interrupted, everything that was started is gone", file=sys.stderr)
        return 130
    except (ClusterFailed, HubFailed, ProgramsMissing) as error:
        print(f"demo: {error}", file=sys.stderr)
        federation.down()
        return 1


async def run(compression: float) -> int:
    """Start, submit, watch, report."""
    jobs = recorded()
    console = Console()
    async with federation.up(Progress()) as made, watching(made.hub) as picture:
        await _ready(picture)
        submitting = asyncio.create_task(_submit(made.hub, picture, jobs, compression))
        await _follow(console, picture, jobs, submitting)
        await submitting
        whole = all(picture.lives[job.name].phase == "Succeeded" for job in jobs)
        console.print(report.render(picture, jobs, compression))
        print(report.explore(made.lab["hub"].kubeconfig, jobs[0]))
        if not whole:
            _blame(console, picture, jobs)
            console.print(made.process.tail(10))
        return 0 if whole else 1


async def _ready(picture: Picture) -> None:
    async with asyncio.timeout(60):
        while len(picture.units) < len(SITES) or not all(
            whole for _, whole in picture.units.values()
        ):
            await asyncio.sleep(0.2)


async def _submit(hub: Client, picture: Picture, jobs: list[Recorded], compression: float) -> None:
    """Create each job when its time has come."""
    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for job in jobs:
            pause = started + job.submit / compression - time.perf_counter()
            if pause > 0:
                await asyncio.sleep(pause)
            picture.submit(job.name)
            group.create_task(_create(hub, job, compression))


async def _create(hub: Client, job: Recorded, compression: float) -> None:
    await hub.create(CROSS_REGION_JOBS, manifest(job, compression), job.namespace)


async def _follow(
    console: Console, picture: Picture, jobs: list[Recorded], submitting: asyncio.Task[None]
) -> None:
    """Show the table until all have ended, or far too long."""
    started = time.perf_counter()
    with Live(console=console, refresh_per_second=2, transient=not console.is_terminal) as live:
        while picture.ended() < len(jobs):
            elapsed = time.perf_counter() - started
            live.update(table.render(picture, jobs, elapsed))
            if elapsed > _LONGEST or (submitting.done() and submitting.exception()):
                return
            await asyncio.sleep(0.5)
        live.update(table.render(picture, jobs, time.perf_counter() - started))


def _blame(console: Console, picture: Picture, jobs: list[Recorded]) -> None:
    for job in jobs:
        life = picture.lives[job.name]
        if life.phase != "Succeeded":
            console.print(f"{job.name}: {life.phase or 'not seen'} {life.reason} {life.center}")


if __name__ == "__main__":
    sys.exit(main())
