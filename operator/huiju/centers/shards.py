"""A center's inventory as pieces of bounded size, and the pieces read back.

Decides which node lies in which piece: by the bits of a digest of its name, as many bits as keep a
piece small enough, so that a change of a node rewrites one piece and a restart finds the same
ones. Pure. Invariant: `counts_of(encoded)` gives back what `encode` was given.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import msgspec

from huiju.centers.census import Contribution, Units
from huiju.centers.inventory import NodeCount
from huiju.centers.mailbox import Report
from huiju.centers.nodestate import MOST_DEVICES
from huiju.centers.objects import Meta
from huiju.centers.requests import MOST_OF_ANYTHING
from huiju.scheduling.model import Accelerator, NodeShape, Taint, Topology, UnitKind, vector

Fields = dict[str, Any]
LARGEST: Final = 200_000
"""Bytes of one piece; API servers refuse objects above 1.5 MB and copy each on each watch."""
MOST_BITS: Final = 24
MOST_PODS: Final = 10_000
"""Of one job on one node; kubelets take some hundreds."""
MOST_GROUPS: Final = 4096
"""In one piece: the scheduler looks at each, for everybody's jobs."""
MOST_BYTES: Final = 10**16
"""Ten petabytes: no node has more memory or disk."""
_encode: Final = msgspec.json.Encoder(order="deterministic").encode


class _Accelerator(msgspec.Struct, rename="camel", gc=False):
    model: str
    resource: str
    unit: str
    gflops: int
    topology: str
    units_per_card: int = 1


class _Taint(msgspec.Struct, gc=False):
    key: str
    effect: str
    value: str = ""


class _Shape(msgspec.Struct, gc=False):
    accelerators: tuple[_Accelerator, ...] = ()
    allocatable: dict[str, int] = {}
    labels: dict[str, str] = {}
    taints: tuple[_Taint, ...] = ()


class _Units(msgspec.Struct, rename="camel", gc=False):
    accelerator: _Accelerator
    total: int
    allocatable: int
    used: int
    free: int
    federated: int
    evidence: dict[str, str] = {}
    whole: bool = False
    takes_work: bool = False


class _Custom(msgspec.Struct, gc=False):
    resource: str
    allocatable: int
    used: int


class _Group(msgspec.Struct, rename="camel", gc=False):
    nodes: tuple[str, ...]
    shape: _Shape = msgspec.field(default_factory=_Shape)
    free: dict[str, int] = {}
    free_devices: tuple[int, ...] | None = None
    offered: bool = False
    ready: bool = False
    schedulable: bool = False
    units: tuple[_Units, ...] = ()
    custom: tuple[_Custom, ...] = ()


class _Holder(msgspec.Struct, rename="camel", gc=False):
    node: str
    job_uid: str
    epoch: int
    pods: int


class Stray(msgspec.Struct, rename="camel", gc=False):
    """A federated workload that no CenterWork speaks of."""

    job_uid: str
    namespace: str
    report: Report
    workload: str = ""


class ShardSpec(msgspec.Struct, gc=False):
    """What one piece says."""

    groups: tuple[_Group, ...] = ()
    holders: tuple[_Holder, ...] = ()
    strays: tuple[Stray, ...] = ()


class ShardCondition(msgspec.Struct, gc=False):
    """What the hub said of a piece."""

    status: str = ""
    message: str = ""


class ShardStatus(msgspec.Struct, gc=False):
    """The hub's part."""

    conditions: tuple[ShardCondition, ...] = ()


class Shard(msgspec.Struct, gc=False):
    """A CenterInventory."""

    metadata: Meta
    spec: ShardSpec
    status: ShardStatus = msgspec.field(default_factory=ShardStatus)


class ShardRefused(Exception):
    """A piece makes no sense; the message says why."""


# --- which node lies where ------------------------------------------------------------------------


def bits_of(node: str) -> str:
    """The bits that decide where a node lies."""
    digest = hashlib.blake2b(node.encode(), digest_size=4).digest()
    return f"{int.from_bytes(digest):032b}"[:MOST_BITS]


def shard_name(bits: str) -> str:
    """Name of the piece whose nodes begin with these bits."""
    return f"nodes-{bits}" if bits else "nodes"


class Shards:
    """The pieces of a center, rewritten as its nodes change."""

    def __init__(self, largest: int = LARGEST) -> None:
        self._largest = largest
        self._nodes: dict[str, dict[str, NodeCount]] = {"": {}}

    def put(self, node: str, count: NodeCount | None) -> str:
        """Take a node's count, None if it is gone; returns the bits of its piece."""
        bits = self._home(node)
        if count is None:
            self._nodes[bits].pop(node, None)
        else:
            self._nodes[bits][node] = count
        return bits

    def written(self, bits: str) -> Iterator[tuple[str, Fields]]:
        """The piece of these bits by name and spec, or the smaller ones that it falls into."""
        nodes = self._nodes.get(bits)
        if nodes is None:
            return
        spec = encode(nodes)
        if len(_encode(spec)) <= self._largest or len(nodes) == 1 or len(bits) == MOST_BITS:
            yield shard_name(bits), spec
            return
        del self._nodes[bits]
        for end in "01":
            self._nodes[bits + end] = {
                name: count for name, count in nodes.items() if bits_of(name)[len(bits)] == end
            }
            yield from self.written(bits + end)

    def bits(self) -> frozenset[str]:
        """The bits of all pieces."""
        return frozenset(self._nodes)

    def names(self) -> frozenset[str]:
        """The names of all pieces."""
        return frozenset(shard_name(bits) for bits in self._nodes)

    def _home(self, node: str) -> str:
        wanted = bits_of(node)
        return next(
            wanted[:length] for length in range(MOST_BITS + 1) if wanted[:length] in self._nodes
        )


