"""A center that does not answer holds a few workers at most, and everybody comes to their turn."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from huiju.hub.lane import SLOW, Crowded, Lane


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def hang(lane: Lane, clock: Clock) -> None:
    with lane.call():
        clock.now += SLOW


def answer(lane: Lane) -> None:
    with lane.call():
        pass


def test_no_more_calls_than_there_are_places() -> None:
    lane = Lane("east", 2)
    with ExitStack() as calls:
        calls.enter_context(lane.call())
        calls.enter_context(lane.call())
        with pytest.raises(Crowded) as refused, lane.call():
            pass
        assert refused.value.lane is lane
        assert "east" in str(refused.value)
    answer(lane)


def test_after_a_call_without_an_answer_there_is_one_at_a_time_until_it_answers() -> None:
    clock = Clock()
    lane = Lane("east", 8, clock)
    assert not lane.slow
    hang(lane, clock)
    assert lane.slow
    with lane.call(), pytest.raises(Crowded), lane.call():
        pass
    answer(lane)
    assert not lane.slow
    hang(lane, clock)
    assert lane.slow, "who answers every other call gains nothing by it"


def test_a_refusal_in_time_is_an_answer() -> None:
    lane = Lane("east", 8)
    with pytest.raises(ValueError, match="no"), lane.call():
        raise ValueError("no")
    assert (lane.busy, lane.slow) == (0, False)


def test_who_was_parked_is_woken_as_places_come_free_each_once() -> None:
    lane = Lane("east", 2)
    woken: list[str] = []
    with ExitStack() as calls:
        calls.enter_context(lane.call())
        calls.enter_context(lane.call())
        for key in ("a", "b", "a", "c"):
            lane.park(key, woken.append)
        assert woken == []
    assert woken == ["a", "b", "c"]
    answer(lane)
    assert woken == ["a", "b", "c"]
