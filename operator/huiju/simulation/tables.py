"""Reports side by side as text: the figures of all jobs, then of each center's own users.

Decides layout only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from huiju.simulation.report import Report, Waits
from huiju.simulation.staging import TERABYTE

_WIDE = 4
"""Policies of which a terminal shows all figures of each home."""
Rows = Sequence[Sequence[str]]
COLUMNS = (
    "policy",
    "jobs",
    "never",
    "mean wait",
    "P50",
    "P95",
    "P99",
    "longest",
    "completion",
    "slowdown",
    "moved",
    "TB moved",
    "stops",
    "in use",
    "fragmented",
    "fair queues",
    "fair users",
)
"""Times in seconds."""


def figures(reports: Mapping[str, Report]) -> Rows:
    """A row each, in the order of `COLUMNS`."""
    return [_row(name, one) for name, one in reports.items()]


def _row(name: str, one: Report) -> tuple[str, ...]:
    waits = one.waits
    times = (waits.mean, waits.p50, waits.p95, waits.p99, waits.longest, one.completion.mean)
    return (
        name,
        str(waits.jobs),
        str(one.never),
        *(f"{seconds:.0f}" for seconds in times),
        f"{one.slowdown.mean:.2f}",
        f"{one.moved:.1%}",
        f"{one.bytes_moved / TERABYTE:.1f}",
        str(one.stops),
        f"{one.use['all']:.1%}",
        f"{one.fragmentation['all']:.1%}",
        f"{one.queues.index:.2f}",
        f"{one.users.index:.2f}" if one.users.groups else "-",
    )


def homes(reports: Mapping[str, Report], *, brief: bool = False) -> tuple[Sequence[str], Rows]:
    """Titles and rows of how each center's own users wait under each policy.

    `brief` tells only the P99 where there are many policies.
    """
    names = sorted({home for one in reports.values() for home in one.homes})
    brief = brief and len(reports) > _WIDE
    what = "P99" if brief else "mean/P95/P99"
    titles = ("home", "jobs", *(f"{policy}: {what}" for policy in reports))
    rows = []
    for home in names:
        found = [one.homes.get(home) for one in reports.values()]
        count = max((w.jobs for w in found if w), default=0)
        told = [_own(w, brief=brief) if w else "-" for w in found]
        rows.append((home, str(count), *told))
    return titles, rows


def _own(waits: Waits, *, brief: bool) -> str:
    return f"{waits.p99:.0f}" if brief else f"{waits.mean:.0f}/{waits.p95:.0f}/{waits.p99:.0f}"


def table(reports: Mapping[str, Report]) -> str:
    """All of it for a terminal; times in seconds."""
    titles, rows = homes(reports, brief=True)
    own = _lines(titles, rows)
    return "\n".join(
        [
            *_lines(COLUMNS, figures(reports)),
            "",
            "Waits of each center's own users, in seconds:",
            *own,
        ]
    )


def _lines(titles: Sequence[str], rows: Rows) -> list[str]:
    everything = [titles, *rows]
    widths = [max(len(row[i]) for row in everything) for i in range(len(titles))]
    return ["  ".join(_cells(row, widths)).rstrip() for row in everything]


def _cells(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    first, *rest = zip(row, widths, strict=True)
    return [first[0].ljust(first[1]), *(text.rjust(width) for text, width in rest)]
