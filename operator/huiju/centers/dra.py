"""Accelerators of dynamic resource allocation, by node.

Decides what a node's devices are and how many are free, and under which extended resource name
pods can ask for them. A device is counted once: under the first class that serves it by a resource
name, or else under its driver's name, where only claims can ask for it. Invariant: answers depend
on the slices, claims and classes alone, except that a pool in the middle of an update stays as it
was when it was last complete.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Final

from huiju.centers.catalogue import Resolved, Resolver
from huiju.centers.deviceobjects import DeviceClass, ResourceClaim, ResourceSlice
from huiju.centers.pools import CompletePool, PoolDevice, at_once, complete

PoolKey = tuple[str, str]
"""Driver and pool."""
DeviceKey = tuple[str, str, str]
"""Driver, pool and device."""

_DRIVER: Final = re.compile(r"""device\.driver\s*==\s*(['"])(?P<value>[^'"]+)\1""")
_ATTRIBUTE: Final = re.compile(
    r"""device\.attributes\[(['"])(?P<domain>[^'"]+)\1\]\.(?P<name>\w+)"""
    r"""\s*==\s*(['"])(?P<value>[^'"]*)\4"""
)


@dataclass(frozen=True, slots=True)
class NodeDevices:
    """Equal devices of a node."""

    resolved: Resolved
    resource: str
    """Extended resource name that pods may ask for; empty where only claims can."""
    total: int
    """So many can be had at once."""
    allocatable: int
    """Of these so many are not tainted."""
    free: int


class Devices:
    """All slices, claims and classes of a center."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._slices: dict[str, ResourceSlice] = {}
        self._members: dict[PoolKey, set[str]] = {}
        self._pools: dict[PoolKey, CompletePool] = {}
        self._by_node: dict[str, set[PoolKey]] = {}
        self._nodes_of: dict[DeviceKey, str] = {}
        self._claims: dict[str, frozenset[DeviceKey]] = {}
        self._taken: Counter[DeviceKey] = Counter()
        self._classes: dict[str, DeviceClass] = {}
        self._changed: set[str] = set()

    # --- events ------------------------------------------------------------------------------

    def set_slice(self, slice_: ResourceSlice) -> None:
        """A slice appeared or changed."""
        self.drop_slice(slice_.metadata.name, but_for=_pool_of(slice_))
        self._slices[slice_.metadata.name] = slice_
        self._members.setdefault(_pool_of(slice_), set()).add(slice_.metadata.name)
        self._reread(_pool_of(slice_))

    def drop_slice(self, name: str, *, but_for: PoolKey | None = None) -> None:
        """A slice is gone; `but_for` names a pool that is read again anyway."""
        slice_ = self._slices.pop(name, None)
        if slice_ is None:
            return
        pool = _pool_of(slice_)
        self._members[pool].discard(name)
        if pool != but_for:
            self._reread(pool)

    def set_claim(self, claim: ResourceClaim) -> None:
        """A claim appeared or changed."""
        allocation = claim.status.allocation
        results = allocation.devices.results if allocation is not None else ()
        self._claim(
            claim.metadata.uid,
            frozenset((r.driver, r.pool, r.device) for r in results if not r.admin_access),
        )

    def drop_claim(self, uid: str) -> None:
        """A claim is gone, and with it what it held."""
        self._claim(uid, frozenset())

    def set_class(self, class_: DeviceClass) -> None:
        """A class appeared or changed."""
        self._classes[class_.metadata.name] = class_
        self._changed |= self._by_node.keys()

    def drop_class(self, name: str) -> None:
        """A class is gone."""
        if self._classes.pop(name, None) is not None:
            self._changed |= self._by_node.keys()

    def take_changed(self) -> set[str]:
        """Nodes whose answer may have changed since the last call."""
        changed, self._changed = self._changed, set()
        return changed

    # --- answers -----------------------------------------------------------------------------

    def on(self, node: str) -> tuple[NodeDevices, ...]:
        """The accelerators of a node; at most one group for each resource name."""
        groups: dict[tuple[str, Resolved], list[PoolDevice]] = {}
        for key in self._by_node.get(node, ()):
            for device in self._pools[key].devices:
                if device.node != node:
                    continue
                resource = self._resource_of(device)
                made = self._resolver.resolve_device(
                    device.driver, dict(device.attributes), resource or device.driver
                )
                if made is not None:
                    groups.setdefault((resource, Resolved(made)), []).append(device)
        served = Counter(resource for resource, _ in groups)
        found = []
        for (resource, resolved), devices in groups.items():
            # One name for several models cannot be asked for by model.
            name = resource if served[resource] == 1 else ""
            found.append(self._counted(node, name, resolved, devices))
        return tuple(sorted(found, key=lambda d: (d.resource, d.resolved.accelerator.model)))

    def _counted(
        self, node: str, resource: str, resolved: Resolved, devices: list[PoolDevice]
    ) -> NodeDevices:
        total = allocatable = free = 0
        for key in sorted({(device.driver, device.pool) for device in devices}):
            pool = self._pools[key]
            own = [d for d in devices if (d.driver, d.pool) == key]
            healthy = [d for d in own if d.healthy]
            taken = [d for d in pool.devices if d.node == node and self._taken[d.key]]
            total += at_once(own, (), pool.counters)
            allocatable += at_once(healthy, (), pool.counters)
            free += at_once(healthy, taken, pool.counters)
        return NodeDevices(resolved, resource, total, allocatable, free)

    def _resource_of(self, device: PoolDevice) -> str:
        for _, class_ in sorted(self._classes.items()):
            if class_.spec.extended_resource_name and matches(class_, device):
                return class_.spec.extended_resource_name
        return ""

    # --- keeping in step ---------------------------------------------------------------------

    def _reread(self, key: PoolKey) -> None:
        members = [self._slices[name] for name in self._members.get(key, ())]
        before = self._pools.get(key)
        after = complete(members) if members else None
        if members and after is None:
            return
        if before is not None:
            for device in before.devices:
                self._changed.add(device.node)
                self._by_node.get(device.node, set()).discard(key)
                self._nodes_of.pop(device.key, None)
        if after is None:
            self._pools.pop(key, None)
            self._members.pop(key, None)
        else:
            self._pools[key] = after
            for device in after.devices:
                self._changed.add(device.node)
                self._by_node.setdefault(device.node, set()).add(key)
                self._nodes_of[device.key] = device.node
        for node in [node for node, pools in self._by_node.items() if not pools]:
            del self._by_node[node]

    def _claim(self, uid: str, devices: frozenset[DeviceKey]) -> None:
        before = self._claims.get(uid, frozenset())
        if before == devices:
            return
        self._taken.subtract(before)
        self._taken.update(devices)
        for key in before ^ devices:
            if not self._taken[key]:
                del self._taken[key]
            if key in self._nodes_of:
                self._changed.add(self._nodes_of[key])
        if devices:
            self._claims[uid] = devices
        else:
            del self._claims[uid]


def _pool_of(slice_: ResourceSlice) -> PoolKey:
    return slice_.spec.driver, slice_.spec.pool.name


def matches(class_: DeviceClass, device: PoolDevice) -> bool:
    """Whether a device is of a class.

    Understands equality of driver and text attributes, joined by `&&`; a class that says more is
    taken to match nothing, so that no capacity is offered that a scheduler might refuse.
    """
    attributes = dict(device.attributes)
    for selector in class_.spec.selectors:
        if selector.cel is None:
            return False
        for term in selector.cel.expression.split("&&"):
            if not _holds(term.strip().strip("()").strip(), device, attributes):
                return False
    return bool(class_.spec.selectors)


def _holds(term: str, device: PoolDevice, attributes: dict[str, str]) -> bool:
    driver = _DRIVER.fullmatch(term)
    if driver is not None:
        return driver["value"] == device.driver
    attribute = _ATTRIBUTE.fullmatch(term)
    if attribute is None or attribute["domain"] != device.driver:
        return False
    return attributes.get(attribute["name"]) == attribute["value"]
