"""Whether the servers of an accelerator can serve a worker of the given size at all.

Decides by the model alone, on top of the table that the schema's rules come from; what the nodes
of one center can serve is decided where they are known. Invariant: a refusal names legal sizes.
"""

from __future__ import annotations

import re
from typing import Final

from huiju.api.sizes import size_complaint

_VIRTUAL: Final = re.compile("^ascend-.*-vnpu-")
"""Models that the catalogue gives to parts of an NPU that were cut beforehand."""


def check_legal(model: str, per_worker: int, workers: int) -> str | None:
    """What is wrong with `per_worker` units of `model` for each of `workers`; None if legal."""
    complaint = size_complaint(model, per_worker, workers)
    if complaint is None and per_worker != 1 and _VIRTUAL.search(model):
        return (
            f"perWorker {per_worker} of {model} is impossible: use 1, since a pod gets one virtual"
            " NPU at most"
        )
    return complaint
