"""What each way to run a job costs, in seconds; the cheapest one is taken.

Decides among centers, those that could take the job now and those where it could start later.
Terms: waiting for the start, bringing the missing data, running on that model, what the run and the
links cost, leaving the home center, breaking open free nodes, taking a model that is scarce while
another would do. Invariant: the score is the sum of
the terms shown, and ties are broken by home, center name and alternative.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from huiju.scheduling.capacity import CenterState
from huiju.scheduling.fit import Kind, Option
from huiju.scheduling.model import Candidate, DataNeed, JobShape, Link
from huiju.scheduling.policy import Policy
from huiju.scheduling.ways import Way, way_over

_HOUR = 3600.0
_GFLOPS_PER_PFLOPS = 1_000_000

Rank = tuple[float, bool, str, int]
"""Sorts options, best first: score, whether away from home, center, alternative."""
_Base = tuple[float, tuple[float, ...]]
"""What rests on the center and the alternative alone: sum and terms, second to last but one."""


@dataclass(slots=True)
class Costs:
    """What was found out about one kind of job in one hour under unchanged prices."""

    stamp: tuple[int, float] = (-1, 0.0)
    known: dict[tuple[str, int, int, bool], _Base] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a class of jobs brings to the score."""

    shape: JobShape
    expected_runtime: float | None
    home: str
    costs: Costs = field(default_factory=Costs)


def wish_of(kind: Kind, home: str) -> Wish:
    """What a kind of jobs brings to the score where that is its home."""
    known = kind.wishes.get(home)
    if not isinstance(known, Wish):
        known = kind.wishes[home] = Wish(kind.fitter.shape, kind.expected_runtime, home)
    return known


class Scorer:
    """Scores options under one policy; knows the centers for links and relative speeds."""

    def __init__(
        self,
        policy: Policy,
        centers: Mapping[str, CenterState],
        gflops: Callable[[str], int],
        prices: int,
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

    def _staging(self, shape: JobShape, center: str, now: float) -> tuple[float, float]:
        """Seconds to bring the data that the center lacks, one set after the other, and money."""
        seconds = money = 0.0
        for need in shape.data:
            if center not in need.copies:
                way = self._bring(need, center, now)
                seconds += way.seconds
                money += way.money
        return seconds, money

    def _bring(self, need: DataNeed, center: str, now: float) -> Way:
        """The best way from a center that has the data."""
        links = (
            (source, link)
            for source in (need.copies if need.sources is None else need.sources)
            if source in self._centers
            for link in self._centers[source].center.links
            if link.to == center and link.bytes_per_second > 0
        )
        ways = [way_over(need, source, link, now) for source, link in links]
        per_money = self._policy.per_money
        undeclared = way_over(need, "", Link(center, self._policy.default_bandwidth), now)
        return min(ways, key=lambda way: way.rank(per_money), default=undeclared)

    def _run_price(self, center: str, gflops: int, seconds: float, now: float) -> float:
        prices = self._centers[center].center.hourly_price
        if not prices:
            return 0.0
        hours = min(len(prices), max(1, int(-(-seconds // _HOUR))))
        first = int(now // _HOUR)
        price = sum(prices[(first + i) % len(prices)] for i in range(hours)) / hours
        return price * gflops / _GFLOPS_PER_PFLOPS * seconds / _HOUR

    def base(self, wish: Wish, center: str, alternative: int, gflops: int, now: float) -> _Base:
        """All terms but the first and the last, and their sum; the same for an hour."""
        stamp = (self._prices, now // _HOUR)
        if wish.costs.stamp != stamp:
            wish.costs.stamp = stamp
            wish.costs.known.clear()
        away = bool(wish.home) and center != wish.home
        key = (center, alternative, gflops, away)
        known = wish.costs.known.get(key)
        if known is None:
            policy = self._policy
            runtime = wish.expected_runtime or policy.default_runtime
            runtime /= self.speed(wish.shape, alternative)
            staging, transfer = self._staging(wish.shape, center, now)
            terms = (
                staging,
                runtime,
                self._run_price(center, gflops, runtime, now) * policy.per_money,
                transfer * policy.per_money,
                policy.away if away else 0.0,
            )
            known = wish.costs.known[key] = (sum(terms), terms)
        return known

    def toll(self, wish: Wish, center: str, alternative: int, gflops: int, now: float) -> float:
        """What a run costs for certain, wherever it is at home: who waits anyway may leave."""
        _, terms = self.base(wish, center, alternative, gflops, now)
        return sum(terms[:-1])

    def candidate(self, option: Option, wish: Wish, now: float) -> Candidate:
        """The option with its terms, for people."""
        where = (option.center, option.alternative)
        total, terms = self.base(wish, *where, option.gflops, now)
        crowding, broken, scarce = here = self._here(option, wish)
        told = (0.0, *terms[:-1], terms[-1] + crowding, broken, scarce)
        return Candidate(*where, told, total + sum(here))

    def _here(self, option: Option, wish: Wish) -> tuple[float, float, float]:
        """What a guest costs those who are at home there, what breaking open nodes costs, and what
        one who has a choice of models costs those who need this one."""
        policy, found = self._policy, option.found
        guest = bool(wish.home) and option.center != wish.home
        return (
            policy.away * found.share if guest else 0.0,
            policy.fragmentation * found.broken,
            policy.scarcity * found.share if len(wish.shape.alternatives) > 1 else 0.0,
        )

    def later(
        self, wish: Wish, center: str, alternative: int, gflops: int, wait: float, now: float
    ) -> Candidate:
        """A start in so many seconds, for people; nobody knows yet what it breaks open."""
        total, terms = self.base(wish, center, alternative, gflops, now)
        return Candidate(center, alternative, (wait, *terms, 0.0, 0.0), wait + total)

    def rank(self, option: Option, wish: Wish, now: float) -> Rank:
        """Where an option stands among others."""
        center, alternative = option.center, option.alternative
        total, _ = self.base(wish, center, alternative, option.gflops, now)
        return (total + sum(self._here(option, wish)), center != wish.home, center, alternative)
