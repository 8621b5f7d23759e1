"""Links between centers: what each carries, learned from finished transfers, and what it costs.

Decides nothing; keeps what replicas tell of their transfers, which outlives them here and is read
back from those there are when the hub starts. Invariant: what is declared is the center's own word,
and is only ever weighed with what was seen, never changed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from huiju.api.center import ComputeCenterSpec
from huiju.api.center import Link as DeclaredLink
from huiju.api.zones import time_zone
from huiju.centers.policy import bytes_per_second
from huiju.data.estimate import REMEMBERED, Estimate, Finished, Rate, estimate, learn
from huiju.data.windows import opens_at
from huiju.hub.clock import seconds
from huiju.hub.datasets.catalog import Catalog, Replica
from huiju.hub.datasets.holders import Center, windows_of
from huiju.scheduling.model import DataNeed, Link

_HOUR: Final = 3600.0
_MOSTLY: Final = 0.9
_WITHIN: Final = "10G"
"""Bits per second assumed inside a center, until something was seen."""
_Pair = tuple[str, str]


class Links:
    """Rates by source and center."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._finished: dict[_Pair, deque[Finished]] = {}
        self._known: set[tuple[str, int]] = set()
        self._rates: dict[_Pair, tuple[tuple[float, int, int], Rate]] = {}

    def note(self, replica: Replica) -> bool:
        """Learn of a replica's transfer once it has ended; whether that is news."""
        status = replica.status
        took, source = int(status.get("seconds") or 0), str(status.get("source") or "")
        which = (replica.uid, int(status.get("epoch") or 0))
        if not replica.verified or not took or not source or which in self._known:
            return False
        self._known.add(which)
        ended = seconds(str(status.get("verifiedAt") or ""))
        size = int(status.get("bytesTotal") or replica.spec.bytes)
        if int(status.get("fetched", size)) < _MOSTLY * size:
            return False  # most was there already: its time tells nothing of the link
        one = Finished(source, replica.spec.center, size, replica.spec.files, ended - took, took)
        kept = self._finished.setdefault((one.source, one.center), deque(maxlen=REMEMBERED))
        kept.append(one)
        return True

    def rate(self, source: str, link: DeclaredLink, now: float) -> Rate:
        """What a link carries."""
        pair = (source, link.to)
        seen = self._finished.get(pair, ())
        declared = bytes_per_second(link.bandwidth)
        stamp = (now // _HOUR, len(seen), declared)
        known = self._rates.get(pair)
        if known is None or known[0] != stamp:
            known = self._rates[pair] = (stamp, learn(max(1, declared), seen, now))
        return known[1]

    def of(self, center: str, spec: ComputeCenterSpec, now: float) -> tuple[Link, ...]:
        """The links of a center as the scheduler weighs them."""
        return tuple(self._link(center, spec, link, now) for link in (*spec.links, within(center)))

    def _link(self, center: str, spec: ComputeCenterSpec, link: DeclaredLink, now: float) -> Link:
        opens = opens_at(windows_of(link), time_zone(spec.time_zone), now) if link.windows else 0.0
        rate = self.rate(center, link, now)
        speed = int(rate.bytes_per_second)
        price = float(link.price_per_gigabyte)
        return Link(
            link.to, _rounded(speed) if rate.seen else speed, price, opens if opens > now else 0.0
        )

    def estimate(
        self, need: DataNeed, center: str, sites: Iterable[Center], now: float
    ) -> Estimate | None:
        """What it takes to have a need in a center; None where no link leads there."""
        return estimate(need, center, self._ways(need, center, sites, now), now)

    def _ways(
        self, need: DataNeed, center: str, sites: Iterable[Center], now: float
    ) -> Iterator[tuple[str, Link, Rate, Sequence[int]]]:
        sources = need.copies if need.sources is None else need.sources
        for site in sites:
            if site.name not in sources:
                continue
            for link in (*site.spec.links, within(site.name)):
                if link.to == center:
                    made = self._link(site.name, site.spec, link, now)
                    rate = self.rate(site.name, link, now)
                    yield site.name, made, rate, self._left(site.name, center)

    def _left(self, source: str, center: str) -> list[int]:
        """Bytes that each transfer on the link still has to move."""
        return [
            max(0, int(r.status.get("bytesTotal") or 0) - int(r.status.get("bytesDone") or 0))
            for r in self._catalog.replicas()
            if r.phase == "Copying" and r.spec.center == center and r.status.get("source") == source
        ]


def within(center: str) -> DeclaredLink:
    """From the owner's files to the store of the same center; learned as any other."""
    return DeclaredLink(to=center, bandwidth=_WITHIN)


def _rounded(rate: int) -> int:
    """To two digits, so that what was learned by a hair changes no score."""
    return max(1, int(float(f"{rate:.1e}")))
