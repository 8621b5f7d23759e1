"""The demo's clusters: a hub and three centers of the lab, joined, with a hub process.

Decides names, ports and what is kept. Invariant: `down` ends everything that `up` started, also
after `up` was interrupted; nothing outside the lab's folder is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

from demo.scene import QUEUE_ROOT, SITES
from huiju.kube.client import Client
from lab import federation, joining, ports
from lab.federation import Lab
from lab.hubprocess import HubProcess
from lab.kwokctl import HUB, ClusterSpec
from lab.nodes import add_nodes
from lab.processes import Process
from lab.progress import Progress

LAB: Final = "demo"
_PID: Final = "hub.pid"


@dataclass(frozen=True, slots=True)
class Federation:
    """What is up."""

    lab: Lab
    hub: Client
    process: HubProcess


@asynccontextmanager
async def up(progress: Progress) -> AsyncIterator[Federation]:
    """Start the clusters, join the centers, start the hub; all of it stays when this ends."""
    down()
    specs = [ClusterSpec("hub", HUB), *(ClusterSpec(site.name) for site in SITES)]
    lab = await federation.join(LAB, specs, keep=True, progress=progress)
    async with await lab["hub"].client() as hub:
        progress.say("demo: queues, nodes and centers")
        await joining.install(hub)
        await _queues(hub)
        await asyncio.gather(*(_center(lab, hub, site.name) for site in SITES))
        progress.say("demo: huiju hub")
        process = await _hub(lab)
        yield Federation(lab, hub, process)


def down() -> bool:
    """End the hub and the clusters; False if nothing was up."""
    folder = federation.runs() / LAB
    if not folder.is_dir():
        return False
    with suppress(OSError, ValueError):  # the hub was never started
        Process.parse((folder / _PID).read_text()).end(patience=5.0)
    federation.down(LAB)
    return True


async def _queues(hub: Client) -> None:
    await joining.queue(hub, QUEUE_ROOT)
    for site in SITES:
        team = f"team-{site.name}"
        await joining.namespace(hub, team)
        await joining.queue(hub, team, parent=QUEUE_ROOT, namespaces=[team], homeCenter=site.name)


async def _center(lab: Lab, hub: Client, name: str) -> None:
    site = next(site for site in SITES if site.name == name)
    async with await lab[name].client() as client:
        await add_nodes(client, site.node_type, site.nodes)
    await joining.join(
        hub,
        lab[name],
        region=name,
        spec={"residency": ["domestic"], "timeZone": "Asia/Shanghai"},
    )


async def _hub(lab: Lab) -> HubProcess:
    health, view = ports.reserve(2, lab.folder)
    process = HubProcess(
        lab["hub"].kubeconfig, lab.folder / "hub.log", health, [f"--view-port={view}"]
    )
    await process.start()
    (lab.folder / _PID).write_text(str(Process.of(process.pid)))
    return process
