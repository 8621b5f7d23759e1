"""When a job has shown no progress for too long."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from huiju.guard.progress import Stall, Watch, look
from huiju.guard.terms import ProgressTerms, TermsRefused, read_terms
from tests.sentinels import Sentinel


def test_the_time_runs_from_the_start_and_anew_from_each_change() -> None:
    stall = Stall(10.0)
    assert not stall.judge(1000.0), "nothing runs yet"
    assert stall.begin(100.0)
    assert not stall.begin(105.0)
    assert not stall.judge(110.0)
    stall.note(None, 101.0)
    stall.note((1, 1), 110.0)
    stall.note((1, 1), 115.0)
    stall.note(None, 117.0)
    assert not stall.judge(120.0)
    assert stall.judge(120.1), "only a change counts"
    stall.note((2, 1), 121.0)
    assert stall.judge(121.0), "what was told to stop is stopping"


def test_the_first_change_may_take_longer_than_the_later_ones() -> None:
    stall = Stall(10.0, 60.0)
    stall.begin(100.0)
    stall.note(None, 100.0)
    assert not stall.judge(160.0)
    stall.note((1, 1), 160.0)
    assert (stall.judge(170.0), stall.judge(170.1)) == (False, True)
    assert stall.allowed == 10.0


def test_what_an_earlier_attempt_has_left_is_no_progress() -> None:
    stall = Stall(10.0, 60.0)
    stall.begin(100.0)
    stall.note((7, 7), 100.0)
    stall.note((7, 7), 120.0)
    assert (stall.judge(160.0), stall.judge(160.1)) == (False, True)
    assert stall.allowed == 60.0, "its start was too long"


def test_a_file_is_looked_at_by_what_changes_of_it(tmp_path: Path) -> None:
    beat = tmp_path / "beat"
    terms = ProgressTerms(1.0, file=str(beat))
    assert look(terms, "") is None
    beat.write_text("1")
    first = look(terms, "")
    assert first is not None
    assert look(terms, "") == first
    os.utime(beat, ns=(7, 7))
    touched = look(terms, "")
    assert touched != first
    beat.write_text("22")
    os.utime(beat, ns=(7, 7))
    assert look(terms, "") != touched


def test_an_answer_counts_when_it_changes() -> None:
    sentinel = Sentinel()
    try:
        terms = ProgressTerms(1.0, port=sentinel.port, path="/lease")
        sentinel.steady = 5.0
        first = look(terms, "127.0.0.1")
        assert first is not None
        assert look(terms, "127.0.0.1") == first
        sentinel.steady = 6.0
        assert look(terms, "127.0.0.1") not in (None, first)
        sentinel.status = 500
        assert look(terms, "127.0.0.1") is None
    finally:
        sentinel.close()


def test_a_watch_says_where_nothing_changed(tmp_path: Path) -> None:
    stopping = threading.Event()
    beat = tmp_path / "beat"
    watch = Watch(ProgressTerms(0.2, file=str(beat)), "127.0.0.1", stopping.wait)
    assert watch.trouble() == ""
    assert not stopping.wait(0.3)
    assert str(beat) in watch.trouble()
    stopping.set()


@pytest.mark.parametrize(
    "told",
    [
        "{",
        "[]",
        "{}",
        '{"deadline": 0, "file": "/a"}',
        '{"deadline": 5}',
        '{"deadline": 5, "file": "/a", "port": 1}',
        '{"deadline": "Infinity", "file": "/a"}',
        '{"deadline": 5, "file": "/a", "startDeadline": -1}',
        '{"deadline": 5, "file": "/a", "startDeadline": "long"}',
    ],
)
def test_what_makes_no_sense_is_named(told: str) -> None:
    with pytest.raises(TermsRefused, match="HUIJU_GUARD_PROGRESS"):
        read_terms({"HUIJU_GUARD_SENTINEL": "none", "HUIJU_GUARD_PROGRESS": told})


def test_a_guard_without_a_lease_is_told_so_in_a_word() -> None:
    told = '{"deadline": 5, "port": 80, "path": "/step"}'
    read = read_terms({"HUIJU_GUARD_SENTINEL": "none", "HUIJU_GUARD_PROGRESS": told})
    assert (read.sentinel, read.progress) == (None, (5.0, "", 80, "/step", 0.0))
    with pytest.raises(TermsRefused, match="HUIJU_GUARD_SENTINEL"):
        read_terms({"HUIJU_GUARD_PROGRESS": told})
