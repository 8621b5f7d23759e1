"""Transfers drawn as bars."""

from __future__ import annotations

from typing import Any

import pytest

from huiju.cli.bars import frame
from huiju.cli.table import width

NOW = 1_796_000_000.0
LINKS = {("guiyang", "ulanqab"): 1_250_000_000}


def replica(name: str, done: int, phase: str = "Copying", **status: Any) -> dict[str, Any]:
    return {
        "spec": {
            "dataset": {"namespace": "team-a", "name": name},
            "version": "v3",
            "center": "ulanqab",
            "bytes": 4_000_000_000,
        },
        "status": {
            "phase": phase,
            "source": "guiyang",
            "bytesTotal": 4_000_000_000,
            "bytesDone": done,
            **status,
        },
    }


def test_bars_stand_under_their_link_with_what_it_has() -> None:
    moves = replica("corpus", 1_000_000_000, rate=400_000_000, eta="2026-11-30T00:53:20Z")
    waits = replica(
        "images",
        0,
        "Waiting",
        window="2026-11-30T02:53:20Z",
        conditions=[{"type": "Verified", "status": "False", "reason": "WindowClosed"}],
    )
    lines = frame([waits, moves], LINKS, 100, NOW)
    assert lines[0] == "guiyang -> ulanqab   400.0 MB/s of 1.2 GB/s"
    assert " 25 %  1.0 GB of 4.0 GB  400.0 MB/s  " in lines[1]
    drawn = lines[1].partition("[")[2].partition("]")[0]
    assert drawn.count("#") == len(drawn) // 4
    assert "Waiting: WindowClosed  opens in" in lines[2]
    assert lines[1].index("[") == lines[2].index("[")


def test_a_link_that_may_not_be_read_is_shown_without_its_budget() -> None:
    assert frame([replica("corpus", 0)], {}, 100, NOW)[0] == "guiyang -> ulanqab   0 B/s"
    assert frame([], LINKS, 100, NOW) == []


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_no_line_is_wider_than_the_terminal(columns: int) -> None:
    for line in frame([replica("语料" * 20, 10), replica("a", 4_000_000_000)], LINKS, columns, NOW):
        assert width(line) <= columns
