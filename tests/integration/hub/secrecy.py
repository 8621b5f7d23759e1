"""All that the hub and a consumer's center hold, log, print, measure and run: to search in.

Decides where a secret could be seen. Invariant: what is here is what somebody with all rights on
the hub and in the consumer's center sees, and whoever may list processes there.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from huiju.kube.client import Client
from huiju.kube.resources import CENTER_COPIES, CENTER_SERVINGS, Resource
from tests.integration.hub.moving import Moving
from tests.integration.hub.pulling import CENTER as CONSUMER

if TYPE_CHECKING:
    import pytest

    from huiju.hub.hub import Hub


@asynccontextmanager
async def looking(data: Moving) -> AsyncIterator[list[str]]:
    """Notes what lies in the mailboxes and what programs are run with, again and again."""
    seen: list[str] = []

    async def look() -> None:
        while True:
            for res in (CENTER_COPIES, CENTER_SERVINGS):
                found = (await data.world.client.list_all(res)).items
                seen.extend(json.dumps(item) for item in found)
            seen.extend(await asyncio.to_thread(_arguments))
            await asyncio.sleep(0.1)

    task = asyncio.create_task(look())
    try:
        yield seen
    finally:
        task.cancel()
        results = await asyncio.gather(task, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result


def _arguments() -> list[str]:
    """Argument lists of all processes of this machine."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(file.read_bytes().decode(errors="replace"))
    return found


async def said_anywhere(
    data: Moving, hub: Hub, seen: list[str], caplog: pytest.LogCaptureFixture
) -> str:
    """Everything, once: what was seen meanwhile, both clusters, logs of hub, agents and pullers."""
    world = data.world
    found = [*seen, await dump(world.client), await dump(world.center_clients[CONSUMER])]
    found += [record.getMessage() + str(record.__dict__) for record in caplog.records]
    found += [one.log.read_text() for one in data.pullers.played.values()]
    found += [" ".join(one.arguments) for one in data.pullers.played.values()]
    found += [hub.metrics.exposition().decode()]
    found += [agent.metrics.exposition().decode() for agent in data.processes.values()]
    return "\n".join(found)


async def dump(client: Client) -> str:
    """Every object of a cluster, Secrets and events among them."""
    found = []
    groups = [("", "/api/v1")]
    answer = json.loads(await client.raw("GET", "/apis"))
    groups += [
        (group["name"], f"/apis/{group['preferredVersion']['groupVersion']}")
        for group in answer["groups"]
    ]
    for name, path in groups:
        for each in json.loads(await client.raw("GET", path))["resources"]:
            if "/" in each["name"] or "list" not in each["verbs"]:
                continue
            version = path.rpartition("/")[2]
            res = Resource(name, version, each["name"], each["kind"], each["namespaced"])
            found.append((await client.raw("GET", res.path())).decode())
    return "\n".join(found)
