"""When a link is open: local hours, over midnight and over the change to summer time."""

from __future__ import annotations

from datetime import datetime
from math import inf
from zoneinfo import ZoneInfo

from huiju.data.windows import closes_at, opens_at

SHANGHAI = ZoneInfo("Asia/Shanghai")
BERLIN = ZoneInfo("Europe/Berlin")
KATHMANDU = ZoneInfo("Asia/Kathmandu")
NIGHT = ((20, 24), (0, 6))


def at(zone: ZoneInfo, *when: int) -> float:
    return datetime(*when, tzinfo=zone).timestamp()  # type: ignore[arg-type, misc]


def test_a_link_without_windows_is_always_open() -> None:
    assert opens_at((), SHANGHAI, 5.0) == 5.0
    assert closes_at((), SHANGHAI, 5.0) == inf


def test_a_night_goes_over_midnight() -> None:
    noon, evening = at(SHANGHAI, 2026, 11, 26, 12, 7), at(SHANGHAI, 2026, 11, 26, 20)
    assert opens_at(NIGHT, SHANGHAI, noon) == evening
    assert closes_at(NIGHT, SHANGHAI, noon) == noon
    late = at(SHANGHAI, 2026, 11, 26, 23, 59)
    assert opens_at(NIGHT, SHANGHAI, late) == late
    assert closes_at(NIGHT, SHANGHAI, late) == at(SHANGHAI, 2026, 11, 27, 6)


def test_windows_of_all_hours_never_close() -> None:
    assert closes_at(((0, 12), (12, 24)), SHANGHAI, 0.0) == inf


def test_an_hour_that_summer_time_skips_never_comes_that_day() -> None:
    before = at(BERLIN, 2026, 3, 29, 1, 30)
    assert opens_at(((2, 3),), BERLIN, before) == at(BERLIN, 2026, 3, 30, 2)
    assert opens_at(((3, 4),), BERLIN, before) == before + 1800


def test_zones_that_are_off_by_quarters() -> None:
    assert opens_at(((6, 7),), KATHMANDU, at(KATHMANDU, 2026, 1, 1, 5, 50)) == at(
        KATHMANDU, 2026, 1, 1, 6
    )
