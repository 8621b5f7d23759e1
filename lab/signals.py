"""Faults of whole processes: stopped, resumed, killed, started again.

Decides nothing about why. Invariant: a restarted process has the arguments and the log that it had,
and a cluster that was paused can still be destroyed.
"""

from __future__ import annotations

import asyncio
import signal
from typing import Final

from lab.cluster import Cluster, ClusterFailed
from lab.components import launch
from lab.kwokctl import Component

_SETTLED: Final = 0.5


def pause(cluster: Cluster, component: Component) -> None:
    """SIGSTOP: connections stay open, nothing is answered."""
    _send(cluster, component, signal.SIGSTOP)


def resume(cluster: Cluster, component: Component) -> None:
    """SIGCONT."""
    _send(cluster, component, signal.SIGCONT)


def kill(cluster: Cluster, component: Component) -> None:
    """SIGKILL: connections break at once. Returns when the process is gone."""
    process = cluster.processes().get(component)
    if process is None:
        raise ClusterFailed(f"{component} of {cluster.name} does not run")
    process.end()


async def start(cluster: Cluster, component: Component, seconds: float = 60.0) -> None:
    """Start a process that was killed and wait until the cluster works again."""
    launch(cluster.folder, component)
    async with asyncio.timeout(seconds):
        # The kernel may keep the ports of a killed process for a moment.
        await asyncio.sleep(_SETTLED)
        while component not in cluster.processes():
            launch(cluster.folder, component)
            await asyncio.sleep(_SETTLED)
    await cluster.ready(seconds)


async def restart(cluster: Cluster, component: Component, seconds: float = 60.0) -> None:
    """Kill a process, start it again, and wait until the cluster works."""
    kill(cluster, component)
    await start(cluster, component, seconds)


def _send(cluster: Cluster, component: Component, number: signal.Signals) -> None:
    process = cluster.processes().get(component)
    if process is None or not process.signal(number):
        raise ClusterFailed(f"{component} of {cluster.name} does not run")
