"""What cordoning a center would do: asked of a copy, answered by the cycle itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from huiju.scheduling.cordon import CordonEffect
from huiju.scheduling.core import Core
from huiju.scheduling.model import Assignment, Job, Placed, Queue
from tests.scheduling_worlds import bucket, center, core, job, where, without

CARD = 1000


def running(uid: str, name: str, units: int, **more: Any) -> Placed:
    one = job(uid, units, **more)
    held = (Assignment(f"{name}-0000", 1),)
    return Placed(one, name, 0, units, units * CARD, 0.0, assignments=held)


def two_centers(*jobs: Job, west_taken: int = 0) -> Core:
    west = center("west", buckets=(bucket(["west-0000"], taken=west_taken),))
    return core([center("east", 1), west], jobs)


def effect(made: Core, name: str = "east", now: float = 10.0) -> CordonEffect:
    found = made.whatif_cordon(name, now)
    assert found is not None
    return found


def fates(found: CordonEffect) -> dict[str, tuple[str, float | None]]:
    return {d.job.uid: (d.center, d.at) for d in (*found.running, *found.waiting)}


def test_an_unknown_center_has_no_effect_to_tell() -> None:
    assert two_centers().whatif_cordon("nowhere", 1.0) is None


def test_running_jobs_run_on_and_are_told_where_they_could_go() -> None:
    jobs = [job(f"j{i}", 8, expected_runtime=100.0, submitted=float(i)) for i in range(2)]
    made = two_centers(*jobs, west_taken=0)
    placed = made.cycle(10.0).placed
    assert where(placed) == {"j0": "east", "j1": "west"}
    found = effect(made)
    assert [d.job.uid for d in found.running] == ["j0"]
    (only,) = found.running
    assert (only.before, only.center, only.at) == (110.0, "west", 110.0)
    assert "expected ends of 1 job(s) in west" in only.basis


def test_those_that_would_leave_compete_for_the_same_nodes() -> None:
    made = two_centers(west_taken=4)
    for i in range(2):
        made.set_placed(running(f"r{i}", "east", 4, expected_runtime=100.0))
    found = effect(made)
    told = {d.job.uid: d.at for d in found.running}
    assert told == {"r0": 10.0, "r1": 110.0}
    assert all(d.equal == 1 for d in found.running)


def test_waiting_jobs_that_would_start_there_look_elsewhere() -> None:
    made = two_centers()
    for name, end in (("east", 50.0), ("west", 300.0)):
        made.set_placed(running(f"r-{name}", name, 8, expected_runtime=end))
        made.set_center(center(name, buckets=(bucket([f"{name}-0000"], taken=8),)))
    for i in range(3):
        made.set_job(job(f"w{i}", 8, submitted=float(i)))
    made.set_job(job("elsewhere", 8, centers=("west",)))
    made.cycle(10.0)
    found = effect(made)
    (head,) = found.waiting
    assert (head.job.uid, head.equal, head.before) == ("w0", 3, 50.0)
    assert (head.center, head.at) == ("west", 300.0)
    stuck = next(d for d in effect(made, "west").waiting if d.job.uid == "elsewhere")
    assert (stuck.center, stuck.at) == ("", None)
    assert stuck.basis.startswith("no center could take it")


def test_asking_changes_nothing() -> None:
    jobs = [job(f"j{i}", 8, submitted=float(i)) for i in range(6)]
    asked, silent = two_centers(*jobs), two_centers(*jobs)
    assert asked.cycle(10.0) == silent.cycle(10.0)
    for name in ("east", "west"):
        asked.whatif_cordon(name, 11.0)
    for made in (asked, silent):
        made.set_center(center("north", 2))
    assert asked.cycle(12.0) == silent.cycle(12.0)
    for uid in ("j4", "j5"):
        assert asked.explain(uid, 12.0) == silent.explain(uid, 12.0)


def test_a_center_that_is_closed_already_says_so() -> None:
    made = core([center("east", 1, closed="CenterLost")], [job("a")], [Queue("q")])
    made.cycle(1.0)
    found = effect(made)
    assert (found.closed, found.running, found.waiting) == ("CenterLost", (), ())


def test_the_answer_is_what_happens_then() -> None:
    """Those told to go elsewhere at once do go there when the center is really closed."""
    jobs = [job(f"j{i}", 4, submitted=float(i)) for i in range(3)]
    west = center("west", 1)
    made = core([center("east", 1), west], jobs)
    placed = made.cycle(10.0).placed
    told = fates(effect(made))
    here = [p for p in placed if p.center == "east"]
    assert here
    for place in here:
        made.drop_placed(place.job.uid)
    made.set_center(replace(without(center("east", 1), ()), closed="CenterCordoned"))
    made.set_center(without(west, [p for p in placed if p.center == "west"]))
    for place in here:
        made.set_job(place.job)
    gone = where(made.cycle(10.0).placed)
    assert gone == {uid: name for uid, (name, at) in told.items() if at == 10.0}
