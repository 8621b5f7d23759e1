"""Transfers as bars, link by link: what `kubectl huiju transfers --bars` draws.

Pure. Decides the layout of one frame. Invariant: a frame is no wider than it was told, so that a
terminal can draw the next one over it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from huiju.cli.datasets import size
from huiju.cli.table import condition, dig, moment, span, width

Fields = dict[str, Any]
_LEAST: Final = 10
_MOST: Final = 40
"""Columns of a bar."""


def frame(
    replicas: Iterable[Fields],
    budgets: Mapping[tuple[str, str], int],
    columns: int,
    now: float,
) -> list[str]:
    """The lines of one picture; `budgets` are bytes per second of links, where they are known."""
    links: dict[tuple[str, str], list[Fields]] = {}
    for replica in replicas:
        source = str(dig(replica, "status", "source") or "")
        links.setdefault((source, str(dig(replica, "spec", "center"))), []).append(replica)
    lines = []
    for pair, each in sorted(links.items()):
        lines.append(_link(pair, each, budgets.get(pair)))
        lines += _rows(sorted(each, key=_name), columns, now)
    return [_cut(line, columns) for line in lines]


def _link(pair: tuple[str, str], replicas: list[Fields], budget: int | None) -> str:
    rate = sum(int(dig(each, "status", "rate") or 0) for each in replicas)
    carried = f"{size(rate)}/s" + (f" of {size(budget)}/s" if budget else "")
    source, center = pair
    return f"{source or '(not begun)'} -> {center}   {carried}"


def _rows(replicas: list[Fields], columns: int, now: float) -> Iterator[str]:
    names = [_name(each) for each in replicas]
    longest = max(map(width, names))
    told = [_figures(each, now) for each in replicas]
    bar = min(_MOST, max(_LEAST, columns - longest - max(map(len, told)) - 14))
    for replica, name, figures in zip(replicas, names, told, strict=True):
        total = int(dig(replica, "status", "bytesTotal") or dig(replica, "spec", "bytes") or 0)
        done = min(total, int(dig(replica, "status", "bytesDone") or 0))
        full = bar * done // total if total else 0
        drawn = "#" * full + "-" * (bar - full)
        share = done * 100 // total if total else 0
        yield f"  {name}{' ' * (longest - width(name))}  [{drawn}] {share:3} %  {figures}"


def _figures(replica: Fields, now: float) -> str:
    phase = str(dig(replica, "status", "phase") or "Pending")
    total = int(dig(replica, "status", "bytesTotal") or dig(replica, "spec", "bytes") or 0)
    done = int(dig(replica, "status", "bytesDone") or 0)
    parts = [f"{size(done)} of {size(total)}"]
    rate = int(dig(replica, "status", "rate") or 0)
    reason = str(condition(replica, "Verified").get("reason") or "")
    if phase == "Copying" and rate:
        parts.append(f"{size(rate)}/s")
        ends = moment(dig(replica, "status", "eta"))
        if ends is not None:
            parts.append(f"{span(ends - now)} left")
    else:
        parts.append(f"{phase}: {reason}" if reason and reason != phase else phase)
        opens = moment(dig(replica, "status", "window"))
        if opens is not None:
            parts.append(f"opens in {span(opens - now)}")
    return "  ".join(parts)


def _name(replica: Fields) -> str:
    dataset = dig(replica, "spec", "dataset") or {}
    return f"{dataset.get('namespace')}/{dataset.get('name')} {dig(replica, 'spec', 'version')}"


def _cut(line: str, columns: int) -> str:
    while width(line) > columns:
        line = line[:-1]
    return line
