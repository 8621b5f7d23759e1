"""What the serving side knows of shares, grants and centers, and whether it hands out data.

The same rules as the hub's (`access.py`), asked by the center that holds the data, by its own
clock, at each signing and at each request to its gateway. Decides nothing else. Invariant: what is
not known here is not handed out, whatever a request says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from huiju.api.dataset import Version
from huiju.api.reasons import Reason
from huiju.data.access import (
    Grant,
    Place,
    Refused,
    Share,
    best_grant,
    grant_of,
    judge_grant,
    may_lie,
    may_use,
    share_of,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Asked:
    """A wish for the bytes of one version."""

    share: str
    """UID of the share."""
    digest: str
    """Digest of the version's manifest."""
    center: str
    """Center that copies."""
    namespaces: tuple[str, ...]
    """Namespaces on whose behalf: one that may is enough. The share's own is its owner's wish."""


@dataclass(frozen=True, slots=True)
class Granted:
    """The wish may be met."""

    share: Share
    version: Version
    until: float | None
    """When the grant ends, seconds since the epoch; None is never."""


class Authority:
    """Shares by UID, grants and places by name, as they were told last."""

    def __init__(self) -> None:
        self._shares: dict[str, Share] = {}
        self._grants: dict[str, Grant] = {}
        self._places: dict[str, Place] = {}

    def tell(
        self,
        shares: Iterable[Mapping[str, Any]],
        grants: Iterable[Mapping[str, Any]],
        places: Iterable[Place],
    ) -> list[str]:
        """Take the whole state anew; returns what could not be read, and is not served."""
        bad: list[str] = []
        self._shares = {share.uid: share for share in _each(shares, share_of, bad)}
        self._grants = {grant.key: grant for grant in _each(grants, grant_of, bad)}
        self._places = {place.name: place for place in places}
        return bad

    def share(self, uid: str) -> Share | None:
        """A share by its UID."""
        return self._shares.get(uid)

    def place(self, name: str) -> Place | None:
        """A center by its name."""
        return self._places.get(name)

    def judge(self, asked: Asked, now: float) -> Granted | Refused:
        """Whether the bytes may be handed out now."""
        share = self._shares.get(asked.share)
        if share is None:
            return Refused(Reason.UNKNOWN_DATASET, "no such data set is served here")
        version = _version(share, asked.digest)
        if isinstance(version, Refused):
            return version
        place = self._places.get(asked.center)
        if place is None:
            return Refused(Reason.PERMISSION_DENIED, f"center {asked.center} is not known here")
        barred = may_lie(share.spec, place)
        if barred is not None:
            return barred
        return self._on_behalf(share, version, place, asked.namespaces, now)

    def _on_behalf(
        self,
        share: Share,
        version: Version,
        place: Place,
        namespaces: Sequence[str],
        now: float,
    ) -> Granted | Refused:
        refused = Refused(Reason.NO_GRANT, "nobody is named on whose behalf it may be handed out")
        for namespace in namespaces:
            grant = best_grant(share, self._grants.values(), namespace, now)
            barred = may_use(share, grant, namespace, version, place, now)
            if barred is None:
                own = namespace == share.namespace or grant is None
                ends = None if own or grant is None else judge_grant(share, grant, now).expires_at
                return Granted(share, version, ends)
            refused = barred
        return refused


def _version(share: Share, digest: str) -> Version | Refused:
    for version in share.spec.versions:
        if version.manifest_digest == digest:
            if version.name in share.spec.retired:
                return Refused(Reason.UNKNOWN_VERSION, f"version {version.name} is retired")
            return version
    return Refused(Reason.UNKNOWN_VERSION, f"{share.key} has no version {digest}")


def _each(
    bodies: Iterable[Mapping[str, Any]], read: Callable[[Mapping[str, Any]], T], bad: list[str]
) -> Iterator[T]:
    for body in bodies:
        try:
            yield read(body)
        except (ValidationError, KeyError, TypeError) as error:
            name = (body.get("metadata") or {}).get("name", "?")
            bad.append(f"{body.get('kind', 'object')} {name}: {type(error).__name__}")
