"""A center while it is simulated: what is free on each node, as an inventory would tell it.

Decides which devices a worker gets, as a device plugin does; everything else was decided by the
scheduler. Invariant: what is given back is what was taken.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import replace

from huiju.scheduling.model import (
    Accelerator,
    Bucket,
    Center,
    NodeShape,
    Place,
    ShareLimit,
    Topology,
    Vector,
    vector,
)
from huiju.simulation.engine import Room

Devices = tuple[int, ...] | None
_Key = tuple[int, Vector, Devices]
_GROUP = {Topology.RINGS_OF_4: 4, Topology.GROUPS_OF_8: 8, Topology.MODULES_OF_2: 2}


class Site:
    """One center's nodes; every change shows in `view`."""

    def __init__(self, center: Center) -> None:
        self._center = center
        self._shapes: list[NodeShape] = []
        self._groups: dict[_Key, list[str]] = {}
        self._key_of: dict[str, _Key] = {}
        self._held = {limit.model: limit.held for limit in center.limits}
        self._given: dict[tuple[str, str], Devices] = {}
        self._free, self._whole = 0, 0
        for bucket in center.buckets:
            if bucket.shape not in self._shapes:
                self._shapes.append(bucket.shape)
            key = (self._shapes.index(bucket.shape), bucket.free, _devices_of(bucket))
            for node in bucket.nodes:
                insort(self._groups.setdefault(key, []), node)
                self._key_of[node] = key
                self._count(key, 1)
        self.units = sum(self._total(key[0]) for key in self._key_of.values())

    def room(self) -> Room:
        """Accelerators that are free now."""
        return Room(self._free, self._whole)

    def _total(self, shape: int) -> int:
        """Accelerators of a node of this shape."""
        return _units(self._shapes[shape], self._shapes[shape].allocatable)

    def _count(self, key: _Key, sign: int) -> None:
        free = _units(self._shapes[key[0]], key[1])
        self._free += sign * free
        if free == self._total(key[0]):
            self._whole += sign * free

    def view(self) -> Center:
        """The center as the hub would see it now."""
        buckets = tuple(
            Bucket(self._shapes[shape], free, tuple(nodes), devices)
            for (shape, free, devices), nodes in self._groups.items()
        )
        limits = tuple(
            ShareLimit(limit.model, limit.limit, self._held[limit.model])
            for limit in self._center.limits
        )
        return replace(self._center, buckets=buckets, limits=limits)

    def take(self, place: Place) -> None:
        """A decision starts to run."""
        self._move(place, -1)

    def give(self, place: Place) -> None:
        """It has ended."""
        self._move(place, 1)

    def _move(self, place: Place, sign: int) -> None:
        chosen = place.job.shape.alternatives[place.alternative]
        if chosen.model in self._held:
            self._held[chosen.model] -= sign * chosen.per_worker * place.job.shape.workers
        for assignment in place.assignments:
            node = assignment.node
            shape, free, devices = self._key_of[node]
            amounts = dict(free)
            for name, amount in place.request:
                amounts[name] = amounts.get(name, 0) + sign * amount * assignment.workers
            size = chosen.per_worker
            devices = self._switch(place, node, devices, size, assignment.workers, sign)
            self._put(node, (shape, vector(amounts), devices))

    def _switch(
        self, place: Place, node: str, devices: Devices, size: int, workers: int, sign: int
    ) -> Devices:
        if devices is None:
            return None
        key = (place.job.uid, node)
        if sign > 0:
            return tuple(sorted((*devices, *(self._given.pop(key) or ()))))
        accelerator = next(
            a
            for a in self._shapes[self._key_of[node][0]].accelerators
            if a.resource == place.resource
        )
        taken: tuple[int, ...] = ()
        for _ in range(workers):
            left = tuple(d for d in devices if d not in taken)
            taken += pick(accelerator, size, left)
        self._given[key] = (*(self._given.get(key) or ()), *taken)
        return tuple(d for d in devices if d not in taken)

    def _put(self, node: str, key: _Key) -> None:
        before = self._key_of[node]
        names = self._groups[before]
        del names[bisect_left(names, node)]
        if not names:
            del self._groups[before]
        insort(self._groups.setdefault(key, []), node)
        self._key_of[node] = key
        self._count(before, -1)
        self._count(key, 1)


def _units(shape: NodeShape, amounts: Vector) -> int:
    names = {accelerator.resource for accelerator in shape.accelerators}
    return sum(amount for name, amount in amounts if name in names)


def _devices_of(bucket: Bucket) -> Devices:
    """Device numbers where positions matter: as told, or the lowest ones."""
    if bucket.free_devices is not None:
        return bucket.free_devices
    for accelerator in bucket.shape.accelerators:
        if accelerator.topology in _GROUP:
            return tuple(range(dict(bucket.free).get(accelerator.resource, 0)))
    return None


def pick(accelerator: Accelerator, size: int, free: tuple[int, ...]) -> tuple[int, ...]:
    """Devices for one worker on legal positions, breaking up as few groups as possible."""
    group = _GROUP.get(accelerator.topology, len(free) or 1)
    if size > group and accelerator.topology is Topology.GROUPS_OF_8:
        pairs = [d for d in free if d < group and d + group in free][: size // 2]
        return (*pairs, *(d + group for d in pairs))
    by_group: dict[int, list[int]] = {}
    for device in free:
        by_group.setdefault(device // group, []).append(device)
    if size > group:
        whole = [devices for devices in by_group.values() if len(devices) == group]
        return tuple(d for devices in whole for d in devices)[:size]
    fitting = [devices for devices in by_group.values() if len(devices) >= size]
    return tuple(min(fitting, key=lambda devices: (len(devices), devices))[:size])
