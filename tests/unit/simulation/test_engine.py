"""The clock around the core: waits, moves, stops, speeds; simple rules against known figures."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import Any

import pytest

from huiju.scheduling.model import Alternative, Center, Queue, ShareLimit
from huiju.scheduling.policy import Policy
from huiju.simulation.engine import Result, Run, SimJob
from huiju.simulation.federation import simulate
from huiju.simulation.report import report, waits_of
from huiju.simulation.rules import fifo, sjf, waits
from huiju.simulation.site import Site
from huiju.simulation.tables import table
from huiju.simulation.traces import TraceJob
from tests.scheduling_worlds import A3, A910, B3, bucket, center, core, job, nodes, shape


def sim(uid: str, at: float, seconds: float, units: int = 8, home: str = "", **more: Any) -> SimJob:
    more.setdefault("queue", home or "q")
    return SimJob(job(uid, units, submitted=at, **more), seconds, home)


def runs(result: Result) -> dict[str, Run]:
    return {run.job.job.uid: run for run in result.runs}


def test_jobs_wait_for_each_other() -> None:
    found = runs(simulate([sim("a", 0, 10), sim("b", 1, 5), sim("c", 2, 1)], [center(count=1)]))
    assert [(r.started, r.ended, r.wait) for r in found.values()] == [
        (0, 10, 0),
        (10, 15, 9),
        (15, 16, 13),
    ]


def test_federation_moves_what_home_has_no_room_for() -> None:
    two = [center("east", 1), center("west", 1)]
    jobs = [sim("a", 0, 100, home="east"), sim("b", 1, 100, home="east")]
    together = runs(simulate(jobs, two))
    assert (together["a"].center, together["b"].center) == ("east", "west")
    assert (together["a"].moved, together["b"].moved) == (False, True)
    alone = runs(simulate(jobs, two, keep_home=True))
    assert (alone["b"].center, alone["b"].wait) == ("east", 99)
    text = table({"alone": report(simulate(jobs, two, keep_home=True))})
    figures = "alone 2 0 50 99 99 99 99 150 1.50 0.0% 0.0 0 50.0% 0.0% 1.00 -"
    assert text.splitlines()[1].split() == figures.split()
    assert text.splitlines()[-1].split() == ["east", "2", "50/99/99"]


def test_a_slower_model_takes_longer() -> None:
    two = (Alternative("nvidia-h100", 8), Alternative("ascend-910b3", 8))
    told = (two[0], replace(two[1], relative_speed=0.5))
    mixed = center(buckets=(bucket(nodes("g", 1)), bucket(nodes("a", 1), shape(B3))))
    jobs = [
        sim("a", 0, 300),
        sim("b", 1, 300, alternatives=two),
        sim("c", 2, 30, alternatives=told),
    ]
    found = runs(simulate(jobs, [mixed]))
    assert found["b"].ended == 1 + 300 * 1000 / 300
    assert found["b"].wait == pytest.approx(0)
    assert found["c"].started == 300


def test_a_job_that_fits_nowhere_never_runs() -> None:
    result = simulate([sim("a", 0, 10), sim("b", 0, 10, units=9)], [center(count=1)])
    found = runs(result)
    assert found["b"].reason == "NoNodeFits"
    assert (found["b"].ended, found["a"].ended) == (inf, 10)
    figures = report(result)
    assert (figures.waits.jobs, figures.never) == (1, 1)


def test_a_backoff_is_waited_out() -> None:
    found = runs(simulate([sim("a", 0, 10, not_before=500.0)], [center(count=1)]))
    assert found["a"].started == 500


def test_a_stopped_job_goes_on_from_its_checkpoint() -> None:
    queues = [Queue("lender", guarantee=8000), Queue("q")]
    jobs = [
        sim("long", 0, 4000, checkpoint_period=600.0),
        sim("owner", 1000, 100, queue="lender"),
    ]
    policy = Policy(dwell=60.0)
    found = runs(simulate(jobs, [center(count=1)], queues, policy, restart=lambda units: 20.0))
    assert (found["owner"].started, found["owner"].ended) == (1000, 1100)
    # 600 of 1000 s were saved; the rest and the restart follow.
    assert found["long"].ended == 1100 + 3400 + 20
    assert (found["long"].stops, found["long"].wait) == (1, 1000 - 600 + 100 + 20)
    assert found["long"].busy == 8 * (1000 + 3420)


def test_limits_are_given_back() -> None:
    limited = Center("east", (bucket(["n0", "n1"]),), limits=(ShareLimit("nvidia-h100", 8, 0),))
    found = runs(simulate([sim("a", 0, 10), sim("b", 0, 10)], [limited]))
    assert sorted(r.started for r in found.values()) == [0, 10]


def test_run_times_are_learned_from_ended_jobs_only() -> None:
    jobs = [sim(f"j{i}", 100.0 * i, 50.0, home="east") for i in range(3)]
    result = simulate(jobs, [center("east", 1)], learn=True)
    assert all(r.wait == 0 for r in result.runs)


@pytest.mark.parametrize(("accelerator", "units", "total"), [(A3, 6, 16), (A910, 4, 8)])
def test_devices_are_given_on_legal_positions(accelerator: Any, units: int, total: int) -> None:
    one = center(count=1, kind=shape(accelerator, total))
    site = Site(one)
    made = core([site.view()])
    places = []
    for i in range(total // units):
        made.set_job(job(f"j{i}", units, model=accelerator.model))
        (place,) = made.cycle(float(i)).placed
        site.take(place)
        places.append(place)
        made.set_center(site.view())
    for place in places:
        site.give(place)
    (back,) = site.view().buckets
    assert back.free == one.buckets[0].free
    assert back.free_devices == tuple(range(total))


def test_figures_of_waits() -> None:
    figures = waits_of([0.0, 10.0, 0.0, 30.0])
    assert (figures.mean, figures.p50, figures.longest, figures.waited) == (10.0, 10.0, 30.0, 2)
    assert waits_of([]).jobs == 0


def test_rules_differ_as_they_should() -> None:
    jobs = [
        TraceJob(0, 0, 10, 8, "a"),
        TraceJob(1, 1, 100, 16, "a"),
        TraceJob(2, 2, 5, 8, "a"),
        TraceJob(3, 3, 1, 8, "a"),
        TraceJob(4, 3, 1, 800, "a"),
    ]
    assert waits(jobs, 2, 8, fifo, strict=True) == {0: 0, 1: 9, 2: 108, 3: 107}
    assert waits(jobs, 2, 8, fifo, strict=False) == {0: 0, 1: 9, 2: 0, 3: 4}
    assert waits(jobs, 2, 8, sjf, strict=True)[2] == 0
