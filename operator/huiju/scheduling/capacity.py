"""What each center can still take while a cycle decides: blocks of equal nodes, free and held.

Decides nothing; keeps the count. Invariants: no free amount ever falls below zero; every node is
in exactly one block; `version` rises with every change, and the market is told of each, and whether
it could make something fit that did not fit before.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import ClassVar
from weakref import WeakValueDictionary

from huiju.scheduling.market import ANY, Market
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


_Stock = tuple[Vector, tuple[int, ...] | None]
"""What is free on a node: amounts, and device numbers where known."""


class Counts(dict[int, int]):
    """How many workers a node with one stock takes, by serial number of what a worker asks."""

    __slots__ = ("__weakref__",)


class NodeKind:
    """A node shape, prepared: equal shapes are one object with one serial number."""

    __slots__ = (
        "__weakref__", "_counts", "accelerators", "allocatable", "labels", "models", "serial",
        "shape",
    )  # fmt: skip
    _known: ClassVar[WeakValueDictionary[NodeShape, NodeKind]] = WeakValueDictionary()

    def __init__(self, shape: NodeShape) -> None:
        self.shape = shape
        self.serial = next(_serials)
        self.labels = dict(shape.labels)
        self.allocatable = dict(shape.allocatable)
        self.accelerators: dict[tuple[str, str], Accelerator] = {
            (a.model, a.resource): a for a in shape.accelerators
        }
        self.models = tuple(dict.fromkeys(a.model for a in shape.accelerators))
        self._counts: WeakValueDictionary[_Stock, Counts] = WeakValueDictionary()

    def counts(self, free: Vector, devices: tuple[int, ...] | None) -> Counts:
        """The counts that all nodes of this kind with this stock share."""
        found = self._counts.get((free, devices))
        if found is None:
            found = self._counts[free, devices] = Counts()
        return found

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
    counts: Counts
    hold: Hold | None = None


_Key = tuple[int, Vector, tuple[int, ...] | None, int]


def _block(key: _Key, kind: NodeKind, nodes: list[str], hold: Hold | None = None) -> Block:
    _, free, devices, _ = key
    return Block(kind, dict(free), devices, nodes, kind.counts(free, devices), hold)


class Offer:
    """The blocks of a center that offer one model under one resource name."""

    __slots__ = (
        "_free",
        "_rooms",
        "answers",
        "blocks",
        "gflops",
        "kinds",
        "mixed",
        "model",
        "open",
        "resource",
        "texts",
        "version",
    )  # fmt: skip

    def __init__(self, model: str, resource: str) -> None:
        self.model, self.resource = model, resource
        self.blocks: dict[_Key, Block] = {}
        self.kinds: dict[NodeKind, int] = {}
        """How many nodes there are of each kind, whatever is free."""
        self.gflops = 0
        """Normalized compute of one unit; the most where nodes differ."""
        self.mixed = False
        """Whether its nodes offer other models as well."""
        self.version = 0
        """Rises with every change."""
        self.answers: dict[tuple[int, int], object] = {}
        """What `fit` remembers of it until it changes: by what is asked, and how often."""
        self.open: dict[tuple[int, int], int] = {}
        """The same of `reserve`: workers that fit on nodes that nobody holds."""
        self.texts: dict[tuple[int, int], str] = {}
        """The same of `refusal`: what is lacking, in words."""
        self._rooms: dict[int, int] = {}
        self._free: int | None = None

    def changed(self) -> None:
        """Its blocks are others now."""
        self.version += 1
        self.answers.clear()
        self.open.clear()
        self.texts.clear()
        self._rooms.clear()
        self._free = None

    def free(self) -> int:
        """Free units on all nodes, whoever holds them."""
        if self._free is None:
            name = self.resource
            self._free = sum(b.free.get(name, 0) * len(b.nodes) for b in self.blocks.values())
        return self._free

    def room(self, size: int) -> int:
        """Workers of `size` units that fit by units alone on nodes that nobody holds."""
        known = self._rooms.get(size)
        if known is None:
            known = 0
            name = self.resource
            for block in self.blocks.values():
                if block.hold is None:
                    known += block.free.get(name, 0) // size * len(block.nodes)
            self._rooms[size] = known
        return known


class CenterState:
    """A center's capacity as the cycle sees it."""

    __slots__ = (
        "_market", "_shapes", "blocks", "capacity", "center", "free_gflops", "holds", "index",
        "limits", "models", "policy", "resources", "trials", "version", "wares", "where",
    )  # fmt: skip

    def __init__(self, center: Center, market: Market) -> None:
        self.center = center
        self._market = market
        self._shapes: dict[int, tuple[NodeShape, NodeKind]] = {}
        """Shapes of the latest view by identity, which they keep alive."""
        self.blocks: dict[_Key, Block] = {}
        self.where: dict[str, Block] = {}
        """The block that a node is in."""
        self.resources: dict[str, tuple[str, ...]] = {}
        """Model to the names under which its units are advertised."""
        self.limits: dict[str, tuple[int, int]] = {}
        """Model to limit and held units."""
        self.trials: frozenset[str] = frozenset()
        """Models whose limit is that of a trial."""
        self.index: dict[tuple[str, str], Offer] = {}
        """Offers by model and resource."""
        self.version = 0
        self.capacity = 0
        """Rises with every change but that of holds."""
        self.policy = 0
        """Rises when anything but capacity changes."""
        self.models = 0
        """Rises when there are other kinds of nodes, or more or fewer of one."""
        self.wares = 0
        """Rises when other models are offered, or under other names, or of other speed."""
        self.free_gflops = 0
        self.holds: list[Hold] = []

    def copy(self, market: Market) -> CenterState:
        """The same capacity, without holds, counted apart from now on."""
        made = CenterState(self.center, market)
        made.resources, made.limits = self.resources, dict(self.limits)
        made.trials = self.trials
        made.free_gflops = self.free_gflops
        for block in self.blocks.values():
            key = _key(block.kind, block.free, block.devices, None)
            known = made.blocks.get(key)
            if known is None:
                known = _block(key, block.kind, list(block.nodes))
                made._put(key, known)
            else:
                known.nodes = sorted([*known.nodes, *block.nodes])
            made.where.update(dict.fromkeys(block.nodes, known))
        made._count_kinds()
        for model in (ANY, *made.resources):
            market.touch(model, self.center.name, grown=True)
        return made

    # --- the newest view -----------------------------------------------------------------------

    def replace(self, center: Center) -> None:
        """Take over the center's newest view; all holds end. What is as it was costs nothing."""
        self.release_holds()
        ruled = not self.version or not _same_rules(self.center, center)
        self.center = center
        if ruled:
            self.policy += 1
            self._market.touch(ANY, center.name, grown=True)
        limited = self._limit(center)
        moved = self._follow(self._wanted(center.buckets))
        if ruled or limited or moved:
            self.version += 1
            self.capacity += 1

    def _limit(self, center: Center) -> bool:
        limits = {known.model: (known.limit, known.held) for known in center.limits}
        trials = frozenset(known.model for known in center.limits if known.trial)
        ended, self.trials = self.trials ^ trials, trials
        if limits == self.limits and not ended:
            return False
        changed = {
            model
            for model in {*limits, *self.limits}
            if limits.get(model) != self.limits.get(model) or model in ended
        }
        self.limits = limits
        for offer in self.index.values():
            if offer.model in changed:
                self._touch(offer, grown=True)
        return True

    def _wanted(self, buckets: Iterable[Bucket]) -> dict[_Key, Block]:
        """The blocks of these buckets; one that is as it was is the very block that there is."""
        found: dict[_Key, Block] = {}
        shapes, self._shapes = self._shapes, {}
        for bucket in buckets:
            shape = bucket.shape
            # Equal shapes are mostly one object; to find it takes less than to hash a shape.
            known = shapes.get(id(shape))
            kind = known[1] if known is not None else NodeKind.of(shape)
            self._shapes[id(shape)] = (shape, kind)
            key = (kind.serial, bucket.free, bucket.free_devices, 0)
            other, before = found.get(key), self.blocks.get(key)
            nodes = sorted(bucket.nodes if other is None else [*other.nodes, *bucket.nodes])
            same = before is not None and before.nodes == nodes
            found[key] = before if same and before is not None else _block(key, kind, nodes)
        return found

    def _follow(self, wanted: dict[_Key, Block]) -> bool:
        """Make the blocks those that are wanted, and note which offers changed or grew."""
        known = self.blocks
        old = [key for key, block in known.items() if wanted.get(key) is not block]
        new = [key for key, block in wanted.items() if known.get(key) is not block]
        if not old and not new:
            return False
        came_from = {n: key for key in old for n in _besides(known[key], wanted.get(key))}
        entered = {key: _besides(wanted[key], known.get(key)) for key in new}
        grown = {k for k in new if self._gained(wanted[k], entered[k], came_from)}
        kinds = {known[key].kind for key in old} | {wanted[key].kind for key in new}
        members = len(came_from) != sum(map(len, entered.values())) or any(
            node not in came_from or came_from[node][0] != key[0]
            for key, nodes in entered.items()
            for node in nodes
        )
        more = {wanted[key].kind for key in grown}
        for node in came_from:
            self.where.pop(node, None)
        for key in old:
            if key not in wanted:
                self._remove(key, known[key])
        for key, nodes in entered.items():
            block = known.get(key)
            if block is None:
                block = wanted[key]
                self._put(key, block)
            block.nodes = wanted[key].nodes
            self.where.update(dict.fromkeys(nodes, block))
        if members:
            self._count_kinds()
        self._touch_kinds(kinds, more)
        self.free_gflops = sum(
            block.free.get(a.resource, 0) * a.gflops * len(block.nodes)
            for block in self.blocks.values()
            for a in block.kind.shape.accelerators
        )
        return True

    def _gained(self, block: Block, entered: list[str], came_from: dict[str, _Key]) -> bool:
        """Whether a node came into the block that could take less before."""
        before = {came_from.get(node) for node in entered}
        return any(origin is None or not _covers(self.blocks[origin], block) for origin in before)

    def _count_kinds(self) -> None:
        """Nodes came or went, or changed their shape."""
        self.models += 1
        before = (self.resources, {name: offer.gflops for name, offer in self.index.items()})
        resources: dict[str, set[str]] = {}
        kinds_before = {name: set(offer.kinds) for name, offer in self.index.items()}
        for offer in self.index.values():
            offer.kinds = {}
        for block in self.blocks.values():
            for model, resource in block.kind.accelerators:
                resources.setdefault(model, set()).add(resource)
                kinds = self.index[model, resource].kinds
                kinds[block.kind] = kinds.get(block.kind, 0) + len(block.nodes)
        for (model, resource), offer in list(self.index.items()):
            if not offer.kinds:
                del self.index[model, resource]
                self._market.touch(model, self.center.name, grown=True)
                continue
            if offer.kinds.keys() != kinds_before[model, resource]:
                self._touch(offer, grown=True)
            offer.gflops = max(kind.accelerators[model, resource].gflops for kind in offer.kinds)
            offer.mixed = any(len(kind.models) > 1 for kind in offer.kinds)
        self.resources = {model: tuple(sorted(names)) for model, names in resources.items()}
        after_ = (self.resources, {name: offer.gflops for name, offer in self.index.items()})
        if before != after_:
            self.wares += 1

    def _touch(self, offer: Offer, *, grown: bool) -> None:
        offer.changed()
        self._market.touch(offer.model, self.center.name, grown=grown)

    def _touch_kinds(self, kinds: Iterable[NodeKind], grown: Container[NodeKind] = ()) -> None:
        for kind in kinds:
            for name in kind.accelerators:
                offer = self.index.get(name)
                if offer is not None:
                    self._touch(offer, grown=kind in grown)

    # --- what there is -------------------------------------------------------------------------

    def offers(self, model: str, resource: str) -> list[Block]:
        """Blocks whose nodes offer the model under the resource name."""
        offer = self.index.get((model, resource))
        return [] if offer is None else list(offer.blocks.values())

    def gflops(self, model: str, resource: str) -> int:
        """Normalized compute of one unit; the most where nodes differ."""
        offer = self.index.get((model, resource))
        return 0 if offer is None else offer.gflops

    def room(self, model: str) -> int | None:
        """Units of the model that the owner still lends, None without a limit."""
        known = self.limits.get(model)
        return None if known is None else max(0, known[0] - known[1])

    # --- what a cycle does ---------------------------------------------------------------------

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
        self._touch_kinds((block.kind,))
        if model in self.limits:
            limit, held = self.limits[model]
            self.limits[model] = (limit, held + units)
            for name in self.resources[model]:
                # No more fits than before, but who was refused for want of nodes may be refused
                # for the limit now.
                self._touch(self.index[model, name], grown=True)
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
        if len(nodes) == len(block.nodes):
            block.nodes = []
        else:
            for node in nodes:
                del block.nodes[bisect_left(block.nodes, node)]
        if not block.nodes:
            self._remove(_key(block.kind, block.free, block.devices, block.hold), block)
        key = _key(block.kind, free, devices, hold)
        target = self.blocks.get(key)
        if target is None:
            target = _block(key, block.kind, list(nodes), hold)
            self._put(key, target)
        else:
            for node in nodes:
                insort(target.nodes, node)
        for node in nodes:
            self.where[node] = target

    def _put(self, key: _Key, block: Block) -> None:
        self.blocks[key] = block
        for name in block.kind.accelerators:
            offer = self.index.get(name)
            if offer is None:
                offer = self.index[name] = Offer(*name)
            offer.blocks[key] = block

    def _remove(self, key: _Key, block: Block) -> None:
        del self.blocks[key]
        for name in block.kind.accelerators:
            del self.index[name].blocks[key]

    def hold(self, hold: Hold) -> None:
        """Keep nodes for a job; nodes that are already held stay with their first holder."""
        wanted: dict[int, tuple[Block, list[str]]] = {}
        for node in sorted(hold.nodes):
            block = self.where.get(node)
            if block is not None and block.hold is None:
                wanted.setdefault(id(block), (block, []))[1].append(node)
        kinds = {block.kind for block, _ in wanted.values()}
        for block, nodes in wanted.values():
            self._move(block, nodes, block.free, block.devices, hold)
        self.holds.append(hold)
        self._touch_kinds(kinds)
        self.version += 1

    def release_holds(self, job: str | None = None) -> bool:
        """End all holds, or those of one job; returns whether others may have more room now."""
        ended = {id(hold) for hold in self.holds if job is None or hold.job == job}
        if not ended:
            return False
        self.holds = [hold for hold in self.holds if id(hold) not in ended]
        kinds: set[NodeKind] = set()
        room = False
        for block in list(self.blocks.values()):
            if block.hold is not None and id(block.hold) in ended:
                kinds.add(block.kind)
                room = room or any(block.free.get(name) for _, name in block.kind.accelerators)
                self._move(block, tuple(block.nodes), block.free, block.devices, None)
        self._touch_kinds(kinds, kinds)
        self.version += 1
        return room


def _key(
    kind: NodeKind, free: dict[str, int], devices: tuple[int, ...] | None, hold: Hold | None
) -> _Key:
    return (kind.serial, vector(free), devices, 0 if hold is None else id(hold))


def _besides(block: Block, other: Block | None) -> list[str]:
    """The block's nodes that are not in the other one."""
    if other is None:
        return block.nodes
    there = set(other.nodes)
    return [node for node in block.nodes if node not in there]


def _covers(before: Block, after_: Block) -> bool:
    """Whether a node of the one block could take all that a node of the other can take."""
    if before.kind is not after_.kind or before.devices or after_.devices:
        return False
    return all(before.free.get(name, 0) >= amount for name, amount in after_.free.items())


def _same_rules(before: Center, after_: Center) -> bool:
    return _rules(before) == _rules(after_)


def _rules(center: Center) -> Center:
    """All but what is free: a field that comes to be is a rule until something else follows it."""
    return replace(center, buckets=(), limits=())


def total_free(states: Iterable[CenterState]) -> int:
    """Normalized compute that is free in all open centers."""
    return sum(state.free_gflops for state in states if not state.center.closed)
