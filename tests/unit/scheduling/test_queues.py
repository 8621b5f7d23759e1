"""Order in a queue, shares among queues, ceilings, guarantees, lending, faults."""

from __future__ import annotations

from typing import Any

import pytest

from huiju.scheduling.capacity import CenterState
from huiju.scheduling.core import Core
from huiju.scheduling.model import Job, Outcome, Placed, Queue
from huiju.scheduling.policy import Policy
from tests.scheduling_worlds import bucket, center, core, job, nodes, without

CARD = 1000
"""GFLOPS of one card of the tests' default model."""


def order(outcome: Outcome) -> list[str]:
    return [p.job.uid for p in outcome.placed]


def placed(uid: str, units: int, queue: str = "q", started: float = 0.0) -> Placed:
    return Placed(job(uid, units, queue=queue), "east", 0, units, units * CARD, started)


def test_priority_then_age_then_uid() -> None:
    jobs = [
        job("late", submitted=5.0),
        job("early", submitted=1.0),
        job("urgent", submitted=9.0, priority=1),
        job("also-late", submitted=5.0),
    ]
    assert order(core([center()], jobs).cycle(10.0)) == ["urgent", "early", "also-late", "late"]


def test_a_point_of_priority_outweighs_a_wait_but_not_any_wait() -> None:
    jobs = [job("old", submitted=0.0), job("urgent", submitted=90.0, priority=1)]
    policy = Policy(priority_step=100.0)
    assert order(core([center()], jobs, policy=policy).cycle(99.0)) == ["urgent", "old"]
    jobs = [job("old", submitted=0.0), job("urgent", submitted=101.0, priority=1)]
    assert order(core([center()], jobs, policy=policy).cycle(102.0)) == ["old", "urgent"]


def shares(made: Core, now: float = 10.0) -> dict[str, int]:
    found: dict[str, int] = {}
    for place in made.cycle(now).placed:
        found[place.job.queue] = found.get(place.job.queue, 0) + place.gflops // CARD
    return found


def crowd(*queues: str, count: int = 32) -> list[Job]:
    return [job(f"{q}{i:03d}", queue=q) for q in queues for i in range(count)]


def test_queues_share_by_weight() -> None:
    queues = [Queue("a", weight=3), Queue("b", weight=1)]
    assert shares(core([center()], crowd("a", "b"), queues)) == {"a": 24, "b": 8}


def test_what_queues_hold_already_counts() -> None:
    made = core([center(count=1)], crowd("a", "b"), [Queue("a"), Queue("b")])
    made.set_placed(placed("old", 8, "a"))
    assert shares(made) == {"b": 8}


def test_shares_go_down_the_tree() -> None:
    queues = [
        Queue("x"),
        Queue("x1", "x", weight=1),
        Queue("x2", "x", weight=3),
        Queue("y"),
    ]
    found = shares(core([center()], crowd("x1", "x2", "y"), queues))
    assert found == {"x1": 4, "x2": 12, "y": 16}


def test_jobs_of_an_inner_queue_compete_with_those_below() -> None:
    found = shares(core([center()], crowd("x", "x1"), [Queue("x"), Queue("x1", "x")]))
    assert found == {"x": 16, "x1": 16}


def test_guarantees_come_first() -> None:
    queues = [Queue("a", weight=9), Queue("b", guarantee=20 * CARD)]
    assert shares(core([center()], crowd("a", "b"), queues)) == {"a": 12, "b": 20}


def test_a_ceiling_holds_for_the_sum_below_it() -> None:
    queues = [Queue("x", ceiling=10 * CARD), Queue("x1", "x"), Queue("x2", "x"), Queue("y")]
    made = core([center()], crowd("x1", "x2", "y", count=12), queues)
    outcome = made.cycle(1.0)
    assert len([p for p in outcome.placed if p.job.queue != "y"]) == 10
    assert len([p for p in outcome.placed if p.job.queue == "y"]) == 12
    wait = outcome.waiting[0]
    assert wait.reason == "QueueCeiling"
    assert "'x' holds 10 TFLOPS, the job needs 1 more" in wait.message
    assert wait.message.endswith("the ceiling is 10")


def test_a_cheaper_alternative_may_fit_under_the_ceiling() -> None:
    from huiju.scheduling.model import Alternative
    from tests.scheduling_worlds import B3, shape

    one = center(buckets=(bucket(nodes("g", 1)), bucket(nodes("a", 1), shape(B3))))
    two = (Alternative("nvidia-h100", 8), Alternative("ascend-910b3", 8))
    (place,) = (
        core([one], [job("a", alternatives=two)], [Queue("q", ceiling=3000)]).cycle(1.0).placed
    )
    assert place.alternative == 1


def test_what_is_not_lent_stays_free_for_its_queue() -> None:
    queues = [Queue("a"), Queue("b", guarantee=20 * CARD, lending_limit=5 * CARD)]
    made = core([center()], crowd("a"), queues)
    outcome = made.cycle(1.0)
    assert len(outcome.placed) == 32 - 15
    assert outcome.waiting[0].reason == "QueueOverShare"
    for one in crowd("b"):
        made.set_job(one)
    assert shares(made, 2.0) == {"b": 15}


