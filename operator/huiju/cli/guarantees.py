"""What is wrong with a tree of queues, though every queue alone is right: promises nobody can keep.

Decides what is worth a remark by `kubectl huiju check`; the scheduler takes any tree and serves it
as far as it goes. Amounts are dense BF16 TFLOPS.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from huiju.cli.table import condition, dig

Fields = dict[str, Any]
Remark = tuple[str, str]
"""What was found, and the cure."""


def faults(queues: Sequence[Fields]) -> Iterator[Remark]:
    """Queues that admit nothing though nobody has stopped them."""
    for queue in queues:
        ready = condition(queue, "Ready")
        if ready.get("status") == "False" and ready.get("reason") != "QueueStopped":
            name = queue["metadata"]["name"]
            yield f"queue {name}: {ready.get('reason')}", str(ready.get("message") or "")


def remarks(queues: Sequence[Fields], centers: Sequence[Fields] | None) -> Iterator[Remark]:
    """Guarantees that cannot all be met; `centers` is None where they may not be seen."""
    below: dict[str, list[Fields]] = {}
    for queue in queues:
        below.setdefault(dig(queue, "spec", "parent") or "", []).append(queue)
    roots, there = _total(below.get("", [])), compute(centers or ())
    if centers is not None and roots > there:
        yield (
            f"guarantees of queues without a parent add up to {roots} TFLOPS, and all centers have"
            f" {there}: each is met in proportion",
            "lower guarantees, or join more centers",
        )
    for queue in queues:
        name, spec = queue["metadata"]["name"], queue.get("spec") or {}
        children = below.get(name, [])
        promised = _total(children)
        if spec.get("guarantee") is not None and promised > spec["guarantee"]:
            yield (
                f"queues below {name} are guaranteed {promised} TFLOPS together, and {name} itself"
                f" {spec['guarantee']}: the rest is met only if other queues leave it",
                f"raise the guarantee of {name}, or lower theirs",
            )
        if spec.get("ceiling") is not None and promised > spec["ceiling"]:
            yield (
                f"queues below {name} are guaranteed {promised} TFLOPS together, above its ceiling"
                f" of {spec['ceiling']}: they can never hold all of it",
                f"raise the ceiling of {name}, or lower their guarantees",
            )


def compute(centers: Sequence[Fields]) -> int:
    """What healthy accelerators of these centers have."""
    return sum(
        int(row.get("normalizedCompute") or 0)
        for center in centers
        for row in dig(center, "status", "accelerators") or ()
    )


def _total(queues: Sequence[Fields]) -> int:
    return sum(int(dig(queue, "spec", "guarantee") or 0) for queue in queues)
