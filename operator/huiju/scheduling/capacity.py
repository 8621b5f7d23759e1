"""What each center can still take while a cycle decides: blocks of equal nodes, free and held.

Decides nothing; keeps the count. Invariants: no free amount ever falls below zero; every node is
in exactly one block; `version` rises with every change and `growth` with every change that could
make something fit that did not fit before.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import ClassVar
from weakref import WeakValueDictionary

from huiju.scheduling.model import (
    Accelerator,
    Assignment,
    Bucket,
    Center,
    NodeShape,
    Vector,
    vector,
)
from huiju.scheduling.topology import MOST_NUMBERED, after

_serials = count()


class NodeKind:
    """A node shape, prepared: equal shapes are one object with one serial number."""

    __slots__ = ("__weakref__", "accelerators", "allocatable", "labels", "serial", "shape")
    _known: ClassVar[WeakValueDictionary[NodeShape, NodeKind]] = WeakValueDictionary()

    def __init__(self, shape: NodeShape) -> None:
        self.shape = shape
        self.serial = next(_serials)
        self.labels = dict(shape.labels)
        self.allocatable = dict(shape.allocatable)
        self.accelerators: dict[tuple[str, str], Accelerator] = {
            (a.model, a.resource): a for a in shape.accelerators
        }

    @classmethod
    def of(cls, shape: NodeShape) -> NodeKind:
        """The one object for this shape."""
        found = cls._known.get(shape)
        if found is None:
            found = cls._known[shape] = cls(shape)
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Hold:
    """Nodes kept for a blocked job: others may use them only if they end by `until`."""

    job: str
    """uid of the job that they are kept for."""
    center: str
    until: float
    nodes: tuple[str, ...]


@dataclass(slots=True, eq=False)
class Block:
    """Nodes of equal kind and equal free amounts, under the same hold."""

    kind: NodeKind
    free: dict[str, int]
    devices: tuple[int, ...] | None
    nodes: list[str]
    """Sorted; the first is used first."""
    hold: Hold | None = None


_Key = tuple[int, Vector, tuple[int, ...] | None, int]


@dataclass(slots=True, eq=False)
class CenterState:
    """A center's capacity as the cycle sees it."""

    center: Center
    blocks: dict[_Key, Block] = field(default_factory=dict)
    resources: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Model to the names under which its units are advertised."""
    limits: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Model to limit and held units."""
    index: dict[tuple[str, str], dict[_Key, Block]] = field(default_factory=dict)
    """Blocks by the model and the resource that they offer."""
    version: int = 0
    growth: int = 0
    capacity: int = 0
    """Rises with every change but that of holds."""
    policy: int = 0
    """Rises when anything but capacity changes."""
    free_gflops: int = 0
    holds: list[Hold] = field(default_factory=list)

    def replace(self, center: Center) -> None:
        """Take over the center's newest view; all holds end."""
        if not self.blocks or not _same_rules(self.center, center):
            self.policy += 1
        self.center = center
        self.blocks = {}
        self.index = {}
        self.holds = []
        resources: dict[str, set[str]] = {}
        self.free_gflops = 0
        for bucket in center.buckets:
            self._add_bucket(bucket, resources)
        self.resources = {model: tuple(sorted(names)) for model, names in resources.items()}
        self.limits = {known.model: (known.limit, known.held) for known in center.limits}
        self.version += 1
        self.growth += 1
        self.capacity += 1

    def _add_bucket(self, bucket: Bucket, resources: dict[str, set[str]]) -> None:
        kind = NodeKind.of(bucket.shape)
        free = dict(bucket.free)
        for accelerator in bucket.shape.accelerators:
            resources.setdefault(accelerator.model, set()).add(accelerator.resource)
            units = free.get(accelerator.resource, 0)
            self.free_gflops += units * accelerator.gflops * len(bucket.nodes)
        key = (kind.serial, bucket.free, bucket.free_devices, 0)
        block = self.blocks.get(key)
        if block is None:
            self._put(key, Block(kind, free, bucket.free_devices, sorted(bucket.nodes)))
        else:
            block.nodes = sorted([*block.nodes, *bucket.nodes])

    def copy(self) -> CenterState:
        """The same capacity, without holds, counted apart from now on."""
        made = CenterState(self.center, resources=self.resources, limits=dict(self.limits))
        made.free_gflops = self.free_gflops
        for block in self.blocks.values():
            key = _key(block.kind, block.free, block.devices, None)
            known = made.blocks.get(key)
            if known is None:
                made._put(key, Block(block.kind, block.free, block.devices, list(block.nodes)))
            else:
                known.nodes = sorted([*known.nodes, *block.nodes])
        return made

    def offers(self, model: str, resource: str) -> list[Block]:
        """Blocks whose nodes offer the model under the resource name."""
        return list(self.index.get((model, resource), {}).values())

    def gflops(self, model: str, resource: str) -> int:
        """Normalized compute of one unit; the most where nodes differ."""
        return max(
            (b.kind.accelerators[model, resource].gflops for b in self.offers(model, resource)),
            default=0,
        )

    def room(self, model: str) -> int | None:
        """Units of the model that the owner still lends, None without a limit."""
        known = self.limits.get(model)
        return None if known is None else max(0, known[0] - known[1])

    def take(
        self, block: Block, nodes: int, workers: int, model: str, resource: str, request: Vector
    ) -> list[Assignment]:
        """Put `workers` workers on each of the block's first `nodes` nodes."""
        accelerator = block.kind.accelerators[model, resource]
        taken = block.nodes[:nodes]
        size = dict(request)[resource]
        left = dict(block.free)
        for name, amount in request:
            left[name] = left.get(name, 0) - amount * workers
            if left[name] < 0:
                raise AssertionError(f"{name} over-allocated in {self.center.name}")
        total = block.kind.allocatable.get(resource, 0)
        devices = block.devices
        if devices is None and total <= min(block.free.get(resource, 0), MOST_NUMBERED):
            devices = tuple(range(total))
        devices = after(accelerator.topology, size, workers, total, devices)
        self._move(block, taken, left, devices, block.hold)
        units = size * workers * nodes
        self.free_gflops -= units * accelerator.gflops
        if model in self.limits:
            limit, held = self.limits[model]
            self.limits[model] = (limit, held + units)
        self.version += 1
        self.capacity += 1
        return [Assignment(node, workers) for node in taken]

    def _move(
        self,
        block: Block,
        nodes: Sequence[str],
        free: dict[str, int],
        devices: tuple[int, ...] | None,
        hold: Hold | None,
    ) -> None:
        for node in nodes:
            del block.nodes[bisect_left(block.nodes, node)]
        if not block.nodes:
            key = _key(block.kind, block.free, block.devices, block.hold)
            del self.blocks[key]
            for offer in block.kind.accelerators:
                del self.index[offer][key]
        key = _key(block.kind, free, devices, hold)
        target = self.blocks.get(key)
        if target is None:
            target = self._put(key, Block(block.kind, free, devices, [], hold))
        for node in nodes:
            insort(target.nodes, node)

    def _put(self, key: _Key, block: Block) -> Block:
        self.blocks[key] = block
        for offer in block.kind.accelerators:
            self.index.setdefault(offer, {})[key] = block
        return block

    def hold(self, hold: Hold) -> None:
        """Keep nodes for a job; nodes that are already held stay with their first holder."""
        wanted = set(hold.nodes)
        for block in list(self.blocks.values()):
            if block.hold is None:
                nodes = [node for node in block.nodes if node in wanted]
                if nodes:
                    self._move(block, nodes, block.free, block.devices, hold)
        self.holds.append(hold)
        self.version += 1

    def release_holds(self) -> None:
        """End all holds."""
        if not self.holds:
            return
        self.holds = []
        for block in [b for b in self.blocks.values() if b.hold is not None]:
            self._move(block, tuple(block.nodes), block.free, block.devices, None)
        self.version += 1
        self.growth += 1


def _key(
    kind: NodeKind, free: dict[str, int], devices: tuple[int, ...] | None, hold: Hold | None
) -> _Key:
    return (kind.serial, vector(free), devices, 0 if hold is None else id(hold))


def _same_rules(before: Center, after_: Center) -> bool:
    return _rules(before) == _rules(after_)


def _rules(center: Center) -> tuple[object, ...]:
    return (
        center.region,
        center.residency,
        center.closed,
        center.closed_message,
        center.namespaces,
        center.image_prefixes,
        center.links,
        center.hourly_price,
    )


def total_free(states: Iterable[CenterState]) -> int:
    """Normalized compute that is free in all open centers."""
    return sum(state.free_gflops for state in states if not state.center.closed)
