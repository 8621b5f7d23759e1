"""What a deleted job may have left in centers where nothing leads to it any more.

A workload's notes lead to its Service, ConfigMaps and Secrets. Who deletes a workload by hand takes
the notes away, and a hub that starts afterwards finds nothing; yet the job itself tells in which
centers it was, under which epochs, and what was made for each. Decides which objects that are.
Invariant: names alone; whoever removes them looks at whose they are first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from huiju.centers.names import Origin, center_namespace, workload_name
from huiju.centers.render import needed_names
from huiju.hub.bodies import carry_of
from huiju.hub.objects import JobObject
from huiju.kube.resources import Resource

Mappings = Callable[[str], Mapping[str, str]]
"""The namespaces that a center's owner maps to others, by those of the hub."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """What one epoch of a job needed beside its workload."""

    origin: Origin
    namespace: str
    """In the center."""
    needed: tuple[tuple[Resource, str], ...]


class Leftovers:
    """Leftovers of jobs that are gone, by center; at most `most` of one center, the newest."""

    def __init__(self, hub_id: str, mappings: Mappings, most: int = 10_000) -> None:
        self._hub_id = hub_id
        self._mappings = mappings
        self._most = most
        self._by_center: dict[str, dict[Leftover, None]] = {}

    def gone(self, job: JobObject) -> None:
        """A job was deleted that had been placed."""
        for center, left in self._of(job):
            known = self._by_center.setdefault(center, {})
            known[left] = None
            for oldest in list(islice(known, max(0, len(known) - self._most))):
                del known[oldest]

    def of(self, center: str) -> list[Leftover]:
        """What may be left in a center."""
        return list(self._by_center.get(center, ()))

    def settle(self, center: str, left: Leftover) -> None:
        """It is gone, or its workload still leads there."""
        self._by_center.get(center, {}).pop(left, None)

    def _of(self, job: JobObject) -> Iterator[tuple[str, Leftover]]:
        meta, placed = job.metadata, job.status.placement
        places = {past.epoch: past.center for past in job.status.history}
        if placed is not None:
            places[placed.epoch] = placed.center
        carry = carry_of(job)
        for epoch, center in places.items():
            workload = workload_name(meta.name, meta.uid, epoch)
            needed = tuple(needed_names(carry, job.spec.workers, workload))
            if needed:
                origin = Origin(self._hub_id, meta.namespace, meta.name, meta.uid, epoch)
                space = center_namespace(self._hub_id, meta.namespace, self._mappings(center))
                yield center, Leftover(origin, space, needed)
