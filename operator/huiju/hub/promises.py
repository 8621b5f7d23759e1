"""Promises of free accelerators that one center did not keep, and how far it is still believed.

Pure; times are seconds since the epoch and passed in. A promise is broken when a job that was sent
there for free nodes got none within its `schedulingDeadline`. Decides for whom and how long that
center is passed over for jobs that ask at least as much. Invariants: what one namespace met speaks
against the center for that namespace alone, since a job may ask what no node gives; two namespaces
speak for all; a job that got its nodes there undoes what was said of smaller asks; once a wait is
over, one job tries before others follow; memory is bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from huiju.hub.clock import stamp
from huiju.scheduling.model import Doubt

MOST_ASKS: Final = 64
MOST_NAMESPACES: Final = 16
"""That are told apart for one ask."""
_ENOUGH: Final = 2


@dataclass(frozen=True, slots=True)
class Ask:
    """What a job asked of the center's free nodes."""

    model: str
    per_worker: int
    workers: int

    def covers(self, other: Ask) -> bool:
        """Whether nodes for this are nodes for the other one too."""
        return (
            self.model == other.model
            and self.per_worker >= other.per_worker
            and self.workers >= other.workers
        )


@dataclass(slots=True)
class _Broken:
    """What one namespace met, when last, and until when that speaks against the center."""

    times: int
    at: float
    until: float


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a center is passed over."""

    first: float = 60.0
    """Seconds after the first broken promise; doubles with each that follows a wait."""
    most: float = 3600.0
    """Longest wait."""
    memory: float = 21_600.0
    """Seconds after its wait for which a broken promise is remembered."""


class Promises:
    """The memory of one center."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._asks: dict[Ask, dict[str, _Broken]] = {}
        self._given: dict[Ask, float] = {}
        """When the latest job of those that got their nodes was placed."""

    def broken(self, ask: Ask, namespace: str, placed: float, now: float) -> bool:
        """A job of the namespace that was `placed` then found no nodes; whether that is news.

        Those that were sent together, before the first of them told, count as one. It is none if a
        job that was placed no earlier got as much: then this one asked for what no node gives.
        """
        if any(given.covers(ask) and at >= placed for given, at in self._given.items()):
            return False
        met = self._asks.setdefault(ask, {})
        known = met.get(namespace)
        if known is None:
            met[namespace] = _Broken(1, now, now + self._pace.first)
        elif placed >= known.at:
            known.times, known.at = known.times + 1, now
            wait = self._pace.first * 2.0 ** min(known.times - 1, 16)
            known.until = now + min(wait, self._pace.most)
        else:
            return False
        while len(met) > MOST_NAMESPACES:
            del met[min(met, key=lambda one: met[one].until)]
        while len(self._asks) > MOST_ASKS:
            del self._asks[min(self._asks, key=self._latest)]
        return True

    def kept(self, ask: Ask, placed: float) -> bool:
        """A job that was `placed` then got its nodes; whether that undoes anything."""
        self._given[ask] = max(placed, self._given.pop(ask, 0.0))
        if len(self._given) > MOST_ASKS:
            del self._given[min(self._given, key=lambda one: self._given[one])]
        proven = [
            known
            for known, met in self._asks.items()
            if ask.covers(known) and all(placed >= one.at for one in met.values())
        ]
        for known in proven:
            del self._asks[known]
        return bool(proven)

    def forget(self, now: float) -> None:
        """Let go of what is long past."""
        for ask, met in list(self._asks.items()):
            kept = {by: one for by, one in met.items() if now < one.until + self._pace.memory}
            self._asks[ask] = kept
            if not kept:
                del self._asks[ask]

    def doubts(self, now: float) -> tuple[Doubt, ...]:
        """What the scheduler is to think of the center's free nodes."""
        return tuple(self._doubts(now))

    def claim(self) -> str:
        """What the center shows again and again and does not keep, in words; empty if nothing."""
        times = {ask: sum(one.times for one in met.values()) for ask, met in self._asks.items()}
        worst = max(times, key=lambda ask: times[ask], default=None)
        if worst is None or times[worst] < _ENOUGH:
            return ""
        return (
            f"It shows free nodes for {_said(worst)} that jobs did not find {times[worst]} times."
        )

    def _doubts(self, now: float) -> Iterator[Doubt]:
        for ask, met in sorted(self._asks.items(), key=lambda told: str(told[0])):
            until = max(one.until for one in met.values())
            again = f"believed again from {stamp(until)}"
            if now >= until:
                again = "one job at a time tries whether they are there now"
            yield Doubt(
                ask.model,
                ask.per_worker,
                ask.workers,
                namespaces=() if len(met) >= _ENOUGH else tuple(met),
                trial=now >= until,
                message=f"showed free nodes for {_said(ask)} that jobs did not find; {again}",
            )

    def _latest(self, ask: Ask) -> float:
        return max(one.until for one in self._asks[ask].values())


def _said(ask: Ask) -> str:
    return f"{ask.workers} x {ask.per_worker} {ask.model}"
