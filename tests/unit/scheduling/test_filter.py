"""Refusals by the owner's rules and the user's wishes: each with its reason and its numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from huiju.api.reasons import Reason
from huiju.scheduling import reasons
from huiju.scheduling.model import (
    Alternative,
    Avoid,
    Center,
    Doubt,
    Refusal,
    ShareLimit,
    Taint,
    Toleration,
)
from tests.scheduling_worlds import A910, B3, GIB, bucket, center, core, job, nodes, shape, where

TAINT = Taint("team", "vision", "NoSchedule")


def refusal(one: Center, now: float = 10.0, **more: Any) -> Refusal:
    """What the only center says to the only job."""
    units, workers = more.pop("units", 1), more.pop("workers", 1)
    made = core([one], [job("a", units, workers, **more)])
    outcome = made.cycle(now)
    assert not outcome.placed
    explained = made.explain("a", now)
    assert explained is not None
    (found,) = explained.trace.refusals
    assert outcome.waiting[0].reason == found.reason == explained.reason
    assert found.message in outcome.waiting[0].message
    return found


@pytest.mark.parametrize(
    ("center_fields", "job_fields", "reason", "words"),
    [
        ({"closed": "CenterCordoned", "closed_message": "moving"}, {}, "CenterCordoned", "moving"),
        ({"region": "cn-north"}, {"regions": ("cn-east",)}, "RegionNotAllowed", "cn-north"),
        ({}, {"regions": ("cn-east",)}, "RegionNotAllowed", "has no region"),
        ({"residency": frozenset({"eu"})}, {"residency": "cn"}, "ResidencyNotSatisfied", "eu"),
        ({}, {"centers": ("west",)}, "CenterExcluded", "west"),
        ({}, {"exclude_centers": ("east",)}, "CenterExcluded", "excludes"),
        ({}, {"avoid": (Avoid("east", "NodeLost", 70.0),)}, "CenterAvoided", "60 s"),
        ({"unguarded": "no sentinel"}, {"guarded": True}, "GuardUnavailable", "no sentinel"),
        ({"unwatched": "no sidecars"}, {"watched": True}, "GuardUnavailable", "no sidecars"),
        ({"namespaces": ("team-b", "x-*")}, {}, "SharingPolicy", "x-*"),
        ({"image_prefixes": ("hub/",)}, {"images": ("evil/x",)}, "SharingPolicy", "evil/x"),
        ({"kinds": frozenset({"Secret"})}, {"brings": ("Service",)}, "SharingPolicy", "a Service"),
        ({}, {"model": "ascend-910b3"}, "NoSuchAccelerator", "only nvidia-h100"),
        ({"count": 0}, {}, "NoSuchAccelerator", "no accelerator"),
        ({}, {"units": 9}, "NoNodeFits", "largest free block 8"),
        ({}, {"units": 8, "workers": 5}, "NoNodeFits", "room for 5 workers"),
        ({}, {"node_selector": (("disk", "ssd"),)}, "NoNodeFits", "label disk=ssd"),
        ({"kind": shape(taints=(TAINT,))}, {}, "NoNodeFits", "team=vision:NoSchedule"),
        ({"kind": shape(cpu=500)}, {}, "NoNodeFits", "too little cpu on 4"),
        ({"kind": shape(A910)}, {"model": A910.model, "units": 3}, "IllegalAcceleratorCount", "3"),
    ],
)
def test_each_refusal_has_its_reason_and_numbers(
    center_fields: dict[str, Any], job_fields: dict[str, Any], reason: str, words: str
) -> None:
    found = refusal(center(**center_fields), **job_fields)
    assert (found.center, found.reason) == ("east", reason)
    assert words in found.message


def test_the_owners_limit_counts_what_the_network_holds() -> None:
    limited = center(limits=(ShareLimit("nvidia-h100", 10, 4),))
    found = refusal(limited, units=8)
    assert found.reason == "SharingLimit"
    assert "lends 10 and the network holds 4" in found.message
    assert core([limited], [job("a", 6)]).cycle(1.0).placed


def test_a_limit_holds_within_a_cycle() -> None:
    limited = center(limits=(ShareLimit("nvidia-h100", 10, 0),))
    outcome = core([limited], [job(f"j{i}", 4) for i in range(3)]).cycle(1.0)
    assert len(outcome.placed) == 2
    assert outcome.waiting[0].reason == "SharingLimit"


@pytest.mark.parametrize(
    "toleration",
    [
        Toleration(operator="Exists"),
        Toleration("team", "Exists"),
        Toleration("team", "Equal", "vision", "NoSchedule"),
    ],
)
def test_tolerated_taints_do_not_matter(toleration: Toleration) -> None:
    made = core([center(kind=shape(taints=(TAINT,)))], [job("a", tolerations=(toleration,))])
    assert made.cycle(1.0).placed


@pytest.mark.parametrize(
    "toleration",
    [
        Toleration(),
        Toleration("team", "Equal", "speech"),
        Toleration("team", "Exists", effect="NoExecute"),
    ],
)
def test_other_tolerations_do_not_help(toleration: Toleration) -> None:
    refusal(center(kind=shape(taints=(TAINT,))), tolerations=(toleration,))


def test_selector_and_image_let_pass_what_matches() -> None:
    one = center(kind=shape(labels=(("disk", "ssd"),)), image_prefixes=("hub/", "quay/"))
    made = core([one], [job("a", node_selector=(("disk", "ssd"),), images=("quay/x",))])
    assert made.cycle(1.0).placed


def test_an_alternatives_image_is_checked_for_it_alone() -> None:
    two = (Alternative("nvidia-h100", 1, image="evil/x"), Alternative("ascend-910b3", 1))
    mixed = center(
        buckets=(bucket(nodes("g", 1)), bucket(nodes("a", 1), shape(B3))), image_prefixes=("hub/",)
    )
    (place,) = core([mixed], [job("a", alternatives=two)]).cycle(1.0).placed
    assert place.alternative == 1
    assert place.trace.refused == (("SharingPolicy", 1),)


def test_an_avoided_center_comes_back() -> None:
    made = core([center()], [job("a", avoid=(Avoid("east", "NodeLost", 70.0),))])
    assert not made.cycle(10.0).placed
    assert made.wakes_at == 70.0
    assert not made.cycle(69.0).placed
    assert where(made.cycle(70.0).placed) == {"a": "east"}


@pytest.mark.parametrize(
    "rule",
    [
        {"closed": "CenterCordoned"},
        {"namespaces": ("other",)},
        {"image_prefixes": ("hub/",)},
        {"kinds": frozenset[str]()},
        {"region": "elsewhere"},
        {"residency": frozenset[str]()},
        {"unguarded": "no sentinel"},
        {"unwatched": "no sidecars"},
    ],
)
def test_a_center_whose_rules_change_is_asked_again(rule: dict[str, Any]) -> None:
    one = center(region="here", residency=frozenset({"domestic"}))
    wishes: dict[str, Any] = {
        "regions": ("here",),
        "residency": "domestic",
        "images": ("i",),
        "guarded": True,
        "watched": True,
    }
    made = core([replace(one, **rule)], [job("a", brings=("Secret",), **wishes)])
    assert not made.cycle(1.0).placed
    made.set_center(one)
    assert made.cycle(2.0).placed


def test_memory_is_named_when_it_is_short() -> None:
    found = refusal(center(kind=shape(memory=GIB // 2)))
    assert "too little memory" in found.message


def test_words_are_those_of_the_api() -> None:
    words = {value for name, value in vars(reasons).items() if name.isupper()}
    assert words <= {str(reason) for reason in Reason}


def test_a_center_that_cannot_guard_takes_whoever_needs_no_guard() -> None:
    made = core([center("east", unguarded="no sentinel", unwatched="old")], [job("a")])
    assert where(made.cycle(10.0).placed) == {"a": "east"}


def suspects(aside: bool) -> Center:
    """Two nodes, the first of which has had a fault."""
    first = replace(shape(), suspect="east/e0", set_aside=aside)
    free = bucket(["e0"], first)
    apart = replace(free, free=()) if aside else free
    return center("east", buckets=(apart, bucket(["e1"], shape())))


def test_a_job_keeps_off_the_node_that_failed_it_and_others_use_it() -> None:
    failed = job("a", units=8, avoid_nodes=("east/e0",))
    made = core([suspects(aside=False)], [failed, job("b", units=8)])
    placed = {p.job.uid: p.assignments[0].node for p in made.cycle(10.0).placed}
    assert placed == {"a": "e1", "b": "e0"}


def test_equal_node_names_of_other_centers_are_other_nodes() -> None:
    made = core([suspects(aside=False)], [job("a", units=8, workers=2, avoid_nodes=("west/e0",))])
    assert where(made.cycle(10.0).placed) == {"a": "east"}


def test_no_job_is_sent_to_a_node_that_is_set_aside() -> None:
    made = core([suspects(aside=True)], [job("a", units=8), job("b", units=8)])
    (placed,) = made.cycle(10.0).placed
    assert placed.assignments[0].node == "e1"
    made = core([suspects(aside=True)], [job("c", units=8, workers=2)])
    assert not made.cycle(10.0).placed
    explained = made.explain("c", 10.0)
    assert explained is not None
    assert "keeps off 1 after hardware faults" in explained.message


def test_a_job_that_failed_on_all_nodes_is_told_so() -> None:
    only = center("east", buckets=(bucket(["e0"], replace(shape(), suspect="east/e0")),))
    found = refusal(only, avoid_nodes=("east/e0",))
    assert found.message == "no nvidia-h100 node has a record without hardware faults"


# --- promises that were not kept ---


def doubting(**fields: Any) -> Doubt:
    return Doubt(**{"model": "nvidia-h100", "per_worker": 4, "workers": 1, **fields})


@pytest.mark.parametrize(
    ("fields", "units", "workers"),
    [({}, 4, 1), ({}, 8, 2), ({"namespaces": ("team-a", "team-b")}, 4, 1)],
)
def test_free_nodes_that_others_did_not_find_are_not_believed(
    fields: dict[str, Any], units: int, workers: int
) -> None:
    doubt = doubting(message="showed free nodes that were none", **fields)
    found = refusal(center(doubts=(doubt,)), units=units, workers=workers)
    assert (found.reason, found.message) == ("PromiseBroken", "showed free nodes that were none")


@pytest.mark.parametrize(
    ("fields", "units"),
    [({}, 2), ({"workers": 2}, 8), ({"namespaces": ("team-b",)}, 8), ({"model": "other"}, 8)],
)
def test_who_asks_less_or_is_not_concerned_goes_there(fields: dict[str, Any], units: int) -> None:
    made = core([center(doubts=(doubting(**fields),))], [job("a", units=units)])
    assert where(made.cycle(10.0).placed) == {"a": "east"}


def test_a_doubted_center_is_passed_over_for_an_honest_one() -> None:
    centers = [center("east", doubts=(doubting(),)), center("west")]
    made = core(centers, [job(f"j{n}", units=8) for n in range(4)])
    assert set(where(made.cycle(10.0).placed).values()) == {"west"}
    made.set_center(center("east"))
    made.set_job(job("later", units=8))
    assert where(made.cycle(20.0).placed) == {"later": "east"}


def test_in_a_trial_one_job_goes_and_the_others_wait_for_what_comes_of_it() -> None:
    doubt = doubting(per_worker=8, trial=True, message="one tries")
    limit = ShareLimit("nvidia-h100", 8, 0, trial=True)
    tried = center("east", doubts=(doubt,), limits=(limit,))
    made = core([tried], [job(f"j{n}", units=8) for n in range(3)])
    outcome = made.cycle(10.0)
    assert len(outcome.placed) == 1
    assert {wait.reason for wait in outcome.waiting} == {"PromiseBroken"}
    assert all("one tries" in wait.message for wait in outcome.waiting)
    # The same limit is the owner's once the trial is over.
    made.set_center(replace(tried, doubts=(), limits=(replace(limit, held=8, trial=False),)))
    assert {wait.reason for wait in made.cycle(20.0).waiting} == {"SharingLimit"}
