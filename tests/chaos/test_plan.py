"""Plans, records and shrinking: pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from lab.faultrules import Fault
from tests.chaos.load import ENDS, Course, orders
from tests.chaos.plan import READING, STEPS, Blow, Deed, Glitch, Step, cells, draw, dump, load
from tests.chaos.record import Record
from tests.chaos.shrink import shrunk


def test_a_seed_is_a_plan_and_a_plan_survives_as_text() -> None:
    plan = draw(7, 60.0)
    assert plan == draw(7, 60.0)
    assert plan != draw(8, 60.0)
    assert load(dump(plan)) == plan
    assert [one.at for one in plan] == sorted(one.at for one in plan)


def test_every_step_and_deed_comes_to_its_turn() -> None:
    plan = [one for seed in range(40) for one in draw(seed, 60.0)]
    drawn = Counter((one.step, one.fault) for one in plan if isinstance(one, Glitch))
    assert set(drawn) == set(cells())
    assert {one.deed for one in plan if isinstance(one, Blow)} == set(Deed)
    assert {step for step, _ in cells()} == set(Step) == set(STEPS)
    assert {step for step, fault in cells() if fault is Fault.REORDER} == READING


def test_a_focus_draws_nothing_else() -> None:
    focus = [(Step.DECIDE, Fault.LOSE)]
    plan = [one for one in draw(1, 30.0, focus=focus) if isinstance(one, Glitch)]
    assert plan
    assert {(one.step, one.fault) for one in plan} == set(focus)


def test_a_share_of_the_glitches_is_in_focus_and_the_others_are_anywhere() -> None:
    focus = [(Step.TAKE, Fault.CUT)]
    plan = draw(1, 400.0, every=0.1, focus=focus, share=0.5, turn=20.0)
    drawn = Counter((one.step, one.fault) for one in plan if isinstance(one, Glitch))
    assert 0.4 < drawn[focus[0]] / drawn.total() < 0.6
    assert set(drawn) == set(cells())


def test_in_a_turn_glitches_stay_with_few_steps() -> None:
    plan = [one for one in draw(1, 100.0, every=0.05, turn=25.0) if isinstance(one, Glitch)]
    turns = [{one.step for one in plan if one.at // 25 == number} for number in range(4)]
    assert [len(steps) for steps in turns] == [4] * 4
    assert len(set.union(*turns)) > 4


def test_every_course_of_a_job_is_drawn_and_has_an_end() -> None:
    drawn = {order.course for order in orders(1, 200.0, 2.0)}
    assert drawn == set(Course) == set(ENDS)


def pod(uid: str, epoch: int, *, node: str = "n", cards: int = 8) -> dict[str, Any]:
    labels = {"huiju.dev/job-uid": "job", "huiju.dev/job-name": "j", "huiju.dev/epoch": f"{epoch}"}
    limits = {"limits": {"huawei.com/Ascend910": f"{cards}"}}
    return {
        "metadata": {"name": uid, "uid": uid, "labels": labels},
        "spec": {"nodeName": node, "containers": [{"resources": limits}]},
        "status": {"phase": "Running"},
    }


def test_only_what_surely_overlapped_is_an_overlap() -> None:
    record = Record()
    record.note("east", [pod("a", 1)], 0.0, 1.0)
    record.note("west", [pod("b", 2)], 2.0, 3.0)
    record.note("west", [pod("b", 2)], 4.0, 4.5)
    assert list(record.overlaps()) == [], "the first may have ended after one second"
    record.note("east", [pod("a", 1)], 3.5, 6.0)
    (told,) = record.overlaps()
    assert "epoch 1 in east and epoch 2 in west" in told


def test_more_cards_than_a_node_has_are_seen() -> None:
    record = Record()
    for asked in (0.0, 2.0):
        record.note("east", [pod("a", 1), pod("b", 1, cards=1)], asked, asked + 1)
    assert list(record.over_commitments(8)) == ["node n of east had 9 of 8 cards in use"] * 2
    assert list(record.over_commitments(9)) == []


async def test_a_plan_is_shrunk_to_what_matters() -> None:
    runs = 0

    async def fails(part: Sequence[int]) -> bool:
        nonlocal runs
        runs += 1
        return {3, 17} <= set(part)

    assert await shrunk(range(40), fails, tries=200) == [3, 17]
    assert runs <= 200
    assert await shrunk(range(40), fails, tries=0) == list(range(40))
