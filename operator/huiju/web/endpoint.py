"""Where the view API's Service leads: to the hub that leads, never to a standby.

Decides the EndpointSlice of a Service that selects no pods. Invariants: it names one address, that
of the last hub that began to lead; it goes with its Service.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from huiju.kube.client import Client
from huiju.kube.errors import AlreadyExists, NotFound
from huiju.kube.resources import ENDPOINT_SLICES, SERVICES


@dataclass(frozen=True, slots=True)
class Address:
    """An IP address and a TCP port of this pod."""

    host: str
    port: int


def endpoint_slice(service: dict[str, Any], address: Address) -> dict[str, Any]:
    """The slice of this Service that leads to the address."""
    meta = service["metadata"]
    return {
        "apiVersion": ENDPOINT_SLICES.api_version,
        "kind": ENDPOINT_SLICES.kind,
        "metadata": {
            "name": meta["name"],
            "namespace": meta["namespace"],
            "labels": {
                "kubernetes.io/service-name": meta["name"],
                "endpointslice.kubernetes.io/managed-by": "huiju.dev",
                "app.kubernetes.io/part-of": "huiju",
            },
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Service", "name": meta["name"], "uid": meta["uid"]}
            ],
        },
        "addressType": "IPv6" if ":" in address.host else "IPv4",
        "endpoints": [{"addresses": [address.host], "conditions": {"ready": True}}],
        "ports": [{"name": "https", "port": address.port, "protocol": "TCP"}],
    }


async def lead_to(client: Client, service: str, namespace: str, address: Address) -> None:
    """Have the Service lead to this address; writes only what differs, raises a KubeError."""
    wanted = endpoint_slice(await client.get(SERVICES, service, namespace), address)
    try:
        found = await client.get(ENDPOINT_SLICES, service, namespace)
    except NotFound:
        try:
            await client.create(ENDPOINT_SLICES, wanted, namespace)
            return
        except AlreadyExists:
            found = await client.get(ENDPOINT_SLICES, service, namespace)
    change = {k: wanted[k] for k in ("endpoints", "ports") if not _same(found.get(k), wanted[k])}
    if found["metadata"].get("ownerReferences") != wanted["metadata"]["ownerReferences"]:
        change["metadata"] = {"ownerReferences": wanted["metadata"]["ownerReferences"]}
    if change:
        await client.patch(ENDPOINT_SLICES, service, change, namespace)


def _same(found: Any, wanted: list[dict[str, Any]]) -> bool:
    """Whether what was found says all that is wanted; a server may have filled in defaults."""
    if not isinstance(found, list) or len(found) != len(wanted):
        return False
    return all(
        isinstance(one, dict) and all(one.get(key) == value for key, value in fields.items())
        for one, fields in zip(found, wanted, strict=True)
    )
