"""Nodes held for blocked heads, who may pass them, and who must stop for whom."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from huiju.scheduling.core import Core
from huiju.scheduling.model import Assignment, Center, Outcome, Placed, Queue, ShareLimit
from huiju.scheduling.policy import Policy
from huiju.scheduling.preempt import loss
from tests.scheduling_worlds import bucket, core, job

CARD = 1000
DAY = 86_400.0


def uids(outcome: Outcome) -> list[str]:
    return sorted(p.job.uid for p in outcome.placed)


def reasons(outcome: Outcome) -> dict[str, str]:
    return {w.job.uid: w.reason for w in outcome.waiting}


def running(
    uid: str,
    node: str,
    units: int,
    *,
    queue: str = "q",
    started: float = 0.0,
    priority: int = 0,
    expected: float | None = None,
    preemptible: bool = True,
    period: float | None = None,
    checkpoint: float | None = None,
) -> Placed:
    one = job(
        uid,
        units,
        queue=queue,
        priority=priority,
        expected_runtime=expected,
        preemptible=preemptible,
        checkpoint_period=period,
    )
    held = (Assignment(node, 1),)
    return Placed(one, "east", 0, units, units * CARD, started, checkpoint, held)


def full(*placed: Placed, nodes: int = 2, cards: int = 8) -> Center:
    """Center `east` of nodes n0, n1, … with the placed jobs' cards missing."""
    names = [f"n{i}" for i in range(nodes)]
    taken = {name: 0 for name in names}
    for one in placed:
        for assignment in one.assignments:
            taken[assignment.node] += one.units
    return Center("east", tuple(bucket([name], taken=taken[name]) for name in names))


def world(
    *placed: Placed, queues: tuple[Queue, ...] = (), nodes: int = 2, policy: Policy | None = None
) -> Core:
    made = core([full(*placed, nodes=nodes)], (), queues, policy=policy or Policy())
    for one in placed:
        made.set_placed(one)
    return made


# --- holding -----------------------------------------------------------------------------------


def test_only_those_that_end_in_time_pass_the_head_on_its_nodes() -> None:
    made = world(running("r", "n0", 4, expected=100.0))
    made.set_job(job("head", 8, 2))
    made.set_job(job("long", 4, submitted=1.0, expected_runtime=500.0))
    made.set_job(job("short", 4, submitted=2.0, expected_runtime=50.0))
    made.set_job(job("unknown", 4, submitted=3.0))
    outcome = made.cycle(10.0)
    assert uids(outcome) == ["short"]
    assert reasons(outcome) == {
        "head": "NoNodeFits",
        "long": "ReservedForOther",
        "unknown": "ReservedForOther",
    }
    assert made.wakes_at == 100.0


def test_nodes_that_are_not_held_stay_open() -> None:
    made = world(running("r", "n0", 4, expected=100.0))
    made.set_job(job("head", 6, submitted=0.0, workers=2))
    made.set_job(job("tight", 4, submitted=1.0))
    made.set_center(full(running("r", "n0", 4), nodes=3))
    assert uids(made.cycle(10.0)) == ["head", "tight"]


def test_without_backfill_nothing_is_held() -> None:
    made = world(running("r", "n0", 4, expected=100.0), policy=Policy(backfill=False))
    made.set_job(job("head", 8, 2))
    made.set_job(job("long", 4, submitted=1.0, expected_runtime=500.0))
    assert uids(made.cycle(10.0)) == ["long"]


def test_with_unknown_ends_a_head_is_patient_first() -> None:
    made = world(running("r", "n0", 4))
    made.set_job(job("head", 8, 2, submitted=0.0))
    made.set_job(job("a", 4, submitted=1.0))
    assert uids(made.cycle(10.0)) == ["a"]
    assert made.wakes_at == 600.0
    made.set_job(job("b", 4, submitted=2.0))
    assert uids(made.cycle(600.0)) == []


def test_holding_can_begin_later() -> None:
    made = world(running("r", "n0", 4, expected=5000.0), policy=Policy(hold_after=300.0))
    made.set_job(job("head", 8, 2))
    made.set_job(job("a", 4, submitted=1.0, expected_runtime=9000.0))
    assert uids(made.cycle(10.0)) == ["a"]
    assert made.wakes_at == 300.0
    made.set_job(job("b", 4, submitted=2.0))
    assert uids(made.cycle(300.0)) == []


