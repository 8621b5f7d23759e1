"""Which nodes a gang takes: few, tightly filled, with large free blocks left whole.

Decides packing in one center among nodes that are all allowed. Invariant: a plan holds exactly the
gang's workers, and no node gets more than it can take.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

from huiju.scheduling.ask import Ask
from huiju.scheduling.capacity import Block, Hold


@dataclass(slots=True, eq=False)
class Slot:
    """A block, how many of its nodes are left, workers a node takes, free units on a node."""

    block: Block
    nodes: int
    workers: int
    units: int


Plan = tuple[tuple[Block, int, int], ...]
"""Blocks, how many of their first nodes, workers on each of these."""


def tightest(blocks: Iterable[Block], ask: Ask, holds: Container[Hold]) -> Block | None:
    """The block on whose first node a single worker leaves least free, held ones by `holds`."""
    best: Block | None = None
    least = 0
    for block in blocks:
        units = block.free.get(ask.resource, 0)
        if units < ask.size or (block.hold is not None and block.hold not in holds):
            continue
        if best is not None and (units, block.nodes[0]) >= (least, best.nodes[0]):
            continue
        if ask.on(block):
            best, least = block, units
    return best


def pack(slots: Sequence[Slot], workers: int, size: int) -> Plan | None:
    """Nodes for `workers` workers of `size` units, None if they do not all fit at once.

    The rest of a gang goes to the tightest node that takes all of it; as long as there is none,
    the nodes that take most are filled, tightest first, so that few nodes are opened.
    """
    if sum(slot.nodes * slot.workers for slot in slots) < workers:
        return None
    plan: dict[tuple[int, int], tuple[Block, int, int]] = {}
    left = workers
    open_ = list(slots)
    while left:
        slot = min(open_, key=lambda s: _rank(s, left, size))
        here = min(slot.workers, left)
        nodes = min(slot.nodes, left // here)
        slot.nodes -= nodes
        left -= nodes * here
        key = (id(slot.block), here)
        before = plan[key][1] if key in plan else 0
        plan[key] = (slot.block, before + nodes, here)
        if not slot.nodes:
            open_.remove(slot)
    return tuple(plan.values())


def _rank(slot: Slot, left: int, size: int) -> tuple[int, int, int, str]:
    if slot.workers >= left:
        return (0, 0, slot.units - left * size, slot.block.nodes[0])
    return (1, -slot.workers, slot.units, slot.block.nodes[0])
