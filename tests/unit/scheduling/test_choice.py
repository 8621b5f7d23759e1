"""Which nodes a gang takes, which center and alternative a job takes, and what is told of it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from huiju.scheduling.model import (
    CPU,
    PODS,
    Alternative,
    Assignment,
    Bucket,
    Center,
    DataNeed,
    Link,
    NodeShape,
    Place,
    Placed,
    Queue,
    vector,
)
from tests.scheduling_worlds import (
    A3,
    A910,
    B3,
    H100,
    bucket,
    center,
    core,
    job,
    nodes,
    shape,
    where,
)

GB = 10**9


def only(one: Center, **more: Any) -> Place:
    units, workers = more.pop("units", 1), more.pop("workers", 1)
    (place,) = core([one], [job("a", units, workers, **more)]).cycle(1.0).placed
    return place


def spread(place: Place) -> dict[str, int]:
    found: dict[str, int] = {}
    for assignment in place.assignments:
        found[assignment.node] = found.get(assignment.node, 0) + assignment.workers
    return found


def test_the_tightest_node_is_taken_lowest_name_first() -> None:
    one = center(buckets=(bucket(["a"]), bucket(["c", "b"], taken=5), bucket(["d"], taken=2)))
    assert spread(only(one, units=2)) == {"b": 1}
    assert spread(only(one, units=4)) == {"d": 1}


def test_a_gang_opens_few_nodes() -> None:
    one = center(buckets=(bucket(["a", "b"]), bucket(["c"], taken=6)))
    assert spread(only(one, units=2, workers=5)) == {"a": 4, "c": 1}
    assert spread(only(one, units=2, workers=9)) == {"a": 4, "b": 4, "c": 1}


def test_a_gang_keeps_empty_nodes_whole() -> None:
    one = center(buckets=(bucket(["a"]), bucket(["b"], taken=4)))
    assert spread(only(one, units=4)) == {"b": 1}


def test_a_gang_takes_one_resource_name() -> None:
    twin = NodeShape(
        (H100, type(H100)(H100.model, "nvidia.com/gpu.shared", H100.unit, 1000)),
        vector({H100.resource: 2, "nvidia.com/gpu.shared": 8, CPU: 64000, PODS: 110}),
    )
    one = center(buckets=(Bucket(twin, twin.allocatable, ("a",)),))
    request = vector({CPU: 1, PODS: 1})
    place = only(one, units=4, workers=2, request=request)
    assert place.resource == "nvidia.com/gpu.shared"
    assert place.request == vector({CPU: 1, PODS: 1, "nvidia.com/gpu.shared": 4})
    assert place.gflops == 8000


def test_rings_are_judged_by_the_worst_case_unless_known() -> None:
    kind = shape(A910)
    unknown = center(buckets=(bucket(["a"], kind, taken=4),))
    wishes = {"model": A910.model, "units": 4}
    (wait,) = core([unknown], [job("a", 4, model=A910.model)]).cycle(1.0).waiting
    assert "not all have a legal position" in wait.message
    assert "on 1 it is not known which are free" in wait.message
    split = center(buckets=(bucket(["a"], kind, taken=4, devices=(2, 3, 4, 5)),))
    (wait,) = core([split], [job("a", 4, model=A910.model)]).cycle(1.0).waiting
    assert "not known" not in wait.message
    known = center(buckets=(bucket(["a"], kind, taken=4, devices=(4, 5, 6, 7)),))
    assert spread(only(known, **wishes)) == {"a": 1}


def test_two_rings_serve_two_jobs_in_one_cycle() -> None:
    one = center(count=1, kind=shape(A910))
    jobs = [job(f"j{i}", 4, model=A910.model) for i in range(3)]
    assert len(core([one], jobs).cycle(1.0).placed) == 2


def test_modules_are_whole() -> None:
    one = center(count=1, kind=shape(A3, 16))
    assert spread(only(one, model=A3.model, units=6, workers=2)) == {one.buckets[0].nodes[0]: 2}
    odd = center(buckets=(bucket(["a"], shape(A3, 16), taken=12, devices=(0, 2, 3, 4)),))
    assert not core([odd], [job("a", 4, model=A3.model)]).cycle(1.0).placed


TWO = (Alternative("nvidia-h100", 1), Alternative("ascend-910b3", 1))


def mixed(name: str = "east", **more: Any) -> Center:
    buckets = (bucket(nodes(f"{name}-g", 1)), bucket(nodes(f"{name}-a", 1), shape(B3)))
    return Center(name, buckets, **more)


def test_the_faster_alternative_wins_and_the_other_is_shown() -> None:
    place = only(mixed(), alternatives=TWO, expected_runtime=1000.0)
    assert place.alternative == 0
    first, second = place.trace.candidates
    assert (first.alternative, second.alternative) == (0, 1)
    run = {t.name: t.seconds for t in second.terms}["run"]
    assert run == pytest.approx(1000.0 * 1000 / 300)
    assert first.score == pytest.approx(sum(t.seconds for t in first.terms))


def test_a_job_with_a_choice_leaves_the_scarce_model_to_those_who_need_it() -> None:
    """Though taking the only one would break no node open."""
    scarce = bucket(["small"], shape(B3, 1))
    plenty = bucket(nodes("large", 30))
    one = center(buckets=(scarce, plenty))
    same = (Alternative("ascend-910b3", 1, 1.0), Alternative("nvidia-h100", 1, 1.0))
    place = only(one, alternatives=same)
    assert place.alternative == 1
    best, other = place.trace.candidates
    told = [{t.name: t.seconds for t in c.terms}["scarcity"] for c in (best, other)]
    assert told == [pytest.approx(60 / 240), 60.0]
    assert only(one, model="ascend-910b3").alternative == 0


def test_a_told_speed_counts_more_than_the_compute() -> None:
    told = (TWO[0], Alternative("ascend-910b3", 1, relative_speed=2.0))
    assert only(mixed(), alternatives=told).alternative == 1


def test_data_draws_the_job() -> None:
    links = (Link("west", 10**9),)
    need = (DataNeed("d", 500 * GB, frozenset({"east"})),)
    both = [center("west"), center("east", links=links)]
    made = core(both, [job("a", data=need)])
    (place,) = made.cycle(1.0).placed
    assert place.center == "east"
    staging = {c.center: c.terms[1].seconds for c in place.trace.candidates}
    assert staging == {"east": 0.0, "west": 500.0}


def test_data_without_a_link_comes_slowly() -> None:
    need = (DataNeed("d", 125 * 10**6 * 60, frozenset({"nowhere"})),)
    place = only(center(), data=need)
    assert place.trace.candidates[0].terms[1].seconds == 60.0


def test_a_cheap_hour_draws_the_job() -> None:
    night = (0.0,) * 12 + (900.0,) * 12
    day = (900.0,) * 12 + (0.0,) * 12
    two = [center("east", hourly_price=night), center("west", hourly_price=day)]
    for now, expected in ((0.0, "east"), (12 * 3600.0, "west")):
        made = core(two, [job("a", expected_runtime=3600.0)])
        assert where(made.cycle(now).placed) == {"a": expected}


def test_what_a_link_costs_is_weighed_and_shown() -> None:
    need = (DataNeed("d", 100 * GB, frozenset({"source"})),)
    source = center("source", 0, links=(Link("east", 10**9, 5.0), Link("west", 10**9, 1.0)))
    made = core([source, center("east"), center("west")], [job("a", data=need)])
    (place,) = made.cycle(1.0).placed
    assert place.center == "west"
    paid = {
        c.center: {t.name: t.seconds for t in c.terms}["price of the links"]
        for c in place.trace.candidates
    }
    assert paid == {"west": 100.0, "east": 500.0}


def test_nodes_are_kept_where_waiting_and_running_cost_least() -> None:
    """North is free first, but the data is in east; the wait is one of the terms."""
    need = (DataNeed("d", 500 * GB, frozenset({"east"})),)
    full = [center(name, buckets=(bucket([name], taken=8),)) for name in ("east", "north")]
    made = core(full)
    for name, end in (("east", 900.0), ("north", 100.0)):
        held = (Assignment(name, 1),)
        one = job(f"r-{name}", 8, expected_runtime=end)
        made.set_placed(Placed(one, name, 0, 8, 8000, 0.0, assignments=held))
    made.set_job(job("a", 8, data=need, expected_runtime=60.0))
    made.set_job(job("b", 8, submitted=1.0, expected_runtime=60.0))
    made.cycle(10.0)
    told = made.explain("a", 10.0)
    assert told is not None
    assert (told.predicted_center, told.predicted_start) == ("east", 900.0)
    assert told.expected is not None
    terms = {t.name: t.seconds for t in told.expected.terms}
    assert (terms["until it can start"], terms["stage data"], terms["run"]) == (890.0, 0.0, 60.0)
    assert told.expected.score == sum(terms.values()) == 950.0


def test_home_comes_first_when_all_else_is_equal() -> None:
    queues = [Queue("up", home_center="west"), Queue("q", "up")]
    made = core([center("east"), center("west")], [job("a")], queues)
    assert where(made.cycle(1.0).placed) == {"a": "west"}


def test_nobody_leaves_home_to_spare_a_node_and_guests_go_where_most_is_free() -> None:
    broken = center("west", buckets=(bucket(["w"], taken=7),))
    queues = [Queue("q", home_center="east")]
    at_home = core([center("east", 1), broken], [job("a", 1)], queues)
    assert where(at_home.cycle(1.0).placed) == {"a": "east"}
    full = center("east", buckets=(bucket(["e"], taken=8),))
    away = core([full, center("north", 1), center("south", 9)], [job("a", 8)], queues)
    assert where(away.cycle(1.0).placed) == {"a": "south"}
    told = core([full, center("north", 1), center("south", 9)], [job("a", 8)], queues)
    explained = told.explain("a", 1.0)
    assert explained is not None
    assert [(c.center, round(c.score - 3600, 3)) for c in explained.trace.candidates] == [
        ("south", 66.667),
        ("north", 120.0),
    ]


def test_a_broken_node_draws_small_jobs() -> None:
    two = [center("east", 1), center("west", buckets=(bucket(["w"], taken=6),))]
    assert where(core(two, [job("a", 2)]).cycle(1.0).placed) == {"a": "west"}


# --- why and whatif ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "expected", "basis"),
    [
        ({"expected_runtime": 600.0}, 600.0, "as the job tells"),
        (
            {"expected_runtime": 90.0, "runtimes": (90.0,), "alike": 7},
            90.0,
            "the median of 7 ended job(s) like it",
        ),
        (
            {"max_runtime": 60.0},
            None,
            "neither the job nor ended jobs like it tell one; 3600 s are assumed",
        ),
    ],
)
def test_the_expected_run_time_is_told_and_whose_word_it_is(
    known: dict[str, Any], expected: float | None, basis: str
) -> None:
    made = core([center()])
    asked = job("x", **known)
    told = made.whatif(asked, 1.0)
    assert (told.runtime, told.runtime_basis) == (expected, basis)
    made.set_job(asked)
    why = made.explain("x", 1.0)
    assert why is not None
    assert (why.runtime, why.runtime_basis) == (expected, basis)


def test_position_counts_those_ahead_in_the_queue() -> None:
    jobs = [job(f"j{i}", 1 + i % 2, submitted=float(i)) for i in range(6)]
    made = core([center(count=0)], [*jobs, job("x", queue="other")], [Queue("q"), Queue("other")])
    made.cycle(10.0)
    explained = made.explain("j3", 10.0)
    assert explained is not None
    assert (explained.position, explained.ahead) == (4, 3)
    other = made.explain("x", 10.0)
    assert other is not None
    assert other.position == 1
    assert made.explain("nobody", 10.0) is None


def test_a_prediction_rests_on_expected_ends() -> None:
    made = core([center(count=1)], [job("a", 8, expected_runtime=100.0)])
    made.cycle(10.0)
    made.set_job(job("b", 8, submitted=20.0))
    made.cycle(20.0)
    explained = made.explain("b", 20.0)
    assert explained is not None
    assert explained.predicted_start == 110.0
    assert "expected ends of 1 job(s) in east" in explained.basis
    assert explained.reason == "NoNodeFits"


def test_a_prediction_names_what_it_lacks() -> None:
    made = core([center(count=1)], [job("a", 8), job("b", 8), job("c", 8, 2)])
    made.cycle(10.0)
    unknown = made.explain("b", 10.0)
    never = made.explain("c", 10.0)
    assert unknown is not None
    assert unknown.predicted_start is None
    assert "times nobody told" in unknown.basis
    assert never is not None
    assert "no center could take it" in never.basis


def test_a_job_that_outlives_its_time_is_expected_to_run_on() -> None:
    made = core([center(count=1)], [job("a", 8, expected_runtime=100.0, max_runtime=260.0)])
    made.cycle(0.0)
    starts = []
    for now in (50.0, 150.0, 240.0):
        told = made.whatif(job("b", 8), now)
        starts.append(told.predicted_start)
    assert starts == [100.0, 225.0, 260.0]


def test_whatif_changes_nothing() -> None:
    made = core([center()], [job("a")])
    told = made.whatif(job("x", 8, 4), 1.0)
    assert (told.reason, told.message, told.predicted_start) == (
        "Queued",
        "fits in east now",
        1.0,
    )
    assert [c.center for c in told.trace.candidates] == ["east"]
    assert len(made.cycle(1.0).placed) == 1
    assert made.explain("x", 1.0) is None
    assert made.whatif(job("y", queue="none"), 1.0).reason == "UnknownQueue"
    assert made.whatif(job("y", units=9), 1.0).reason == "NoNodeFits"


def test_a_long_list_of_centers_is_cut_short() -> None:
    made = core([center(f"c{i}", 1) for i in range(9)], [job("a", 8, 2)])
    (wait,) = made.cycle(1.0).waiting
    assert wait.message.startswith("none of 9 centers can take it now: c0: needs room for 2")
    assert wait.message.endswith("besides 6 NoNodeFits")


def test_a_job_without_alternatives_is_refused() -> None:
    (wait,) = core([center()], [job("a", alternatives=())]).cycle(1.0).waiting
    assert wait.reason == "NoSuchAccelerator"


# --- cost --------------------------------------------------------------------------------------


def calls_of(function: Callable[[], object]) -> int:
    """Python functions that are called meanwhile: a cost that no busy machine changes."""
    calls = 0

    def note(frame: FrameType, event: str, arg: object) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(before)
    return calls


def test_equal_jobs_are_decided_once() -> None:
    one = center(count=20)
    made = core([one, center("west", 20)], [job(f"j{i}", 8, 100) for i in range(10_000)])
    made.cycle(1.0)
    made.set_center(one)
    assert calls_of(lambda: made.cycle(2.0)) < 1_000


def test_the_cost_of_placing_a_job_does_not_grow_with_their_number() -> None:
    def cost(count: int) -> float:
        jobs = [
            job(f"j{i}", request=vector({CPU: 1000 + i % 50, PODS: 1}), submitted=float(i))
            for i in range(count)
        ]
        made = core([center(name, 100) for name in ("a", "b", "c")], jobs)
        placed: list[int] = []
        calls = calls_of(lambda: placed.append(len(made.cycle(1.0).placed)))
        assert placed == [count]
        return calls / count

    assert cost(1000) < 1.5 * cost(250)
