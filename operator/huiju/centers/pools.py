"""Pools of devices of dynamic resource allocation.

Decides which slices of a pool are to be believed: those of the newest generation of which all
slices are there; until a driver has finished publishing, the last complete state stands. Counts
how many of some devices can be had at once where they share counters. Invariant: pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from huiju.centers.deviceobjects import CounterUse, Device, ResourceSlice
from huiju.centers.quantity import base_units

CounterKey = tuple[str, str]
"""Counter set and counter."""


@dataclass(frozen=True, slots=True)
class PoolDevice:
    """A device of a complete pool, as far as counting needs it."""

    driver: str
    pool: str
    name: str
    node: str
    attributes: tuple[tuple[str, str], ...]
    """Attributes of text, sorted."""
    consumes: tuple[tuple[CounterKey, int], ...]
    healthy: bool
    """No taint keeps pods from it."""

    @property
    def key(self) -> tuple[str, str, str]:
        """What identifies a device in the cluster."""
        return self.driver, self.pool, self.name


@dataclass(frozen=True, slots=True)
class CompletePool:
    """All devices of a pool and the counters that they share."""

    devices: tuple[PoolDevice, ...]
    counters: Mapping[CounterKey, int]


def complete(slices: Collection[ResourceSlice]) -> CompletePool | None:
    """The newest complete generation of a pool's slices, None if none is complete."""
    by_generation: dict[int, list[ResourceSlice]] = {}
    for slice_ in slices:
        by_generation.setdefault(slice_.spec.pool.generation, []).append(slice_)
    for generation in sorted(by_generation, reverse=True):
        found = by_generation[generation]
        if all(s.spec.pool.resource_slice_count == len(found) for s in found):
            return _pool(found)
    return None


def _pool(slices: list[ResourceSlice]) -> CompletePool:
    counters = {
        (shared.name, name): base_units(name, counter.value)
        for slice_ in slices
        for shared in slice_.spec.shared_counters
        for name, counter in shared.counters.items()
    }
    devices = (
        _device(slice_, device)
        for slice_ in slices
        for device in slice_.spec.devices
        if slice_.spec.node_name or device.node_name
    )
    return CompletePool(tuple(sorted(devices, key=lambda d: (d.node, d.name))), counters)


def _device(slice_: ResourceSlice, device: Device) -> PoolDevice:
    texts = {
        name.rpartition("/")[2]: attribute.string
        for name, attribute in device.attributes.items()
        if attribute.string is not None
    }
    return PoolDevice(
        driver=slice_.spec.driver,
        pool=slice_.spec.pool.name,
        name=device.name,
        node=slice_.spec.node_name or device.node_name,
        attributes=tuple(sorted(texts.items())),
        consumes=tuple(_consumed(device.consumes_counters)),
        healthy=not any(t.effect in ("NoSchedule", "NoExecute") for t in device.taints),
    )


def _consumed(uses: list[CounterUse]) -> Iterable[tuple[CounterKey, int]]:
    for use in uses:
        for name, counter in use.counters.items():
            yield (use.counter_set, name), base_units(name, counter.value)


def at_once(
    wanted: Iterable[PoolDevice], taken: Iterable[PoolDevice], counters: Mapping[CounterKey, int]
) -> int:
    """How many of the wanted devices can be had together beside those that are taken."""
    left = Counter(counters)
    held = set()
    for device in taken:
        held.add(device.key)
        left.subtract(dict(device.consumes))
    count = 0
    for device in wanted:
        if device.key in held or any(left[key] < amount for key, amount in device.consumes):
            continue
        left.subtract(dict(device.consumes))
        count += 1
    return count
