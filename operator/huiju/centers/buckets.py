"""Nodes grouped by what the scheduler can tell apart.

Decides nothing but the grouping. Invariant: each node is in at most one group, and a group's
`Bucket` is made anew only after one of its nodes came or went.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass

from huiju.scheduling.model import Bucket, NodeShape, Vector


@dataclass(frozen=True, slots=True)
class BucketKey:
    """What the nodes of a group have in common; compared by the identity of the shape."""

    shape: NodeShape
    free: Vector
    free_devices: tuple[int, ...] | None

    def __hash__(self) -> int:
        # Shapes are shared objects with hundreds of labels: hashing them anew is what would cost.
        return hash((id(self.shape), self.free, self.free_devices))


class Buckets:
    """All groups of a center."""

    def __init__(self) -> None:
        self._names: dict[BucketKey, list[str]] = {}
        self._made: dict[BucketKey, Bucket] = {}
        self._all: tuple[Bucket, ...] | None = ()

    def add(self, key: BucketKey, node: str) -> None:
        """A node is in a group from now on."""
        insort(self._names.setdefault(key, []), node)
        self._changed(key)

    def remove(self, key: BucketKey, node: str) -> None:
        """A node that is in a group leaves it."""
        names = self._names[key]
        del names[bisect_left(names, node)]
        if not names:
            del self._names[key]
        self._changed(key)

    def all(self) -> tuple[Bucket, ...]:
        """The groups, ordered by their first node."""
        if self._all is None:
            for key, names in self._names.items():
                if key not in self._made:
                    self._made[key] = Bucket(key.shape, key.free, tuple(names), key.free_devices)
            self._all = tuple(sorted(self._made.values(), key=lambda bucket: bucket.nodes[0]))
        return self._all

    def _changed(self, key: BucketKey) -> None:
        self._made.pop(key, None)
        self._all = None
