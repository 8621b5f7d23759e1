"""Which jobs to look at again when something changed about data, or about where it may go.

Decides by comparing what jobs could see of it before and now, so that the progress of a copy wakes
nobody. Invariant: a change that could let a job go on wakes it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from huiju.data.copies import Holder
from huiju.hub.datasets.catalog import Catalog, Replica
from huiju.hub.datasets.links import Links
from huiju.hub.objects import JobObject


class Hooks(Protocol):
    """What it needs of the hub."""

    def jobs_with_data(self) -> Iterable[JobObject]:
        """Jobs that name data sets."""

    def look_at(self, key: str) -> None:
        """Look at a job soon."""

    def center_changed(self, name: str) -> None:
        """What the scheduler knows of a center has changed."""

    def centers_anew(self) -> None:
        """What was found out about the centers holds no longer."""


class Waker:
    """Remembers what was last seen of shares and centers."""

    def __init__(self, catalog: Catalog, links: Links, hooks: Hooks) -> None:
        self._catalog = catalog
        self._links = links
        self._hooks = hooks
        self._shares: dict[str, tuple[Any, ...]] = {}
        self._centers: dict[str, tuple[Any, ...]] = {}

    def share_changed(self, key: str) -> None:
        """A share, a grant or a replica changed."""
        known = self._catalog.share(key)
        rights: tuple[Any, ...] = ()
        copies: list[tuple[Any, ...]] = []
        if known is not None:
            replicas = list(self._catalog.replicas_of(known.share))
            for source in {str(r.status.get("source")) for r in replicas if self._links.note(r)}:
                self._hooks.center_changed(source)
            grants = [
                (g.body.key, g.body.metadata.generation, g.body.status.get("state"))
                for g in self._catalog.grants()
                if g.grant.spec.dataset.name == known.share.name
            ]
            rights = (
                known.share.uid,
                known.generation,
                sorted(grants, key=lambda grant: grant[0]),
            )
            copies = sorted(map(_seen, replicas))
        before = self._shares.get(key)
        if before != (rights, copies):
            self._shares[key] = (rights, copies)
            self._wake(placed=before is None or before[0] != rights)

    def centers_seen(self, holders: dict[str, Holder], now: float) -> None:
        """The centers as they are now."""
        seen = {
            name: (
                holder.place,
                holder.capacity,
                holder.answers,
                tuple(sorted((to, at > now) for to, at in holder.routes.items())),
            )
            for name, holder in holders.items()
        }
        if seen == self._centers:
            return
        for name in seen:
            if self._centers.get(name) != seen[name]:
                self._hooks.center_changed(name)
        moved = any(
            name in self._centers and self._centers[name][0] != seen[name][0] for name in seen
        )
        self._hooks.centers_anew()
        self._centers = seen
        self._wake(placed=moved)

    def _wake(self, *, placed: bool) -> None:
        """Have jobs looked at; those that run too where it is about what they may use."""
        for job in self._hooks.jobs_with_data():
            if placed or job.status.placement is None:
                self._hooks.look_at(job.key)


def _seen(replica: Replica) -> tuple[Any, ...]:
    """What jobs can see of a replica: not how many bytes of it are there."""
    said = (replica.status.get("conditions") or [{}])[0]
    total = 0 if replica.whole else int(replica.status.get("bytesTotal") or 0)
    tries = int(replica.status.get("attempt") or 0)
    return (replica.key, replica.phase, str(said.get("reason")), tries, replica.verified, total)