def learned(uid: str, node: str, runtime: float, center: str = "east") -> Placed:
    """A whole node is held by a job that is expected to run as long as ended ones did."""
    one = job(uid, 8, expected_runtime=runtime, runtimes=(runtime,), alike=5)
    return Placed(one, center, 0, 8, 8 * CARD, 0.0, None, (Assignment(node, 1),))


def test_a_start_that_rests_on_learned_run_times_is_believed_shortly_before() -> None:
    """Far off, nodes would stand idle for it; a start that rests on users' words is believed."""
    for alike, passes in ((5, ["passes"]), (0, [])):
        busy = learned("r", "n0", 3000.0)
        made = world(replace(busy, job=replace(busy.job, alike=alike)))
        made.set_job(job("gang", 8, 2))
        made.set_job(job("passes", 8, submitted=1.0, expected_runtime=9000.0))
        assert uids(made.cycle(10.0)) == passes
    made = world(learned("r", "n0", 3000.0))
    made.set_job(job("gang", 8, 2))
    made.cycle(1000.0)
    assert made.wakes_at == 2700.0
    made.set_job(job("late", 8, submitted=1.0, expected_runtime=9000.0))
    assert uids(made.cycle(2700.0)) == []


def test_a_head_that_starves_is_believed_whatever_its_start_rests_on() -> None:
    made = world(learned("r", "n0", 30_000.0))
    made.set_job(job("gang", 8, 2))
    assert made.cycle(10.0).placed == ()
    made.set_job(job("late", 8, submitted=1.0, expected_runtime=90_000.0))
    assert uids(made.cycle(14_400.0)) == []


def test_a_gang_keeps_to_the_center_that_lacks_least_where_ends_are_learned() -> None:
    """Two ends that are sooner by what is learned promise less than one that is a bit later."""
    near = [learned(f"n{i}", f"near-{i}", 1000.0, "near") for i in range(2)]
    far = learned("f", "far-0", 2000.0, "far")
    centers = [
        Center("near", tuple(bucket([p.assignments[0].node], taken=8) for p in near)),
        Center("far", (bucket(["far-0"], taken=8), bucket(["far-1"]))),
    ]
    for alike, expected in ((5, "far"), (0, "near")):
        made = core(centers, [job("gang", 8, 2)])
        for one in (*near, far):
            made.set_placed(replace(one, job=replace(one.job, alike=alike)))
        made.cycle(1.0)
        told = made.explain("gang", 1.0)
        assert told is not None
        assert told.predicted_center == expected


def test_a_large_gang_is_not_starved_by_a_stream_of_small_jobs() -> None:
    made = world(queues=(Queue("q"), Queue("small", weight=1000)))
    made.set_placed(running("r", "n0", 1, queue="q"))
    made.set_job(job("gang", 8, 2, submitted=0.0))
    held: list[Placed] = [running("r", "n0", 1)]
    for step in range(60):
        now = step * 600.0
        if step == 3:
            made.drop_placed("r")
            held.pop(0)
        for old in [p for p in held if now - p.started >= 1200]:
            if old.job.uid != "r":
                made.drop_placed(old.job.uid)
                held.remove(old)
        made.set_job(job(f"s{step}", 1, queue="small", submitted=now))
        made.set_center(full(*held))
        for place in made.cycle(now).placed:
            if place.job.uid == "gang":
                return
            node = place.assignments[0].node
            held.append(running(place.job.uid, node, 1, started=now))
    pytest.fail("the gang never started")


def test_heads_of_several_queues_hold_different_nodes() -> None:
    made = world(
        running("r0", "n0", 4, expected=100.0),
        running("r1", "n1", 4, expected=200.0),
        queues=(Queue("a"), Queue("b"), Queue("q")),
    )
    made.set_job(job("a0", 8, queue="a"))
    made.set_job(job("b0", 8, queue="b", submitted=1.0))
    made.set_job(job("c0", 4, submitted=2.0, expected_runtime=150.0))
    assert uids(made.cycle(0.0)) == ["c0"]
    first = made.explain("a0", 0.0)
    second = made.explain("b0", 0.0)
    assert first is not None
    assert second is not None
    assert (first.predicted_start, second.predicted_start) == (100.0, 200.0)


def test_no_start_is_foretold_in_room_that_is_kept_for_others() -> None:
    made = world(running("r", "n0", 4, expected=100.0))
    made.set_job(job("gang", 8, 2))
    made.set_job(job("small", 4, submitted=1.0))
    assert uids(made.cycle(2.0)) == []
    told = made.explain("small", 2.0)
    assert told is not None
    assert (told.reason, told.predicted_start) == ("ReservedForOther", None)
    assert told.basis == (
        "the room in east is kept for jobs that come first; 1 job(s) of the queue are ahead"
    )


