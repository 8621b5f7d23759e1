"""Clusters made into a federation: CRDs, queues, and centers joined by kubeconfig Secrets.

Decides nothing about clusters; uses the administrator's rights, as a lab may (a real center is
joined by `kubectl huiju join`, with rights of its own). Every step may be repeated.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from huiju.kube.client import Client
from huiju.kube.errors import AlreadyExists
from huiju.kube.resources import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    COMPUTE_CENTERS,
    COMPUTE_QUEUES,
    CRDS,
    NAMESPACES,
    SECRETS,
    SERVICE_ACCOUNTS,
    Resource,
)
from lab.cluster import Cluster

ROOT: Final = Path(__file__).resolve().parent.parent
SYSTEM: Final = "huiju-system"
_SERVED_WITHIN: Final = 30.0
_MANAGER: Final = "huiju-lab"
_ACCOUNTS: Final = "kube-system"
_TOKEN_SECONDS: Final = 86_400


async def install(hub: Client) -> None:
    """Install the CRDs and Huiju's namespace, and wait until the kinds are served."""
    await namespace(hub, SYSTEM)
    await install_crds(hub)


async def install_crds(hub: Client) -> None:
    """Apply every CRD and wait until all are served."""
    names: list[str] = []
    for file in sorted((ROOT / "crds").glob("*.yaml")):
        definition = yaml.safe_load(file.read_text(encoding="utf-8"))
        await hub.apply(CRDS, definition, manager=_MANAGER, force=True)
        names.append(definition["metadata"]["name"])
    async with asyncio.timeout(_SERVED_WITHIN):
        for name in names:
            while not await _served(hub, name):
                await asyncio.sleep(0.1)


async def join(
    hub: Client,
    center: Cluster,
    *,
    name: str = "",
    region: str = "",
    server: str | None = None,
    kubeconfig: str = "",
    spec: Mapping[str, Any] | None = None,
) -> None:
    """Create the kubeconfig Secret and the ComputeCenter; `server` goes through a proxy.

    Without a `kubeconfig` (see `account`) the hub gets the administrator's.
    """
    name = name or center.name
    secret = f"{name}-kubeconfig"
    text = kubeconfig or center.kubeconfig_text(server)
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": secret, "namespace": SYSTEM},
        "data": {"kubeconfig": base64.b64encode(text.encode()).decode()},
    }
    await hub.apply(SECRETS, body, manager=_MANAGER, force=True)
    connection = {"push": {"kubeconfigSecret": {"name": secret, "namespace": SYSTEM}}}
    await hub.apply(
        COMPUTE_CENTERS,
        {
            "apiVersion": COMPUTE_CENTERS.api_version,
            "kind": COMPUTE_CENTERS.kind,
            "metadata": {"name": name},
            "spec": {"connection": connection, "region": region or name, **(spec or {})},
        },
        manager=_MANAGER,
        force=True,
    )


async def account(client: Client, cluster: Cluster, name: str, role: Mapping[str, Any]) -> str:
    """Make a ServiceAccount with a ClusterRole; returns a kubeconfig with its token.

    That is how programs and joined centers are known to an API server, and it costs the server
    less than the administrator's certificate, which it verifies anew with each call.
    """
    await client.apply(CLUSTER_ROLES, role, manager=_MANAGER, force=True)
    subject = {"kind": "ServiceAccount", "name": name, "namespace": _ACCOUNTS}
    binding = {
        "apiVersion": CLUSTER_ROLE_BINDINGS.api_version,
        "kind": CLUSTER_ROLE_BINDINGS.kind,
        "metadata": {"name": name},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": role["metadata"]["name"],
        },
        "subjects": [subject],
    }
    await client.apply(CLUSTER_ROLE_BINDINGS, binding, manager=_MANAGER, force=True)
    made = {
        "apiVersion": SERVICE_ACCOUNTS.api_version,
        "kind": SERVICE_ACCOUNTS.kind,
        "metadata": {"name": name, "namespace": _ACCOUNTS},
    }
    await client.apply(SERVICE_ACCOUNTS, made, manager=_MANAGER, force=True)
    answer = await client.raw(
        "POST",
        SERVICE_ACCOUNTS.path(_ACCOUNTS, name, "token"),
        body=json.dumps({"spec": {"expirationSeconds": _TOKEN_SECONDS}}).encode(),
    )
    config = yaml.safe_load(cluster.kubeconfig_text())
    config["users"][0]["user"] = {"token": json.loads(answer)["status"]["token"]}
    return yaml.safe_dump(config)


async def queue(hub: Client, name: str, **spec: Any) -> None:
    """Create a ComputeQueue, or change it."""
    await hub.apply(
        COMPUTE_QUEUES,
        {
            "apiVersion": COMPUTE_QUEUES.api_version,
            "kind": COMPUTE_QUEUES.kind,
            "metadata": {"name": name},
            "spec": spec,
        },
        manager=_MANAGER,
        force=True,
    )


async def namespace(client: Client, name: str) -> None:
    """Create a namespace if it is not there."""
    await _ensure(client, NAMESPACES, {"metadata": {"name": name}})


async def _ensure(client: Client, res: Resource, body: Mapping[str, Any]) -> None:
    try:
        await client.create(res, {"apiVersion": res.api_version, "kind": res.kind, **body})
    except AlreadyExists:
        return


async def _served(hub: Client, name: str) -> bool:
    definition = await hub.get(CRDS, name)
    conditions = definition.get("status", {}).get("conditions") or []
    return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)
