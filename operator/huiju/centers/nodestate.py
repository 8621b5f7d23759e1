"""What a node has and whether it can take work.

Decides readiness, taints, labels worth keeping, and what each extended resource is. A device count
that drops to zero is held for a while: a plugin that restarts has not taken the cards away.
Invariant: pure; the same node, resolver and held devices give equal facts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from huiju.centers.catalogue import Resolved, Resolver
from huiju.centers.objects import Node
from huiju.centers.podusage import device_numbers
from huiju.centers.requests import MOST_OF_ANYTHING, amounts, is_extended
from huiju.scheduling.model import NodeShape, Taint, vector

VANISH_SECONDS: Final = 120.0
"""So long a device count of zero is not believed; plugins restart and upgrade faster."""
MOST_DEVICES: Final = 1_000_000
"""No node has more accelerators, however finely they are shared."""
_HARD: Final = frozenset({"NoSchedule", "NoExecute"})
_LABELS_OF_ONE_NODE: Final = frozenset(
    {
        "kubernetes.io/hostname",
        "nvidia.com/gfd.timestamp",
        "topology.hostpath.csi/node",
        "alpha.kubernetes.io/provided-node-ip",
    }
)


@dataclass(frozen=True, slots=True)
class DeviceReport:
    """What is told of the single devices of one resource of a node, by device number."""

    broken: frozenset[int] = frozenset()
    """No longer in allocatable."""
    unlinked: frozenset[int] = frozenset()
    """Still in allocatable, but out of reach for the devices of other nodes."""
    free: tuple[int, ...] | None = None
    """Devices that no pod holds, None where it is not told. Newer plugins list those that pods hold
    as well, so it is believed only where as many are free by the pods' own requests."""


Reports = Mapping[str, DeviceReport]
"""By resource name."""


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """A node as the inventory counts it; amounts in base units."""

    uid: str
    ready: bool
    schedulable: bool
    """Ready, not cordoned, not being deleted, and no virtual node."""
    virtual: bool
    """A gateway to elsewhere, whose capacity is no hardware of the center."""
    capacity: Mapping[str, int]
    allocatable: Mapping[str, int]
    accelerators: Mapping[str, Resolved]
    """By resource name."""
    custom: frozenset[str]
    """Extended resources that are no accelerators."""
    labels: tuple[tuple[str, str], ...]
    taints: tuple[Taint, ...]
    reports: Reports = field(default_factory=dict)
    """What is told of single devices; the annotations of the node tell no free ones."""
    withheld: frozenset[str] = frozenset()
    """Accelerators that vanished so lately that they count as present but not as free."""

    beyond_belief: tuple[str, ...] = ()
    """Extended resources whose amount no node can have; they count as none."""

    def shape(self) -> NodeShape:
        """What the node has in common with others."""
        return NodeShape(
            accelerators=tuple(
                resolved.accelerator for _, resolved in sorted(self.accelerators.items())
            ),
            allocatable=vector(self.allocatable),
            labels=self.labels,
            taints=self.taints,
        )


@dataclass(frozen=True, slots=True)
class Vanished:
    """Devices of a node that went away, as they were before."""

    since: float
    capacity: int
    allocatable: int
    resolved: Resolved


