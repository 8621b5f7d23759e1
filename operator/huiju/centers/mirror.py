"""A pull center's inventory, as its agent's pieces tell it, with the hub's own reservations.

Decides nothing about nodes: the agent has counted them. Invariant: with the same nodes, pods and
reservations the answers equal those of an inventory that counts the center's own objects.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from huiju.centers.answers import Inventory
from huiju.centers.buckets import BucketKey
from huiju.centers.census import Contribution, Units
from huiju.centers.inventory import NodeCount
from huiju.centers.podusage import Owner
from huiju.scheduling.model import NodeShape, vector


class MirroredInventory(Inventory):
    """The inventory of a center that is not seen itself."""

    def __init__(self) -> None:
        super().__init__()
        self._counts: dict[str, NodeCount] = {}
        self._home: dict[str, str] = {}
        """The piece that spoke of a node last."""
        self._counted: dict[str, tuple[BucketKey | None, Contribution]] = {}
        self._shapes: dict[NodeShape, NodeShape] = {}
        self._dirty: set[str] = set()

    def set_shard(self, shard: str, counts: dict[str, NodeCount]) -> None:
        """A piece now speaks of these nodes, and of no others."""
        for node in [n for n, home in self._home.items() if home == shard and n not in counts]:
            self._set(node, None)
            del self._home[node]
        for node, count in counts.items():
            self._home[node] = shard
            self._set(node, count)

    def _set(self, node: str, count: NodeCount | None) -> None:
        before = self._counts.get(node)
        if before == count:
            return
        self.version += 1
        self._dirty.add(node)
        self._bind(
            node, dict(before.holders) if before else {}, dict(count.holders) if count else {}
        )
        if count is None:
            del self._counts[node]
        else:
            shape = self._shapes.setdefault(count.shape, count.shape)
            self._counts[node] = replace(count, shape=shape)

    def _bind(self, node: str, before: dict[Owner, int], after: dict[Owner, int]) -> None:
        """Tell the ledger which pods came and went."""
        for owner in before.keys() | after.keys():
            change = after.get(owner, 0) - before.get(owner, 0)
            if change > 0:
                self._ledger.bind(owner, node, change)
            elif change < 0:
                self._ledger.unbind(owner, node, -change)

    def _recount(self) -> None:
        self._dirty |= self._ledger.settle()
        for node in self._dirty:
            self._recount_node(node)
        self._dirty.clear()
        if len(self._shapes) > 2 * len(self._counts) + 64:
            self._shapes = {c.shape: c.shape for c in self._counts.values()}

    def _recount_node(self, node: str) -> None:
        counted = self._counted.pop(node, None)
        if counted is not None:
            key, contribution = counted
            self._census.take_back(contribution)
            if key is not None:
                self._buckets.remove(key, node)
        count = self._counts.get(node)
        if count is None:
            return
        count = with_reserved(count, self._ledger.reserved_on(node))
        key = BucketKey(count.shape, count.free, count.free_devices) if count.offered else None
        self._counted[node] = (key, count.contribution)
        self._census.add(count.contribution)
        if key is not None:
            self._buckets.add(key, node)


def with_reserved(count: NodeCount, reserved: dict[str, int]) -> NodeCount:
    """The count less what the ledger keeps on the node."""
    if not reserved:
        return count
    free = Counter(dict(count.free))
    free_devices = count.free_devices
    for name, amount in reserved.items():
        free[name] = max(free[name] - amount, 0)
    # Reservations take devices away without saying which.
    if any(a.resource in reserved for a in count.shape.accelerators):
        free_devices = None
    units = tuple(_less(units, reserved, free) for units in count.contribution.units)
    return replace(
        count,
        free=vector(free),
        free_devices=free_devices,
        contribution=replace(count.contribution, units=units),
    )


def _less(units: Units, reserved: dict[str, int], free: Counter[str]) -> Units:
    kept = reserved.get(units.accelerator.resource, 0)
    if not kept:
        return units
    left = free[units.accelerator.resource] if units.takes_work else 0
    return replace(
        units,
        federated=units.federated + kept,
        free=left,
        whole=0 < left == units.allocatable,
    )
