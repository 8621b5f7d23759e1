"""The rate follows the server's refusals down and recovers by itself."""

from __future__ import annotations

import pytest

from huiju.kube.rate import AdaptiveRate


def spend(rate: AdaptiveRate, now: float, until: float) -> tuple[int, float]:
    """Call as fast as allowed; returns the number of calls and the time reached."""
    calls = 0
    while now < until:
        wait = rate.delay(now)
        assert wait is not None
        now += max(wait, 0.0005)
        calls += 1
    return calls, now


def test_starts_at_the_ceiling_with_a_burst() -> None:
    rate = AdaptiveRate(1000.0, burst=0.25)
    waits = [rate.delay(10.0) for _ in range(300)]
    assert waits[:250] == [0.0] * 250
    assert waits[299] == pytest.approx(0.049)


def test_a_refusal_halves_what_was_really_reached() -> None:
    rate = AdaptiveRate(2000.0)
    now = 5.0
    for _ in range(300):  # 100 calls a second, far below the ceiling
        rate.delay(now)
        now += 0.01
    rate.refused(now)
    assert rate.current(now) == pytest.approx(50.0, rel=0.1)


def test_refusals_that_come_together_count_once() -> None:
    rate = AdaptiveRate(800.0)
    _, now = spend(rate, 1.0, 4.0)
    for _ in range(50):
        rate.refused(now)
    assert rate.current(now) == pytest.approx(400.0, rel=0.15)


def test_it_never_falls_below_the_floor_and_recovers_to_the_ceiling() -> None:
    rate = AdaptiveRate(400.0, floor=5.0)
    now = 1.0
    for _ in range(40):
        rate.delay(now)
        rate.refused(now)
        now += 1.0
    assert rate.current(now) >= 5.0
    assert rate.current(now + 8.0) == pytest.approx(2.0 * rate.current(now), rel=0.15)
    assert rate.current(now + 120.0) == 400.0


def test_a_caller_without_patience_takes_no_place() -> None:
    rate = AdaptiveRate(10.0, burst=0.0)
    assert rate.delay(1.0) == 0.0
    assert rate.delay(1.0) == pytest.approx(0.1)
    assert [rate.delay(1.0, 0.15) for _ in range(5)] == [None] * 5
    assert rate.delay(1.0) == pytest.approx(0.2)
