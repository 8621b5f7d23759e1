"""An agent in this process, and a world whose NVIDIA center is a pull center.

Decides settings that make waiting short. Invariant: leaving an `agent` context ends all of it, as a
crash would.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from huiju.agent.credentials import FileIdentity, HubIdentity
from huiju.agent.run import AgentProcess
from huiju.agent.settings import AgentSettings
from huiju.centers.mailbox import mailbox_of
from huiju.kube.client import Client
from huiju.kube.credentials import Credentials
from huiju.kube.resources import (
    CENTER_INVENTORIES,
    CENTER_WORKS,
    COMPUTE_CENTERS,
    LEASES,
    SECRETS,
    Resource,
)
from lab import joining
from tests.integration.hub.harness import Fields, World

CENTER = "north"
MODEL = "nvidia-h100-sxm"
FAST = AgentSettings(CENTER, leader_election=False, heartbeat=0.3, publish_interval=0.1, retry=0.3)


async def become_pull(world: World) -> None:
    """Put the world's NVIDIA center behind a mailbox."""
    await world.client.delete(COMPUTE_CENTERS, CENTER)
    await joining.namespace(world.client, mailbox_of(CENTER))
    await joining.namespace(world.center_clients[CENTER], joining.SYSTEM)
    body: dict[str, Any] = {
        "apiVersion": COMPUTE_CENTERS.api_version,
        "kind": COMPUTE_CENTERS.kind,
        "metadata": {"name": CENTER},
        "spec": {"connection": {"pull": {"approved": "Approved"}}, "region": CENTER},
    }
    await world.client.create(COMPUTE_CENTERS, body)


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
    client: Client, res: Resource, namespace: str | None, labels: str = "", seconds: float = 30.0
) -> None:
    """Wait until a namespace holds no object of a kind."""
    end = time.monotonic() + seconds
    while found := (await client.list_all(res, namespace, labels=labels)).items:
        if time.monotonic() > end:
            raise AssertionError(f"left after {seconds} s: {found}")
        await asyncio.sleep(0.1)


async def until_some(
    client: Client, res: Resource, namespace: str | None, labels: str = "", seconds: float = 30.0
) -> list[Fields]:
    """Wait until there is an object of a kind."""
    end = time.monotonic() + seconds
    while not (found := (await client.list_all(res, namespace, labels=labels)).items):
        if time.monotonic() > end:
            raise AssertionError(f"no {res.kind} after {seconds} s")
        await asyncio.sleep(0.1)
    return list(found)
