"""Writes statuses of replicas, and only over what was read.

Decides nothing. Invariant: of two that would write of one state, one does.
"""

from __future__ import annotations

from typing import Any

from huiju.hub.datasets.catalog import Body, Catalog, Replica
from huiju.hub.status import merge_patch
from huiju.kube.client import Client, preconditions
from huiju.kube.resources import DATASET_REPLICAS

HELD = "huiju.dev/copy"
"""Finalizer of a replica that may have bytes in its center."""


class ReplicaWriter:
    """The one way in which the hub changes replicas."""

    def __init__(self, client: Client, catalog: Catalog) -> None:
        self._client = client
        self._catalog = catalog

    async def write(self, replica: Replica, after: dict[str, Any]) -> bool:
        """Bring the status there; whether anything was written. Raises KubeError."""
        change = merge_patch(replica.status, after)
        if not change:
            return False
        meta = replica.body.metadata
        written = await self._client.patch_status(
            DATASET_REPLICAS,
            meta.name,
            meta.namespace,
            change,
            resource_version=meta.resource_version,
            uid=meta.uid,
            type=Body,
        )
        self._catalog.note(written)
        return True

    async def hold(self, replica: Replica, *, held: bool) -> Replica | None:
        """Have the object stay until its bytes are gone, or let it go; the replica as it is now."""
        meta = replica.body.metadata
        change = {
            "metadata": {
                **preconditions(uid=meta.uid, resource_version=meta.resource_version),
                "finalizers": [HELD] if held else None,
            }
        }
        written = await self._client.patch(
            DATASET_REPLICAS, meta.name, change, meta.namespace, type=Body
        )
        self._catalog.note(written)
        return self._catalog.replica(replica.key)

    async def drop(self, replica: Replica) -> None:
        """Let the object go. Raises KubeError."""
        meta = replica.body.metadata
        if HELD in meta.finalizers:
            freed = await self.hold(replica, held=False)
            if freed is None:
                return
            meta = freed.body.metadata
        if not meta.deletion_timestamp:
            await self._client.delete(
                DATASET_REPLICAS,
                meta.name,
                meta.namespace,
                uid=meta.uid,
                resource_version=meta.resource_version,
            )
        self._catalog.forget(replica.key)
