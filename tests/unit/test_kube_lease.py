"""Times of a Lease that would let two lead at once, or lose it by one lost answer, are refused."""

from __future__ import annotations

import pytest

from huiju.hub.settings import LeaseSettings
from huiju.kube.lease import ElectionSettings


def election(duration: int, renew: float, retry: float) -> ElectionSettings:
    return ElectionSettings("l", "n", "me", duration=duration, renew=renew, retry=retry)


@pytest.mark.parametrize(
    ("duration", "renew", "retry", "words"),
    [
        (8, 8.0, 1.0, "renew < duration"),
        (8, 7.9, 1.0, "renew < duration"),  # nothing left for clocks that differ in speed
        (8, 5.0, 2.0, "renew / 3"),
        (8, 5.0, 0.0, "0 < retry"),
    ],
)
def test_refused(duration: int, renew: float, retry: float, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        election(duration, renew, retry)


def test_the_hubs_own_times() -> None:
    times = LeaseSettings()
    made = election(times.duration, times.renew, times.retry)
    # Seen at the last renewal, waited for, and asked once more: the rest of 15 s is for reading.
    assert made.duration * 1.02 + 3 * 1.2 * made.retry + made.deadline < 15
