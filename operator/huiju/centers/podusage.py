"""What a pod holds on which node.

Decides which pods count: bound or nominated ones that have not ended, terminating ones included.
Invariant: pure, and a pod that changes nothing but its conditions gives an equal `PodUse`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import msgspec

from huiju.centers.names import LABEL_EPOCH, LABEL_JOB_UID, parse_epoch
from huiju.centers.objects import PodNeeds
from huiju.centers.requests import MOST_OF_ANYTHING, is_extended, spec_requests
from huiju.scheduling.model import Vector, vector

REAL_DEVICES: Final = "huawei.com/AscendReal"
_NUMBER: Final = re.compile(r"(?:.*-)?([0-9]{1,4})")

Owner = tuple[str, int]
"""UID and epoch of the federated job that a pod belongs to."""


class _OwnLabels(msgspec.Struct, gc=False):
    job_uid: str = msgspec.field(default="", name=LABEL_JOB_UID)
    epoch: str = msgspec.field(default="", name=LABEL_EPOCH)


class _OwnAnnotations(msgspec.Struct, gc=False):
    real_devices: str = msgspec.field(default="", name=REAL_DEVICES)


class SensedMeta(msgspec.Struct, rename="camel", gc=False):
    """The metadata of a pod that sensing needs."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    labels: _OwnLabels | None = None
    annotations: _OwnAnnotations | None = None


class SensedStatus(msgspec.Struct, rename="camel", gc=False):
    """The status of a pod that sensing needs."""

    phase: str = "Pending"
    nominated_node_name: str = ""


class SensedPod(msgspec.Struct, rename="camel", gc=False):
    """A pod as sensing reads it: small, for a center has tens of thousands."""

    metadata: SensedMeta
    spec: PodNeeds = msgspec.field(default_factory=PodNeeds)
    status: SensedStatus = msgspec.field(default_factory=SensedStatus)


@dataclass(frozen=True, slots=True)
class PodUse:
    """What a pod holds."""

    node: str
    request: Vector
    """Empty once the pod has succeeded."""
    owner: Owner | None = None
    devices: tuple[int, ...] | None = None
    """Numbers of the devices that it got, where it says so."""


def read_pod(pod: SensedPod) -> PodUse | None:
    """What a pod holds; None if it holds nothing and nothing is kept for it.

    A federated pod that succeeded holds nothing, yet its worker's reservation is not needed again.

    Raises:
        ValueError: an amount is no quantity.
    """
    node = pod.spec.node_name or pod.status.nominated_node_name
    if not node or pod.status.phase == "Failed":
        return None
    owner = _owner(pod.metadata.labels)
    if pod.status.phase == "Succeeded":
        return PodUse(node, (), owner) if owner is not None else None
    annotations = pod.metadata.annotations
    return PodUse(
        node=node,
        request=_interned(vector(_bounded(spec_requests(pod.spec)))),
        owner=owner,
        devices=device_numbers(annotations.real_devices) if annotations else None,
    )


def _bounded(request: dict[str, int]) -> dict[str, int]:
    """More than any node can have is as good as all of it."""
    return {
        name: min(amount, MOST_OF_ANYTHING) if is_extended(name) else amount
        for name, amount in request.items()
    }


def _owner(labels: _OwnLabels | None) -> Owner | None:
    epoch = parse_epoch(labels.epoch) if labels is not None else None
    if labels is None or not labels.job_uid or epoch is None:
        return None
    return labels.job_uid, epoch


@lru_cache(maxsize=8192)
def _interned(request: Vector) -> Vector:
    """One object for equal requests: most pods of a center ask for the same few."""
    return request


def device_numbers(text: str) -> tuple[int, ...] | None:
    """Device numbers in `Ascend910-0,Ascend910-3`; None where the text does not tell them."""
    if not text:
        return None
    numbers = set()
    for word in text.split(","):
        found = _NUMBER.fullmatch(word.strip())
        if found is None:
            return None
        numbers.add(int(found[1]))
    return tuple(sorted(numbers))


def held_devices(resource: str, pods: Iterable[PodUse]) -> frozenset[int] | None:
    """Numbers of the devices that pods hold on one node.

    None where a pod that holds some does not say which, or two say the same.
    """
    held: set[int] = set()
    for pod in pods:
        wanted = next((amount for name, amount in pod.request if name == resource), 0)
        if not wanted:
            continue
        if pod.devices is None or len(pod.devices) != wanted or not held.isdisjoint(pod.devices):
            return None
        held.update(pod.devices)
    return frozenset(held)
