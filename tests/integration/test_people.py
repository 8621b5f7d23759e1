"""The people's side of a whole federation: a hub process, a center joined by command, one user."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest

from huiju.kube.client import Client
from huiju.kube.errors import NotFound
from huiju.kube.resources import (
    API_SERVICES,
    COMPUTE_CENTERS,
    COMPUTE_QUEUES,
    CROSS_REGION_JOBS,
    SERVICES,
)
from huiju.web.server import API_SERVICE
from lab import joining, ports
from lab.cluster import Cluster
from lab.hubprocess import HubProcess
from lab.nodes import add_nodes
from tests.patience import PATIENCE

NODES = 2
UNITS = 8


async def command(hub: Cluster, namespace: str, *words: str) -> tuple[int, str]:
    """Run `kubectl huiju`; its exit code and all it printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "huiju.cli.main", f"--kubeconfig={hub.kubeconfig}"),
        *("-n", namespace, *words),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ,
    )
    out, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
    return process.returncode or 0, out.decode()


@pytest.fixture
async def user(
    hub: Cluster, center: Cluster, namespace: str, tmp_path: Path
) -> AsyncIterator[Client]:
    """A client of a hub that runs, with a queue, and a cluster with nodes that may join."""
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(await hub.client())
        nodes = await stack.enter_async_context(await center.client())
        await joining.install(client)
        await joining.namespace(client, namespace)
        await joining.queue(client, "people")
        await add_nodes(nodes, "ascend-910b", NODES)
        health, view = ports.reserve(2, tmp_path)
        hub_process = HubProcess(
            hub.kubeconfig, tmp_path / "hub.log", health, [f"--view-port={view}"]
        )
        await hub_process.start()
        try:
            yield client
        finally:
            await hub_process.stop()
            await client.raw("DELETE", CROSS_REGION_JOBS.path(namespace))
            await client.raw("DELETE", COMPUTE_CENTERS.path())
            await client.raw("DELETE", COMPUTE_QUEUES.path())
            with suppress(NotFound):
                await client.delete(API_SERVICES, API_SERVICE)
                await client.delete(SERVICES, "huiju-view", "huiju-system")


async def shown_queue(hub: Cluster, namespace: str) -> dict[str, str]:
    """What `kubectl huiju queues` shows of the one queue, by column."""
    _, told = await command(hub, namespace, "queues", "people", "-o", "wide")
    titles, row = (line.split() for line in told.splitlines())
    return dict(zip(titles[:14], row, strict=False))


async def test_from_join_to_logs(
    hub: Cluster, center: Cluster, namespace: str, user: Client
) -> None:
    code, told = await command(
        hub,
        namespace,
        *("join", "near", f"--center-kubeconfig={center.kubeconfig}", "--region", "south"),
    )
    assert code == 0, told
    assert "the hub finds it Ready: ascend-910b3 16/16" in told
    async with asyncio.timeout(PATIENCE):  # the API server looks at new APIServices now and then
        while (await command(hub, namespace, "check"))[0] != 0:
            await asyncio.sleep(0.5)

    job = ("--queue", "people", "--accelerator", f"ascend-910b3:{UNITS}", "--image", "img")
    for name, workers in (("runs", NODES), ("waits", NODES)):
        code, told = await command(
            hub, namespace, "submit", "--name", name, *job, "--workers", str(workers)
        )
        assert code == 0, told
    async with asyncio.timeout(PATIENCE):
        while "Running" not in (await command(hub, namespace, "jobs", "runs"))[1]:
            await asyncio.sleep(0.3)

    usage = str(NODES * UNITS * 295)
    figures = {"RUNNING": "1", "QUEUED": "1", "USAGE": usage, "SHARE": usage, "DESERVED": usage}
    async with asyncio.timeout(PATIENCE):
        while not figures.items() <= (await shown_queue(hub, namespace)).items():
            await asyncio.sleep(0.3)

    code, told = await command(hub, namespace, "why", "waits")
    assert code == 0, told
    assert "Position  1 in queue people (next)" in told
    assert "near" in told
    assert "NoNodeFits" in told
    assert "warning" not in told
    code, told = await command(hub, namespace, "whatif", *job)
    assert code == 0, told
    assert "Position  2 in queue people (1 ahead)" in told
    assert "NoNodeFits" in told
    code, told = await command(hub, namespace, "whatif", "--cordon", "near")
    assert code == 0, told
    assert f"{namespace}/runs" in told
    code, told = await command(hub, namespace, "whatif", "--cordon", "nowhere")
    assert (code, "not found" in told) == (1, True), told

    code, told = await command(hub, namespace, "why", "runs")
    assert "Placed    near, on ascend-910b3 (epoch 1)" in told

    code, told = await command(hub, namespace, "logs", "runs", "--worker", "1", "--tail", "1")
    assert (code, told) == (0, "done\n")
    code, told = await command(hub, namespace, "logs", "runs", "--worker", "2")
    assert code == 1
    assert "workers 0 to 1" in told
    code, told = await command(hub, namespace, "logs", "waits")
    assert code == 1
    assert "has not been placed yet" in told

    assert (await command(hub, namespace, "cancel", "runs"))[0] == 0
    async with asyncio.timeout(PATIENCE):
        while "Running" not in (await command(hub, namespace, "jobs", "waits"))[1]:
            await asyncio.sleep(0.3)
