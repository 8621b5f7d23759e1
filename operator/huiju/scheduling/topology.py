"""How many workers the free accelerators of one node can serve, given how they hang together.

Decides legal sizes and positions; not which devices a worker gets (the center's device plugin
does). Invariant: where the free device numbers are unknown, the answer is the smallest one over
all sets of that many free devices (on a node of absurd size perhaps less), so that a promised
worker always has a legal place.
"""

from __future__ import annotations

from functools import lru_cache

from huiju.scheduling.model import Topology

MOST_NUMBERED = 1024
"""Nodes that claim to have more devices are counted without their numbers."""
_MOST_SEARCHED = 128
"""On larger nodes the worst case is estimated, never too high."""
_RING = 4
_GROUP = 8
_MODULE = 2
_POWERS = (1, 2, 4, 8)


def legal(topology: Topology, size: int, gang: bool) -> bool:
    """Whether one worker may ask for `size` units; `gang` if the job has several workers."""
    match topology:
        case Topology.FLAT:
            return size >= 1
        case Topology.RINGS_OF_4 | Topology.BOARD_8:
            return size in _POWERS
        case Topology.HALF:
            return size in (1, 2, 4)
        case Topology.CARD_PAIR:
            return size == 2 or (size == 1 and not gang)
        case Topology.GROUPS_OF_8:
            return 1 <= size <= _GROUP or size in (10, 12, 14, 16)
        case Topology.MODULES_OF_2:
            return (2 <= size <= 16 and size % 2 == 0) or (size == 1 and not gang)


@lru_cache(maxsize=16384)
def slots(
    topology: Topology, size: int, total: int, free: int, devices: tuple[int, ...] | None
) -> int:
    """Workers of a legal `size` that find a legal place on one node.

    `total` and `free` count the node's units; `devices` are the free device numbers, None where
    unknown or when they do not agree with `free` (then the worst case holds).
    """
    free = min(free, total)  # more cannot be free, whatever a center says
    if topology in (Topology.FLAT, Topology.HALF, Topology.CARD_PAIR) or size == 1:
        return free // size
    if total <= min(free, MOST_NUMBERED):
        devices = tuple(range(total))
    if devices is None or len(devices) != free:
        return _worst(topology, size, total, free)
    return _exact(topology, size, devices)


def _exact(topology: Topology, size: int, devices: tuple[int, ...]) -> int:
    match topology:
        case Topology.RINGS_OF_4:
            if size > _RING:
                return len(devices) // size
            return sum(count // size for count in _counts(devices, _RING))
        case Topology.GROUPS_OF_8:
            if size > _GROUP:
                low = {d for d in devices if d < _GROUP}
                mirrored = sum(1 for d in devices if d - _GROUP in low)
                return mirrored // (size // 2)
            return sum(count // size for count in _counts(devices, _GROUP))
        case Topology.MODULES_OF_2:
            whole = sum(1 for count in _counts(devices, _MODULE) if count == _MODULE)
            return whole // (size // _MODULE)
        case _:
            return len(devices) // size


def _worst(topology: Topology, size: int, total: int, free: int) -> int:
    match topology:
        case Topology.RINGS_OF_4:
            if size > _RING:
                return free // size
            return _worst_split(size, total, free, _RING)
        case Topology.GROUPS_OF_8:
            if size > _GROUP:
                return max(0, free - _GROUP) // (size // 2)
            return _worst_split(size, total, free, _GROUP)
        case Topology.MODULES_OF_2:
            modules = -(-total // _MODULE)
            return max(0, free - modules) // (size // _MODULE)
        case _:
            return free // size


def _worst_split(size: int, total: int, free: int, group: int) -> int:
    if total > _MOST_SEARCHED:
        return max(0, free - -(-total // group) * (size - 1)) // size
    # The most units that can lie idle in groups without serving one more worker: each group hides
    # at most size - 1 of them, and every full `size` beyond that is a worker.
    groups = [min(group, total - start) for start in range(0, total, group)]
    fewest = [0] + [total] * free
    for room in groups:
        fewest = [
            min(fewest[left - here] + here // size for here in range(min(room, left) + 1))
            for left in range(free + 1)
        ]
    return fewest[free]


def _counts(devices: tuple[int, ...], group: int) -> list[int]:
    counts: dict[int, int] = {}
    for device in devices:
        counts[device // group] = counts.get(device // group, 0) + 1
    return list(counts.values())


def after(
    topology: Topology, size: int, workers: int, total: int, devices: tuple[int, ...] | None
) -> tuple[int, ...] | None:
    """Free devices once `workers` of `size` are placed, None where the plugin may choose.

    Known only where all choices are alike: every group is wholly free or taken, and workers take
    whole groups. Which of the alike groups goes does not matter to later fits.
    """
    if devices is None or topology is Topology.FLAT:
        return None
    group = {
        Topology.RINGS_OF_4: _RING,
        Topology.GROUPS_OF_8: _GROUP,
        Topology.MODULES_OF_2: _MODULE,
    }.get(topology, total)
    whole = all(count == group for count in _counts(devices, group))
    if not whole or size % group:
        return None
    return devices[size * workers :]
