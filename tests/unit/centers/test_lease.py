"""The lease's words and clock: what an answer grants, what it never does, and for how long."""

from __future__ import annotations

import msgspec
import pytest

from huiju.centers.lease import (
    PROFILES,
    LeaseAnswer,
    LeaseClock,
    give_up_after,
    grant_text,
    parse_answer,
    parse_grant,
    sentinel_url,
)


def test_a_lease_counts_from_its_asking_however_long_the_answer_took() -> None:
    clock = LeaseClock()
    clock.ask("a", 100.0)
    assert clock.hear(grant_text("a", 40.0), "east")
    assert clock.remaining(130.0) == 10.0
    assert clock.remaining(140.0) == clock.remaining(500.0) == 0.0
    assert clock.answer(130.0) == LeaseAnswer(
        center="east", remaining_seconds=10.0, lease_seconds=40.0
    )


def test_an_answer_to_another_process_or_an_earlier_life_grants_nothing() -> None:
    clock = LeaseClock()
    assert not clock.hear(grant_text("of-another-life", 40.0), "east")
    assert clock.answer(0.0) == LeaseAnswer(center="", remaining_seconds=0.0, lease_seconds=0.0)


def test_a_late_answer_still_counts_and_an_answer_twice_changes_nothing() -> None:
    clock = LeaseClock()
    clock.ask("a", 100.0)
    clock.ask("b", 110.0)
    assert clock.hear(grant_text("a", 40.0))
    assert clock.remaining(120.0) == 20.0
    assert clock.hear(grant_text("b", 40.0))
    assert not clock.hear(grant_text("a", 40.0)), "what a later answer overtook is forgotten"
    assert clock.hear(grant_text("b", 40.0))
    assert clock.remaining(120.0) == 30.0


def test_a_shorter_grant_takes_nothing_back_and_tells_no_more_than_it_granted() -> None:
    clock = LeaseClock()
    clock.ask("a", 100.0)
    clock.hear(grant_text("a", 300.0))
    clock.ask("b", 110.0)
    clock.hear(grant_text("b", 40.0))
    assert clock.remaining(120.0) == 280.0
    assert clock.answer(120.0).remaining_seconds == 40.0


def test_open_asks_are_bounded() -> None:
    clock = LeaseClock()
    for number in range(1000):
        clock.ask(f"w{number}", float(number))
    assert not clock.hear(grant_text("w0", 40.0))
    assert clock.hear(grant_text("w999", 40.0))


@pytest.mark.parametrize("text", ["", "word", "word x", "word -1", "word nan", "word inf", " 5"])
def test_what_is_no_answer_is_none(text: str) -> None:
    assert parse_grant(text) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"center": "east"}',
        b'{"center": "east", "remainingSeconds": -1, "leaseSeconds": 40}',
        b'{"center": "east", "remainingSeconds": 1e999, "leaseSeconds": 1e999}',
        b'{"center": "east", "remainingSeconds": 41, "leaseSeconds": 40}',
    ],
)
def test_a_body_that_makes_no_sense_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"sentinel|span|left"):
        parse_answer(body)


def test_an_answer_comes_through_its_body() -> None:
    answer = LeaseAnswer(center="east", remaining_seconds=12.5, lease_seconds=40.0)
    body = msgspec.json.encode(answer)
    assert b'"remainingSeconds":12.5' in body
    assert parse_answer(body) == answer
    assert sentinel_url("huiju-system") == "http://huiju-sentinel.huiju-system.svc:8083/lease"


def test_the_profiles_keep_what_the_safety_page_promises() -> None:
    """Eight seconds are left to place the job anew and to start it."""
    assert give_up_after(PROFILES["fast"]) + 8 <= 90
    assert give_up_after(PROFILES["default"]) + 8 <= 8 * 60
    for profile in PROFILES.values():
        assert profile.ask * 8 <= profile.lease, "some lost answers must cost nothing"
        assert profile.poll < profile.ask
