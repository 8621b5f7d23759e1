"""What is due for copies: rules, room, routes, and what keeps a copy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from huiju.api.reasons import Reason
from huiju.data.access import Refused
from huiju.data.copies import CopyId, Demand
from huiju.data.naming import replica_name
from tests.copy_worlds import NOW, World, copy, federation, holder, part, share


def rule(copies: int, **more: Any) -> dict[str, Any]:
    return {"name": "near", "copies": copies, **more}


def world(*holders: Any, copies: Any = (), demands: Any = (), **spec: Any) -> World:
    sizes = spec.pop("sizes", (10,))
    owner = spec.pop("owner", {})
    stored = {each.key: each for each in copies}
    made = World([share(sizes=sizes, **spec)], federation(*holders, **owner), stored)
    made.demands = tuple(demands)
    return made


def job(center: str, name: str = "team/train", **more: Any) -> Demand:
    return Demand(name, CopyId("u1", more.pop("version", "v1"), center, **more))


def test_two_copies_where_region_is_east_or_north() -> None:
    centers = (holder("e1", region="east"), holder("n1"), holder("w1", region="west"))
    made = world(*centers)
    made.shares = [share(copies=[rule(2, regions=["east", "north"])])]
    due = made.plan()
    assert {each.id.center for each in due.make} == {"e1", "n1"}
    assert due.shortfalls["u1"][0].reason == Reason.COPYING
    for _ in range(2):
        made.carry_out(made.plan())
        made.advance({})
    assert made.plan().shortfalls == {}
    assert not made.plan().make


def test_more_copies_than_centers_is_told_and_not_an_error() -> None:
    made = world(holder("n1"), holder("bare", capacity=0))
    made.shares = [share(copies=[rule(3, regions=["north"])])]
    made.carry_out(made.plan())
    made.carry_out(made.plan())
    made.advance({})
    (short,) = made.plan().shortfalls["u1"]
    assert (short.have, short.want, short.reason) == (1, 3, Reason.NO_ELIGIBLE_CENTER)
    assert "bare: it declares no spec.dataStore" in short.message


def test_a_rule_is_met_elsewhere_while_a_center_is_away() -> None:
    made = world(holder("n1"), holder("n2"), holder("n3"), copies=[copy("n1"), copy("n2")])
    made.shares = [share(copies=[rule(2, regions=["north"])])]
    assert not made.plan().make
    made.holders["n1"] = replace(made.holders["n1"], answers=False)
    assert not made.plan().make, "it may be back in a moment"
    made.holders["n1"] = replace(made.holders["n1"], away=True)
    assert [each.id.center for each in made.plan().make] == ["n3"]
    made.carry_out(made.plan())
    made.carry_out(made.plan())
    made.advance({})
    due = made.plan()
    assert (due.shortfalls, due.make, due.evict) == ({}, (), ())
    # It returns with its copy: one too many, which stays until room is needed.
    made.holders["n1"] = holder("n1")
    due = made.plan()
    assert (due.shortfalls, due.make, due.evict) == ({}, (), ())
    made.holders |= {n: replace(made.holders[n], away=True) for n in ("n2", "n3")}
    (short,) = made.plan().shortfalls["u1"]
    assert (short.have, short.want, short.reason) == (1, 2, Reason.NO_ELIGIBLE_CENTER)
    assert "n2: it does not answer any more" in short.message


def test_the_owners_own_files_count_as_a_copy_where_the_rule_covers_them() -> None:
    made = world(holder("s1", region="south"))
    made.shares = [share(copies=[rule(1, regions=["south"])])]
    assert not made.plan().make
    assert made.plan().shortfalls == {}


def test_residency_is_a_filter_that_a_rule_does_not_relax() -> None:
    made = world(holder("n1"), holder("x1", region="abroad"))
    made.shares = [share(copies=[rule(2)], residency={"regions": ["south", "north"]})]
    assert [each.id.center for each in made.plan().make] == ["n1"]


def test_a_center_whose_region_became_forbidden_loses_its_copy_unless_a_job_has_it() -> None:
    made = world(holder("x1", region="abroad"), copies=[copy("x1")])
    made.shares = [share(residency={"regions": ["south"]})]
    (out,) = made.plan().evict
    assert out.reason == Reason.RESIDENCY_FORBIDS
    made.demands = (job("x1"),)
    assert not made.plan().evict


def test_ten_asking_for_sixty_percent_each_give_one_transfer() -> None:
    asked = [copy("n1", "Pending", 60, version=f"v{n}", wanted=True) for n in range(1, 11)]
    made = world(holder("n1", capacity=100), copies=asked, sizes=[60] * 10)
    due = made.plan()
    assert len(due.start) == 1
    assert {each.reason for each in due.hold} == {Reason.QUOTA_EXCEEDED}
    made.carry_out(due)
    assert not made.plan().start


def test_room_is_made_by_the_longest_unused_and_down_to_the_floor() -> None:
    old = [copy("n1", size=20, version=f"v{n}", used=NOW - 1000 + n) for n in range(1, 6)]
    new = copy("n1", "Pending", 10, version="v6", wanted=True)
    made = world(holder("n1", capacity=100), copies=[*old, new], sizes=[20] * 5 + [10])
    due = made.plan()
    assert [each.copy.id.version for each in due.evict] == ["v1"]
    # No refusal, by which a job that waits for it would look for another center.
    assert [each.reason for each in due.hold] == [Reason.TRANSFER_PENDING]
    made.carry_out(due)
    due = made.plan()
    assert not due.evict, "what is on its way out is counted once"
    assert [each.reason for each in due.hold] == [Reason.TRANSFER_PENDING]
    made.advance({})
    assert [each.copy.id.version for each in made.plan().start] == ["v6"]


def test_nothing_is_evicted_where_it_would_not_be_enough() -> None:
    kept = copy("n1", size=60, wanted=True)
    loose = copy("n1", size=30, version="v2")
    new = copy("n1", "Pending", 50, version="v3", wanted=True)
    due = world(holder("n1"), copies=[kept, loose, new], sizes=(60, 30, 50)).plan()
    assert not due.evict
    assert due.hold[0].reason == Reason.QUOTA_EXCEEDED


def test_the_last_verified_copy_stays_while_the_owner_does_not_answer() -> None:
    last = copy("n1", size=60)
    new = copy("n1", "Pending", 60, share="u2", wanted=True)
    made = world(holder("n1"), copies=[last, new])
    other = share("u2", (60,), source={"center": "n1", "files": {"path": "/e"}})
    made.shares = [share(sizes=(60,)), other]
    assert made.plan().evict, "the owner has the files"
    home = made.holders["home"]
    made.holders["home"] = type(home)(home.place, answers=False, routes=home.routes)
    assert not made.plan().evict
    made.holders["home"] = home
    made.copies["broken"] = copy("n2", "Failed", 60, damaged_source=True, wanted=True)
    assert not made.plan().evict, "the owner answers, and its files are not what they were"


def test_no_copy_goes_that_another_is_read_from() -> None:
    made = world(
        holder("n1"),
        holder("n2"),
        copies=[copy("n1", leaving=True), copy("n2", "Copying", source="n1", wanted=True)],
    )
    assert not made.plan().evict


def test_a_copy_begins_only_over_a_declared_and_open_link() -> None:
    asked = copy("n1", "Pending", wanted=True)
    cut = world(holder("n1"), copies=[asked], owner={"routes": {}}).plan()
    assert cut.hold[0].reason == Reason.NO_ROUTE
    closed = world(holder("n1"), copies=[asked], owner={"routes": {"n1": NOW + 60}}).plan()
    assert (closed.hold[0].reason, closed.hold[0].until) == (Reason.WINDOW_CLOSED, NOW + 60)
    silent = world(holder("n1"), copies=[asked], owner={"answers": False, "routes": {"n1": 0.0}})
    assert silent.plan().hold[0].reason == Reason.PEER_UNREACHABLE
    (start,) = world(holder("n1"), copies=[asked]).plan().start
    assert (start.source, start.epoch) == ("home", 1)


def test_the_owners_own_center_needs_no_link() -> None:
    made = world(copies=[copy("home", "Pending", wanted=True)])
    home = made.holders["home"]
    made.holders["home"] = type(home)(home.place, 100, 90)
    assert made.plan().start


def test_five_on_a_link_is_one_too_many_and_jobs_go_first() -> None:
    asked = [copy("n1", "Pending", version=f"v{n}", wanted=True) for n in range(1, 6)]
    made = world(holder("n1"), copies=asked, sizes=[10] * 5, demands=[job("n1", version="v5")])
    due = made.plan()
    assert due.start[0].copy.id.version == "v5"
    assert [each.reason for each in due.hold] == [Reason.LINK_BUSY]


def test_a_failed_transfer_waits_its_time_and_then_has_the_next_epoch() -> None:
    failed = copy("n1", "Failed", wanted=True, epoch=3, retry_at=NOW + 30)
    made = world(holder("n1"), copies=[failed])
    assert made.plan().hold[0].reason == Reason.TRANSFER_FAILED
    made.now += 31
    assert made.plan().start[0].epoch == 4


def test_a_job_that_needs_a_part_is_served_by_the_whole() -> None:
    wants = [job("n1", part=part("train/*"))]
    bare = world(holder("n1"), demands=wants).plan()
    assert [each.id.part for each in bare.make] == [part("train/*")]
    whole = world(holder("n1"), copies=[copy("n1")], demands=wants).plan()
    assert not whole.make
    assert list(whole.pins) == [copy("n1").id]


def test_a_staging_that_nobody_waits_for_any_more_is_given_up() -> None:
    moving = copy("n1", "Copying", source="home")
    both = world(holder("n1"), copies=[moving], demands=[job("n1", "a/x"), job("n1", "b/y")])
    assert not both.plan().evict
    both.demands = both.demands[1:]
    assert not both.plan().evict, "the other job still waits for it"
    both.demands = ()
    assert both.plan().evict[0].reason == Reason.COPY_EVICTED


def test_an_unused_copy_goes_after_its_lifetime_and_a_pinned_one_does_not() -> None:
    old = copy("n1", used=NOW - 7200, created=NOW - 9000)
    made = world(holder("n1"), copies=[old], unusedLifetime="1h")
    assert made.plan().evict
    made.shares = [share(unusedLifetime="1h", pins=["n1"])]
    assert not made.plan().evict


def test_a_retired_version_is_copied_no_more_but_for_a_job_that_has_it() -> None:
    asked = copy("n1", "Pending", wanted=True)
    made = world(holder("n1"), copies=[asked], retired=["v1"])
    assert made.plan().hold[0].reason == Reason.UNKNOWN_VERSION
    made.demands = (job("n1"),)
    assert made.plan().start


def test_copies_of_a_share_that_is_no_more_go() -> None:
    made = world(holder("n1"), copies=[copy("n1", wanted=True)])
    made.shares = [share("u9")]
    assert made.plan().evict[0].reason == Reason.UNKNOWN_DATASET


def test_replicas_of_one_copy_have_one_name() -> None:
    name = replica_name("corpus.zh", "u1", "v1", "n1", ["b/*", "a/*"])
    assert name == replica_name("corpus.zh", "u1", "v1", "n1", ["a/*", "b/*"])
    assert name != replica_name("corpus.zh", "u1", "v1", "n1")
    assert name.startswith("corpus-zh-")


def test_a_copy_that_nobody_may_use_any_more_goes_when_the_grace_is_over() -> None:
    why = Refused(Reason.GRANT_REVOKED, "revoked")
    made = world(holder("n1"), copies=[copy("n1", barred=why, barred_at=NOW - 599)])
    assert not made.plan().evict
    made.now += 1
    (out,) = made.plan().evict
    assert (out.reason, out.copy.epoch) == (Reason.GRANT_REVOKED, 1)
    made.demands = (job("n1"),)
    assert not made.plan().evict, "a job that is not stopped yet has it mounted"


def test_a_copy_that_a_rule_or_a_person_wants_outlives_a_grant() -> None:
    why = Refused(Reason.GRANT_REVOKED, "revoked")
    old: dict[str, Any] = {"barred": why, "barred_at": NOW - 9999}
    made = world(holder("n1"), copies=[copy("n1", wanted=True, **old)])
    assert not made.plan().evict
    made = world(holder("n1"), copies=[copy("n1", **old)])
    made.shares = [share(copies=[rule(1, regions=["north"])])]
    assert not made.plan().evict


def test_a_copy_is_not_gone_before_its_grace_was_written_down() -> None:
    why = Refused(Reason.GRANT_REVOKED, "revoked")
    assert not world(holder("n1"), copies=[copy("n1", barred=why)]).plan().evict
