"""A federation for each test: nodes in the shared centers, queues and ComputeCenters on the hub."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from huiju.kube.resources import COMPUTE_CENTERS, COMPUTE_QUEUES, CROSS_REGION_JOBS
from lab import joining
from lab.cluster import Cluster
from lab.nodes import add_nodes
from tests.integration.hub.harness import World

KINDS = {"east": "ascend-910b", "west": "ascend-910b", "north": "nvidia-h100"}
NODES = 2


@pytest.fixture
async def world(hub: Cluster, centers: tuple[Cluster, ...], namespace: str) -> AsyncIterator[World]:
    """Two Ascend centers and an NVIDIA one, each with two nodes of eight cards."""
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(await hub.client())
        clients = {
            center.name: await stack.enter_async_context(await center.client())
            for center in centers
        }
        await joining.install(client)
        await joining.namespace(client, namespace)
        await joining.queue(client, "research")
        for center in centers:
            await add_nodes(clients[center.name], KINDS[center.name], NODES)
            await joining.join(client, center)
        yield World(hub, {c.name: c for c in centers}, client, clients, namespace)
        await client.raw("DELETE", CROSS_REGION_JOBS.path(namespace))
        await client.raw("DELETE", COMPUTE_CENTERS.path())
        await client.raw("DELETE", COMPUTE_QUEUES.path())
