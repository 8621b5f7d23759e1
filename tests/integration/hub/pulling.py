"""An agent in this process, and a world whose NVIDIA center is a pull center.

Decides settings that make waiting short. Invariant: leaving an `agent` context ends all of it, as a
crash would.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from huiju.agent.credentials import FileIdentity, HubIdentity, OwnIdentity
from huiju.agent.run import AgentProcess
from huiju.agent.settings import AgentSettings
from huiju.centers import agentrole
from huiju.centers.mailbox import mailbox_of
from huiju.centers.role import RoleRule, priority_class
from huiju.kube.client import Client
from huiju.kube.credentials import Credentials
from huiju.kube.kubeconfig import from_secret_bytes
from huiju.kube.resources import (
    CENTER_INVENTORIES,
    CENTER_WORKS,
    CLUSTER_ROLES,
    COMPUTE_CENTERS,
    CONFIG_MAPS,
    LEASES,
    NAMESPACES,
    PRIORITY_CLASSES,
    ROLE_BINDINGS,
    ROLES,
    SECRETS,
    Resource,
)
from lab import joining
from tests.integration.hub.harness import Fields, World
from tests.patience import PATIENCE

CENTER = "north"
MODEL = "nvidia-h100-sxm"
FAST = AgentSettings(CENTER, leader_election=False, heartbeat=0.3, publish_interval=0.1, retry=0.3)


async def become_pull(world: World) -> None:
    """Put the world's NVIDIA center behind a mailbox."""
    await world.client.delete(COMPUTE_CENTERS, CENTER)
    await joining.namespace(world.client, mailbox_of(CENTER))
    await system_namespace(world.center_clients[CENTER])
    await say_policy(world.center_clients[CENTER], joining.SYSTEM)
    body: dict[str, Any] = {
        "apiVersion": COMPUTE_CENTERS.api_version,
        "kind": COMPUTE_CENTERS.kind,
        "metadata": {"name": CENTER},
        "spec": {"connection": {"pull": {"approved": "Approved"}}, "region": CENTER},
    }
    await world.client.create(COMPUTE_CENTERS, body)


async def system_namespace(client: Client) -> None:
    """Huiju's own namespace; the one of an earlier module may still be on its way out."""
    async with asyncio.timeout(PATIENCE):
        while True:
            await joining.namespace(client, joining.SYSTEM)
            found = await client.get(NAMESPACES, joining.SYSTEM)
            if found["status"].get("phase") == "Active":
                return
            await asyncio.sleep(0.1)


async def say_policy(client: Client, namespace: str, **data: str) -> None:
    """Write the owner's policy in a center; without words it lets nearly everything in."""
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": agentrole.POLICY, "namespace": namespace},
        "data": data,
    }
    await client.apply(CONFIG_MAPS, body, manager="owner", force=True)


async def empty_mailbox(client: Client) -> None:
    """Remove what a test left there."""
    for res in (CENTER_WORKS, CENTER_INVENTORIES, LEASES, SECRETS):
        await client.raw("DELETE", res.path(mailbox_of(CENTER)))


@asynccontextmanager
async def agent(
    world: World,
    folder: Path,
    *,
    hub_server: str | None = None,
    center: Credentials | None = None,
    **changes: Any,
) -> AsyncIterator[AgentProcess]:
    """An administrator's agent until the context ends; `hub_server` leads through a proxy."""
    file = folder / "hub.kubeconfig"
    file.write_text(world.hub.kubeconfig_text(hub_server), encoding="utf-8")

    def identity(_center: Client) -> HubIdentity:
        return FileIdentity(file)

    process = AgentProcess(
        identity, center or world.centers[CENTER].credentials(), replace(FAST, **changes)
    )
    async with going(process):
        yield process


async def center_account(world: World) -> Credentials:
    """The account that an agent has in its center, with the rights of the chart and no others."""
    client = world.center_clients[CENTER]
    await system_namespace(client)
    await say_policy(client, joining.SYSTEM)
    role = _role(CLUSTER_ROLES, None, (*agentrole.CENTER_LOOKING, *agentrole.CENTER_WORKING))
    text = await joining.account(client, world.centers[CENTER], agentrole.ACCOUNT, role)
    await client.apply(PRIORITY_CLASSES, priority_class(), manager="test", force=True)
    own = _role(ROLES, joining.SYSTEM, agentrole.CENTER_OWN)
    await client.apply(ROLES, own, manager="test", force=True)
    subject = {"kind": "ServiceAccount", "name": agentrole.ACCOUNT, "namespace": "kube-system"}
    binding = {
        "apiVersion": ROLE_BINDINGS.api_version,
        "kind": ROLE_BINDINGS.kind,
        "metadata": {"name": agentrole.ACCOUNT, "namespace": joining.SYSTEM},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "Role",
            "name": agentrole.ACCOUNT,
        },
        "subjects": [subject],
    }
    await client.apply(ROLE_BINDINGS, binding, manager="test", force=True)
    return from_secret_bytes(text.encode())


def _role(res: Resource, namespace: str | None, rules: Iterable[RoleRule]) -> Fields:
    meta = {"name": agentrole.ACCOUNT} | ({"namespace": namespace} if namespace else {})
    return {
        "apiVersion": res.api_version,
        "kind": res.kind,
        "metadata": meta,
        "rules": [rule.manifest() for rule in rules],
    }


@asynccontextmanager
async def own_agent(
    world: World, bootstrap: Path | None, **changes: Any
) -> AsyncIterator[tuple[AgentProcess, list[OwnIdentity]]]:
    """An agent with an identity of its own; the identities that it came to have are listed."""
    settings = replace(FAST, **changes)
    found: list[OwnIdentity] = []

    def identity(center: Client) -> HubIdentity:
        found.append(OwnIdentity(center, settings, bootstrap))
        return found[-1]

    process = AgentProcess(identity, await center_account(world), settings)
    async with going(process):
        yield process, found


@asynccontextmanager
async def going(process: AgentProcess) -> AsyncIterator[None]:
    """Run an agent until the context ends; raises what ended it, if anything did."""
    task = asyncio.create_task(process.run())
    try:
        yield
        if task.done():
            task.result()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until_empty(
    client: Client,
    res: Resource,
    namespace: str | None,
    labels: str = "",
    seconds: float = PATIENCE,
) -> None:
    """Wait until a namespace holds no object of a kind."""
    end = time.monotonic() + seconds
    while found := (await client.list_all(res, namespace, labels=labels)).items:
        if time.monotonic() > end:
            raise AssertionError(f"left after {seconds} s: {found}")
        await asyncio.sleep(0.1)


async def until_some(
    client: Client,
    res: Resource,
    namespace: str | None,
    labels: str = "",
    seconds: float = PATIENCE,
) -> list[Fields]:
    """Wait until there is an object of a kind."""
    end = time.monotonic() + seconds
    while not (found := (await client.list_all(res, namespace, labels=labels)).items):
        if time.monotonic() > end:
            raise AssertionError(f"no {res.kind} after {seconds} s")
        await asyncio.sleep(0.1)
    return list(found)
