"""Durations in both directions, and what is none."""

from __future__ import annotations

import pytest

from huiju.api.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0s", 0.0),
        ("90s", 90.0),
        ("1h30m", 5400.0),
        ("2d", 172_800.0),
        ("250ms", 0.25),
        ("1.5h", 5400.0),
        ("0.1s", 0.1),
        ("1d2h3m4s5ms", 93_784.005),
        ("30m1h", 5400.0),
        ("0.001ms", 1e-6),
        ("007s", 7.0),
    ],
)
def test_reads_what_people_write(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "5", "s", "1 h", "-1s", "+1s", "1h 30m", "PT1H", "1w", "1.s", ".5s", "1e3s", "٣s", "1s\n"],
)
def test_refuses_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration such as 90s, 1h30m or 2d"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (0.0004, "0s"),
        (0.0006, "1ms"),
        (90.0, "1m30s"),
        (3600.0, "1h"),
        (172_800.0, "2d"),
        (93_784.005, "1d2h3m4s5ms"),
    ],
)
def test_writes_the_largest_units_first(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize("seconds", [-1.0, float("inf"), float("-inf"), float("nan")])
def test_writes_no_amount_that_is_not_one(seconds: float) -> None:
    with pytest.raises(ValueError, match="must be finite and not negative"):
        format_duration(seconds)
