"""A center's lease: its terms, how it is asked for and granted, and how long it still holds.

Pure. Decides the times of failover and the words on the Leases that carry the protocol: a center
writes a fresh *ask*, the hub writes the ask back together with the seconds that it grants, and the
center counts these from the moment at which it wrote the ask, on its own boot-time clock.
Invariants: an answer to an ask that this process did not write grants nothing, so no lease lives on
over a restart; what is granted only ever moves the end of the lease to later.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from huiju.api.meta import GROUP

SENTINEL: Final = "huiju-sentinel"
"""Name in a center of the sentinel's Service, workload, account and roles."""
SENTINEL_PORT: Final = 8083
"""Port of that Service."""
LEASE_PATH: Final = "/lease"
"""Where the sentinel tells `LeaseAnswer`, by plain GET."""
LEASE_LABEL: Final = f"{GROUP}/lease"
"""Label of the Leases by which a center asks; its value is `center`."""
ASK: Final = f"{GROUP}/lease-ask"
"""Annotation: the newest ask, a word that never comes twice."""
GRANT: Final = f"{GROUP}/lease-grant"
"""Annotation: `<ask> <seconds>`, the answer."""
CENTER_NOTE: Final = f"{GROUP}/lease-center"
"""Annotation: name of the center, written with the answer: a sentinel knows it from there."""
DRIFT_SHARE: Final = 0.02
"""Part of a span by which two clocks may differ at its end: 2 %, far more than any quartz does."""
DRIFT_LEAST: Final = 1.0
"""Seconds added to that, for what no share covers."""
MARGIN: Final = 1.0
"""Seconds added to the wait before a job is placed anew: a step of every timer involved."""
_MOST_ASKS: Final = 64


@dataclass(frozen=True, slots=True)
class LeaseProfile:
    """The times of one kind of lease, in seconds."""

    lease: float
    """An answer keeps the center's guarded jobs alive for so long after its ask."""
    ask: float
    """Pause between two asks; several fit into a lease, so that one lost answer costs nothing."""
    poll: float
    """Pause between two looks of a guard at the sentinel."""
    stop: float
    """At most so long after its clock ran out, a guard has had the main container told to stop:
    the guard's probes are made to keep this."""
    grace: float
    """The longest termination grace period of a guarded pod; a longer one is cut to it."""


PROFILES: Final[Mapping[str, LeaseProfile]] = {
    "default": LeaseProfile(lease=300.0, ask=20.0, poll=10.0, stop=20.0, grace=120.0),
    "fast": LeaseProfile(lease=40.0, ask=3.0, poll=2.0, stop=8.0, grace=30.0),
}
"""By the word in `spec.lease.profile` of a ComputeCenter."""


def give_up_after(profile: LeaseProfile) -> float:
    """Seconds of silence after which no guarded container of a center can still run.

    Counts from the last word that can have prolonged anything there: an answer or a create.
    """
    drift = profile.lease * DRIFT_SHARE + DRIFT_LEAST
    return profile.lease + drift + profile.stop + profile.grace + MARGIN


@dataclass(frozen=True, slots=True)
class LeaseTerms:
    """What a guard in one center is told when its pod is made."""

    url: str
    """Where the guard asks the sentinel."""
    profile: LeaseProfile


def sentinel_url(namespace: str) -> str:
    """Where guards of a center find its sentinel; `namespace` is Huiju's own there."""
    return f"http://{SENTINEL}.{namespace}.svc:{SENTINEL_PORT}{LEASE_PATH}"


# --- what the sentinel tells guards ---------------------------------------------------------------


class LeaseAnswer(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """What `GET /lease` answers.

    A guard counts `remaining_seconds` from the moment at which it *sent* its question, on its own
    boot-time clock, and keeps the latest end it was ever told: an answer of 0 (a sentinel that has
    just started knows of no lease) takes nothing back that an earlier one promised.
    """

    center: str
    """Name of the center; empty as long as the sentinel was granted nothing."""
    remaining_seconds: float
    """How long the lease holds from now on; 0 when it ran out."""
    lease_seconds: float
    """How long the last grant was; 0 before the first."""


def parse_answer(body: bytes) -> LeaseAnswer:
    """The answer in a response's body.

    Raises:
        ValueError: it is none, or holds a figure that no lease has.
    """
    try:
        answer = msgspec.json.decode(body, type=LeaseAnswer)
    except msgspec.DecodeError as error:
        raise ValueError(f"not an answer of a sentinel: {error}") from error
    for seconds in (answer.remaining_seconds, answer.lease_seconds):
        if not math.isfinite(seconds) or seconds < 0:
            raise ValueError(f"not a span of a lease: {seconds}")
    if answer.remaining_seconds > answer.lease_seconds:
        raise ValueError("more of the lease is left than was granted")
    return answer


# --- the two sides --------------------------------------------------------------------------------


def grant_text(ask: str, seconds: float) -> str:
    """The answer to an ask, as the annotation has it."""
    return f"{ask} {seconds:.3f}"


def parse_grant(text: str) -> tuple[str, float] | None:
    """Ask and seconds of an answer; None for what is none."""
    ask, _, amount = text.partition(" ")
    try:
        seconds = float(amount)
    except ValueError:
        return None
    return (ask, seconds) if ask and math.isfinite(seconds) and seconds >= 0 else None


class LeaseClock:
    """The center's side: asks, hears answers, and knows how long the lease holds.

    Times are seconds on this machine's boot-time clock. Several asks may be open at once, since an
    answer may come after the next ask.
    """

    def __init__(self) -> None:
        self.center = ""
        """Name of the center, as the answers have it."""
        self.granted = 0.0
        """Seconds of the latest grant, 0 before the first."""
        self._asked: dict[str, float] = {}
        self._until = float("-inf")

    def ask(self, word: str, now: float) -> None:
        """`word` is about to be written as an ask."""
        self._asked[word] = now
        while len(self._asked) > _MOST_ASKS:
            del self._asked[next(iter(self._asked))]

    def hear(self, text: str, center: str = "") -> bool:
        """Take an answer in; True if it is one to an ask of this process."""
        grant = parse_grant(text)
        asked = self._asked.get(grant[0]) if grant is not None else None
        if grant is None or asked is None:
            return False
        word, seconds = grant
        for older in list(self._asked):
            if older == word:
                break
            del self._asked[older]  # answered by a later one: of no use any more
        self.granted = seconds
        self.center = center or self.center
        self._until = max(self._until, asked + seconds)
        return True

    def remaining(self, now: float) -> float:
        """Seconds that the lease still holds; 0 when it ran out."""
        return max(0.0, self._until - now)

    def answer(self, now: float) -> LeaseAnswer:
        """What guards are told."""
        left = min(self.remaining(now), self.granted)
        return LeaseAnswer(center=self.center, remaining_seconds=left, lease_seconds=self.granted)
