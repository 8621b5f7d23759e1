"""Counts one node: what is free there, and what it adds to the center's sums.

Decides how pods, reservations and devices of claims add up on a node. Invariant: pure, and free is
never negative, however much was promised.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from huiju.centers.census import Contribution, Units
from huiju.centers.dra import NodeDevices
from huiju.centers.nodestate import DeviceReport, NodeFacts
from huiju.centers.podusage import PodUse, held_devices
from huiju.scheduling.model import Topology
from huiju.scheduling.topology import MOST_NUMBERED


@dataclass(frozen=True, slots=True)
class Counted:
    """What is free on a node, and what it adds to the center's sums."""

    free: dict[str, int]
    free_devices: tuple[int, ...] | None
    contribution: Contribution


def with_devices(facts: NodeFacts, devices: tuple[NodeDevices, ...]) -> NodeFacts:
    """The facts with devices that pods can ask for by a resource name."""
    served = {found.resource: found for found in devices if found.resource}
    if not served:
        return facts
    return replace(
        facts,
        capacity={**facts.capacity, **{n: f.total for n, f in served.items()}},
        allocatable={**facts.allocatable, **{n: f.allocatable for n, f in served.items()}},
        accelerators={**facts.accelerators, **{n: f.resolved for n, f in served.items()}},
        custom=facts.custom - served.keys(),
    )


def count(
    facts: NodeFacts,
    pods: Collection[PodUse],
    devices: tuple[NodeDevices, ...],
    reserved: Mapping[str, int],
) -> Counted:
    """Count one node; `reserved` is what the ledger keeps there."""
    used: dict[str, int] = {}
    federated = {name: reserved.get(name, 0) for name in facts.accelerators}
    for pod in pods:
        for name, amount in pod.request:
            used[name] = used.get(name, 0) + amount
            if pod.owner is not None and name in federated:
                federated[name] += amount
    for found in devices:
        # Claims hold devices that pods do not ask for by name, and pods' own claims come later.
        if found.resource:
            claimed = found.allocatable - found.free
            used[found.resource] = max(used.get(found.resource, 0), claimed)
    free = {
        name: max(amount - used.get(name, 0) - reserved.get(name, 0), 0)
        for name, amount in facts.allocatable.items()
    }
    for name, report in facts.reports.items():
        # Training over several nodes hangs on a device without a link; one that a pod holds
        # already is not free anyway.
        lost = report.unlinked - (held_devices(name, pods) or frozenset())
        free[name] = max(free.get(name, 0) - len(lost), 0)
    free.update(dict.fromkeys(facts.withheld, 0))
    units = [_units(facts, name, used, free, federated) for name in facts.accelerators]
    units += [_unserved(facts, found) for found in devices if not found.resource]
    contribution = Contribution(
        ready=facts.ready,
        schedulable=facts.schedulable,
        units=tuple(units),
        custom=tuple(
            (name, facts.allocatable.get(name, 0), used.get(name, 0)) for name in facts.custom
        ),
    )
    return Counted(free, _free_devices(facts, pods, free), contribution)


def _units(
    facts: NodeFacts,
    name: str,
    used: dict[str, int],
    free: dict[str, int],
    federated: dict[str, int],
) -> Units:
    resolved = facts.accelerators[name]
    allocatable = facts.allocatable.get(name, 0)
    left = free.get(name, 0) if facts.schedulable else 0
    return Units(
        accelerator=resolved.accelerator,
        evidence=resolved.evidence,
        total=facts.capacity.get(name, 0),
        allocatable=allocatable if facts.ready else 0,
        used=used.get(name, 0),
        free=left,
        federated=federated[name],
        whole=0 < left == allocatable,
        takes_work=facts.schedulable,
    )


def _unserved(facts: NodeFacts, found: NodeDevices) -> Units:
    """Devices that only claims can ask for: shown, and never offered to federated jobs."""
    return Units(
        accelerator=found.resolved.accelerator,
        evidence=(),
        total=found.total,
        allocatable=found.allocatable if facts.ready else 0,
        used=found.allocatable - found.free,
        free=found.free if facts.schedulable else 0,
        federated=0,
        whole=facts.schedulable and 0 < found.free == found.allocatable,
        takes_work=facts.schedulable,
    )


def _free_devices(
    facts: NodeFacts, pods: Collection[PodUse], free: Mapping[str, int]
) -> tuple[int, ...] | None:
    """Numbers of free devices where all that take some away tell which, None elsewhere."""
    for name, resolved in facts.accelerators.items():
        if not resolved.reports_devices or resolved.accelerator.topology is Topology.FLAT:
            continue
        total = facts.capacity.get(name, 0)
        if total > MOST_NUMBERED:
            return None
        report = facts.reports.get(name, DeviceReport())
        held = held_devices(name, pods)
        if held is not None:
            left = frozenset(range(total)) - held
        elif report.free is not None:
            left = frozenset(range(total)) & frozenset(report.free)
        else:
            return None
        left = left - report.broken - report.unlinked
        # Reservations and unnamed faults take devices away without saying which.
        return tuple(sorted(left)) if len(left) == free.get(name, 0) else None
    return None
