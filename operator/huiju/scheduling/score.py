"""What each way to run a job costs, in seconds; the cheapest one is taken.

Decides among centers that all could take the job now. Terms: bringing the missing data, running on
that model, money, leaving the home center, breaking open free nodes. Invariant: the score is the
sum of the terms shown, and ties are broken by home, center name and alternative.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from huiju.scheduling.capacity import CenterState
from huiju.scheduling.fit import Option
from huiju.scheduling.model import Candidate, JobShape, Term
from huiju.scheduling.policy import Policy

_HOUR = 3600.0
_GFLOPS_PER_PFLOPS = 1_000_000


@dataclass(frozen=True, slots=True)
class Wish:
    """What a class of jobs brings to the score."""

    shape: JobShape
    expected_runtime: float | None
    home: str


class Scorer:
    """Scores options under one policy; knows the centers for links and relative speeds."""

    def __init__(
        self,
        policy: Policy,
        centers: Mapping[str, CenterState],
        gflops: Callable[[str], int],
        prices: int = 0,
    ) -> None:
        self._prices = prices
        self._policy = policy
        self._centers = centers
        self._gflops = gflops

    def speed(self, shape: JobShape, alternative: int) -> float:
        """How fast an alternative runs the job against the first one."""
        if not alternative:
            return 1.0
        chosen, first = shape.alternatives[alternative], shape.alternatives[0]
        if chosen.relative_speed:
            return chosen.relative_speed
        ours = chosen.per_worker * self._gflops(chosen.model)
        theirs = first.per_worker * self._gflops(first.model)
        return ours / theirs if ours and theirs else 1.0

    def staging(self, shape: JobShape, center: str) -> float:
        """Seconds to bring the data that the center lacks, one set after the other."""
        total = 0.0
        for need in shape.data:
            if center not in need.copies:
                total += need.bytes / self._bandwidth(need.copies, center)
        return total

    def _bandwidth(self, copies: frozenset[str], center: str) -> int:
        rates = [
            link.bytes_per_second
            for source in copies
            if source in self._centers
            for link in self._centers[source].center.links
            if link.to == center and link.bytes_per_second > 0
        ]
        return max(rates, default=self._policy.default_bandwidth)

    def _money(self, option: Option, seconds: float, now: float) -> float:
        prices = self._centers[option.center].center.hourly_price
        if not prices:
            return 0.0
        hours = min(len(prices), max(1, int(-(-seconds // _HOUR))))
        first = int(now // _HOUR)
        price = sum(prices[(first + i) % len(prices)] for i in range(hours)) / hours
        return price * option.gflops / _GFLOPS_PER_PFLOPS * seconds / _HOUR

    def terms(self, option: Option, wish: Wish, now: float) -> tuple[float, ...]:
        """Seconds of each term, in the order of `TERMS`."""
        policy = self._policy
        runtime = wish.expected_runtime or policy.default_runtime
        runtime /= self.speed(wish.shape, option.alternative)
        staging = self.staging(wish.shape, option.center) if wish.shape.data else 0.0
        away = policy.away if wish.home and option.center != wish.home else 0.0
        money = self._money(option, runtime, now) * policy.per_money
        return (staging, runtime, money, away, policy.fragmentation * option.found.broken)

    def candidate(self, option: Option, wish: Wish, now: float) -> Candidate:
        """The option with its terms, for people."""
        terms = self.terms(option, wish, now)
        named = tuple(Term(n, s) for n, s in zip(TERMS, terms, strict=True))
        return Candidate(option.center, option.alternative, named, sum(terms))

    def rank(self, option: Option, wish: Wish, now: float) -> tuple[float, bool, str, int]:
        """Sorts options, best first."""
        # Everything but the home depends on the option, the run time, the hour, and prices.
        away = bool(wish.home) and option.center != wish.home
        key = (self._prices, wish.expected_runtime, now // _HOUR, away)
        score = option.costs.get(key)
        if score is None:
            score = option.costs[key] = sum(self.terms(option, wish, now))
        return (score, option.center != wish.home, option.center, option.alternative)


TERMS = ("stage data", "run", "money", "away from home", "fragmentation")
