"""What transfers will take: against recorded ones, and what must hold of every figure.

`transfers.csv` holds 100 real transfers over loopback through three shaped links (60, 25 and 10 MB
per second on average, which drift by a fifth) on which unrecorded flows came and went; some ran two
at a time. The test counts a byte of the record as 50, so that each is large enough to learn from.
"""

from __future__ import annotations

import csv
from pathlib import Path
from statistics import median

from hypothesis import given
from hypothesis import strategies as st

from huiju.data.estimate import Estimate, Finished, Rate, estimate, learn
from huiju.scheduling.model import DataNeed, Link

RECORD = Path(__file__).with_name("transfers.csv")
DECLARED = {"a": 4e9, "b": 2e9, "c": 1e9}
"""Bytes per second, as somebody would have declared them: too good."""
SCALE = 50
DAY = 86_400.0


def recorded() -> list[Finished]:
    with RECORD.open() as lines:
        return [
            Finished(
                "home",
                row["link"],
                int(row["bytes"]) * SCALE,
                1,
                float(row["began"]),
                float(row["seconds"]),
            )
            for row in csv.DictReader(lines)
        ]


def need(size: int, files: int = 1, copies: frozenset[str] = frozenset()) -> DataNeed:
    return DataNeed("corpus", size, copies, files, frozenset({"home"}))


def told(one: Finished, all: list[Finished]) -> Estimate:
    """What would have been told when it had just begun, as had those that began with it."""
    asked = one.began + 0.05
    link = Link(one.center, int(DECLARED[one.center]))
    rate = learn(DECLARED[one.center], [f for f in all if f.ended <= asked], asked)
    left = [
        int(f.bytes * (f.ended - asked) / f.seconds)
        for f in all
        if f is not one and f.began <= asked < f.ended
    ]
    found = estimate(need(one.bytes), one.center, [("home", link, rate, left)], asked)
    assert found is not None
    return found


def test_the_median_error_against_recorded_transfers_is_a_fifth_at_most() -> None:
    errors, within, all = [], 0, recorded()
    for one in all:
        same = [f for f in all if f.center == one.center]
        if len([f for f in same if f.ended <= one.began]) >= 3:
            found = told(one, same)
            errors.append(abs(found.seconds - one.seconds) / one.seconds)
            within += one.seconds <= found.p90
    assert len(errors) > 80
    assert median(errors) <= 0.20
    assert 0.80 <= within / len(errors) <= 0.99


def test_what_was_declared_holds_until_something_was_seen() -> None:
    assert learn(1e9, [], 0.0).bytes_per_second == 1e9
    small = Finished("home", "a", 10**6, 1, 0.0, 100.0)
    assert learn(1e9, [small], 200.0).seen == 0
    many = Finished("home", "a", 2 * 10**9, 10**6, 0.0, 4000.0)
    assert learn(1e9, [many], 4001.0).seen == 0, "its files took the time, not its bytes"


def test_what_was_learned_fades() -> None:
    slow = [Finished("home", "a", 10**10, 1, 100.0 * n, 100.0) for n in range(5)]
    fresh = learn(1e9, slow, 500.0)
    assert abs(fresh.bytes_per_second - 1e8) < 1e6
    assert learn(1e9, slow, 500.0 + 7 * DAY).bytes_per_second > 3e8
    assert learn(1e9, slow, 500.0 + 365 * DAY).bytes_per_second > 9.9e8


def test_two_that_shared_the_link_tell_of_the_whole_link() -> None:
    both = [Finished("home", "a", 10**10, 1, 0.0, 20.0) for _ in range(2)]
    assert abs(learn(1e8, both, 20.0).bytes_per_second - 1e9) < 1e6


def test_the_wait_for_the_window_and_the_price_are_told() -> None:
    link = Link("a", 10**9, price_per_gigabyte=0.5, opens_at=3600.0)
    found = estimate(need(10**11), "a", [("home", link, Rate(1e9), ())], 0.0)
    assert found is not None
    assert found.opens_at == 3600.0
    assert found.seconds == 3700.0
    assert found.money == 50.0


def test_what_is_there_takes_nothing_and_without_a_way_there_is_no_figure() -> None:
    assert estimate(need(5, copies=frozenset({"a"})), "a", (), 0.0) == Estimate("", 0)
    assert estimate(need(5), "a", (), 0.0) is None


SIZES = st.integers(0, 10**14)


@given(SIZES, SIZES, st.integers(0, 10**6), st.floats(1.0, 1e11), st.lists(SIZES, max_size=3))
def test_never_negative_and_monotone_in_bytes(
    size: int, more: int, files: int, rate: float, others: list[int]
) -> None:
    link = Link("a", 10**9, 0.1, 50.0)

    def ask(size: int) -> Estimate:
        way = ("home", link, Rate(rate), tuple(others))
        found = estimate(need(size, files), "a", [way], 10.0)
        assert found is not None
        return found

    one, other = ask(size), ask(size + more)
    assert 0 <= one.seconds <= one.p90
    assert one.money >= 0
    assert one.seconds <= other.seconds
    assert one.p90 <= other.p90
