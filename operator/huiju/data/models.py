"""Which files a version of a model must have, and which it must not.

Pure. Decides by names alone: what is in a file is its digest's matter. Invariant: a version that
passes can be loaded without running code that came with it, unless its card allows that.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from huiju.api.model import ModelShareSpec
from huiju.data import paths
from huiju.data.manifest import Entry

PICKLES: Final = frozenset({"bin", "ckpt", "joblib", "pickle", "pkl", "pt", "pth"})
"""Endings of files that frameworks load by running what is in them."""
CODE: Final = frozenset({"py", "pyc", "so"})
_MOST: Final = 3


def problems(card: ModelShareSpec, entries: Iterable[Entry]) -> list[str]:
    """What keeps a version from being published as this model; empty where nothing does."""
    wanted = {pattern: False for pattern in card.required_files}
    running: list[str] = []
    for entry in entries:
        for pattern, found in wanted.items():
            if not found and paths.selects((pattern,), (), entry.path):
                wanted[pattern] = True
        if entry.path.rpartition(".")[2].lower() in PICKLES | CODE and "." in entry.path:
            running.append(entry.path)
    told = [f"it has no {pattern}" for pattern, found in wanted.items() if not found]
    if running and not card.allow_pickle:
        more = f" and {len(running) - _MOST} more" if len(running) > _MOST else ""
        told.append(
            f"{', '.join(running[:_MOST])}{more} may run code when loaded: publish safetensors, or"
            " set spec.allowPickle of the model"
        )
    return told
