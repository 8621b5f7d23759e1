"""The live table of the demo: centers and queues, once a second."""

from __future__ import annotations

from rich.console import Group
from rich.table import Table
from rich.text import Text

from demo.scene import SITES, Recorded
from demo.watch import Life, Picture

BAR = 24


def render(picture: Picture, jobs: list[Recorded], elapsed: float) -> Group:
    """Centers with their use, queues with their jobs."""
    lives = picture.lives
    return Group(
        Text(
            f"Huiju demo  {elapsed:5.0f} s  submitted {len(lives)}/{len(jobs)}"
            f"  ended {picture.ended()}",
            style="bold",
        ),
        _centers(picture, lives, jobs),
        _queues(lives, jobs),
    )


def _centers(picture: Picture, lives: dict[str, Life], jobs: list[Recorded]) -> Table:
    table = Table("center", "accelerators", "in use", "", "running", "of other centers", box=None)
    homes = {job.name: job.home.name for job in jobs}
    for site in SITES:
        used, whole = picture.units.get(site.name, (0, 0))
        here = [n for n, x in lives.items() if x.center == site.name and x.phase == "Running"]
        guests = sum(homes.get(name) != site.name for name in here)
        filled = round(BAR * used / whole) if whole else 0
        table.add_row(
            f"{site.name} ({site.city})",
            f"{site.model} x {site.units}",
            f"{used}/{whole}",
            "█" * filled + "░" * (BAR - filled),
            str(len(here)),
            str(guests),
        )
    return table


def _queues(lives: dict[str, Life], jobs: list[Recorded]) -> Table:
    table = Table("queue", "submitted", "waiting", "placed", "running", "succeeded", box=None)
    for site in SITES:
        mine = [lives[j.name] for j in jobs if j.home is site and j.name in lives]
        phases = [life.phase for life in mine]
        table.add_row(
            f"team-{site.name}",
            str(len(mine)),
            str(sum(phase in ("", "Queued") for phase in phases)),
            str(phases.count("Dispatching")),
            str(phases.count("Running")),
            str(phases.count("Succeeded")),
        )
    return table
