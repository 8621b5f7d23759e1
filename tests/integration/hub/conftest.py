"""A federation for each test: nodes in the shared centers, queues and ComputeCenters on the hub.

The nodes stay from test to test, since making them costs more than most tests; what jobs made in
the centers is removed after each.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest

from huiju.hub.proof import placement_key
from huiju.kube.client import Client
from huiju.kube.resources import (
    COMPUTE_CENTERS,
    COMPUTE_QUEUES,
    CROSS_REGION_JOBS,
    JOBS,
    NAMESPACES,
    PODS,
    SERVICES,
)
from lab import joining
from lab.cluster import Cluster
from lab.fixtures import clean, in_thread
from lab.nodes import add_nodes
from tests.integration.hub.harness import World
from tests.patience import PATIENCE

KINDS = {"east": "ascend-910b", "west": "ascend-910b", "north": "nvidia-h100"}
NODES = 2


@pytest.fixture(scope="module")
def equipped(
    hub_lab: Cluster, centers_lab: tuple[Cluster, ...]
) -> Iterator[tuple[Cluster, tuple[Cluster, ...]]]:
    """The hub with its CRDs, and the centers with their nodes; emptied at the end."""
    in_thread(_equip(centers_lab))
    yield hub_lab, centers_lab
    for center in centers_lab:
        in_thread(clean(center))


async def _equip(centers: tuple[Cluster, ...]) -> None:
    for center in centers:
        async with await center.client() as client:
            await add_nodes(client, KINDS[center.name], NODES)


@pytest.fixture
async def world(
    equipped: tuple[Cluster, tuple[Cluster, ...]], namespace: str
) -> AsyncIterator[World]:
    """Two Ascend centers and an NVIDIA one, each with two nodes of eight cards."""
    hub, centers = equipped
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(await hub.client())
        clients = {
            center.name: await stack.enter_async_context(await center.client())
            for center in centers
        }
        await joining.namespace(client, joining.SYSTEM)
        await joining.namespace(client, namespace)
        await placement_key(client, joining.SYSTEM)  # no test counts the write that makes it
        await joining.queue(client, "research")
        for center in centers:
            await joining.join(client, center)
        made = World(hub, {c.name: c for c in centers}, client, clients, namespace)
        yield made
        await client.raw("DELETE", CROSS_REGION_JOBS.path(namespace))
        await client.raw("DELETE", COMPUTE_CENTERS.path())
        await client.raw("DELETE", COMPUTE_QUEUES.path())
        await empty(made)


async def empty(world: World) -> None:
    """Remove what jobs made in the centers."""
    await asyncio.gather(*(_empty(client) for client in world.center_clients.values()))


async def _empty(center: Client) -> None:
    """Remove every workload and pod that jobs made."""
    for space in (await center.list_all(NAMESPACES)).items:
        name = space["metadata"]["name"]
        if not name.startswith("huiju-") and name != "default":
            continue
        await center.raw("DELETE", JOBS.path(name) + "?propagationPolicy=Background")
        for service in (await center.list_all(SERVICES, name, labels="huiju.dev/hub")).items:
            await center.delete(SERVICES, service["metadata"]["name"], name)
        await center.raw("DELETE", PODS.path(name) + "?gracePeriodSeconds=0")
    async with asyncio.timeout(PATIENCE):
        while (await center.list_all(PODS)).items:
            await asyncio.sleep(0.1)
