"""The agent's part in data sets, put together: copies for this center, links to its own data.

Decides nothing; wires the parts. Invariant: all of it ends with `run`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from huiju.agent.copying import Copying
from huiju.agent.gatewaystate import GatewayState
from huiju.agent.serving import Serving
from huiju.agent.settings import AgentSettings
from huiju.agent.sources import Sources
from huiju.api.center import ComputeCenterSpec
from huiju.kube.client import Client


async def run_datasets(
    hub: Client,
    center: Client,
    spec: Callable[[], ComputeCenterSpec | None],
    settings: AgentSettings,
) -> None:
    """Copy and serve until cancelled."""
    sources = Sources(center, settings.data_folder, settings)
    copying = Copying(hub, center, spec, settings)
    serving = Serving(hub, sources, settings)
    gateway = GatewayState(center, serving, sources, settings)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(copying.run(), name="copies")
            group.create_task(serving.run(), name="links")
            group.create_task(gateway.run(), name="gateway")
    finally:
        await sources.close()