def read_node(node: Node, resolver: Resolver) -> NodeFacts:
    """The facts of a node as its object tells them.

    Raises:
        ValueError: an amount is no quantity.
    """
    meta = node.metadata
    labels = meta.labels or {}
    annotations = meta.annotations or {}
    virtual = labels.get("type") == "virtual-kubelet"
    ready = any(c.type == "Ready" and c.status == "True" for c in node.status.conditions)
    capacity = amounts(node.status.capacity)
    allocatable = amounts(node.status.allocatable)
    node_has = (capacity, allocatable)
    accelerators: dict[str, Resolved] = {}
    custom = []
    beyond = _refuse(MOST_OF_ANYTHING, filter(is_extended, {**capacity, **allocatable}), node_has)
    for name, units in capacity.items():
        if not is_extended(name):
            continue
        resolved = resolver.resolve(name, labels, annotations, units)
        if resolved is None:
            custom.append(name)
        elif _refuse(MOST_DEVICES, (name,), node_has):
            beyond.append(name)
        elif units > 0:
            accelerators[name] = resolved
    taints = {Taint(t.key, t.value, t.effect) for t in node.spec.taints or () if t.effect in _HARD}
    return NodeFacts(
        uid=meta.uid,
        ready=ready,
        schedulable=ready
        and not (node.spec.unschedulable or meta.deletion_timestamp is not None or virtual),
        virtual=virtual,
        capacity=capacity,
        allocatable=allocatable,
        accelerators={} if virtual else accelerators,
        custom=frozenset(custom),
        labels=tuple(sorted((k, v) for k, v in labels.items() if _shared(k, v, meta.name))),
        taints=tuple(sorted(taints, key=lambda t: (t.key, t.value, t.effect))),
        reports=_annotated(accelerators, annotations),
        beyond_belief=tuple(sorted(beyond)),
    )


def _refuse(most: int, names: Iterable[str], node_has: tuple[dict[str, int], ...]) -> list[str]:
    """Set to zero, and name, what a node has less of than nothing or more than `most`."""
    refused = []
    for name in names:
        if any(not 0 <= has.get(name, 0) <= most for has in node_has):
            refused.append(name)
            for has in node_has:
                if name in has:
                    has[name] = 0
    return refused


def _annotated(
    accelerators: Mapping[str, Resolved], annotations: Mapping[str, str]
) -> dict[str, DeviceReport]:
    """What annotations named after the resource say of single devices of Ascend."""
    found = {}
    for name, resolved in accelerators.items():
        if not resolved.reports_devices:
            continue
        broken = device_numbers(annotations.get(f"{name}-Unhealthy", "")) or ()
        unlinked = device_numbers(annotations.get(f"{name}-NetworkUnhealthy", "")) or ()
        report = DeviceReport(frozenset(broken), frozenset(unlinked) - frozenset(broken))
        if report != DeviceReport():
            found[name] = report
    return found


def with_reports(facts: NodeFacts, told: Reports) -> NodeFacts:
    """The facts with what the device plugin reports; faults that either tells are faults."""
    merged = dict(facts.reports)
    for name, resolved in facts.accelerators.items():
        if name not in told or not resolved.reports_devices:
            continue
        known = merged.get(name, DeviceReport())
        broken = known.broken | told[name].broken
        unlinked = (known.unlinked | told[name].unlinked) - broken
        merged[name] = DeviceReport(broken, unlinked, told[name].free)
    return replace(facts, reports=merged) if merged != facts.reports else facts


def _shared(key: str, value: str, node: str) -> bool:
    return key not in _LABELS_OF_ONE_NODE and value != node


def vanished(
    before: NodeFacts, after: NodeFacts, held: Mapping[str, Vanished], now: float
) -> dict[str, Vanished]:
    """The devices to hold on to after a change; `before` is what was counted until now."""
    kept: dict[str, Vanished] = {}
    for name, resolved in before.accelerators.items():
        had = before.allocatable.get(name, 0)
        if had <= 0 or after.allocatable.get(name, 0) > 0:
            continue
        kept[name] = held.get(name) or Vanished(now, before.capacity.get(name, 0), had, resolved)
    return kept


def with_held(facts: NodeFacts, held: Mapping[str, Vanished]) -> NodeFacts:
    """The facts with held devices put back, withheld from new work."""
    if not held:
        return facts
    return replace(
        facts,
        capacity={**facts.capacity, **{name: gone.capacity for name, gone in held.items()}},
        allocatable={
            **facts.allocatable,
            **{name: gone.allocatable for name, gone in held.items()},
        },
        accelerators={
            **facts.accelerators,
            **{name: gone.resolved for name, gone in held.items()},
        },
        custom=facts.custom - held.keys(),
        withheld=frozenset(held),
    )
