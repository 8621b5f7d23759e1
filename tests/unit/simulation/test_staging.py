"""Data on its way: shared links, shared moves, copies that come and go."""

from __future__ import annotations

from math import inf

import pytest

from huiju.simulation.staging import Dataset, Stager

SETS = [Dataset(name, 1000, "a") for name in ("x", "y", "z")]


def stager(room: int = 2000) -> Stager:
    return Stager(SETS, rate=100, room=room)


def test_what_is_there_need_not_be_brought() -> None:
    made = stager()
    assert made.bring("j", ("x",), "a", 0.0)
    assert made.bring("k", (), "b", 0.0)
    assert (made.next(), made.bytes_moved) == (inf, 0)


def test_moves_share_a_link_and_jobs_share_a_move() -> None:
    made = stager()
    assert not made.bring("j", ("x",), "b", 0.0)
    assert not made.bring("k", ("y",), "b", 5.0)
    assert not made.bring("l", ("x", "y"), "b", 6.0)
    # 500 bytes of x were through when y began; from then on each gets half.
    assert made.next() == 15.0
    assert made.advance(15.0) == ["j"]
    assert made.advance(20.0) == ["k", "l"]
    assert made.bytes_moved == 2000
    assert made.changes() == ["x", "y"]
    assert made.copies("x") == {"a", "b"}


def test_the_nearer_copy_is_read() -> None:
    made = Stager(SETS, rates={("a", "b"): 100, ("a", "c"): 10, ("b", "c"): 50}, room=2000)
    made.bring("j", ("x",), "b", 0.0)
    made.advance(10.0)
    made.bring("k", ("x",), "c", 10.0)
    assert made.next() == 30.0


def test_the_copy_that_was_needed_longest_ago_goes() -> None:
    made = stager()
    now = 0.0
    for name in ("x", "y"):
        made.bring(name, (name,), "b", now)
        now = made.next()
        made.advance(now)
        made.release(name)
    made.bring("again", ("x",), "b", now)
    made.release("again")
    made.bring("z", ("z",), "b", now)
    made.advance(made.next())
    assert [made.copies(name) for name in "xyz"] == [{"a", "b"}, {"a"}, {"a", "b"}]


def test_copies_in_use_stay() -> None:
    made = stager(room=1000)
    for name in ("x", "y"):
        made.bring(name, (name,), "b", 0.0)
    made.advance(made.next())
    assert made.copies("x") == made.copies("y") == {"a", "b"}


def test_a_job_that_was_stopped_is_not_told() -> None:
    made = stager()
    made.bring("j", ("x",), "b", 0.0)
    made.release("j")
    assert made.advance(made.next()) == []
    assert made.copies("x") == {"a", "b"}
    assert made.next() == pytest.approx(inf)