def test_within_its_own_guarantee_a_queue_does_not_borrow() -> None:
    queues = [
        Queue("a", guarantee=16 * CARD),
        Queue("b", guarantee=32 * CARD, lending_limit=0),
    ]
    assert shares(core([center()], crowd("a"), queues)) == {"a": 16}


def test_faults_of_queues_are_reasons() -> None:
    queues = [
        Queue("stopped", stopped=True),
        Queue("below", "stopped"),
        Queue("orphan", "nobody"),
        Queue("x", "y"),
        Queue("y", "x"),
        Queue("closed", namespaces=("team-b", "x-*")),
    ]
    names = ("stopped", "below", "orphan", "x", "unknown", "closed")
    made = core([center()], [job(name, queue=name) for name in names], queues)
    reasons = {w.job.uid: w.reason for w in made.cycle(1.0).waiting}
    assert reasons == {
        "stopped": "QueueStopped",
        "below": "QueueStopped",
        "orphan": "ParentMissing",
        "x": "QueueCycle",
        "unknown": "UnknownQueue",
        "closed": "NamespaceNotAllowed",
    }
    made.set_queue(Queue("stopped"))
    made.set_queue(Queue("unknown"))
    made.set_queue(Queue("closed", namespaces=("team-*",)))
    assert set(order(made.cycle(2.0))) == {"stopped", "below", "unknown", "closed"}
    made.drop_queue("stopped")
    made.set_job(job("new", queue="stopped"))
    assert made.cycle(3.0).waiting[0].reason == "UnknownQueue"


def test_backing_off_ends_by_itself() -> None:
    made = core([center()], [job("a", not_before=50.0)])
    outcome = made.cycle(20.0)
    assert [(w.reason, w.message) for w in outcome.waiting] == [
        ("BackingOff", "waits 30 s before its next attempt")
    ]
    assert made.wakes_at == 50.0
    explained = made.explain("a", 20.0)
    assert explained is not None
    assert (explained.reason, explained.predicted_start) == ("BackingOff", 50.0)
    assert order(made.cycle(50.0)) == ["a"]


def test_a_reason_is_told_once() -> None:
    one = center(count=1)
    made = core([one], [job("a", 8), job("b", 8)])
    assert len(made.cycle(1.0).waiting) == 1
    made.set_center(without(one, made.cycle(1.0).placed))
    made.set_job(job("b", 8))
    made.set_center(center(count=0))
    assert [w.reason for w in made.cycle(2.0).waiting] == ["NoSuchAccelerator"]
    made.set_center(center(count=0))
    made.set_job(job("c", 8))
    assert [w.job.uid for w in made.cycle(3.0).waiting] == ["c"]


def test_no_center_at_all() -> None:
    (wait,) = core([], [job("a")]).cycle(1.0).waiting
    assert (wait.reason, wait.message) == ("NoCenter", "there is no center")


def test_a_dropped_center_is_forgotten() -> None:
    made = core([center("east"), center("west")], [job("a", 8, 5)])
    assert len(made.cycle(1.0).waiting[0].message.split("; ")) == 4
    made.drop_center("west")
    made.drop_center("west")
    made.set_job(job("b", 1, centers=("west",)))
    (wait,) = made.cycle(2.0).waiting
    assert wait.reason == "CenterExcluded"


def test_usage_follows_placements() -> None:
    queues = [Queue("q", ceiling=8 * CARD)]
    made = core([center()], [job("a", 8), job("b", 8)], queues)
    assert order(made.cycle(1.0)) == ["a"]
    made.drop_placed("a")
    made.drop_placed("a")
    assert order(made.cycle(2.0)) == ["b"]
    made.set_placed(placed("b", 4))
    made.set_job(job("c", 4))
    assert order(made.cycle(3.0)) == ["c"]


def test_a_job_is_never_known_twice() -> None:
    made = core([center()], [job("a", 8)], [Queue("q", ceiling=8 * CARD)])
    assert order(made.cycle(1.0)) == ["a"]
    made.set_job(job("a", 8))
    assert order(made.cycle(2.0)) == ["a"]
    made.set_job(job("b", 8))
    made.set_placed(placed("b", 8))
    assert made.explain("b", 3.0) is None
    assert order(made.cycle(3.0)) == []


def test_a_head_that_waits_for_a_ceiling_is_not_starved() -> None:
    queues = [Queue("q", ceiling=8 * CARD)]
    made = core([center()], [job("s0", 4)], queues)
    assert order(made.cycle(0.0)) == ["s0"]
    made.set_job(job("big", 8, submitted=1.0))
    made.set_job(job("s1", 2, submitted=2.0))
    assert order(made.cycle(2.0)) == ["s1"]
    made.set_job(job("s2", 2, submitted=3.0))
    outcome = made.cycle(1000.0)
    assert order(outcome) == []
    assert [(w.job.uid, w.reason) for w in outcome.waiting] == [("s2", "BehindOthers")]
    made.drop_placed("s0")
    made.drop_placed("s1")
    assert order(made.cycle(1001.0)) == ["big"]


def test_a_cycle_that_fails_loses_no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    made = core([center()], [job("a"), job("b", submitted=1.0)])
    take, calls = CenterState.take, []

    def failing(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 2:
            raise RuntimeError("a bug")
        return take(*arguments)

    monkeypatch.setattr(CenterState, "take", failing)
    with pytest.raises(RuntimeError):
        made.cycle(1.0)
    assert order(made.cycle(2.0)) == ["a", "b"]
