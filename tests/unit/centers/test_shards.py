"""Pieces of an inventory: bounded, stable, and read back as they were written."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from huiju.api.mailbox import CenterInventory as InventoryKind
from huiju.centers.census import Contribution, Units
from huiju.centers.inventory import NodeCount, Reservation
from huiju.centers.mirror import MirroredInventory
from huiju.centers.nodestate import MOST_DEVICES
from huiju.centers.shards import (
    MOST_GROUPS,
    MOST_PODS,
    ShardRefused,
    Shards,
    ShardSpec,
    counts_of,
    encode,
)
from huiju.scheduling.model import Accelerator, Assignment, NodeShape, UnitKind, vector

GPU = "nvidia.com/gpu"
CARD = Accelerator("nvidia-h100-sxm", GPU, UnitKind.DEVICE, 989_000)


def node(free: int, number: int = 0) -> NodeCount:
    units = Units(CARD, (("gpu", "h100"),), 8, 8, 8 - free, free, 0, free == 8, True)
    shape = NodeShape(
        (CARD,), vector({GPU: 8, "cpu": 64_000, "memory": 2 << 40}), (("zone", f"z{number}"),)
    )
    return NodeCount(shape, vector({GPU: free}), None, True, Contribution(True, True, (units,), ()))


def read(spec: object) -> dict[str, NodeCount]:
    return counts_of(msgspec.convert(spec, ShardSpec))


def test_what_is_written_is_read_back_and_fits_the_schema() -> None:
    nodes = {"a": node(8), "b": node(8), "c": node(3)}
    spec = encode(nodes)
    assert len(spec["groups"]) == 2
    assert read(spec) == nodes
    InventoryKind.model_validate({"metadata": {"name": "nodes"}, "spec": spec})


def test_many_nodes_fall_into_small_pieces_and_a_change_rewrites_one() -> None:
    shards = Shards(largest=20_000)
    for number in range(2_000):
        shards.put(f"node-{number}", node(8, number))
    pieces = dict(shards.written(""))
    assert len(pieces) > 8
    assert all(len(msgspec.json.encode(spec)) <= 20_000 for spec in pieces.values())
    assert set(pieces) == shards.names()
    found = {name: count for spec in pieces.values() for name, count in read(spec).items()}
    assert len(found) == 2_000
    changed = dict(shards.written(shards.put("node-7", node(1, 7))))
    assert len(changed) == 1
    ((name, spec),) = changed.items()
    assert spec != pieces[name]


def test_the_hub_keeps_its_reservations_until_the_pods_are_there() -> None:
    mirror = MirroredInventory()
    mirror.set_shard("nodes", {"a": node(8)})
    mirror.reserve(Reservation("uid", 1, vector({GPU: 8}), (Assignment("a", 1),)))
    assert mirror.held_units(CARD.model) == 8
    assert dict(mirror.buckets()[0].free).get(GPU, 0) == 0
    bound = node(0)
    mirror.set_shard(
        "nodes",
        {
            "a": NodeCount(
                bound.shape, bound.free, None, True, bound.contribution, ((("uid", 1), 1),)
            )
        },
    )
    assert mirror.held_units(CARD.model) == 0, "the agent counts the pod, the ledger no longer"
    mirror.set_shard("nodes", {})
    assert mirror.buckets() == ()
    assert mirror.summary()["nodes"]["total"] == 0


def holding(pods: int) -> dict[str, Any]:
    spec = encode({"a": node(8)})
    spec["holders"] = [{"node": "a", "jobUid": "uid", "epoch": 1, "pods": pods}]
    return spec


def test_a_node_with_more_pods_than_any_has_is_refused() -> None:
    """Each pod was told to the ledger by itself: a single number stood the hub still."""
    for pods in (MOST_PODS + 1, 10**12, 0, -1):
        with pytest.raises(ShardRefused):
            read(holding(pods))
    mirror = MirroredInventory()
    mirror.reserve(Reservation("uid", 1, vector({GPU: 1}), (Assignment("a", 8),)))
    mirror.set_shard("nodes", read(holding(3)))
    assert mirror.held_units(CARD.model) == 5
    mirror.set_shard("nodes", read(holding(MOST_PODS)))
    assert mirror.held_units(CARD.model) == 0
    mirror.set_shard("nodes", read(holding(1)))
    assert mirror.held_units(CARD.model) == 7


def test_more_groups_than_a_piece_has_are_refused() -> None:
    spec = encode({"a": node(8)})
    spec["groups"] = spec["groups"] * (MOST_GROUPS + 1)
    with pytest.raises(ShardRefused):
        read(spec)


def test_more_cards_than_a_node_has_are_refused() -> None:
    spec = encode({"a": node(8)})
    spec["groups"][0]["free"][GPU] = MOST_DEVICES + 1
    with pytest.raises(ShardRefused):
        read(spec)


def test_a_lie_beyond_belief_is_refused() -> None:
    spec = encode({"a": node(8)})
    spec["groups"][0]["free"][GPU] = 2**62
    with pytest.raises(ShardRefused):
        read(spec)
    spec = encode({"a": node(8)})
    spec["groups"][0]["units"][0]["accelerator"]["topology"] = "moebius"
    with pytest.raises(ShardRefused):
        read(spec)
