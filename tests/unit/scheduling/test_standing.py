"""Figures of queues: what falls to each is what cycles give it; what one lends another borrows."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from huiju.scheduling.core import Core
from huiju.scheduling.model import Job, Placed, Queue
from huiju.scheduling.standing import Part, Standing, pour
from tests.scheduling_worlds import bucket, center, core, job

CARD = 1000
"""GFLOPS of one card of the tests' default model."""


def crowd(**counts: int) -> list[Job]:
    return [job(f"{q}{i:03d}", queue=q) for q, count in counts.items() for i in range(count)]


def standings(made: Core) -> dict[str, Standing]:
    return {each.queue: each for each in made.standings()}


def hold(made: Core, nodes: int, **units: int) -> Core:
    """Queues hold so many cards of a center whose nodes have eight each."""
    taken = {f"east-{i:04d}": 0 for i in range(nodes)}
    left = sum(units.values())
    for node in taken:
        taken[node] = min(8, left)
        left -= taken[node]
    made.set_center(center(buckets=tuple(bucket([n], taken=c) for n, c in taken.items())))
    for queue, count in units.items():
        placed = job(f"placed-{queue}", count, queue=queue)
        made.set_placed(Placed(placed, "east", 0, count, count * CARD, 0.0))
    return made


def test_the_example_of_the_page() -> None:
    queues = [Queue("a", weight=3), Queue("b", weight=1)]
    found = standings(core([center()], crowd(a=32, b=32), queues))
    assert {name: each.deserved // CARD for name, each in found.items()} == {"a": 24, "b": 8}
    queues[1] = Queue("b", weight=1, guarantee=20 * CARD)
    found = standings(core([center()], crowd(a=32, b=32), queues))
    assert {name: each.deserved // CARD for name, each in found.items()} == {"a": 12, "b": 20}


def test_an_idle_queue_has_a_share_and_deserves_nothing() -> None:
    found = standings(core([center()], crowd(a=40), [Queue("a"), Queue("b", ceiling=4 * CARD)]))
    assert (found["a"].share, found["a"].deserved) == (28 * CARD, 32 * CARD)
    assert (found["b"].share, found["b"].deserved) == (4 * CARD, 0)
    assert (found["a"].asked, found["b"].asked) == (40 * CARD, 0)


def test_what_is_not_lent_falls_to_nobody_else() -> None:
    queues = [Queue("a"), Queue("b", guarantee=20 * CARD, lending_limit=5 * CARD)]
    found = standings(core([center()], crowd(a=40), queues))
    assert (found["a"].deserved, found["b"].deserved) == (17 * CARD, 0)


def test_guarantees_beyond_what_there_is_are_met_in_proportion() -> None:
    queues = [Queue("a", guarantee=48 * CARD), Queue("b", guarantee=16 * CARD)]
    found = standings(core([center()], crowd(a=50, b=50), queues))
    assert (found["a"].deserved, found["b"].deserved) == (24 * CARD, 8 * CARD)


def test_a_guarantee_that_others_hold_is_lent_and_borrowed() -> None:
    queues = [Queue("a", guarantee=8 * CARD), Queue("b", guarantee=16 * CARD)]
    found = standings(hold(core([], crowd(b=4), queues), 4, a=30))
    # Two cards are free, so that fourteen of b's sixteen are in a's hands.
    assert (found["a"].borrowed, found["a"].lent) == (14 * CARD, 0)
    assert (found["b"].borrowed, found["b"].lent) == (0, 14 * CARD)
    assert (found["b"].usage, found["b"].asked, found["b"].deserved) == (0, 4 * CARD, 4 * CARD)


def test_without_guarantees_nothing_is_borrowed() -> None:
    found = standings(hold(core([], (), [Queue("a"), Queue("b")]), 4, a=32))
    assert [(each.borrowed, each.lent) for each in found.values()] == [(0, 0), (0, 0)]


def test_what_is_kept_free_is_not_lent() -> None:
    queues = [Queue("a"), Queue("b", guarantee=16 * CARD, lending_limit=6 * CARD)]
    found = standings(hold(core([], (), queues), 4, a=22))
    assert (found["a"].borrowed, found["b"].lent) == (6 * CARD, 6 * CARD)


def test_loans_are_told_level_by_level() -> None:
    queues = [
        Queue("org", guarantee=16 * CARD),
        Queue("a", "org", guarantee=8 * CARD),
        Queue("b", "org", guarantee=8 * CARD),
        Queue("other"),
    ]
    found = standings(hold(core([], (), queues), 4, a=14, other=18))
    # b could have two of its eight from what the organization lent; a holds the other six.
    assert {n: (e.borrowed // CARD, e.lent // CARD) for n, e in found.items()} == {
        "a": (6, 0),
        "b": (0, 6),
        "org": (0, 2),
        "other": (2, 0),
    }
    assert found["org"].usage == 14 * CARD


def test_jobs_of_an_inner_queue_borrow_from_those_below() -> None:
    queues = [Queue("org"), Queue("a", "org", guarantee=8 * CARD)]
    found = standings(hold(core([], (), queues), 4, org=32))
    assert (found["a"].lent, found["org"].borrowed) == (8 * CARD, 0)


def test_queues_that_admit_nothing_deserve_nothing() -> None:
    queues = [
        Queue("stopped", stopped=True),
        Queue("child", "stopped"),
        Queue("orphan", "gone"),
        Queue("ring", "ring-2"),
        Queue("ring-2", "ring"),
        Queue("good"),
    ]
    jobs = crowd(**{name.name: 10 for name in queues})
    found = standings(core([center()], jobs, queues))
    assert {name: each.share for name, each in found.items() if each.share} == {"good": 32 * CARD}
    assert {name for name, each in found.items() if each.deserved} == {"good"}


def test_what_no_center_has_is_not_asked_for() -> None:
    jobs = [job("x", model="unheard-of")]
    assert standings(core([center()], jobs))["q"].asked == 0


parts = st.builds(Part, st.integers(1, 9), st.integers(0, 60), st.integers(0, 90))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 200), st.lists(parts, max_size=6))
def test_what_is_poured_is_all_there_is_or_all_that_is_wanted(
    amount: int, given_parts: list[Part]
) -> None:
    found = pour(amount, given_parts)
    wanted = sum(part.wants for part in given_parts)
    # Each part may lack the crumb by which its own was rounded down.
    assert min(amount, wanted) - len(given_parts) <= sum(found) <= min(amount, wanted)
    fits = sum(min(part.guarantee, part.wants) for part in given_parts) <= amount
    for part, got in zip(given_parts, found, strict=True):
        assert 0 <= got <= part.wants
        assert not fits or got >= min(part.guarantee, part.wants)


@st.composite
def trees(draw: st.DrawFn) -> tuple[list[Queue], dict[str, int]]:
    queues: list[Queue] = []
    for number in range(draw(st.integers(1, 5))):
        inner = [queue.name for queue in queues]
        guarantee = draw(st.integers(0, 12)) * CARD
        ceiling = draw(st.one_of(st.none(), st.integers(0, 24)))
        queues.append(
            Queue(
                f"q{number}",
                draw(st.sampled_from(["", *inner])),
                weight=draw(st.integers(1, 4)),
                guarantee=guarantee,
                ceiling=None if ceiling is None else max(guarantee, ceiling * CARD),
            )
        )
    return queues, {queue.name: draw(st.integers(0, 20)) for queue in queues}


@settings(max_examples=80, deadline=None)
@given(trees(), st.integers(1, 5))
def test_on_every_level_as_much_is_borrowed_as_is_lent(
    tree: tuple[list[Queue], dict[str, int]], nodes: int
) -> None:
    queues, counts = tree
    room = 8 * nodes
    held: dict[str, int] = {}
    for name, count in counts.items():
        held[name] = min(count, room)
        room -= held[name]
    found = standings(hold(core([], (), queues), nodes, **held))
    below: dict[str, list[Standing]] = {}
    for queue in queues:
        below.setdefault(queue.parent, []).append(found[queue.name])
    for parent, group in below.items():
        own = held.get(parent, 0) * CARD
        borrowed = sum(each.borrowed for each in group)
        lent = sum(each.lent for each in group)
        # Jobs of the parent itself may borrow too, and crumbs are lost in dividing.
        assert borrowed - len(group) <= lent <= borrowed + own + len(group)
        for each in group:
            assert 0 <= each.borrowed <= max(0, each.usage - each.guarantee)
            assert 0 <= each.lent <= max(0, each.guarantee - each.usage)
    lacking = sum(max(0, each.guarantee - each.usage) for each in below[""])
    assert sum(each.lent for each in below[""]) <= max(0, lacking - room * CARD)


@settings(max_examples=80, deadline=None)
@given(trees(), st.integers(1, 5))
def test_what_falls_to_queues_is_what_a_cycle_gives_them(
    tree: tuple[list[Queue], dict[str, int]], size: int
) -> None:
    queues, counts = tree
    made = core([center(count=size)], crowd(**counts), queues)
    deserved = {each.queue: each.deserved for each in made.standings()}
    made.cycle(10.0)
    given_now = {each.queue: each.usage for each in made.standings()}
    for name, amount in deserved.items():
        # A cycle gives whole cards: it may be up to one off on each level of the tree.
        assert abs(given_now[name] - amount) <= 2 * CARD, (deserved, given_now)
