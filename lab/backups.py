"""Backups of a cluster's store, and the return to one: what an administrator does after a disaster.

Decides nothing about what is in the store. Invariant: what is put back is byte for byte what was
saved, and no process that remembers a later state goes on.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from lab import signals
from lab.cluster import Cluster
from lab.components import launch
from lab.kwokctl import Component


async def save(cluster: Cluster, to: Path) -> None:
    """Copy etcd's folder while etcd is down, which takes a few seconds."""
    signals.kill(cluster, Component.ETCD)
    await asyncio.to_thread(shutil.copytree, cluster.folder / "etcd", to)
    await signals.start(cluster, Component.ETCD)


async def put_back(cluster: Cluster, saved: Path) -> None:
    """End every process, put the saved store in place, and start them anew."""
    running = [part for part in cluster.spec.components if part in cluster.processes()]
    for component in reversed(running):
        signals.kill(cluster, component)
    cluster.forget()
    await asyncio.to_thread(shutil.copytree, saved, cluster.folder / "etcd", dirs_exist_ok=True)
    for component in running:
        if component is running[-1]:
            await signals.start(cluster, component)
        else:
            launch(cluster.folder, component)
            await asyncio.sleep(0.5)