def test_a_limit_that_frees_up_is_waited_for() -> None:
    limits = (ShareLimit("nvidia-h100", 8, 8),)
    made = core([Center("east", (bucket(["n0", "n1"]),), limits=limits)])
    made.set_placed(running("r", "n0", 8, expected=70.0))
    made.set_job(job("a", 8))
    made.cycle(1.0)
    told = made.explain("a", 1.0)
    assert told is not None
    assert (told.reason, told.predicted_start) == ("SharingLimit", 70.0)


# --- stopping ----------------------------------------------------------------------------------

OWED = (Queue("lender", guarantee=8 * CARD), Queue("q", guarantee=4 * CARD))


def stopped(outcome: Outcome) -> list[str]:
    return sorted(p.victim.job.uid for p in outcome.preempted)


def test_a_lender_gets_back_what_it_is_owed_at_the_least_loss() -> None:
    made = world(
        running("old", "n0", 8, started=0.0),
        running("half", "n1", 4, started=500.0),
        running("young", "n1", 4, started=900.0),
        queues=OWED,
    )
    made.set_job(job("mine", 8, queue="lender", submitted=999.0))
    outcome = made.cycle(2000.0)
    assert stopped(outcome) == ["half", "young"]
    preemption = outcome.preempted[0]
    assert (preemption.reason, preemption.beneficiary) == ("Preempted", "mine")
    assert preemption.ground == "guarantee"
    assert "queue 'lender' holds 0 of 8 guaranteed TFLOPS" in preemption.message
    assert "queue 'q' holds 16 of 4 guaranteed TFLOPS" in preemption.message
    assert "Loses at most 4400 accelerator-seconds" in preemption.message


def test_nobody_else_takes_the_room_and_nobody_is_stopped_twice() -> None:
    old = running("old", "n0", 8)
    other = running("other", "n1", 8, started=1.0)
    made = world(old, other, queues=OWED)
    made.set_job(job("mine", 8, queue="lender", submitted=999.0))
    assert stopped(made.cycle(2000.0)) == ["other"]
    made.set_job(job("thief", 8, submitted=5.0))
    assert made.cycle(2001.0).preempted == ()
    made.drop_placed("other")
    made.set_job(job("other", 8, submitted=1.0))
    made.set_center(full(old))
    outcome = made.cycle(2002.0)
    assert uids(outcome) == ["mine"]
    assert outcome.preempted == ()


def test_the_room_is_for_whom_it_was_made_whosever_turn_it_is() -> None:
    low = running("low", "n0", 8, priority=1)
    made = world(low, nodes=1, queues=(Queue("q"), Queue("idle")))
    made.set_job(job("high", 8, priority=5, submitted=900.0))
    assert stopped(made.cycle(2000.0)) == ["low"]
    made.set_job(job("thief", 4, queue="idle", submitted=0.0))
    made.set_placed(running("more", "elsewhere", 8))  # its queue now holds more than the thief's
    made.drop_placed("low")
    made.set_job(job("low", 8, priority=1))
    made.set_center(Center("east", (bucket(["n0"]),)))
    outcome = made.cycle(2001.0)
    assert uids(outcome) == ["high"]
    told = made.explain("thief", 2001.0)
    assert told is not None
    assert told.reason == "ReservedForOther"


def test_who_is_stopping_already_frees_its_room_without_another_victim() -> None:
    first, second = running("a", "n0", 8), running("b", "n1", 8, started=500.0)
    made = world(first, second, queues=OWED)
    made.told_to_stop("a")  # as after a restart of the hub
    made.told_to_stop("unknown")
    made.set_job(job("mine", 8, queue="lender"))
    assert stopped(made.cycle(2000.0)) == []


def test_no_victim_comes_out_of_a_guarantee() -> None:
    queues = (Queue("lender", guarantee=8 * CARD), Queue("q", guarantee=16 * CARD))
    made = world(running("a", "n0", 8), running("b", "n1", 8), queues=queues)
    made.set_job(job("mine", 8, queue="lender"))
    assert stopped(made.cycle(2000.0)) == []


def test_only_as_much_as_is_borrowed_is_taken_back() -> None:
    made = world(running("a", "n0", 8), running("b", "n1", 8), queues=OWED)
    made.set_job(job("mine", 8, 2, queue="lender"))
    assert stopped(made.cycle(2000.0)) == []
    made.set_job(job("mine2", 8, queue="lender", submitted=-1.0))
    assert len(stopped(made.cycle(2001.0))) == 1


