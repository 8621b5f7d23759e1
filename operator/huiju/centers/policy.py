"""The owner's word on a center, put together with its inventory: what the scheduler may use.

Decides limits, prices and links; what fits is the scheduler's. Invariant: pure, and never more
generous than the spec: of several limits on a model the smallest holds.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from typing import Final

from huiju.api.center import ComputeCenterSpec, Sharing
from huiju.api.zones import time_zone
from huiju.centers.answers import Inventory
from huiju.centers.census import Census
from huiju.scheduling.model import Bucket, Center, Doubt, Link, ShareLimit

_HOURS: Final = 24
_QUARTERS: Final = 4
_SCALES: Final = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_DAY: Final = 86_400
NO_SUSPECTS: Final[Mapping[str, bool]] = {}

Window = tuple[int, int, Fraction]
"""First hour, hour at which it ends, price."""


def center_view(
    name: str,
    spec: ComputeCenterSpec,
    inventory: Inventory,
    *,
    closed: str,
    message: str,
    now: float,
    links: tuple[Link, ...] | None = None,
    unguarded: str = "",
    unwatched: str = "",
    suspects: Mapping[str, bool] = NO_SUSPECTS,
    doubts: tuple[Doubt, ...] = (),
) -> Center:
    """What a center can run now; `closed` names the reason that nothing may be placed there.

    `links` are its links where more is known of them than what is declared; `suspects` the nodes
    on which hardware failed lately, each with whether it is set aside for all, `doubts` what is not
    believed of its free nodes.
    """
    sharing = spec.sharing
    return Center(
        name=name,
        buckets=_apart(name, inventory.buckets(), suspects),
        region=spec.region,
        residency=frozenset(spec.residency),
        closed=closed,
        closed_message=message,
        unguarded=unguarded,
        unwatched=unwatched,
        limits=_tried(share_limits(sharing, inventory.census()), doubts, inventory),
        doubts=doubts,
        namespaces=tuple(sharing.namespaces),
        image_prefixes=tuple(sharing.image_prefixes),
        kinds=frozenset(sharing.kinds),
        links=declared_links(spec) if links is None else links,
        hourly_price=hourly_price(spec, now),
    )


def _tried(
    limits: tuple[ShareLimit, ...], doubts: tuple[Doubt, ...], inventory: Inventory
) -> tuple[ShareLimit, ...]:
    """The limits, and for each model that is tried again one that lets one job of the size go
    there at a time: those that have their nodes count no more."""
    units: dict[str, int] = {}
    for doubt in doubts:
        if doubt.trial:
            asked = doubt.per_worker * doubt.workers
            units[doubt.model] = max(units.get(doubt.model, 0), asked)
    made = {limit.model: limit for limit in limits}
    for model, asked in units.items():
        held = inventory.held_units(model)
        most = held - inventory.awaited_units(model) + asked
        owners = made.get(model)
        if owners is None or most - held < owners.limit - owners.held:
            made[model] = ShareLimit(model, most, held, trial=True)
    return tuple(made[model] for model in sorted(made))


def _apart(
    center: str, buckets: tuple[Bucket, ...], suspects: Mapping[str, bool]
) -> tuple[Bucket, ...]:
    """The buckets with each suspect node in one of its own, so that jobs can tell it from others;
    nothing is free on one that is set aside."""
    if not suspects:
        return buckets
    made: list[Bucket] = []
    for bucket in buckets:
        found = suspects.keys() & set(bucket.nodes)
        others = tuple(node for node in bucket.nodes if node not in found)
        if others:
            made.append(replace(bucket, nodes=others) if found else bucket)
        for node in sorted(found):
            aside = suspects[node]
            shape = replace(bucket.shape, suspect=f"{center}/{node}", set_aside=aside)
            made.append(Bucket(shape, () if aside else bucket.free, (node,), bucket.free_devices))
    return tuple(made)


def declared_links(spec: ComputeCenterSpec) -> tuple[Link, ...]:
    """The links as the center declares them."""
    return tuple(
        Link(link.to, bytes_per_second(link.bandwidth), float(link.price_per_gigabyte))
        for link in spec.links
    )


# --- limits --------------------------------------------------------------------------------------


def share_limits(sharing: Sharing, census: Census) -> tuple[ShareLimit, ...]:
    """The units of each limited model that the federation may hold, sorted by model.

    What is reserved for the center's own users is taken from what is free: it limits how much more
    the federation may take, and takes nothing back from it.
    """
    at_most = {limit.model: limit.units for limit in sharing.max_units}
    kept = {limit.model: limit.units for limit in sharing.reserve}
    models = {model for model, _ in census.tallies} | at_most.keys() | kept.keys()
    made = []
    for model in sorted(models):
        tallies = [census.tallies[key] for key in census.keys_of_model(model)]
        held = sum(tally.federated for tally in tallies)
        limits = []
        if model in at_most:
            limits.append(at_most[model])
        if sharing.max_share_percent < 100:
            allocatable = sum(tally.allocatable for tally in tallies)
            limits.append(allocatable * sharing.max_share_percent // 100)
        if kept.get(model):
            free = sum(tally.free for tally in tallies)
            limits.append(held + max(free - kept[model], 0))
        if limits:
            made.append(ShareLimit(model, min(limits), held))
    return tuple(made)


# --- links and prices ----------------------------------------------------------------------------


def bytes_per_second(bandwidth: str) -> int:
    """Bytes per second of a bandwidth in bits per second such as `10G`."""
    digits = bandwidth.rstrip("kMGT")
    return int(digits) * _SCALES[bandwidth[len(digits) :]] // 8


def hourly_price(spec: ComputeCenterSpec, now: float) -> tuple[float, ...]:
    """Price per petaFLOPS-hour for each hour of the present UTC day, empty if computing is free."""
    tariff = spec.tariff
    windows = tuple((w.from_hour, w.to_hour, Fraction(w.price)) for w in tariff.windows)
    base = Fraction(tariff.price)
    if not base and not any(price for _, _, price in windows):
        return ()
    return _prices(base, windows, spec.time_zone, int(now // _DAY))


@lru_cache(maxsize=1024)
def _prices(base: Fraction, windows: tuple[Window, ...], name: str, day: int) -> tuple[float, ...]:
    zone = time_zone(name)

    def price_at(quarter: int) -> Fraction:
        seconds = day * _DAY + quarter * 900
        return _covering(windows, datetime.datetime.fromtimestamp(seconds, zone).hour, base)

    # Some zones are off by half or quarter hours, where a UTC hour has a part of two local ones.
    return tuple(
        float(sum(map(price_at, _quarters(hour)), Fraction(0)) / _QUARTERS)
        for hour in range(_HOURS)
    )


def _quarters(hour: int) -> Iterable[int]:
    return range(hour * _QUARTERS, (hour + 1) * _QUARTERS)


def _covering(windows: tuple[Window, ...], hour: int, base: Fraction) -> Fraction:
    return next((price for first, end, price in windows if first <= hour < end), base)
