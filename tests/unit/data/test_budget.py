"""How transfers share a link, from rates alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from huiju.data.budget import Line, shared

RATE = 1200


def test_one_has_the_whole_link() -> None:
    assert shared(RATE, {"a": Line()}) == {"a": RATE}


def test_one_that_begins_waits_until_the_others_have_slowed_down() -> None:
    lines = {"a": Line(1200, 1200), "b": Line()}
    assert shared(RATE, lines) == {"a": 600, "b": 0}
    lines = {"a": Line(600, 1200), "b": Line()}
    assert shared(RATE, lines) == {"a": 600, "b": 0}
    lines = {"a": Line(600, 600), "b": Line()}
    assert shared(RATE, lines) == {"a": 600, "b": 600}


def test_who_is_left_gets_what_others_had() -> None:
    assert shared(RATE, {"a": Line(600, 600)}) == {"a": RATE}
    assert shared(RATE, {"a": Line(400, 400), "b": Line(400, 400)}) == {"a": 600, "b": 600}


def test_a_link_that_became_slower_slows_all() -> None:
    assert shared(600, {"a": Line(600, 600), "b": Line(600, 600)}) == {"a": 300, "b": 300}


NAMES = st.sampled_from("abcdef")
RATES = st.integers(0, 2000)


@given(st.integers(1, 5000), st.dictionaries(NAMES, st.builds(Line, RATES, RATES), min_size=1))
def test_nothing_is_given_beyond_what_is_left(rate: int, lines: dict[str, Line]) -> None:
    before = sum(line.takes for line in lines.values())
    after = shared(rate, lines)
    assert after.keys() == lines.keys()
    takes = sum(max(after[name], line.takes) for name, line in lines.items())
    assert takes <= max(before, rate)
    assert all(0 <= each <= max(1, rate // len(lines)) for each in after.values())


@given(st.integers(100, 5000), st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_pullers_that_listen_all_come_to_their_share(rate: int, come: list[int]) -> None:
    """However many come and go, after some rounds everybody has an equal share."""
    lines: dict[str, Line] = {}
    for number, wanted in enumerate(come):
        names = [f"t{i}" for i in range(wanted)] or ["t0"]
        lines = {name: lines.get(name, Line()) for name in names}
        for _ in range(4):
            ordered = shared(rate, lines)
            assert sum(max(ordered[n], lines[n].takes) for n in lines) <= max(
                rate, sum(line.takes for line in lines.values())
            ), number
            lines = {name: Line(each, each) for name, each in ordered.items()}
        assert set(shared(rate, lines).values()) == {max(1, rate // len(lines))}