@pytest.mark.parametrize("spared", [{"preemptible": False}, {"started": 1900.0}])
def test_some_are_spared(spared: dict[str, float]) -> None:
    first = running("a", "n0", 8, **spared)  # type: ignore[arg-type]
    made = world(first, queues=OWED, nodes=1)
    made.set_job(job("mine", 8, queue="lender"))
    assert stopped(made.cycle(2000.0)) == []


def test_no_one_is_stopped_for_a_short_wait() -> None:
    made = world(running("a", "n0", 8, expected=2100.0), queues=OWED, nodes=1)
    made.set_job(job("mine", 8, queue="lender"))
    assert stopped(made.cycle(2000.0)) == []


def test_higher_priority_stops_lower_in_its_own_queue_only() -> None:
    queues = (Queue("q"), Queue("other"))
    made = world(
        running("low", "n0", 8, priority=1),
        running("foreign", "n1", 8, queue="other"),
        queues=queues,
    )
    made.set_job(job("same", 8, priority=1))
    assert stopped(made.cycle(2000.0)) == []
    made.set_job(job("high", 8, priority=5))
    outcome = made.cycle(2001.0)
    assert stopped(outcome) == ["low"]
    assert outcome.preempted[0].ground == "priority"
    assert "priority 5 goes before 1 in queue 'q'" in outcome.preempted[0].message


def test_preemption_can_be_switched_off() -> None:
    made = world(running("low", "n0", 8), nodes=1, policy=Policy(preemption=False))
    made.set_job(job("high", 8, priority=5))
    assert stopped(made.cycle(2000.0)) == []


def test_an_owner_below_a_common_ceiling_gets_nothing_beyond_it() -> None:
    queues = (
        Queue("top", ceiling=8 * CARD),
        Queue("lender", "top", guarantee=8 * CARD),
        Queue("q", "top"),
    )
    made = world(running("a", "n0", 8), nodes=1, queues=queues)
    made.set_job(job("mine", 8, queue="lender"))
    assert reasons(made.cycle(2000.0)) == {"mine": "NoNodeFits"}


def test_loss_counts_from_the_last_checkpoint() -> None:
    assert loss(running("a", "n", 4, started=100.0), 300.0) == 800.0
    assert loss(running("a", "n", 4, started=0.0, checkpoint=250.0), 300.0) == 200.0
    assert loss(running("a", "n", 4, started=10.0, period=60.0), 140.0) == 40.0


def test_many_victims_are_pruned_to_what_is_needed() -> None:
    placed = [running(f"r{i:02d}", f"n{i // 8}", 1, started=float(i)) for i in range(16)]
    made = world(*placed, queues=(Queue("lender", guarantee=8 * CARD), Queue("q")))
    made.set_job(job("mine", 8, queue="lender"))
    victims = stopped(made.cycle(2000.0))
    assert victims == [f"r{i:02d}" for i in range(8, 16)]


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([2, 4, 8]), st.integers(0, 900)), max_size=6))
def test_victims_are_the_best_that_a_search_finds(drawn: list[tuple[int, int]]) -> None:
    placed: list[Placed] = []
    free = {f"n{i}": 8 for i in range(3)}
    for i, (units, started) in enumerate(drawn):
        node = next((n for n, left in free.items() if left >= units), None)
        if node is not None:
            free[node] -= units
            placed.append(running(f"r{i}", node, units, started=float(started)))
    queues = (Queue("lender", guarantee=24 * CARD), Queue("q", guarantee=6 * CARD))
    made = world(*placed, queues=queues, nodes=3)
    made.set_job(job("mine", 8, 2, queue="lender"))
    outcome = made.cycle(2000.0)
    usage = sum(p.gflops for p in placed)

    def works(victims: tuple[Placed, ...]) -> bool:
        left = dict(free)
        for victim in victims:
            left[victim.assignments[0].node] += victim.units
        if victims and usage - sum(v.gflops for v in victims) < 6 * CARD:
            return False
        return sum(1 for amount in left.values() if amount >= 8) >= 2

    choices = [c for n in range(len(placed) + 1) for c in combinations(placed, n) if works(c)]
    costs = [sum(loss(v, 2000.0) for v in c) for c in choices]
    if outcome.placed or not choices:
        assert not outcome.preempted
        return
    assert sum(loss(p.victim, 2000.0) for p in outcome.preempted) == min(costs)
    assert works(tuple(p.victim for p in outcome.preempted))
