"""The owner's word: limits, reserve, links, prices."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from huiju.api.center import ComputeCenterSpec
from huiju.centers.inventory import CenterInventory
from huiju.centers.policy import bytes_per_second, center_view, hourly_price, share_limits
from huiju.scheduling.model import Center, ShareLimit
from tests.inventory_worlds import GPU, H100, inventory, node, pod, reservation

MODEL = "nvidia-h100-sxm"
NOON = datetime.datetime(2026, 6, 1, 12, tzinfo=datetime.UTC).timestamp()


def spec(**more: Any) -> ComputeCenterSpec:
    connection = {"push": {"kubeconfigSecret": {"name": "east"}}}
    return ComputeCenterSpec.model_validate({"connection": connection, "region": "east", **more})


def four_nodes() -> CenterInventory:
    """32 units: 8 held by federated pods, 4 reserved for them, 8 by the center's own users."""
    return inventory(
        *(node(f"n{i}", {GPU: "8"}, H100) for i in range(4)),
        pod("fed", "n0", {GPU: "8"}, owner=("a", 1)),
        pod("own", "n1", {GPU: "8"}),
        reservation("b", 1, {GPU: 4}, n2=1),
    )


def limits(**sharing: Any) -> tuple[ShareLimit, ...]:
    return share_limits(spec(sharing=sharing).sharing, four_nodes().census())


def test_suspect_nodes_stand_apart_and_nothing_is_free_on_those_set_aside() -> None:
    made = inventory(*(node(f"n{i}", {GPU: "8"}, H100) for i in range(4)))
    view = center_view(
        "east",
        spec(),
        made,
        closed="",
        message="",
        now=NOON,
        suspects={"n1": False, "n3": True, "gone": True},
    )
    apart = {bucket.nodes: bucket for bucket in view.buckets}
    assert set(apart) == {("n0", "n2"), ("n1",), ("n3",)}
    assert apart["n0", "n2"].shape.suspect == ""
    alone = apart["n1",]
    assert (alone.shape.suspect, alone.shape.set_aside) == ("east/n1", False)
    assert dict(alone.free)[GPU] == 8
    aside = apart["n3",]
    assert (aside.shape.suspect, aside.shape.set_aside, aside.free) == ("east/n3", True, ())


def test_without_a_word_nothing_is_limited() -> None:
    assert limits() == ()


def test_at_most_so_many_units_with_those_that_are_held() -> None:
    assert limits(maxUnits=[{"model": MODEL, "units": 16}]) == (ShareLimit(MODEL, 16, 12),)


def test_a_share_is_of_the_allocatable_units_rounded_down() -> None:
    assert limits(maxSharePercent=40) == (ShareLimit(MODEL, 12, 12),)
    assert limits(maxSharePercent=0) == (ShareLimit(MODEL, 0, 12),)


def test_a_reserve_is_kept_from_what_is_free() -> None:
    # 12 are free; 10 of them stay free, so 2 more may be held beside the 12.
    assert limits(reserve=[{"model": MODEL, "units": 10}]) == (ShareLimit(MODEL, 14, 12),)
    assert limits(reserve=[{"model": MODEL, "units": 20}]) == (ShareLimit(MODEL, 12, 12),)


def test_of_several_limits_the_smallest_holds() -> None:
    several = limits(
        maxUnits=[{"model": MODEL, "units": 30}],
        maxSharePercent=50,
        reserve=[{"model": MODEL, "units": 1}],
    )
    assert several == (ShareLimit(MODEL, 16, 12),)


def test_a_limit_on_a_model_that_is_not_there_stands_ready() -> None:
    assert limits(maxUnits=[{"model": "ascend-910b3", "units": 8}]) == (
        ShareLimit("ascend-910b3", 8, 0),
    )


def test_the_view_carries_the_owners_word() -> None:
    made = four_nodes()
    said = spec(
        residency=["domestic"],
        sharing={"namespaces": ["team-*"], "imagePrefixes": ["registry.example/"]},
        links=[{"to": "west", "bandwidth": "10G", "pricePerGigabyte": "0.5"}],
    )
    view = center_view("east", said, made, closed="", message="", now=NOON)
    assert isinstance(view, Center)
    assert (view.name, view.region, view.residency) == ("east", "east", frozenset({"domestic"}))
    assert view.namespaces == ("team-*",)
    assert view.image_prefixes == ("registry.example/",)
    assert view.links[0].to == "west"
    assert view.links[0].bytes_per_second == 1_250_000_000
    assert view.links[0].price_per_gigabyte == 0.5
    assert view.buckets is made.buckets()
    assert view.hourly_price == ()


def test_a_closed_center_says_why_and_still_shows_what_it_has() -> None:
    view = center_view(
        "east", spec(), four_nodes(), closed="CenterCordoned", message="cordoned", now=NOON
    )
    assert (view.closed, view.closed_message) == ("CenterCordoned", "cordoned")
    assert view.buckets


@pytest.mark.parametrize(
    ("written", "rate"), [("800M", 100_000_000), ("8", 1), ("64k", 8000), ("1T", 125 * 10**9)]
)
def test_bandwidth_is_bits(written: str, rate: int) -> None:
    assert bytes_per_second(written) == rate


def night(zone: str) -> tuple[float, ...]:
    tariff = {"price": "3", "windows": [{"fromHour": 0, "toHour": 8, "price": "1"}]}
    return hourly_price(spec(timeZone=zone, tariff=tariff), NOON)


def test_38_tariff_hours_are_local_and_prices_in_utc() -> None:
    prices = night("Asia/Shanghai")
    assert [hour for hour, price in enumerate(prices) if price == 1.0] == list(range(16, 24))
    assert prices[0] == 3.0


def test_a_zone_off_by_half_an_hour_splits_the_hour() -> None:
    assert night("Asia/Kolkata")[18] == 2.0


def test_an_unknown_zone_is_refused_by_name() -> None:
    assert night("UTC")[:9] == (*[1.0] * 8, 3.0)
    with pytest.raises(ValueError, match="there is no time zone 'Nowhere/Atlantis'"):
        night("Nowhere/Atlantis")


def test_the_first_window_that_covers_an_hour_holds() -> None:
    tariff = {
        "windows": [
            {"fromHour": 10, "toHour": 12, "price": "5"},
            {"fromHour": 8, "toHour": 18, "price": "2"},
        ]
    }
    prices = hourly_price(spec(timeZone="UTC", tariff=tariff), NOON)
    assert prices[7:13] == (0.0, 2.0, 2.0, 5.0, 5.0, 2.0)
