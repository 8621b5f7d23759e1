"""The inventory after any events equals one made from scratch of what is left."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from huiju.api.center import Sharing, UnitLimit
from huiju.centers.inventory import CenterInventory, Reservation
from huiju.centers.objects import Node
from huiju.centers.podusage import SensedPod
from huiju.centers.policy import share_limits
from tests.inventory_worlds import A3, ASCEND, B3, GPU, H100, A, node, pod, reservation

NODES = ("a", "b", "c", "d")
JOBS = (("j", 1), ("j", 2), ("k", 1))
KINDS: tuple[tuple[str, int, dict[str, str]], ...] = (
    (ASCEND, 8, A),
    (ASCEND, 8, B3),
    (ASCEND, 16, A3),
    (GPU, 8, H100),
    ("fpga.example/x", 2, {}),
)
LIMITED = Sharing(
    max_units=[UnitLimit(model="ascend-910b3", units=9)],
    reserve=[UnitLimit(model="nvidia-h100-sxm", units=3)],
    max_share_percent=70,
)
names = st.sampled_from(NODES)


@st.composite
def a_node(draw: st.DrawFn) -> Node:
    resource, units, labels = draw(st.sampled_from(KINDS))
    healthy = draw(st.integers(max(units - 1, 1), units))
    return node(
        draw(names),
        {resource: str(units)},
        labels,
        allocatable={resource: str(healthy)},
        ready=draw(st.sampled_from(["True", "True", "True", "Unknown"])),
        cordoned=draw(st.sampled_from([False, False, True])),
        uid=draw(st.sampled_from(["one", "two"])),
        annotations={
            f"{resource}-NetworkUnhealthy": draw(st.sampled_from(["", "Ascend910-1,Ascend910-2"]))
        },
    )


@st.composite
def a_pod(draw: st.DrawFn) -> SensedPod:
    units = draw(st.integers(0, 9))
    bound = draw(st.booleans())
    first = draw(st.integers(0, 12))
    real = ",".join(f"Ascend910-{n}" for n in range(first, first + units))
    return pod(
        f"p{draw(st.integers(0, 5))}",
        draw(names) if bound else "",
        {draw(st.sampled_from([ASCEND, GPU])): str(units), "cpu": f"{draw(st.integers(0, 9))}"},
        phase=draw(st.sampled_from(["Pending", "Running", "Running", "Succeeded", "Failed"])),
        owner=draw(st.sampled_from([None, *JOBS])),
        nominated=draw(st.sampled_from(["", *NODES])),
        real=real if draw(st.booleans()) else "",
    )


@st.composite
def a_reservation(draw: st.DrawFn) -> Reservation:
    uid, epoch = draw(st.sampled_from(JOBS))
    workers = draw(st.dictionaries(names, st.integers(1, 3), max_size=3))
    resource = draw(st.sampled_from([ASCEND, GPU]))
    return reservation(uid, epoch, {resource: draw(st.integers(1, 8))}, **workers)


@dataclass
class World:
    """What is left of all events."""

    nodes: dict[str, Node] = field(default_factory=dict)
    pods: dict[str, SensedPod] = field(default_factory=dict)
    kept: dict[tuple[str, int], Reservation] = field(default_factory=dict)

    def inventory(self, *, reverse: bool) -> CenterInventory:
        """An inventory that sees what is left, in one order or the other."""
        made = CenterInventory()
        things: list[Node | SensedPod | Reservation] = [
            *self.nodes.values(),
            *self.pods.values(),
            *self.kept.values(),
        ]
        for thing in reversed(things) if reverse else things:
            if isinstance(thing, Node):
                made.set_node(thing, 0.0)
            elif isinstance(thing, SensedPod):
                made.set_pod(thing)
            else:
                made.reserve(thing)
        return made


events = st.one_of(
    a_node(),
    a_pod(),
    a_reservation(),
    st.tuples(st.just("drop node"), names),
    st.tuples(st.just("drop pod"), st.sampled_from([f"p{n}" for n in range(6)])),
    st.tuples(st.just("release"), st.sampled_from(JOBS)),
    st.just(("look", "")),
)
Event = Node | SensedPod | Reservation | tuple[str, object]


def play(event: Event, world: World, made: CenterInventory) -> None:
    match event:
        case Node():
            world.nodes[event.metadata.name] = event
            made.set_node(event, 0.0)
        case SensedPod():
            world.pods[event.metadata.uid] = event
            made.set_pod(event)
        case Reservation():
            world.kept[event.uid, event.epoch] = event
            made.reserve(event)
        case ("drop node", str(name)):
            world.nodes.pop(name, None)
            made.drop_node(name)
        case ("drop pod", str(uid)):
            world.pods.pop(uid, None)
            made.drop_pod(uid)
        case ("release", (str(uid), int(epoch))):
            world.kept.pop((uid, epoch), None)
            made.release(uid, epoch)
        case _:
            made.buckets()


@settings(max_examples=120, deadline=None)
@given(st.lists(events, max_size=30))
def test_incremental_equals_from_scratch(sequence: list[Event]) -> None:
    world, made = World(), CenterInventory()
    for event in sequence:
        play(event, world, made)
    # A kind of device that went away is held for a while; after that only what is there counts.
    made.settle(1e9)
    for reverse in (False, True):
        fresh = world.inventory(reverse=reverse)
        assert made.buckets() == fresh.buckets()
        assert made.summary() == fresh.summary()
        assert share_limits(LIMITED, made.census()) == share_limits(LIMITED, fresh.census())
        for accelerator in made.summary()["accelerators"]:
            key = accelerator["model"], accelerator["resource"]
            assert made.model_labels(*key) == fresh.model_labels(*key)
            assert made.gflops_per_unit(*key) == fresh.gflops_per_unit(*key)


@settings(max_examples=80, deadline=None)
@given(st.lists(events, max_size=25))
def test_every_change_of_an_answer_raises_the_version(sequence: list[Event]) -> None:
    world, made = World(), CenterInventory()
    seen = made.version, made.buckets(), made.summary()
    for event in sequence:
        play(event, world, made)
        now = made.version, made.buckets(), made.summary()
        assert now[0] >= seen[0]
        if now[1:] != seen[1:]:
            assert now[0] > seen[0]
        seen = now


@settings(max_examples=80, deadline=None)
@given(st.lists(events, max_size=25))
def test_buckets_agree_with_the_sums_and_no_node_is_in_two(sequence: list[Event]) -> None:
    world, made = World(), CenterInventory()
    for event in sequence:
        play(event, world, made)
    free: dict[tuple[str, str], int] = {}
    seen: list[str] = []
    for bucket in made.buckets():
        seen += bucket.nodes
        for accelerator in bucket.shape.accelerators:
            key = accelerator.model, accelerator.resource
            left = dict(bucket.free).get(accelerator.resource, 0)
            free[key] = free.get(key, 0) + left * len(bucket.nodes)
    assert len(seen) == len(set(seen))
    census = made.census()
    assert {key: tally.free for key, tally in census.tallies.items() if tally.free} == {
        key: units for key, units in free.items() if units
    }
