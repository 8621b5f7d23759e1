"""The report as one HTML page that needs nothing else: no script, no font, no image from anywhere.

Decides which figures are drawn and how.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from huiju.simulation.plots import (
    Axis,
    Point,
    bars,
    counted,
    counts,
    durations,
    linear,
    lines,
    percent,
    squeezed,
)
from huiju.simulation.report import Report
from huiju.simulation.tables import COLUMNS, figures, homes

_DAY = 86_400.0
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#222;
background:#fff}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.85rem;white-space:nowrap}
th,td{padding:.25rem .6rem;text-align:right;border-bottom:1px solid #ddd}
th:first-child,td:first-child{text-align:left}
svg{width:100%;height:auto;display:block}svg text{fill:#444}
.grid{stroke:#e4e4e4}.axis{stroke:#888}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:.2rem 1rem;padding:0;margin:.3rem 0 0;
font-size:.85rem}
.legend i{display:inline-block;width:.8em;height:.8em;margin-right:.4em;border-radius:2px}
p.note{color:#555;font-size:.9rem}
"""


def page(title: str, about: Sequence[str], reports: Mapping[str, Report]) -> str:
    """The whole page; `about` says in a few lines what was simulated."""
    told = "".join(f"<li>{escape(line)}</li>" for line in about)
    parts = [
        f"<h1>{escape(title)}</h1><ul>{told}</ul>",
        _section("Figures", "Times in seconds.", _table(COLUMNS, figures(reports))),
        _section(
            "How long jobs wait",
            "Share of jobs that wait no longer than so long; higher and further left is better.",
            _curves(reports),
        ),
        _section(
            "The long waits", "Mean, P95 and P99 of the waits under each policy.", _waits(reports)
        ),
        _section(
            "Accelerators in use", "Share of all accelerators over time.", _use(reports, "use")
        ),
        _section(
            "Fragmentation",
            "Accelerators that are free on nodes partly in use, as a share of all.",
            _use(reports, "stranded"),
        ),
        _section("Waiting jobs", "On average over each slice of time.", _waiting(reports)),
        _section(
            "Each center's own users",
            "P95 of the waits of the jobs that are at home there, wherever they ran.",
            _homes(reports) + _table(*homes(reports)),
        ),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body>{''.join(parts)}</body></html>\n"
    )


def _section(title: str, note: str, content: str) -> str:
    return f'<h2>{escape(title)}</h2><p class="note">{escape(note)}</p>{content}'


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in titles)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def _curves(reports: Mapping[str, Report]) -> str:
    longest = max((one.waits.longest for one in reports.values()), default=0.0)
    series: dict[str, list[Point]] = {}
    for name, one in reports.items():
        steps = max(1, len(one.curve) - 1)
        series[name] = [(squeezed(wait), at / steps) for at, wait in enumerate(one.curve)]
    low = min((points[0][1] for points in (_waited(s) for s in series.values())), default=0.0)
    floor = int(low * 10) / 10
    shares = linear("jobs", 100, "%", low=100 * floor)
    y = Axis("jobs", floor, 1.0, [(at / 100, text) for at, text in shares.ticks])
    return lines("Waits by share of jobs", series, durations("wait", longest), y)


def _waited(points: Sequence[Point]) -> Sequence[Point]:
    """From the last job on that did not wait."""
    at = max((i for i, (wait, _) in enumerate(points) if wait <= 0), default=0)
    return points[at:] or [(0.0, 0.0)]


def _waits(reports: Mapping[str, Report]) -> str:
    groups = {
        name: {
            "mean": squeezed(one.waits.mean),
            "P95": squeezed(one.waits.p95),
            "P99": squeezed(one.waits.p99),
        }
        for name, one in reports.items()
    }
    longest = max((one.waits.p99 for one in reports.values()), default=0.0)
    return bars("Mean, P95 and P99 wait by policy", groups, durations("wait", longest))


def _use(reports: Mapping[str, Report], what: str) -> str:
    series = {
        name: _points(one, one.course.use if what == "use" else one.course.stranded)
        for name, one in reports.items()
    }
    high = max((b for points in series.values() for _, b in points), default=1.0)
    return lines(
        "Accelerators over time", series, _days(reports), percent("of all", max(high, 0.01))
    )


def _waiting(reports: Mapping[str, Report]) -> str:
    series = {
        name: [(at, counted(count)) for at, count in _points(one, one.course.waiting)]
        for name, one in reports.items()
    }
    high = max((max(one.course.waiting, default=0.0) for one in reports.values()), default=1.0)
    return lines("Waiting jobs over time", series, _days(reports), counts("jobs", high))


def _points(one: Report, levels: Sequence[float]) -> list[Point]:
    width = one.course.width / _DAY
    return [((at + 0.5) * width, level) for at, level in enumerate(levels)]


def _days(reports: Mapping[str, Report]) -> Axis:
    longest = max(
        (one.course.width * len(one.course.use) / _DAY for one in reports.values()), default=1.0
    )
    return linear("days from the first submission", longest)


def _homes(reports: Mapping[str, Report]) -> str:
    names = sorted({home for one in reports.values() for home in one.homes})
    groups = {
        home: {
            policy: squeezed(one.homes[home].p95)
            for policy, one in reports.items()
            if home in one.homes
        }
        for home in names
    }
    longest = max((w.p95 for one in reports.values() for w in one.homes.values()), default=0.0)
    return bars("P95 wait of each center's own users", groups, durations("P95 wait", longest))
