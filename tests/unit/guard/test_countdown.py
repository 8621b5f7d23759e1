"""What an answer of the sentinel is worth to a pod, and what it never is."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from huiju.guard.countdown import Countdown, NoAnswer


def answer(remaining: Any, lease: Any = 40.0, center: Any = "east") -> bytes:
    return json.dumps(
        {"center": center, "remainingSeconds": remaining, "leaseSeconds": lease}
    ).encode()


def test_without_an_answer_there_is_no_lease() -> None:
    assert Countdown().left(0.0) == 0.0
    assert Countdown().left(-1e9) == 0.0


def test_an_answer_counts_from_its_question() -> None:
    countdown = Countdown("east")
    assert countdown.hear(100.0, answer(40.0)) == 40.0
    assert countdown.left(130.0) == 10.0
    assert countdown.left(140.0) == countdown.left(1e9) == 0.0


def test_a_sentinel_that_knows_nothing_takes_nothing_back() -> None:
    countdown = Countdown("east")
    countdown.hear(100.0, answer(40.0))
    assert countdown.hear(110.0, answer(0.0, 0.0, "")) == 0.0
    assert countdown.left(120.0) == 20.0


def test_an_answer_of_before_takes_nothing_back() -> None:
    countdown = Countdown("east")
    countdown.hear(100.0, answer(40.0))
    countdown.hear(101.0, answer(5.0))
    assert countdown.left(120.0) == 20.0


def test_the_lease_of_another_center_is_not_this_pods() -> None:
    countdown = Countdown("east")
    with pytest.raises(NoAnswer, match="'west', not 'east'"):
        countdown.hear(100.0, answer(40.0, center="west"))
    assert countdown.left(100.0) == 0.0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[]",
        b'"40"',
        b'{"center": "east", "leaseSeconds": 40}',
        answer("40"),
        answer(True),
        answer(None),
        answer(-1.0),
        answer(41.0),
        b'{"center": "east", "remainingSeconds": 1e999, "leaseSeconds": 1e999}',
        b'{"center": "east", "remainingSeconds": NaN, "leaseSeconds": 40}',
        answer(10**400, 10**400),
    ],
)
def test_what_is_no_answer_grants_nothing(body: bytes) -> None:
    countdown = Countdown("east")
    with pytest.raises(NoAnswer):
        countdown.hear(100.0, body)
    assert countdown.left(100.0) == 0.0


@given(
    st.lists(
        st.tuples(st.floats(0, 1e6), st.floats(0, 300), st.floats(0, 60)), min_size=1, max_size=30
    ),
    st.floats(0, 2e6),
)
def test_it_never_holds_longer_than_the_sentinel_granted(
    told: list[tuple[float, float, float]], now: float
) -> None:
    """Whatever the order and delay of answers: the true end is at least the one counted down to.

    The sentinel speaks some time after the question was sent, so what it grants ends later than
    the guard believes, never earlier.
    """
    countdown = Countdown()
    true_end = -math.inf
    for sent, remaining, delay in told:
        countdown.hear(sent, answer(remaining, 300.0))
        true_end = max(true_end, sent + delay + remaining)
    assert now + countdown.left(now) <= max(now, true_end) + 1e-6
