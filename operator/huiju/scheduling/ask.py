"""What one worker asks of a node, and how many such workers a node takes.

Decides nothing but the count. Invariant: equal asks are one object, so that what a node with a
given stock takes is counted once for all jobs and all equal nodes, wherever they are.
"""

from __future__ import annotations

from itertools import count
from typing import ClassVar
from weakref import WeakValueDictionary

from huiju.scheduling.capacity import Block, NodeKind
from huiju.scheduling.filter import avoids, refuse_node
from huiju.scheduling.model import JobShape, Toleration, Topology, Vector, vector
from huiju.scheduling.topology import legal, slots

_MOST_KNOWN = 4096
"""Counts kept for one stock, and answers for one ask, before they are forgotten."""
_serials = count()
_Key = tuple[
    str,
    str,
    Vector,
    bool,
    tuple[tuple[str, str], ...],
    tuple[Toleration, ...],
    tuple[str, ...],
]


class Ask:
    """One alternative's worker under one resource name."""

    __slots__ = (
        "__weakref__", "_nodes", "_shape", "gang", "model", "request", "resource", "serial", "size",
    )  # fmt: skip
    _known: ClassVar[WeakValueDictionary[_Key, Ask]] = WeakValueDictionary()

    def __init__(self, shape: JobShape, model: str, resource: str, request: Vector) -> None:
        self._shape = shape
        self.model, self.resource = model, resource
        self.request = request
        """The accelerator included."""
        self.size = dict(request)[resource]
        self.gang = shape.workers > 1
        self.serial = next(_serials)
        self._nodes: dict[int, str] = {}

    @classmethod
    def of(cls, shape: JobShape, index: int, resource: str) -> Ask:
        """The one object for what a worker of this alternative asks."""
        chosen = shape.alternatives[index]
        request = vector({**dict(shape.request), resource: chosen.per_worker})
        gang = shape.workers > 1
        key = (
            chosen.model,
            resource,
            request,
            gang,
            shape.node_selector,
            shape.tolerations,
            shape.avoid_nodes,
        )
        found = cls._known.get(key)
        if found is None:
            found = cls._known[key] = cls(shape, chosen.model, resource, request)
        return found

    def on(self, block: Block) -> int:
        """Workers that one node of the block takes."""
        found = block.counts.get(self.serial)
        if found is None:
            if len(block.counts) >= _MOST_KNOWN:
                block.counts.clear()
            found = self.count(block.kind, block.free, block.devices)
            block.counts[self.serial] = found
        return found

    def count(self, kind: NodeKind, free: dict[str, int], devices: tuple[int, ...] | None) -> int:
        """Workers that a node with this stock takes."""
        accelerator = kind.accelerators.get((self.model, self.resource))
        units = free.get(self.resource, 0)
        if accelerator is None or not units:
            return 0
        here = units
        for name, amount in self.request:
            have = free.get(name, 0) // amount
            if have < here:
                if not have:
                    return 0
                here = have
        if not legal(accelerator.topology, self.size, self.gang) or self.refused(kind):
            return 0
        total = kind.allocatable.get(self.resource, 0)
        return min(here, slots(accelerator.topology, self.size, total, units, devices))

    def refused(self, kind: NodeKind) -> str:
        """What the job asks of a node and nodes of this kind lack, empty if nothing."""
        if not self._shape.node_selector and not kind.shape.taints and not kind.shape.suspect:
            return ""
        known = self._nodes.get(kind.serial)
        if known is None:
            if len(self._nodes) >= _MOST_KNOWN:
                self._nodes.clear()
            known = self._nodes[kind.serial] = refuse_node(self._shape, kind)
        return known

    def avoids(self, kind: NodeKind) -> bool:
        """Whether the job keeps off nodes of this kind since hardware failed there."""
        return avoids(self._shape, kind)

    def legal(self, kind: NodeKind) -> bool:
        """Whether nodes of this kind serve that many units to one worker at all."""
        accelerator = kind.accelerators[self.model, self.resource]
        return legal(accelerator.topology, self.size, self.gang)

    def guesses(self, block: Block) -> bool:
        """Whether positions count on these nodes and nobody tells which devices are free."""
        topology = block.kind.accelerators[self.model, self.resource].topology
        total = block.kind.allocatable.get(self.resource, 0)
        unknown = block.devices is None and block.free.get(self.resource, 0) < total
        return unknown and topology is not Topology.FLAT