# --- writing --------------------------------------------------------------------------------------


def encode(nodes: Mapping[str, NodeCount]) -> Fields:
    """The spec of a piece with these nodes."""
    groups: dict[Any, list[str]] = {}
    holders: list[Fields] = []
    for name in sorted(nodes):
        count = nodes[name]
        key = (count.shape, count.free, count.free_devices, count.offered, count.contribution)
        groups.setdefault(key, []).append(name)
        holders += [
            {"node": name, "jobUid": uid, "epoch": epoch, "pods": pods}
            for (uid, epoch), pods in count.holders
        ]
    spec: Fields = {"groups": [_group(nodes[names[0]], names) for names in groups.values()]}
    if holders:
        spec["holders"] = holders
    return spec


def _group(count: NodeCount, names: list[str]) -> Fields:
    given = count.contribution
    group: Fields = {
        "nodes": names,
        "shape": _shape(count.shape),
        "free": dict(count.free),
        "offered": count.offered,
        "ready": given.ready,
        "schedulable": given.schedulable,
        "units": [_units(units) for units in given.units],
        "custom": [
            {"resource": name, "allocatable": allocatable, "used": used}
            for name, allocatable, used in given.custom
        ],
    }
    if count.free_devices is not None:
        group["freeDevices"] = list(count.free_devices)
    return group


def _shape(shape: NodeShape) -> Fields:
    return {
        "accelerators": [_accelerator(a) for a in shape.accelerators],
        "allocatable": dict(shape.allocatable),
        "labels": dict(shape.labels),
        "taints": [{"key": t.key, "value": t.value, "effect": t.effect} for t in shape.taints],
    }


def _accelerator(accelerator: Accelerator) -> Fields:
    return {
        "model": accelerator.model,
        "resource": accelerator.resource,
        "unit": accelerator.unit.value,
        "gflops": accelerator.gflops,
        "topology": accelerator.topology.value,
        "unitsPerCard": accelerator.units_per_card,
    }


def _units(units: Units) -> Fields:
    return {
        "accelerator": _accelerator(units.accelerator),
        "evidence": dict(units.evidence),
        "total": units.total,
        "allocatable": units.allocatable,
        "used": units.used,
        "free": units.free,
        "federated": units.federated,
        "whole": units.whole,
        "takesWork": units.takes_work,
    }


# --- reading --------------------------------------------------------------------------------------


def counts_of(spec: ShardSpec) -> dict[str, NodeCount]:
    """The nodes of a piece.

    Raises:
        ShardRefused: an amount is beyond belief, or a word is none of ours.
    """
    holders: dict[str, list[tuple[tuple[str, int], int]]] = {}
    for holder in spec.holders:
        if not 0 < holder.pods <= MOST_PODS:
            raise ShardRefused(f"node {holder.node} holds {holder.pods} pods of one job")
        holders.setdefault(holder.node, []).append(((holder.job_uid, holder.epoch), holder.pods))
    if len(spec.groups) > MOST_GROUPS:
        raise ShardRefused(f"{len(spec.groups)} groups of nodes in one piece are beyond belief")
    found = {}
    for group in spec.groups:
        common = _count_of(group)
        for name in group.nodes:
            own = tuple(sorted(holders.get(name, ())))
            found[name] = replace(common, holders=own) if own else common
    return found


def _count_of(group: _Group) -> NodeCount:
    amounts = [*group.free.items(), *group.shape.allocatable.items()]
    cards = {a.resource for a in group.shape.accelerators}
    for units in group.units:
        cards.add(units.accelerator.resource)
        told = (units.total, units.allocatable, units.used, units.free, units.federated)
        amounts += [(units.accelerator.resource, amount) for amount in told]
    for one in group.custom:
        amounts += [(one.resource, one.allocatable), (one.resource, one.used)]
    for resource, amount in amounts:
        # Only Kubernetes' own resources, whose names have no domain, are counted in bytes.
        most = MOST_OF_ANYTHING if "/" in resource else MOST_BYTES
        if resource in cards:
            most = MOST_DEVICES
        if not 0 <= amount <= most:
            raise ShardRefused(f"node {group.nodes[:1]}: {amount} of {resource} is beyond belief")
    try:
        return NodeCount(
            shape=NodeShape(
                accelerators=tuple(_read_accelerator(a) for a in group.shape.accelerators),
                allocatable=vector(group.shape.allocatable),
                labels=tuple(sorted(group.shape.labels.items())),
                taints=tuple(Taint(t.key, t.value, t.effect) for t in group.shape.taints),
            ),
            free=vector(group.free),
            free_devices=group.free_devices,
            offered=group.offered,
            contribution=Contribution(
                ready=group.ready,
                schedulable=group.schedulable,
                units=tuple(_read_units(units) for units in group.units),
                custom=tuple((c.resource, c.allocatable, c.used) for c in group.custom),
            ),
        )
    except ValueError as error:
        raise ShardRefused(f"node {group.nodes[:1]}: {error}") from None


def _read_accelerator(said: _Accelerator) -> Accelerator:
    if said.units_per_card < 1 or not 0 <= said.gflops <= MOST_OF_ANYTHING:
        raise ValueError(f"accelerator {said.model} has amounts beyond belief")
    return Accelerator(
        said.model,
        said.resource,
        UnitKind(said.unit),
        said.gflops,
        Topology(said.topology),
        said.units_per_card,
    )


def _read_units(said: _Units) -> Units:
    return Units(
        accelerator=_read_accelerator(said.accelerator),
        evidence=tuple(sorted(said.evidence.items())),
        total=said.total,
        allocatable=said.allocatable,
        used=said.used,
        free=said.free,
        federated=said.federated,
        whole=said.whole,
        takes_work=said.takes_work,
    )
