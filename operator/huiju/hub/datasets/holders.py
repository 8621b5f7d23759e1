"""Centers and replicas as the policies of data see them.

Decides how declared stores and links read in bytes and times. Invariant: a center that the hub
cannot believe counts as one that does not answer, never as one that is not there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol, cast

from huiju.api.center import ComputeCenterSpec, DataStore, Link
from huiju.api.dataset import ReplicaPhase
from huiju.api.reasons import Reason
from huiju.api.zones import time_zone
from huiju.data.copies import Copy, CopyId, Holder, part_of
from huiju.data.windows import opens_at
from huiju.hub.clock import seconds
from huiju.hub.datasets.catalog import Replica, place_of
from huiju.hub.datasets.orders import retry_at

_UNITS: Final = {
    "G": 10**9,
    "T": 10**12,
    "P": 10**15,
    "Gi": 2**30,
    "Ti": 2**40,
    "Pi": 2**50,
}
_DAMAGE: Final = frozenset(
    {Reason.SOURCE_NOT_FOUND, Reason.SOURCE_CHANGED, Reason.MANIFEST_MISSING}
)


_AWAY: Final = 3600.0
"""Seconds of silence after which copies are made elsewhere; moving data for an outage that ends by
itself would cost more than it saves."""


class Standing(Protocol):
    """Whether a center answers."""

    @property
    def reachable(self) -> bool | None:
        """None is not known."""


class Center(Protocol):
    """A center as the hub knows it."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def spec(self) -> ComputeCenterSpec:
        """What is declared of it."""

    @property
    def standing(self) -> Standing:
        """Whether it answers."""

    @property
    def lost(self) -> bool:
        """Whether it gave no sign of life for long."""

    @property
    def lost_since(self) -> float:
        """Since when, seconds since the epoch; 0 while it is not lost."""


def answers(center: Center) -> bool:
    """Whether the center can be asked to do something now."""
    return not center.lost and center.standing.reachable is True


def holder_of(center: Center, now: float) -> Holder:
    """A center as one that may hold copies."""
    spec = center.spec
    store = spec.data_store
    capacity = store_bytes(store) if store is not None else 0
    percent = store.evict_to_percent if store is not None else 0
    return Holder(
        place_of(center.name, spec),
        capacity,
        capacity * percent // 100,
        answers(center),
        _away(center, now),
        {link.to: _opens(spec, link, now) for link in spec.links},
    )


def _away(center: Center, now: float) -> bool:
    """Whether nobody counts on the center's copies any more."""
    if not center.lost:
        return False
    dead = seconds(center.spec.declared_dead or "") >= center.lost_since
    return dead or now >= center.lost_since + _AWAY


def holders_of(centers: Iterable[Center], now: float) -> dict[str, Holder]:
    """All centers by name."""
    return {center.name: holder_of(center, now) for center in centers}


def store_bytes(store: DataStore) -> int:
    """Bytes that the copies in a store may take together."""
    digits = store.capacity.rstrip("GTPi")
    return int(digits) * _UNITS[store.capacity[len(digits) :]]


def windows_of(link: Link) -> tuple[tuple[int, int], ...]:
    """The hours in which a link carries data."""
    return tuple((window.from_hour, window.to_hour) for window in link.windows)


def _opens(spec: ComputeCenterSpec, link: Link, now: float) -> float:
    return opens_at(windows_of(link), time_zone(spec.time_zone), now) if link.windows else 0.0


def copy_of(replica: Replica, now: float) -> Copy:
    """A replica as the policies see it."""
    spec, status, meta = replica.spec, replica.status, replica.body.metadata
    error = cast(Mapping[str, Any], status.get("lastError") or {})
    part = part_of(spec.include, spec.exclude)
    whole = part.whole or not status.get("bytesTotal")
    return Copy(
        replica.key,
        CopyId(spec.share_uid, spec.version, spec.center, part),
        spec.bytes if whole else int(status["bytesTotal"]),
        cast(ReplicaPhase, replica.phase),
        int(status.get("epoch") or 0),
        int(status.get("bytesDone") or 0),
        spec.wanted,
        bool(meta.deletion_timestamp),
        seconds(meta.creation_timestamp),
        seconds(str(status.get("lastUsed") or "")),
        retry_at(replica, now),
        str(status.get("source") or ""),
        error.get("reason") in _DAMAGE,
        barred_at=seconds(str(status.get("barredAt") or "")),
    )
