"""Times in status as the hub reads them."""

from __future__ import annotations

import pytest

from huiju.hub.clock import pause_ends, stamp

NOW = 1_800_000_000.0
LONGEST = 600.0


@pytest.mark.parametrize("away", [-3600.0, 0.0, 10.0, 600.0, 605.0, 1200.0])
def test_a_pause_ends_when_it_was_told_to(away: float) -> None:
    assert pause_ends(stamp(NOW + away), LONGEST, NOW) == NOW + away


@pytest.mark.parametrize("away", [1201.0, 3600.0, 86_400.0])
def test_nobody_waits_for_a_time_that_a_clock_which_ran_ahead_wrote(away: float) -> None:
    assert pause_ends(stamp(NOW + away), LONGEST, NOW) == 0.0


def test_without_a_pause_there_is_nothing_to_wait_for() -> None:
    assert pause_ends("", LONGEST, NOW) == 0.0
