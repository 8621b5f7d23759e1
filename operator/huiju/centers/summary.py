"""The inventory as a ComputeCenter's status shows it.

Decides what is left out so that the status stays small however many nodes and models there are.
Invariant: the fields fit `ComputeCenterStatus`, and equal inventories give equal fields.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from huiju.centers.census import Census, ModelKey
from huiju.scheduling.model import UnitKind

MAX_ACCELERATORS: Final = 64
MAX_CUSTOM: Final = 32
MAX_BUCKETS: Final = 32
MAX_LINE: Final = 240
_GFLOPS_PER_TFLOPS: Final = 1000


def summary_of(census: Census) -> dict[str, Any]:
    """The status fields of nodes and accelerators, under their names in JSON."""
    keys = _largest_models(census)
    buckets, omitted = _buckets(census, keys)
    return {
        "nodes": {
            "total": census.nodes,
            "ready": census.ready,
            "schedulable": census.schedulable,
        },
        "summary": _line(census, keys),
        "accelerators": [_accelerator(census, key) for key in keys],
        "customResources": _custom(census),
        "buckets": buckets,
        "bucketsOmitted": omitted,
    }


def _largest_models(census: Census) -> list[ModelKey]:
    """The models with most units, in order of their names."""
    by_size = sorted(census.tallies, key=lambda key: (-census.tallies[key].total, key))
    return sorted(by_size[:MAX_ACCELERATORS])


def _accelerator(census: Census, key: ModelKey) -> dict[str, Any]:
    model, resource = key
    tally = census.tallies[key]
    kind = census.kind(key)
    return {
        "model": model,
        "resource": resource,
        "unit": (kind.unit if kind is not None else UnitKind.DEVICE).value,
        "total": tally.total,
        "allocatable": tally.allocatable,
        "used": tally.used,
        "free": tally.free,
        "federated": tally.federated,
        "largestFreeOnOneNode": census.largest_block(key),
        "wholeFreeNodes": tally.whole_nodes,
        "normalizedCompute": tally.gflops // _GFLOPS_PER_TFLOPS,
    }


def _custom(census: Census) -> list[dict[str, Any]]:
    by_size = sorted(census.custom, key=lambda name: (-census.custom[name]["nodes"], name))
    return [
        {
            "resource": name,
            "allocatable": census.custom[name]["allocatable"],
            "used": census.custom[name]["used"],
        }
        for name in sorted(by_size[:MAX_CUSTOM])
    ]


def _buckets(census: Census, keys: list[ModelKey]) -> tuple[list[dict[str, Any]], int]:
    """The largest groups of nodes, and how many groups were left out."""
    groups: Counter[tuple[str, int, int]] = Counter()
    for key in keys:
        for (units, free), nodes in census.blocks.get(key, {}).items():
            groups[key[0], units, free] += nodes
    by_size = sorted(groups.items(), key=lambda group: (-group[1], group[0]))
    shown = [
        {"model": model, "nodes": nodes, "units": units, "free": free}
        for (model, units, free), nodes in by_size[:MAX_BUCKETS]
    ]
    return shown, max(len(groups) - MAX_BUCKETS, 0)


def _line(census: Census, keys: list[ModelKey]) -> str:
    """Free and allocatable units per model, cut between models."""
    if not keys:
        return "no accelerators"
    line = ""
    for key in sorted(keys, key=lambda key: (-census.tallies[key].gflops, key)):
        tally = census.tallies[key]
        word = f"{key[0]} {tally.free}/{tally.allocatable}"
        if len(line) + len(word) > MAX_LINE:
            return f"{line}, ..."
        line = f"{line}, {word}" if line else word
    return line
