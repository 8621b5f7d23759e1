"""A center's inventory: which nodes have which accelerators, and what of them is free.

Decides free units node by node: allocatable minus the effective requests of all pods there minus
what the ledger keeps, on nodes that can take work. Pure: no clock, no network; time is passed in.
Invariant: after any sequence of events the answers equal those computed from scratch from the
nodes, pods and reservations that are left. An event costs O(1); the nodes that it touched are
counted anew at the next question.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Final

from huiju.centers.ailments import NodeHealth
from huiju.centers.answers import Inventory
from huiju.centers.buckets import BucketKey
from huiju.centers.catalogue import Resolver
from huiju.centers.census import Contribution
from huiju.centers.counting import count, with_devices
from huiju.centers.deviceobjects import DeviceClass, ResourceClaim, ResourceSlice
from huiju.centers.dra import Devices, NodeDevices
from huiju.centers.nodestate import (
    VANISH_SECONDS,
    NodeFacts,
    Reports,
    Vanished,
    read_node,
    vanished,
    with_held,
    with_reports,
)
from huiju.centers.objects import Node
from huiju.centers.podusage import Owner, PodUse, SensedPod, read_pod
from huiju.centers.reservations import Reservation
from huiju.scheduling.model import NodeShape, Vector, vector

log = logging.getLogger(__name__)
_LONGEST_LIST: Final = 1024

__all__ = ["CenterInventory", "NodeCount", "Reservation"]


@dataclass(frozen=True, slots=True)
class NodeCount:
    """One node as it is counted: its place among the buckets, and what it adds to the sums."""

    shape: NodeShape
    free: Vector
    free_devices: tuple[int, ...] | None
    offered: bool
    """Whether it is in a bucket: it has accelerators and takes work."""
    contribution: Contribution
    holders: tuple[tuple[Owner, int], ...] = ()
    """Federated jobs with pods here, and how many."""


@dataclass(slots=True)
class _Node:
    """What is known of a node name; pods may be there before or after the node itself."""

    read: NodeFacts | None = None
    """As its object told last."""
    held: dict[str, Vanished] = field(default_factory=dict)
    reports: Reports = field(default_factory=dict)
    """What the device plugin told of single devices."""
    facts: NodeFacts | None = None
    """With held devices, reports, and devices of dynamic resource allocation."""
    shape: NodeShape | None = None
    devices: tuple[NodeDevices, ...] = ()
    pods: dict[str, PodUse] = field(default_factory=dict)
    key: BucketKey | None = None
    contribution: Contribution | None = None


class CenterInventory(Inventory):
    """The inventory of one center, counted from its own objects."""

    def __init__(self, resolver: Resolver | None = None) -> None:
        super().__init__()
        self._resolver = resolver or Resolver()
        self._nodes: dict[str, _Node] = {}
        self._pods: dict[str, PodUse] = {}
        self._devices = Devices(self._resolver)
        self._shapes: dict[NodeShape, NodeShape] = {}
        self._dirty: set[str] = set()
        self._holding: set[str] = set()
        """Nodes with vanished devices that are still believed in."""
        self._touched: set[str] = set()
        """Nodes that were counted anew since somebody took note."""

    # --- events ------------------------------------------------------------------------------

    def set_node(self, node: Node, now: float) -> None:
        """A node appeared or changed; `now` in seconds on any steady clock."""
        name = node.metadata.name
        read = read_node(node, self._resolver)
        state = self._nodes.setdefault(name, _Node())
        if state.read is not None and state.read.uid != read.uid:
            state.read, state.held, state.reports = None, {}, {}
        if state.read == read:
            return
        before = state.read
        if read.beyond_belief and (before is None or before.beyond_belief != read.beyond_belief):
            log.warning(
                "amounts beyond belief count as none",
                extra={"node": name, "resources": ", ".join(read.beyond_belief)[:_LONGEST_LIST]},
            )
        if before is not None:
            state.held = vanished(with_held(before, state.held), read, state.held, now)
        state.read = read
        self._reshape(name, state)

    def drop_node(self, name: str) -> None:
        """A node is gone; its pods linger until they are gone too, and count nowhere."""
        state = self._nodes.get(name)
        if state is None or state.read is None:
            return
        state.read, state.held, state.reports = None, {}, {}
        self._reshape(name, state)

    def set_pod(self, pod: SensedPod) -> None:
        """A pod appeared or changed."""
        self._use(pod.metadata.uid, read_pod(pod))

    def drop_pod(self, uid: str) -> None:
        """A pod is gone."""
        self._use(uid, None)

    def set_reports(self, name: str, reports: Reports) -> None:
        """The device plugin of a node told of single devices; empty if it tells nothing now."""
        state = self._nodes.get(name)
        if state is None or state.read is None or state.reports == reports:
            return
        state.reports = reports
        self._reshape(name, state)

    def set_slice(self, slice_: ResourceSlice) -> None:
        """Devices of dynamic resource allocation were published or changed."""
        self._devices.set_slice(slice_)
        self._redevice()

    def drop_slice(self, name: str) -> None:
        """A slice is gone."""
        self._devices.drop_slice(name)
        self._redevice()

    def set_claim(self, claim: ResourceClaim) -> None:
        """A claim appeared or changed."""
        self._devices.set_claim(claim)
        self._redevice()

    def drop_claim(self, uid: str) -> None:
        """A claim is gone."""
        self._devices.drop_claim(uid)
        self._redevice()

    def set_class(self, class_: DeviceClass) -> None:
        """A device class appeared or changed."""
        self._devices.set_class(class_)
        self._redevice()

    def drop_class(self, name: str) -> None:
        """A device class is gone."""
        self._devices.drop_class(name)
        self._redevice()

    def settle(self, now: float) -> float | None:
        """Believe in devices that stayed away long enough; returns when to ask again, if ever."""
        due: list[float] = []
        for name in list(self._holding):
            state = self._nodes[name]
            left = {r: v for r, v in state.held.items() if now < v.since + VANISH_SECONDS}
            due.extend(v.since + VANISH_SECONDS for v in left.values())
            if left != state.held:
                state.held = left
                self._reshape(name, state)
        return min(due, default=None)

    # --- for whoever counts elsewhere ----------------------------------------------------------

    def reporting_nodes(self) -> list[str]:
        """Nodes with accelerators of which a device plugin may report single devices."""
        return [
            name
            for name, state in self._nodes.items()
            if state.read is not None
            and any(kind.reports_devices for kind in state.read.accelerators.values())
        ]

    def health(self, name: str) -> NodeHealth | None:
        """How the hardware of a node is, None if there is no such node."""
        state = self._nodes.get(name)
        if state is None or state.facts is None:
            return None
        facts = state.facts
        broken = {}
        for resource in facts.accelerators:
            lacking = facts.capacity.get(resource, 0) - facts.allocatable.get(resource, 0)
            report = facts.reports.get(resource)
            broken[resource] = max(lacking, 0) + (len(report.unlinked) if report else 0)
        return NodeHealth(facts.ready, broken)

    def take_touched(self) -> set[str]:
        """Nodes that may have changed since the last call; the first call names all."""
        self._recount()
        touched, self._touched = self._touched, set()
        return touched

    def node(self, name: str) -> NodeCount | None:
        """What is counted of one node, None if there is no such node."""
        self._recount()
        state = self._nodes.get(name)
        if state is None or state.contribution is None or state.shape is None:
            return None
        holders = Counter(use.owner for use in state.pods.values() if use.owner is not None)
        key = state.key
        return NodeCount(
            shape=state.shape,
            free=key.free if key is not None else (),
            free_devices=key.free_devices if key is not None else None,
            offered=key is not None,
            contribution=state.contribution,
            holders=tuple(sorted(holders.items())),
        )

    # --- keeping in step ---------------------------------------------------------------------

    def _use(self, uid: str, use: PodUse | None) -> None:
        before = self._pods.get(uid)
        if before == use:
            return
        self.version += 1
        if before is not None:
            del self._pods[uid]
            del self._nodes[before.node].pods[uid]
            self._dirty.add(before.node)
            self._overtake(before, use)
            if before.owner is not None:
                self._ledger.unbind(before.owner, before.node)
        if use is not None:
            self._pods[uid] = use
            self._nodes.setdefault(use.node, _Node()).pods[uid] = use
            self._dirty.add(use.node)
            self._overtake(use, before)
            if use.owner is not None:
                self._ledger.bind(use.owner, use.node)

    def _overtake(self, pod: PodUse, other: PodUse | None) -> None:
        """A pod came or went: what was reported free on its node before is of no use now."""
        state = self._nodes[pod.node]
        if not state.reports or (
            other is not None and (other.node, other.request) == (pod.node, pod.request)
        ):
            return
        asked = dict(pod.request)
        stale = {n for n, r in state.reports.items() if r.free is not None and asked.get(n)}
        if stale:
            told = state.reports.items()
            state.reports = {n: replace(r, free=None) if n in stale else r for n, r in told}
            self._reshape(pod.node, state)

    def _redevice(self) -> None:
        for name in self._devices.take_changed():
            self._reshape(name, self._nodes.setdefault(name, _Node()))

    def _reshape(self, name: str, state: _Node) -> None:
        """Derive what pods do not change."""
        self.version += 1
        self._dirty.add(name)
        if state.held:
            self._holding.add(name)
        else:
            self._holding.discard(name)
        state.facts = state.shape = None
        state.devices = ()
        if state.read is None:
            return
        facts = with_reports(with_held(state.read, state.held), state.reports)
        # A resource that a plugin serves is counted there, even if slices show the same devices.
        state.devices = tuple(
            found
            for found in self._devices.on(name)
            if not found.resource or facts.allocatable.get(found.resource, 0) == 0
        )
        state.facts = facts = with_devices(facts, state.devices)
        shape = facts.shape()
        state.shape = self._shapes.setdefault(shape, shape)

    def _recount(self) -> None:
        self._dirty |= self._ledger.settle()
        self._touched |= self._dirty
        for name in self._dirty:
            self._recount_node(name)
        self._dirty.clear()
        if len(self._shapes) > 2 * len(self._nodes) + 64:
            used = {id(s.shape): s.shape for s in self._nodes.values() if s.shape is not None}
            self._shapes = {shape: shape for shape in used.values()}

    def _recount_node(self, name: str) -> None:
        state = self._nodes.get(name)
        if state is None:
            return
        if state.key is not None:
            self._buckets.remove(state.key, name)
            state.key = None
        if state.contribution is not None:
            self._census.take_back(state.contribution)
            state.contribution = None
        if state.facts is None or state.shape is None:
            if not state.pods:
                del self._nodes[name]
            return
        counted = count(
            state.facts, state.pods.values(), state.devices, self._ledger.reserved_on(name)
        )
        state.contribution = counted.contribution
        self._census.add(counted.contribution)
        if state.facts.schedulable and state.facts.accelerators:
            state.key = BucketKey(state.shape, vector(counted.free), counted.free_devices)
            self._buckets.add(state.key, name)
