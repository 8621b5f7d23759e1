"""What must hold of every cycle, whatever the world: drawn worlds, and an oracle by brute force."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from huiju.scheduling.core import Core
from huiju.scheduling.filter import refuse, refuse_node
from huiju.scheduling.model import (
    CPU,
    PODS,
    Alternative,
    Center,
    Job,
    Outcome,
    Place,
    Queue,
    ShareLimit,
    Wait,
    vector,
)
from huiju.scheduling.policy import Policy
from huiju.scheduling.topology import legal, slots
from tests.scheduling_worlds import (
    A910,
    B3,
    H100,
    as_placed,
    bucket,
    core,
    job,
    shape,
    wants,
    without,
)

KINDS = (
    shape(H100, 4, cpu=8000),
    shape(B3, 8, cpu=16000),
    shape(A910, 8, labels=(("disk", "ssd"),)),
)
GFLOPS = {a.model: a.gflops for a in (H100, B3, A910)}
STEADY = Policy(backfill=False, preemption=False)


@st.composite
def centers(draw: st.DrawFn) -> list[Center]:
    found = []
    for name in ("east", "north", "west")[: draw(st.integers(1, 3))]:
        buckets = []
        for i, kind in enumerate(KINDS):
            count = draw(st.integers(0, 3))
            names = [f"{name}-{i}-{n}" for n in range(count)]
            for node in names:
                taken = draw(st.integers(0, 4))
                buckets.append(bucket([node], kind, taken=taken))
        limits: tuple[ShareLimit, ...] = ()
        if draw(st.booleans()):
            limits = (ShareLimit(H100.model, draw(st.integers(0, 10)), draw(st.integers(0, 3))),)
        region = draw(st.sampled_from(["", "n", "s"]))
        found.append(Center(name, tuple(buckets), region=region, limits=limits))
    return found


@st.composite
def queues(draw: st.DrawFn) -> list[Queue]:
    def amount(most: int) -> Any:
        return draw(st.integers(0, most)) * 1000

    found = [Queue("root", ceiling=draw(st.sampled_from([None, 3000, 9000])))]
    for name in ("p", "q"):
        ceiling = draw(st.sampled_from([None, 2000, 5000]))
        found.append(
            Queue(name, "root", draw(st.integers(1, 3)), guarantee=amount(2), ceiling=ceiling)
        )
    found.append(Queue("r", weight=2, lending_limit=amount(1), guarantee=amount(3)))
    return found


@st.composite
def shapes(draw: st.DrawFn) -> Any:
    models = draw(st.lists(st.sampled_from(sorted(GFLOPS)), min_size=1, max_size=2, unique=True))
    size = draw(st.sampled_from([1, 1, 2, 3, 4, 8]))
    return wants(
        workers=draw(st.sampled_from([1, 1, 1, 2, 3, 5])),
        alternatives=tuple(Alternative(m, size) for m in models),
        request=vector({CPU: draw(st.sampled_from([100, 3000])), PODS: 1}),
        regions=draw(st.sampled_from([(), (), ("n",), ("n", "s")])),
        node_selector=draw(st.sampled_from([(), (), (("disk", "ssd"),)])),
    )


@st.composite
def jobs(draw: st.DrawFn, most: int = 10) -> list[Job]:
    kinds = draw(st.lists(shapes(), min_size=1, max_size=4))
    return [
        job(
            f"j{i}",
            shape=draw(st.sampled_from(kinds)),
            queue=draw(st.sampled_from(["p", "q", "r"])),
            submitted=float(draw(st.integers(0, 5))),
            priority=draw(st.integers(0, 1)),
            expected_runtime=draw(st.sampled_from([None, 10.0, 100.0])),
        )
        for i in range(draw(st.integers(1, most)))
    ]


Worlds = st.tuples(centers(), queues(), jobs())


def fits_by_search(one: Job, place: Center) -> bool:
    """Whether the gang fits, by trying every way to spread its workers over the nodes."""
    return any(_spread(one, place, index) for index in range(len(one.shape.alternatives)))


def _spread(one: Job, place: Center, index: int) -> bool:
    chosen, shape_ = one.shape.alternatives[index], one.shape
    if refuse(shape_, one.avoid, place, 0.0) is not None:
        return False
    room = next((x.limit - x.held for x in place.limits if x.model == chosen.model), None)
    if room is not None and chosen.per_worker * shape_.workers > room:
        return False
    hosts = [(b, dict(b.free)) for b in place.buckets for _ in b.nodes]

    def capable(b: Any, free: dict[str, int], workers: int) -> bool:
        from huiju.scheduling.capacity import NodeKind

        kind = NodeKind.of(b.shape)
        found = [a for a in b.shape.accelerators if a.model == chosen.model]
        if not found or refuse_node(shape_, kind):
            return False
        (accelerator,) = found
        need = {**dict(shape_.request), accelerator.resource: chosen.per_worker}
        if any(free.get(n, 0) < amount * workers for n, amount in need.items()):
            return False
        if not legal(accelerator.topology, chosen.per_worker, shape_.workers > 1):
            return False
        total = kind.allocatable[accelerator.resource]
        units = free[accelerator.resource]
        here = slots(accelerator.topology, chosen.per_worker, total, units, b.free_devices)
        return here >= workers

    def search(left: int, at: int) -> bool:
        if not left:
            return True
        if at == len(hosts):
            return False
        b, free = hosts[at]
        return any(
            (count == 0 or capable(b, free, count)) and search(left - count, at + 1)
            for count in range(left + 1)
        )

    return search(shape_.workers, 0)


def left_over(found: list[Center], outcome: Outcome) -> list[Center]:
    """The centers after the outcome, limits included; raises if a node is over-allocated."""
    after = []
    for one in found:
        here = Counter[str]()
        for p in outcome.placed:
            chosen = p.job.shape.alternatives[p.alternative]
            if p.center == one.name:
                here[chosen.model] += chosen.per_worker * p.job.shape.workers
        limits = tuple(replace(x, held=x.held + here[x.model]) for x in one.limits)
        after.append(replace(without(one, outcome.placed), limits=limits))
    return after


@settings(max_examples=100, deadline=None)
@given(Worlds)
def test_nothing_is_given_twice_and_gangs_are_whole(world: Any) -> None:
    places, tree, waiting = world
    outcome = core(places, waiting, tree).cycle(10.0)
    for before, after in zip(places, left_over(places, outcome), strict=True):
        for limit, old in zip(after.limits, before.limits, strict=True):
            assert limit.held == old.held or limit.held <= limit.limit
    for place in outcome.placed:
        assert sum(a.workers for a in place.assignments) == place.job.shape.workers
        names = {n for c in places if c.name == place.center for b in c.buckets for n in b.nodes}
        assert {a.node for a in place.assignments} <= names
        chosen = place.job.shape.alternatives[place.alternative]
        units = chosen.per_worker * place.job.shape.workers
        assert place.gflops == units * GFLOPS[chosen.model]
    usage = usage_of(tree, outcome)
    for queue in tree:
        assert queue.ceiling is None or usage[queue.name] <= queue.ceiling


def settle(made: Core, now: float) -> Outcome:
    """What all passes at one time decide together; there are few."""
    placed: list[Place] = []
    told: dict[str, Wait] = {}
    for _ in range(10):
        outcome = made.cycle(now)
        placed += outcome.placed
        told |= {wait.job.uid: wait for wait in outcome.waiting}
        for place in outcome.placed:
            told.pop(place.job.uid, None)
        if made.wakes_at > now:
            return Outcome(tuple(placed), tuple(told.values()))
    raise AssertionError("it never settles")


def usage_of(tree: list[Queue], outcome: Outcome) -> Counter[str]:
    parents = {queue.name: queue.parent for queue in tree}
    usage = Counter[str]()
    for place in outcome.placed:
        name = place.job.queue
        while name:
            usage[name] += place.gflops
            name = parents[name]
    return usage


@settings(max_examples=100, deadline=None)
@given(Worlds)
def test_every_job_is_placed_or_told_why(world: Any) -> None:
    places, tree, waiting = world
    made = core(places, waiting, tree)
    outcome = settle(made, 10.0)
    placed = {p.job.uid for p in outcome.placed}
    told = {w.job.uid: w.reason for w in outcome.waiting}
    assert placed.isdisjoint(told)
    assert placed | set(told) == {one.uid for one in waiting}
    for wait in outcome.waiting:
        explained = made.explain(wait.job.uid, 10.0)
        assert explained is not None
        assert wait.message
        assert explained.reason == wait.reason
        centers_told = {r.center for r in explained.trace.refusals}
        centers_told |= {c.center for c in explained.trace.candidates}
        assert centers_told == {c.name for c in places}
    assert made.cycle(10.0) == Outcome()


@settings(max_examples=100, deadline=None)
@given(Worlds, st.randoms(use_true_random=False))
def test_the_order_of_news_does_not_matter(world: Any, random: Any) -> None:
    places, tree, waiting = world
    first = core(places, waiting, tree).cycle(10.0)
    mixed = [list(places), list(waiting), list(tree)]
    for news in mixed:
        random.shuffle(news)
    second = core(*mixed).cycle(10.0)
    assert first.placed == second.placed
    assert {w.job.uid: w.message for w in first.waiting} == {
        w.job.uid: w.message for w in second.waiting
    }


@settings(max_examples=100, deadline=None)
@given(Worlds)
def test_no_job_waits_that_a_search_can_place(world: Any) -> None:
    places, _, waiting = world
    tree = [Queue(name) for name in "pqr"]
    outcome = core(places, waiting, tree, policy=STEADY).cycle(10.0)
    after = left_over(places, outcome)
    for wait in outcome.waiting:
        assert not any(fits_by_search(wait.job, one) for one in after), wait


@settings(max_examples=100, deadline=None)
@given(centers(), shapes())
def test_one_job_fits_exactly_where_a_search_finds_room(places: list[Center], kind: Any) -> None:
    one = job("a", shape=kind)
    for place in places:
        expected = fits_by_search(one, place)
        assert bool(core([place], [one]).cycle(1.0).placed) is expected


@settings(max_examples=100, deadline=None)
@given(Worlds)
def test_equal_jobs_go_in_order(world: Any) -> None:
    places, tree, waiting = world
    made = core(places, waiting, tree)
    placed = {p.job.uid for p in made.cycle(10.0).placed}
    for early in waiting:
        for late in waiting:
            alike = (early.queue, early.shape, early.expected_runtime) == (
                late.queue,
                late.shape,
                late.expected_runtime,
            )
            before = (-early.priority, early.submitted, early.uid) < (
                -late.priority,
                late.submitted,
                late.uid,
            )
            if alike and before and late.uid in placed:
                assert early.uid in placed


@settings(max_examples=80, deadline=None)
@given(Worlds, st.data())
def test_a_core_that_followed_equals_one_made_now(world: Any, data: st.DataObject) -> None:
    places, tree, waiting = world
    # Preemption remembers whom it has told to stop; everything else is decided from what is.
    policy = Policy(patience=3.0, starving=6.0, preemption=False)
    followed = core(places, (), tree, policy=policy)
    shown = {c.name: c for c in places}
    known: dict[str, Job] = {}
    running: dict[str, tuple[Place, float]] = {}
    fresh_jobs = list(waiting)
    for now in range(10, 18):
        for _ in range(data.draw(st.integers(0, 3))):
            if fresh_jobs:
                one = fresh_jobs.pop()
                known[one.uid] = one
                followed.set_job(one)
        if data.draw(st.booleans()) and running:
            uid = data.draw(st.sampled_from(sorted(running)))
            del running[uid]
            followed.drop_placed(uid)
        if data.draw(st.booleans()) and known:
            uid = data.draw(st.sampled_from(sorted(known)))
            del known[uid]
            followed.drop_job(uid)
        if data.draw(st.booleans()):
            cordoned = data.draw(st.sampled_from(sorted(shown)))
            flipped = "" if shown[cordoned].closed else "CenterCordoned"
            shown[cordoned] = replace(shown[cordoned], closed=flipped)
        held = Outcome(tuple(p for p, _ in running.values()))
        views = {c.name: c for c in left_over(list(shown.values()), held)}
        for name in data.draw(st.permutations(sorted(views))):
            followed.set_center(views[name])
        fresh = core(views.values(), known.values(), tree, policy=policy)
        for place, since in running.values():
            fresh.set_placed(as_placed(place, since))
        outcome, expected = settle(followed, float(now)), settle(fresh, float(now))
        assert outcome.placed == expected.placed
        for place in outcome.placed:
            del known[place.job.uid]
            running[place.job.uid] = (place, float(now))
        for uid in known:
            assert followed.explain(uid, float(now)) == fresh.explain(uid, float(now))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([1, 2, 4]), st.integers(1, 30)), max_size=14))
def test_passing_never_delays_the_reserved_head(later: list[tuple[int, int]]) -> None:
    """With run times known, the head starts no later than first promised, whoever passes it."""
    names = ["n0", "n1"]
    base = Center("east", (bucket(names, shape(H100, 4)),))
    made = core([base], [job("r0", 3, expected_runtime=20.0), job("r1", 2, expected_runtime=9.0)])
    running: dict[str, tuple[Place, float]] = {}
    promised: float | None = None
    head = job("head", 4, 2, submitted=1.0, expected_runtime=5.0)
    for now in range(60):
        if now == 1:
            made.set_job(head)
        if 1 < now <= 1 + len(later):
            units, runtime = later[now - 2]
            made.set_job(
                job(f"x{now}", units, submitted=float(now), expected_runtime=float(runtime))
            )
        for uid, (_, end) in list(running.items()):
            if end <= now:
                del running[uid]
                made.drop_placed(uid)
        held = Outcome(tuple(p for p, _ in running.values()))
        made.set_center(left_over([base], held)[0])
        for place in made.cycle(float(now)).placed:
            running[place.job.uid] = (place, now + (place.job.expected_runtime or 0.0))
            if place.job.uid == "head":
                assert promised is not None
                assert now <= promised
                return
        if now >= 1 and promised is None:
            explained = made.explain("head", float(now))
            assert explained is not None
            promised = explained.predicted_start
    raise AssertionError("the head never started")
