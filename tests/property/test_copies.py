"""What must hold of every plan for copies, whatever the world, and however often the hub dies."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from huiju.api.dataset import ReplicaPhase
from huiju.api.reasons import Reason
from huiju.data.access import may_lie
from huiju.data.copies import JOB, CopyId, Demand, taken
from huiju.data.moves import MOST_ON_A_LINK, Plan
from tests.copy_worlds import NOW, OWNER, World, copy, federation, holder, share

CENTERS = ("a", "b", "c")
PHASES: tuple[ReplicaPhase, ...] = (
    "Pending",
    "Waiting",
    "Copying",
    "Verified",
    "Failed",
    "Evicting",
)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    shares = []
    for uid in ("u1", "u2")[: draw(st.integers(1, 2))]:
        sizes = draw(st.lists(st.integers(1, 60), min_size=1, max_size=3))
        rules = [
            {
                "name": f"r{number}",
                "copies": draw(st.integers(1, 4)),
                "regions": draw(st.sampled_from([[], ["north"], ["east", "north"]])),
            }
            for number in range(draw(st.integers(0, 2)))
        ]
        spec = {
            "copies": rules,
            "pins": draw(st.lists(st.sampled_from(CENTERS), unique=True, max_size=1)),
            "residency": {"excludeRegions": draw(st.sampled_from([[], ["east"]]))},
        }
        if draw(st.booleans()):
            spec["unusedLifetime"] = "1m"
        shares.append(share(uid, sizes, **spec))
    others = [
        holder(
            name,
            draw(st.sampled_from([0, 50, 100])),
            draw(st.sampled_from(["north", "east"])),
            answers=draw(st.booleans()),
        )
        for name in CENTERS
    ]
    linked = draw(st.sets(st.sampled_from(CENTERS)))
    opens = {name: NOW + draw(st.sampled_from([-1.0, 500.0])) for name in sorted(linked)}
    holders = federation(*others, routes=opens, answers=draw(st.booleans()))
    world = World(shares, holders)
    demands = []
    for each in shares:
        for version in each.spec.versions:
            for center in CENTERS:
                which = CopyId(each.uid, version.name, center)
                room = holders[center].capacity - taken(world.copies.values(), center)
                if draw(st.booleans()) and room >= version.bytes:
                    made = copy(
                        center,
                        draw(st.sampled_from(PHASES)),
                        version.bytes,
                        share=each.uid,
                        version=version.name,
                        wanted=draw(st.booleans()),
                        leaving=draw(st.integers(0, 9)) == 0,
                        used=NOW - draw(st.integers(0, 300)),
                    )
                    world.copies[made.key] = made
                may = may_lie(each.spec, holders[center].place) is None
                if may and draw(st.integers(0, 5)) == 0:
                    demands.append(Demand(f"team/{center}-{version.name}", which))
    world.demands = tuple(demands)
    return world


def _check(world: World, due: Plan) -> None:
    shares = {each.uid: each for each in world.shares}
    reserved = Counter({name: taken(world.copies.values(), name) for name in world.holders})
    links = Counter((c.source, c.id.center) for c in world.copies.values() if c.moving)
    for start in due.start:
        one, center = start.copy, start.copy.id.center
        reserved[center] += one.bytes - one.holds
        links[start.source, center] += 1
        owner = world.holders[start.source]
        assert start.epoch == one.epoch + 1
        assert not one.moving
        assert may_lie(shares[one.id.share].spec, world.holders[center].place) is None
        assert owner.answers
        assert world.holders[center].answers
        assert owner.routes[center] <= world.now
        assert links[start.source, center] <= MOST_ON_A_LINK
    for name, each in world.holders.items():
        if any(start.copy.id.center == name for start in due.start):
            assert reserved[name] <= each.capacity
    _check_evictions(world, due)
    for owned in world.shares:
        for rule in owned.spec.copies:
            by = [which for which, pins in due.pins.items() if f"rule {rule.name}" in pins]
            assert len([w for w in by if w.share == owned.uid]) <= rule.copies


def _check_evictions(world: World, due: Plan) -> None:
    shares = {each.uid: each for each in world.shares}
    read = {(c.id.share, c.id.version, c.source) for c in world.copies.values() if c.moving}
    left = Counter((c.id.share, c.id.version) for c in world.copies.values() if c.verified)
    for evict in due.evict:
        one = evict.copy
        pins = due.pins.get(one.id, ())
        place = world.holders[one.id.center].place
        forbidden = may_lie(shares[one.id.share].spec, place) is not None
        if one.phase == "Verified":
            assert not any(pin.startswith(JOB) for pin in pins), "a job has it mounted"
            assert (one.id.share, one.id.version, one.id.center) not in read
        assert not pins or one.leaving or forbidden
        left[one.id.share, one.id.version] -= one.verified
        if one.verified and not world.holders[OWNER].answers:
            assert left[one.id.share, one.id.version] >= 1, "the last verified copy"


@settings(max_examples=300, deadline=None)
@given(worlds(), st.data())
def test_invariants_hold_through_crashes(world: World, data: st.DataObject) -> None:
    for _ in range(6):
        due = world.plan()
        _check(world, due)
        assert due == world.plan(), "the same facts give the same plan"
        writes = len(due.make) + len(due.evict) + len(due.start)
        before = {key: each.epoch for key, each in world.copies.items()}
        world.carry_out(due, data.draw(st.integers(0, writes)))
        for key, each in world.copies.items():
            assert each.epoch in (before.get(key, 0), before.get(key, 0) + 1)
        for name, each_holder in world.holders.items():
            assert taken(world.copies.values(), name) <= each_holder.capacity
        fates = {
            key: data.draw(st.sampled_from(["ends", "fails", "goes on"]))
            for key, each in world.copies.items()
            if each.moving
        }
        world.advance(fates)


@settings(max_examples=100, deadline=None)
@given(worlds())
def test_every_look_ends_in_rest(world: World) -> None:
    for _ in range(80):
        due = world.plan()
        if not (due.make or due.start or due.evict) and not any(
            each.moving or each.phase == "Evicting" for each in world.copies.values()
        ):
            break
        world.carry_out(due)
        world.advance({})
    else:
        raise AssertionError("copies come and go for ever")
    for hold in world.plan().hold:
        assert hold.reason is not Reason.LINK_BUSY
