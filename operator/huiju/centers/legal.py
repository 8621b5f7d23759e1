"""Whether the servers of an accelerator can serve a worker of the given size at all.

Decides by the model alone, on top of the table that the schema's rules come from; what the nodes
of one center can serve is decided where they are known. Invariant: a refusal names legal sizes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from huiju.api.sizes import size_complaint, spell


@dataclass(frozen=True, slots=True)
class _Rule:
    """Sizes of models that are rare enough to stand outside the schema."""

    pattern: re.Pattern[str]
    single: tuple[int, ...]
    gang: tuple[int, ...]
    why: str


_ONE: Final = (1,)
_RULES: Final = (
    _Rule(
        re.compile(r"^ascend-.*-?vir[0-9]"), _ONE, _ONE, "a worker takes one virtual NPU at most"
    ),
    _Rule(
        re.compile(r"^ascend-950.*-superpod$"),
        tuple(range(1, 9)),
        (8,),
        "its servers have 8, and a job of several workers takes whole ones",
    ),
)


def check_legal(model: str, per_worker: int, workers: int) -> str | None:
    """What is wrong with `per_worker` units of `model` for each of `workers`; None if legal."""
    complaint = size_complaint(model, per_worker, workers)
    if complaint is not None:
        return complaint
    for rule in _RULES:
        legal = rule.gang if workers > 1 else rule.single
        if rule.pattern.search(model) and per_worker not in legal:
            return (
                f"perWorker {per_worker} of {model} is impossible: use {spell(legal)} ({rule.why})"
            )
    return None
