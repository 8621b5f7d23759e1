"""The Lease by which a center asks for its lease, as the API server keeps it.

Decides how asks and answers become patches of annotations, and where the object lies: in Huiju's
own namespace of the center and, for a pull center, once more in its mailbox. Invariant: whoever
asks and whoever answers write different annotations, so neither ever overwrites the other.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from huiju.centers.lease import ASK, CENTER_NOTE, GRANT, LEASE_LABEL, SENTINEL
from huiju.centers.objects import Meta
from huiju.kube.client import Client
from huiju.kube.errors import NotFound
from huiju.kube.resources import LEASES

Fields = dict[str, Any]
ONLY = f"metadata.name={SENTINEL}"
"""Field selector of the one Lease that carries asks and answers."""


class LeaseObject(msgspec.Struct, gc=False):
    """The Lease as both sides read it."""

    metadata: Meta

    def note(self, key: str) -> str:
        """The value of an annotation, empty if there is none."""
        return (self.metadata.annotations or {}).get(key, "")

    @property
    def ask(self) -> str:
        """The newest ask, empty before the first."""
        return self.note(ASK)

    @property
    def grant(self) -> str:
        """The newest answer, empty before the first."""
        return self.note(GRANT)

    @property
    def center(self) -> str:
        """Name of the center, as the newest answer has it."""
        return self.note(CENTER_NOTE)


async def write_ask(client: Client, namespace: str, ask: str, identity: str) -> None:
    """Write a fresh ask, and make the Lease where there is none; `identity` says who asks."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    body: Fields = {
        "apiVersion": LEASES.api_version,
        "kind": LEASES.kind,
        "metadata": {
            "name": SENTINEL,
            "labels": {LEASE_LABEL: "center"},
            "annotations": {ASK: ask},
        },
        "spec": {"holderIdentity": identity, "renewTime": now},
    }
    try:
        await client.patch(LEASES, SENTINEL, body, namespace)
    except NotFound:
        await client.create(LEASES, body, namespace)


async def write_grant(client: Client, namespace: str, grant: str, center: str) -> None:
    """Write an answer; raises NotFound where nobody asks any more."""
    body = {"metadata": {"annotations": {GRANT: grant, CENTER_NOTE: center}}}
    await client.patch(LEASES, SENTINEL, body, namespace)
