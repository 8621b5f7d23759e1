"""What ended jobs tell, and what is expected of a job that runs on."""

from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from huiju.scheduling.ends import Ends, expected_end
from huiju.scheduling.learning import NOTHING, Learner
from huiju.scheduling.model import JobShape, Placed
from tests.scheduling_worlds import job

seconds = st.floats(0.0, 1e7)
RATE = 2.0


def speed(shape: JobShape, alternative: int) -> float:
    return RATE if alternative else 1.0


def placed(
    expected: float | None,
    known: tuple[float, ...] = (),
    most: float | None = None,
    faster: int = 0,
) -> Placed:
    one = job("a", expected_runtime=expected, runtimes=known, max_runtime=most)
    return Placed(one, "east", faster, 1, 1000, 100.0)


# --- what is learned ---------------------------------------------------------------------------


def test_nothing_is_told_before_one_like_it_has_ended() -> None:
    learner = Learner()
    learner.ended(("a", 8), 100.0)
    assert learner.told(("a", 4)) is NOTHING
    assert learner.told(("a", 8)).expected == 100.0


def test_a_few_very_long_ones_do_not_move_what_is_expected() -> None:
    learner = Learner()
    for runtime in (10.0, 20.0, 30.0, 40.0, 1e6):
        learner.ended("a", runtime)
    told = learner.told("a")
    assert told.expected == 30.0
    assert told.quantiles == (10.0, 20.0, 30.0, 40.0, 1e6)


def test_old_run_times_and_keys_without_news_are_forgotten() -> None:
    learner = Learner(recent=2, keys=2)
    for runtime in (5.0, 70.0, 90.0):
        learner.ended("a", runtime)
    assert learner.told("a").quantiles == (70.0, 90.0)
    learner.ended("b", 1.0)
    learner.ended("a", 90.0)
    learner.ended("c", 1.0)
    assert learner.told("b") is NOTHING
    assert learner.told("a").quantiles == (90.0,)


@given(st.lists(seconds, min_size=1, max_size=60), st.integers(1, 40))
def test_what_is_told_lies_among_the_latest_run_times(times: list[float], recent: int) -> None:
    learner = Learner(recent)
    for each in times:
        learner.ended("a", each)
    kept = sorted(times[-recent:])
    rounded = [max(1.0, float(f"{each:.2g}")) for each in kept]
    told = learner.told("a")
    assert told.expected == rounded[len(kept) // 2]
    assert set(told.quantiles) <= set(rounded)
    assert list(told.quantiles) == sorted(set(told.quantiles))
    assert told.quantiles[-1] == rounded[-1]


# --- what is expected of those that run --------------------------------------------------------


def test_one_that_outlives_its_expectation_runs_as_those_that_ran_longer() -> None:
    known = (50.0, 80.0, 200.0, 300.0, 900.0)
    for ran, runtime in ((0, 80.0), (80, 300.0), (299, 300.0), (300, 900.0), (900, 1350.0)):
        assert expected_end(placed(80.0, known), 100.0 + ran, speed) == 100.0 + runtime
        faster = placed(80.0, known, faster=1)
        assert expected_end(faster, 100.0 + ran / RATE, speed) == 100.0 + runtime / RATE


def test_none_is_expected_to_run_beyond_its_longest_run_time() -> None:
    known = (80.0, 200.0, 900.0)
    assert expected_end(placed(80.0, known, most=500.0), 400.0, speed) == 600.0
    assert expected_end(placed(None, most=500.0), 400.0, speed) == 600.0
    assert expected_end(placed(None, most=500.0), 600.0, speed) == inf


lives = st.builds(
    placed,
    st.floats(0.0, 1e6),
    st.lists(st.floats(1.0, 1e6), max_size=6).map(lambda known: tuple(sorted(set(known)))),
    st.none() | st.floats(1.0, 1e6),
    st.integers(0, 1),
)


@given(lives, st.floats(100.0, 1e7), st.floats(0.0, 1.0))
def test_an_expectation_lies_ahead_and_stands_until_it_has_passed(
    one: Placed, now: float, share: float
) -> None:
    end = expected_end(one, now, speed)
    assert end > now
    later = now + share * (end - now)
    if later < end:
        assert expected_end(one, later, speed) == end


@given(st.lists(lives, max_size=5), st.lists(st.floats(0.0, 1e6), min_size=1, max_size=8))
def test_ends_that_followed_are_those_asked_for_now(
    lives: list[Placed], steps: list[float]
) -> None:
    ends, now = Ends(), 100.0
    for at, one in enumerate(lives):
        named = job(f"j{at}", expected_runtime=one.job.expected_runtime, runtimes=one.job.runtimes)
        ends.add(Placed(named, "east", one.alternative, 1, 1000, 100.0), stopping=False)
    for step in steps:
        now += step
        told = list(ends.follow(now, speed).jobs())
        assert told == sorted(told, key=lambda pair: (pair[0], pair[1].job.uid))
        assert len(told) == len(lives)
        for end, running in told:
            assert end == expected_end(running, now, speed)
