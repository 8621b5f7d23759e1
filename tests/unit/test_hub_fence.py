"""The hub's word to a center: what counts as one, and what a restarted hub knows of the last."""

from __future__ import annotations

from typing import Any

import pytest

from huiju.centers.lease import PROFILES, give_up_after
from huiju.hub.centerlease import CLOCKS_APART, CenterLease
from huiju.hub.clock import stamp
from huiju.hub.fence import Fence

DEFAULT, FAST = PROFILES["default"], PROFILES["fast"]
WALL = 1_800_000_000.0
"""Seconds since the epoch at second 0 of the boot-time clock."""


def lease_of(status: dict[str, Any], now: float, wanted: Any = "default") -> CenterLease:
    return CenterLease(PROFILES, wanted, status, now, WALL + now)


def test_a_closed_fence_answers_nobody_and_an_open_one_notes_its_word_first() -> None:
    fence = Fence(DEFAULT, 1000.0)
    assert fence.grant(1010.0) is None
    assert fence.ends_by == 1000.0 + give_up_after(DEFAULT), "an earlier hub may have spoken"
    fence.open()
    assert fence.grant(1020.0) == DEFAULT.lease
    assert fence.ends_by == 1020.0 + give_up_after(DEFAULT)
    assert fence.remaining(1020.0) == 0, "nothing holds before the answer was written"
    fence.answered(1020.0, DEFAULT.lease)
    assert fence.remaining(1030.0) == DEFAULT.lease - 10
    fence.close()
    assert fence.grant(1040.0) is None
    assert fence.ends_by == 1020.0 + give_up_after(DEFAULT)


def test_a_create_is_a_word_too_and_no_word_takes_back_another() -> None:
    fence = Fence(FAST, 0.0)
    fence.created(50.0)
    assert fence.ends_by == 50.0 + give_up_after(FAST)
    fence.created(20.0)
    assert fence.ends_by == 50.0 + give_up_after(FAST)


def test_a_lost_center_is_given_up_only_when_the_loss_is_recorded() -> None:
    lease = lease_of({}, now=0.0)
    over = lease.fence.ends_by
    assert not lease.ended(over), "a hub that starts now would not know of the loss"
    lease.written({"lostSince": stamp(WALL)})
    assert not lease.ended(over - 0.1)
    assert lease.ended(over)
    lease.fence.open()
    assert not lease.ended(over)


def test_a_restart_goes_on_counting_where_the_status_says_lost() -> None:
    first = lease_of({}, now=0.0)
    status = {
        "lostSince": stamp(WALL + 40),
        "lease": first.fields(lost=True, now=100.0, wall=WALL + 100.0),
    }
    ends = first.fence.ends_by
    second = lease_of(status, now=200.0)
    assert ends <= second.fence.ends_by <= ends + CLOCKS_APART + 1
    again = second.fields(lost=True, now=210.0, wall=WALL + 210.0)
    assert again == status["lease"], "a restart writes nothing anew"


def test_a_restart_counts_afresh_where_the_status_does_not_say_lost() -> None:
    """Words may have followed whatever it once said."""
    status = {"lease": {"profile": "default", "endsBy": stamp(WALL)}}
    lease = lease_of(status, now=500.0)
    assert lease.fence.ends_by == 500.0 + give_up_after(DEFAULT)


def test_an_old_note_never_makes_the_wait_longer_than_a_start_does() -> None:
    status = {
        "lostSince": stamp(WALL),
        "lease": {"profile": "fast", "endsBy": stamp(WALL + 1_000_000)},
    }
    assert lease_of(status, now=0.0).fence.ends_by == give_up_after(FAST)


@pytest.mark.parametrize(
    ("wanted", "before", "guarded", "after"),
    [("fast", "default", False, "fast"), ("fast", "default", True, "default")],
)
def test_no_shorter_wait_comes_into_force_over_guarded_jobs(
    wanted: Any, before: Any, guarded: bool, after: str
) -> None:
    lease = lease_of({"lease": {"profile": before}}, now=0.0, wanted=wanted)
    assert lease.profile == before
    lease.settle(wanted, guarded=guarded)
    assert lease.profile == after
    assert lease.fence.profile is PROFILES[after]


def test_a_longer_wait_comes_into_force_once_the_status_tells_of_it() -> None:
    lease = lease_of({"lease": {"profile": "fast"}}, now=0.0)
    lease.settle("default", guarded=True)
    assert lease.fence.profile is FAST, "another hub would still give up by the shorter one"
    told = lease.fields(lost=False, now=1.0, wall=WALL + 1.0)
    assert told == {"profile": "default"}
    lease.written({"lease": {"profile": "fast"}})
    assert lease.fence.profile is FAST
    lease.written({"lease": told})
    assert (lease.profile, lease.announced) == ("default", "")
    assert lease.fence.profile is DEFAULT


def test_a_longer_wait_that_is_not_wanted_any_more_is_not_told() -> None:
    lease = lease_of({"lease": {"profile": "fast"}}, now=0.0)
    lease.settle("default", guarded=True)
    lease.settle("fast", guarded=True)
    assert lease.fields(lost=False, now=1.0, wall=WALL + 1.0) == {"profile": "fast"}
    lease.written({"lease": {"profile": "default"}})
    assert lease.fence.profile is FAST


def test_a_sentinel_is_known_by_its_asks_and_expected_after_a_restart() -> None:
    lease = lease_of({}, now=0.0)
    assert not lease.has_sentinel(1.0)
    lease.fence.asked(1.0)
    assert lease.has_sentinel(200.0)
    assert not lease.has_sentinel(1.0 + DEFAULT.lease)
    held = {"conditions": [{"type": "Leased", "status": "True"}]}
    again = lease_of(held, now=1000.0)
    assert again.has_sentinel(1059.0)
    assert not again.has_sentinel(1061.0)
