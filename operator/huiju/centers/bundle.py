"""What one placement of a job becomes in its center: a few objects, in the order of their creation.

A value, decided by `render.py` and carried out by `syncer.py`. Invariant: the workload comes last,
so a workload that exists has everything that it needs.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import msgspec

KubeDict = dict[str, Any]
"""A Kubernetes object, or a part of one, as JSON has it."""

_canonical = msgspec.json.Encoder(order="sorted").encode


@dataclass(frozen=True, slots=True)
class Bundle:
    """The objects of one epoch of a job; treat them as read-only."""

    job_uid: str
    namespace: str
    """Namespace on the hub."""
    name: str
    epoch: int
    center: str
    center_namespace: str
    workload: str
    """Name of the workload in the center."""
    objects: tuple[KubeDict, ...]
    """In the order of creation, the workload last."""
    guarded: bool = False
    """The pods carry the guard, and stop by themselves when the center's lease has run out."""

    @property
    def hash(self) -> str:
        """Equal for equal objects, whatever the order of their fields."""
        return hashlib.blake2b(_canonical(self.objects), digest_size=16).hexdigest()
