"""Decisions of the core against searches through all there is, on worlds small enough for that."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from huiju.scheduling.core import Core
from huiju.scheduling.model import Assignment, Center, Job, Place, Placed, Queue
from huiju.scheduling.policy import Policy
from huiju.scheduling.preempt import loss
from tests.scheduling_worlds import H100, bucket, core, job, shape, without

CARD = H100.gflops
NOW = 2000.0
STEADY = Policy(backfill=False, preemption=False)


# --- packing -----------------------------------------------------------------------------------


def spreads(free: list[int], workers: int, size: int) -> Iterator[tuple[int, ...]]:
    """All ways to put the workers on the nodes."""
    if not free:
        if not workers:
            yield ()
        return
    for here in range(min(workers, free[0] // size) + 1):
        for rest in spreads(free[1:], workers - here, size):
            yield (here, *rest)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 8), min_size=1, max_size=6), st.integers(1, 7), st.integers(1, 5))
def test_a_gang_opens_as_few_nodes_as_any_search_would(
    free: list[int], workers: int, size: int
) -> None:
    buckets = [bucket([f"n{i}"], shape(H100, 8), taken=8 - left) for i, left in enumerate(free)]
    found = core([Center("east", tuple(buckets))], [job("a", size, workers)]).cycle(NOW).placed
    every = list(spreads(free, workers, size))
    assert bool(found) == bool(every)
    if not found:
        return
    here = {a.node: a.workers for a in found[0].assignments}
    taken = tuple(here.get(f"n{i}", 0) for i in range(len(free)))
    assert taken in every
    fewest = min(len(each) - each.count(0) for each in every)
    assert len(here) == fewest
    if fewest == 1:
        tightest = min(f for f in free if f >= workers * size)
        assert free[int(found[0].assignments[0].node[1:])] == tightest


# --- preemption --------------------------------------------------------------------------------

running_jobs = st.tuples(
    st.sampled_from(["own", "rich", "poor"]),
    st.sampled_from([2, 4, 8]),
    st.integers(0, 900),
    st.sampled_from([True, True, True, False]),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(running_jobs, max_size=7), st.sampled_from([(8, 1), (4, 2), (8, 2)]))
def test_no_other_victims_anywhere_lose_less(
    drawn: list[tuple[str, int, int, bool]], wanted: tuple[int, int]
) -> None:
    """Over two centers, two lenders and the own queue; and all that are stopped are needed."""
    free = {name: 8 for name in ("east-0", "east-1", "west-0", "west-1")}
    placed: list[Placed] = []
    for i, (queue, units, started, preemptible) in enumerate(drawn):
        node = next((n for n, left in free.items() if left >= units), None)
        if node is None:
            continue
        free[node] -= units
        one = job(f"r{i}", units, queue=queue, preemptible=preemptible)
        held = (Assignment(node, 1),)
        placed.append(
            Placed(one, node[:4], 0, units, units * CARD, float(started), assignments=held)
        )
    units, workers = wanted
    need = units * workers * CARD
    queues = (
        Queue("own", guarantee=20 * CARD),
        Queue("rich", guarantee=2 * CARD),
        Queue("poor", guarantee=8 * CARD),
    )
    guarantee = {queue.name: queue.guarantee for queue in queues}
    views = [
        Center(
            name,
            tuple(bucket([n], taken=8 - left) for n, left in free.items() if n[:4] == name),
        )
        for name in ("east", "west")
    ]
    made = core(views, [job("mine", units, workers, queue="own", priority=1)], queues)
    for each in placed:
        made.set_placed(each)
    usage = {name: sum(p.gflops for p in placed if p.job.queue == name) for name in guarantee}
    owed = usage["own"] + need <= guarantee["own"]

    def room(center: str, victims: tuple[Placed, ...]) -> int:
        left = {n: amount for n, amount in free.items() if n[:4] == center}
        for victim in victims:
            left[victim.assignments[0].node] += victim.units
        return sum(amount // units for amount in left.values())

    def allowed(victims: tuple[Placed, ...]) -> bool:
        for name in ("rich", "poor"):
            lost = sum(v.gflops for v in victims if v.job.queue == name)
            if lost and (not owed or usage[name] - lost < guarantee[name]):
                return False
        return all(v.job.preemptible for v in victims)

    outcome = made.cycle(NOW)
    victims = tuple(p.victim for p in outcome.preempted)
    works = [
        chosen
        for center in ("east", "west")
        for here in [[p for p in placed if p.center == center]]
        for count in range(len(here) + 1)
        for chosen in combinations(here, count)
        if allowed(chosen) and room(center, chosen) >= workers
    ]
    if outcome.placed or not works:
        assert not victims
        return
    assert set(victims) in map(set, works)
    least = min(sum(loss(v, NOW) for v in chosen) for chosen in works)
    assert sum(loss(v, NOW) for v in victims) == least
    for fewer in combinations(victims, len(victims) - 1):
        assert set(fewer) not in map(set, works)


# --- guarantees --------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.sampled_from(["a", "b", "c"]), max_size=24),
    st.integers(0, 16),
    st.integers(0, 16),
    st.integers(1, 3),
)
def test_a_higher_guarantee_never_gets_a_queue_less(
    crowd: list[str], guarantee: int, more: int, weight: int
) -> None:
    def gets(amount: int) -> int:
        queues = [
            Queue("a", weight=weight, guarantee=amount * CARD),
            Queue("b", guarantee=4 * CARD),
            Queue("c", weight=2),
        ]
        jobs = [job(f"j{i:02d}", queue=name) for i, name in enumerate(crowd)]
        places = core([_cards(2)], jobs, queues, policy=STEADY).cycle(NOW).placed
        return sum(place.job.queue == "a" for place in places)

    before, after = gets(guarantee), gets(guarantee + more)
    assert after >= before
    owed = min(guarantee, crowd.count("a"))
    # Two guarantees that are promised more than there is share it by how far they are met.
    assert before >= min(owed, 16 - min(4, crowd.count("b")))


def _cards(nodes: int) -> Center:
    return Center("east", (bucket([f"n{i}" for i in range(nodes)]),))


# --- reservations ------------------------------------------------------------------------------

later_jobs = st.tuples(st.sampled_from([1, 2, 4]), st.integers(1, 2), st.integers(1, 40))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([1, 2, 3, 4]), st.integers(1, 30)), min_size=1, max_size=6),
    st.sampled_from([(4, 1), (4, 2), (2, 3), (3, 2)]),
    st.lists(later_jobs, max_size=16),
)
def test_whoever_passes_the_head_starts_no_later_than_promised(
    first: list[tuple[int, int]], wanted: tuple[int, int], later: list[tuple[int, int, int]]
) -> None:
    """Two centers, gangs of all sizes; every job runs exactly as long as it said."""
    whole = [
        Center(name, (bucket([f"{name}-0", f"{name}-1"], shape(H100, 4)),))
        for name in ("east", "west")
    ]
    made = core(whole)
    running: dict[str, tuple[Place, float]] = {}

    def at(now: int, *news: Job) -> set[str]:
        for uid, (_, end) in list(running.items()):
            if end <= now:
                del running[uid]
                made.drop_placed(uid)
        for one in news:
            made.set_job(one)
        for center in whole:
            made.set_center(without(center, [p for p, _ in running.values()]))
        places = _settled(made, float(now))
        for place in places:
            running[place.job.uid] = (place, now + (place.job.expected_runtime or 0.0))
        return {place.job.uid for place in places}

    at(0, *(job(f"r{i}", u, expected_runtime=float(t)) for i, (u, t) in enumerate(first)))
    head = job("head", *wanted, submitted=1.0, expected_runtime=5.0)
    if "head" in at(1, head):
        return
    told = made.explain("head", 1.0)
    assert told is not None
    if told.ahead or told.predicted_start is None:
        return
    for now, (units, workers, runtime) in enumerate(later, start=2):
        passing = job(
            f"x{now}", units, workers, submitted=float(now), expected_runtime=float(runtime)
        )
        if "head" in at(now, passing):
            assert now <= told.predicted_start
            return
    for now in range(len(later) + 2, int(told.predicted_start) + 1):
        if "head" in at(now):
            return
    raise AssertionError("the head starts later than promised")


def _settled(made: Core, now: float) -> list[Place]:
    places = list(made.cycle(now).placed)
    while made.wakes_at <= now:
        places += made.cycle(now).placed
    return places
