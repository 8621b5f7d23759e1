from __future__ import annotations

import argparse
from typing import Any

import pytest

from huiju.cli.centers import ready
from huiju.cli.listing import Printer
from huiju.cli.queues import by_tree
from huiju.cli.session import Session
from huiju.cli.table import Column, age, span, table, text, width


@pytest.mark.parametrize(
    ("seconds", "spelled"),
    [
        (-5, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (150, "2m30s"),
        (660, "11m"),
        (7200, "2h"),
        (7205, "2h"),
        (12_000, "3h20m"),
        (86_400, "1d"),
        (100_000, "1d3h"),
        (172_800 + 4 * 3600, "2d4h"),
        (30 * 86_400, "30d"),
    ],
)
def test_spans_are_short(seconds: float, spelled: str) -> None:
    assert span(seconds) == spelled


def test_ages_of_what_is_no_time() -> None:
    assert age(None, 0.0) == "-"
    assert age("yesterday", 0.0) == "-"
    assert age("1970-01-01T00:00:00Z", 50.0) == "50s"


def test_columns_line_up_with_wide_characters() -> None:
    lines = table(("NAME", "REGION"), [("贵阳", "south"), ("beijing", "北")])
    assert lines == ["NAME      REGION", "贵阳      south", "beijing   北"]
    assert width("贵阳") == 4


def test_cells_stay_on_one_line() -> None:
    assert text("a\n  b\tc") == "a b c"
    assert text(None) == text("") == text("  ") == "-"
    assert text(0) == "0"
    assert text(False) == "False"


def test_queues_follow_their_parents() -> None:
    queues = [
        {"metadata": {"name": name}, "spec": {"parent": parent} if parent else {}}
        for name, parent in [
            ("z", None),
            ("b", "root"),
            ("root", None),
            ("a", "b"),
            ("ring1", "ring2"),
            ("ring2", "ring1"),
            ("lost", "nowhere"),
        ]
    ]
    names = [q["metadata"]["name"] for q in by_tree(queues)]
    assert names.index("root") < names.index("b") < names.index("a")
    assert sorted(names) == sorted(q["metadata"]["name"] for q in queues)


def test_ready_shows_the_cordon() -> None:
    condition = {"type": "Ready", "status": "True"}
    center = {"spec": {"cordoned": True}, "status": {"conditions": [condition]}}
    assert ready(center) == "True,Cordoned"
    assert ready({"spec": {}}) == "Unknown"


def test_a_watch_tells_what_was_missed(capsys: pytest.CaptureFixture[str]) -> None:
    columns = (
        Column("NAME", lambda o: o["metadata"]["name"]),
        Column("PHASE", lambda o: o.get("phase")),
        Column("AGE", lambda o: o.get("age"), steady=False),
    )
    printer = Printer(Session(argparse.Namespace()), columns)

    def job(name: str, phase: str, age: str) -> dict[str, Any]:
        return {"metadata": {"name": name, "uid": f"u-{name}"}, "phase": phase, "age": age}

    printer.begin([job("a", "Queued", "1s"), job("b", "Queued", "1s")])
    printer.changed("MODIFIED", job("a", "Queued", "2s"))
    printer.replace([job("a", "Running", "3s"), job("c", "Queued", "0s")])
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["NAME", "PHASE", "AGE"],
        ["a", "Queued", "1s"],
        ["b", "Queued", "1s"],
        ["b", "Queued", "1s", "(deleted)"],
        ["a", "Running", "3s"],
        ["c", "Queued", "0s"],
    ]


def test_what_a_center_says_does_not_steer_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    session = Session(argparse.Namespace())
    session.say("ok\x1b]0;title\x07\ttab\u202e 汇聚\nnext\r")
    session.note("\x9b2J")
    told = capsys.readouterr()
    assert told.out == "ok\\x1b]0;title\\x07\ttab\\x202e 汇聚\nnext\\x0d\n"
    assert told.err == "\\x9b2J\n"
