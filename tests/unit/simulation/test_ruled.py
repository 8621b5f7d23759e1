"""Simple rules over several centers, and what a network looks like over time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from huiju.simulation.engine import POOL, Result, Run, play
from huiju.simulation.recorded import centers_of, jobs_of, queues_of, with_data
from huiju.simulation.report import report
from huiju.simulation.ruled import Rule, Ruled, most_free, race
from huiju.simulation.rules import Pool, sjf
from huiju.simulation.timeline import Level
from huiju.simulation.traces import Cluster, TraceJob

CLUSTERS = [Cluster("a", 1, 8), Cluster("b", 3, 8), Cluster("c", 2, 8)]


def job(index: int, submit: float, gpus: int, cluster: str = "a", **more: object) -> TraceJob:
    made = TraceJob(index, submit, 10.0, gpus, cluster)
    return replace(made, **more)  # type: ignore[arg-type]


def run(rule: Rule, jobs: list[TraceJob], clusters: list[Cluster] = CLUSTERS) -> Result:
    return play(jobs_of(jobs, clusters), Ruled(jobs, clusters, rule, seed=1))


def fates(result: Result) -> list[tuple[str, float]]:
    return [(r.center, r.started) for r in result.runs]


TWO = [job(0, 0, 8), job(1, 1, 8)]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Rule(apart=True), [("a", 0), ("a", 10)]),
        (Rule(), [("a", 0), ("b", 1)]),
        (Rule(prefer=most_free), [("b", 0), ("b", 1)]),
        (Rule(pooled=True), [(POOL, 0), (POOL, 1)]),
    ],
)
def test_where_rules_send_jobs(rule: Rule, expected: list[tuple[str, float]]) -> None:
    result = run(rule, TWO)
    assert fates(result) == expected
    assert [r.moved for r in result.runs] == [c not in ("a", POOL) for c, _ in expected]


def test_a_race_has_many_winners_and_is_repeatable() -> None:
    jobs = [job(i, 20.0 * i, 1) for i in range(30)]
    first = fates(run(Rule(prefer=race), jobs))
    assert first == fates(run(Rule(prefer=race), jobs))
    assert {center for center, _ in first} == {"a", "b", "c"}


def test_strict_lets_nobody_pass_and_skip_does() -> None:
    jobs = [job(0, 0, 8, "b"), job(1, 1, 24, "b"), job(2, 2, 8, "b")]
    only_b = [Cluster("b", 3, 8)]
    assert fates(run(Rule(strict=True), jobs, only_b))[2] == ("b", 20)
    assert fates(run(Rule(), jobs, only_b))[2] == ("b", 2)
    short = [*jobs, job(3, 3, 24, "b", duration=1.0)]
    assert fates(run(Rule(order=sjf), short, only_b))[3] == ("b", 12)


def test_a_job_that_fits_nowhere_stands_in_nobodys_way() -> None:
    result = run(Rule(strict=True), [job(0, 0, 80), job(1, 1, 8)])
    assert [r.reason for r in result.runs] == ["NoNodeFits", ""]


def test_models_limit_where_jobs_go() -> None:
    clusters = [Cluster("a", 1, 8, "x"), Cluster("b", 1, 4, "y"), Cluster("b", 1, 8, "z")]
    jobs = [job(0, 0, 4, models=("z", "y")), job(1, 1, 8, models=("z",)), job(2, 2, 4, "b")]
    assert fates(run(Rule(), jobs, clusters)) == [("b", 0), ("b", 10), ("b", 2)]


def test_a_worker_is_not_split_over_small_nodes() -> None:
    clusters = [Cluster("a", 1, 8), Cluster("a", 4, 2)]
    jobs = [job(0, 0, 8), job(1, 1, 4), job(2, 2, 2)]
    assert fates(run(Rule(), jobs, clusters)) == [("a", 0), ("a", 10), ("a", 2)]


def test_what_is_free_is_known() -> None:
    pool = Pool(3, 8)
    taken = pool.take(12)
    assert taken == ((0, 8), (1, 4))
    assert (pool.free, pool.whole()) == (12, 8)
    assert pool.take(24) is None
    pool.give(taken)
    assert (pool.free, pool.whole()) == (24, 24)


def test_use_and_fragmentation_over_time() -> None:
    result = run(Rule(), [job(0, 0, 4), job(1, 5, 8, "b")])
    figures = report(result)
    # 15 s in all: 4 of 8 units of a for 10 s, 8 of 24 of b for 10 s.
    assert figures.use == pytest.approx({"a": 40 / 120, "b": 80 / 360, "c": 0, "all": 120 / 720})
    assert figures.fragmentation["a"] == pytest.approx(40 / 80)
    assert figures.fragmentation["b"] == 0
    course = figures.course
    assert sum(course.use) * course.width * 48 == pytest.approx(120)


def test_a_level_counts_for_as_long_as_it_lasts() -> None:
    level = Level(100.0, 10.0)
    level.set(105.0, 2.0)
    level.set(123.0, 1.0)
    level.set(130.0, 0.0)
    level.set(190.0, 5.0)
    assert level.slices == [10.0, 20.0, 6.0 + 7.0]
    assert level.total() == 43.0


def test_fairness() -> None:
    jobs = [job(0, 0, 8, user="u"), job(1, 0, 8, user="v"), job(2, 0, 8, "b", user="v")]
    figures = report(run(Rule(apart=True), jobs))
    assert figures.slowdown.longest == 2.0
    assert (figures.users.groups, figures.users.best, figures.users.worst) == (2, 1.0, 1.5)
    assert figures.users.index == pytest.approx(2.5**2 / (2 * (1 + 1.5**2)))
    assert figures.queues.worst == 1.5


def test_recorded_values() -> None:
    clusters = [Cluster("a", 2, 8, "x", 100.0), Cluster("a", 1, 4, "y"), Cluster("b", 1, 8)]
    first, second = centers_of(clusters, linked=True)
    assert [len(bucket.nodes) for bucket in first.buckets] == [2, 1]
    assert [link.to for link in second.links] == ["a"]
    owed = {queue.name: queue for queue in queues_of(clusters, guaranteed=True)}
    assert owed["a"].weight == 20
    assert owed["a"].guarantee == 16 * 100_000 + 4 * 312_000
    (one,) = jobs_of([job(0, 0, 12)], clusters)
    assert one.job.shape.workers == 2
    assert {(a.model, a.per_worker) for a in one.job.shape.alternatives} == {
        ("x", 6),
        ("y", 6),
        ("recorded", 6),
    }


def test_data_is_drawn_with_a_seed() -> None:
    jobs = jobs_of([job(i, i, 1) for i in range(50)], CLUSTERS)
    drawn, datasets = with_data(jobs, sets=5, gigabytes=1.5, seed=3)
    again, _ = with_data(jobs, sets=5, gigabytes=1.5, seed=3)
    assert drawn == again
    assert (len(datasets), datasets[0].bytes, datasets[0].home) == (5, 1_500_000_000, "a")
    counts = [sum(one.data == (each.name,) for one in drawn) for each in datasets]
    assert counts[0] == max(counts)
    assert with_data(jobs, sets=5, gigabytes=1.5, seed=4)[0] != drawn


def test_a_run_at_home_has_not_moved() -> None:
    (one,) = jobs_of([job(0, 0, 1)], CLUSTERS)
    assert [Run(one, center=name).moved for name in ("a", "b", "", POOL)] == [
        False,
        True,
        False,
        False,
    ]
