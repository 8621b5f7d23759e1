"""What anybody asks of a center's inventory, wherever its counts come from.

Decides nothing but how sums are read. Invariant: before each answer the inventory is brought up to
date, so that two answers without a change between them agree.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from huiju.centers.buckets import Buckets
from huiju.centers.census import Census
from huiju.centers.reservations import Ledger, Reservation
from huiju.centers.summary import summary_of
from huiju.scheduling.model import Bucket


class Inventory(ABC):
    """The inventory of one center; single-threaded."""

    def __init__(self) -> None:
        self.version = 0
        """Rises whenever an answer may have changed."""
        self._ledger = Ledger()
        self._buckets = Buckets()
        self._census = Census()

    @abstractmethod
    def _recount(self) -> None:
        """Bring buckets and census up to date."""

    def reserve(self, reservation: Reservation) -> None:
        """Keep units for a job's workers until its pods are bound; the same again is nothing."""
        if self._ledger.reserve(reservation):
            self.version += 1

    def release(self, uid: str, epoch: int) -> None:
        """Give a reservation back; its bound pods go on counting as pods."""
        if self._ledger.release(uid, epoch):
            self.version += 1

    def buckets(self) -> tuple[Bucket, ...]:
        """Nodes with accelerators that can take work, grouped; the same object until a change."""
        self._recount()
        return self._buckets.all()

    def census(self) -> Census:
        """The sums over all nodes; to be read at once and not kept."""
        self._recount()
        return self._census

    def summary(self) -> dict[str, Any]:
        """The status fields of the ComputeCenter that tell of nodes and accelerators."""
        return summary_of(self.census())

    def held_units(self, model: str) -> int:
        """Units of a model that federated jobs hold or that are reserved for them."""
        census = self.census()
        return sum(census.tallies[key].federated for key in census.keys_of_model(model))

    def awaited_units(self, model: str) -> int:
        """Units of a model that are reserved for federated pods that have no node yet."""
        census = self.census()
        return sum(self._ledger.outstanding(name) for _, name in census.keys_of_model(model))

    def model_labels(self, model: str, resource: str) -> dict[str, str]:
        """Node labels that single out the model among the nodes of one resource name."""
        return self.census().labels_of((model, resource))

    def resource_of(self, model: str) -> str | None:
        """The resource name under which the center has most of a model, None if it has none."""
        census = self.census()
        keys = list(census.keys_of_model(model))
        if not keys:
            return None
        return max(keys, key=lambda key: (census.tallies[key].allocatable, key))[1]

    def gflops_per_unit(self, model: str, resource: str) -> int:
        """Normalized compute of one unit, 0 if the center has no such accelerator."""
        kind = self.census().kind((model, resource))
        return kind.gflops if kind is not None else 0
