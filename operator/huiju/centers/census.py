"""Sums over a center's nodes, kept in step one node at a time.

Decides what one node adds to the counts of the center and how contributions are added up. Free
units count only on nodes that can take work, so the sums agree with the buckets. Invariant: the
sums equal those over all contributions that were added and not taken back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from huiju.centers.catalogue.slicing import Evidence
from huiju.scheduling.model import Accelerator

V = TypeVar("V")
ModelKey = tuple[str, str]
"""Model and resource name."""


@dataclass(frozen=True, slots=True)
class Units:
    """One kind of accelerator on one node."""

    accelerator: Accelerator
    evidence: Evidence
    total: int
    allocatable: int
    """0 on a node that is not Ready."""
    used: int
    free: int
    """Free for new work; 0 on a node that takes none."""
    federated: int
    """Held by pods of federated jobs, and reserved for them."""
    whole: bool
    """All units are free."""
    takes_work: bool

    @property
    def key(self) -> ModelKey:
        """What the units are counted under."""
        return self.accelerator.model, self.accelerator.resource


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one node adds."""

    ready: bool
    schedulable: bool
    units: tuple[Units, ...]
    custom: tuple[tuple[str, int, int], ...]
    """Resource, allocatable and used."""


@dataclass(slots=True)
class Tally:
    """One kind of accelerator in the whole center."""

    total: int = 0
    allocatable: int = 0
    used: int = 0
    free: int = 0
    federated: int = 0
    whole_nodes: int = 0
    gflops: int = 0
    """Of all allocatable units."""


class Census:
    """The sums of a center."""

    def __init__(self) -> None:
        self.nodes = 0
        self.ready = 0
        self.schedulable = 0
        self.tallies: dict[ModelKey, Tally] = {}
        self.kinds: dict[ModelKey, Counter[Accelerator]] = {}
        self.evidence: dict[ModelKey, Counter[Evidence]] = {}
        self.blocks: dict[ModelKey, Counter[tuple[int, int]]] = {}
        """Nodes that take work, by allocatable and free units."""
        self.custom: dict[str, Counter[str]] = {}

    def add(self, node: Contribution) -> None:
        """A node's contribution counts from now on."""
        self._count(node, 1)

    def take_back(self, node: Contribution) -> None:
        """A contribution that was added counts no longer."""
        self._count(node, -1)

    def _count(self, node: Contribution, sign: int) -> None:
        self.nodes += sign
        self.ready += sign * node.ready
        self.schedulable += sign * node.schedulable
        for units in node.units:
            self._count_units(units, sign)
        for name, allocatable, used in node.custom:
            count = self.custom.setdefault(name, Counter())
            count["nodes"] += sign
            count["allocatable"] += sign * allocatable
            count["used"] += sign * used
            if not count["nodes"]:
                del self.custom[name]

    def _count_units(self, units: Units, sign: int) -> None:
        key = units.key
        _shift(self.kinds, key, units.accelerator, sign)
        _shift(self.evidence, key, units.evidence, sign)
        if units.takes_work:
            _shift(self.blocks, key, (units.allocatable, units.free), sign)
        tally = self.tallies.setdefault(key, Tally())
        tally.total += sign * units.total
        tally.allocatable += sign * units.allocatable
        tally.used += sign * units.used
        tally.free += sign * units.free
        tally.federated += sign * units.federated
        tally.whole_nodes += sign * units.whole
        tally.gflops += sign * units.allocatable * units.accelerator.gflops
        if key not in self.kinds:
            del self.tallies[key]

    def kind(self, key: ModelKey) -> Accelerator | None:
        """What most nodes mean by a model and resource."""
        kinds = self.kinds.get(key)
        return max(kinds, key=lambda a: (kinds[a], a.gflops)) if kinds else None

    def largest_block(self, key: ModelKey) -> int:
        """Most free units on one node."""
        return max((free for _, free in self.blocks.get(key, ())), default=0)

    def labels_of(self, key: ModelKey) -> dict[str, str]:
        """Labels that single out a model among the nodes of its resource; empty if none do.

        Where its nodes say it in several ways, what they all say is taken if no other model says
        it too, and else the words of most of them: better fewer nodes than wrong chips.
        """
        own = self.evidence.get(key)
        if not own:
            return {}
        others = [
            set(evidence)
            for other, said in self.evidence.items()
            if other != key and other[1] == key[1]
            for evidence in said
        ]
        common = set.intersection(*(set(evidence) for evidence in own))
        if common and not any(common <= other for other in others):
            return dict(sorted(common))
        if len(own) > 1 and not others:
            return {}
        most, _ = max(own.items(), key=lambda said: (said[1], said[0]))
        return dict(most)

    def keys_of_model(self, model: str) -> Iterable[ModelKey]:
        """All resource names under which a model is known here."""
        return (key for key in self.tallies if key[0] == model)


def _shift(counters: dict[ModelKey, Counter[V]], key: ModelKey, value: V, sign: int) -> None:
    """Count one more or one less, and keep no zeros."""
    counter = counters.setdefault(key, Counter())
    counter[value] += sign
    if not counter[value]:
        del counter[value]
    if not counter:
        del counters[key]
