"""One center's mailbox as far as data sets are concerned: its transfers, and requests to it.

Decides nothing; writes what it is told and knows what is there. Invariant: who looks after a write
sees it, whether the watch has told of it or not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final

from huiju.centers.mailbox import mailbox_of
from huiju.hub.datasets.catalog import Body
from huiju.kube.client import Client, preconditions
from huiju.kube.errors import AlreadyExists, Conflict, KubeError, NotFound
from huiju.kube.informer import Informer, older
from huiju.kube.resources import CENTER_COPIES, CENTER_SERVINGS, Resource

Fields = dict[str, Any]


class Drawer:
    """The objects of one kind in one mailbox, by name."""

    def __init__(
        self, client: Client, res: Resource, namespace: str, changed: Callable[[], None]
    ) -> None:
        self._client = client
        self._res = res
        self._space = namespace
        self._changed = changed
        self._noted: dict[str, Body | None] = {}
        """What was written and the watch has not told; None is deleted."""
        self.informer = Informer(client, res, Body, namespace=namespace, on_change=self._seen)

    def _seen(self, old: Body | None, new: Body | None) -> None:
        body = new or old
        if body is None:
            return
        name = body.metadata.name
        noted = self._noted.get(name)
        if name in self._noted and (new is None or noted is None or not _before(body, noted)):
            del self._noted[name]
        self._changed()

    def get(self, name: str) -> Body | None:
        """The object of this name."""
        if name in self._noted:
            return self._noted[name]
        return self.informer.store.get(f"{self._space}/{name}")

    def names(self) -> Iterator[str]:
        """Names of all that is there."""
        known = {body.metadata.name for body in self.informer.store.values()}
        for name in sorted(known | self._noted.keys()):
            if self.get(name) is not None:
                yield name

    async def put(self, name: str, spec: Fields) -> None:
        """Have the object say this; raises KubeError."""
        known = self.get(name)
        if known is None:
            body = {
                "apiVersion": self._res.api_version,
                "kind": self._res.kind,
                "metadata": {"name": name, "namespace": self._space},
                "spec": spec,
            }
            with suppress(AlreadyExists):  # the watch brings it
                self._noted[name] = await self._client.create(
                    self._res, body, self._space, type=Body
                )
            return
        change = {key: value for key, value in spec.items() if known.spec.get(key) != value}
        change |= dict.fromkeys(known.spec.keys() - spec.keys())
        if not change:
            return
        meta = preconditions(
            uid=known.metadata.uid, resource_version=known.metadata.resource_version
        )
        with suppress(Conflict, NotFound):  # the watch brings what is there now
            self._noted[name] = await self._client.patch(
                self._res, name, {"metadata": meta, "spec": change}, self._space, type=Body
            )

    async def drop(self, name: str) -> None:
        """Have the object gone; raises KubeError."""
        known = self.get(name)
        if known is None:
            return
        with suppress(NotFound, Conflict):
            await self._client.delete(self._res, name, self._space, uid=known.metadata.uid)
            self._noted[name] = None
        if f"{self._space}/{name}" not in self.informer.store:
            self._noted.pop(name, None)


class Desk:
    """Both drawers of a center."""

    def __init__(self, client: Client, center: str, changed: Callable[[], None]) -> None:
        space: Final = mailbox_of(center)
        self.copies = Drawer(client, CENTER_COPIES, space, changed)
        self.servings = Drawer(client, CENTER_SERVINGS, space, changed)

    async def run(self) -> None:
        """Follow the mailbox until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.copies.informer.run())
            group.create_task(self.servings.informer.run())

    @property
    def synced(self) -> bool:
        """Whether all that lies there is known."""
        return self.copies.informer.synced.is_set() and self.servings.informer.synced.is_set()

    @property
    def trouble(self) -> KubeError | None:
        """Why the mailbox cannot be read, if it cannot."""
        return self.copies.informer.failure or self.servings.informer.failure


def _before(one: Body, other: Body) -> bool:
    mine, theirs = one.metadata, other.metadata
    return mine.uid == theirs.uid and older(mine.resource_version, theirs.resource_version)
