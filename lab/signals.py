"""Faults of whole processes: stopped, resumed, killed, started again.

Decides nothing about why. Invariant: a restarted process has the arguments and the log that it had,
and a cluster that was paused can still be destroyed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from pathlib import Path
from typing import Any, Final

import yaml

from lab.cluster import Cluster, ClusterFailed
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
    launch(cluster, component)
    async with asyncio.timeout(seconds):
        # The kernel may keep the ports of a killed process for a moment.
        await asyncio.sleep(_SETTLED)
        while component not in cluster.processes():
            launch(cluster, component)
            await asyncio.sleep(_SETTLED)
    await cluster.ready(seconds)


async def restart(cluster: Cluster, component: Component, seconds: float = 60.0) -> None:
    """Kill a process, start it again, and wait until the cluster works."""
    kill(cluster, component)
    await start(cluster, component, seconds)


def launch(cluster: Cluster, component: Component) -> None:
    """Start a process that does not run, without waiting for it to serve."""
    if component in cluster.processes():
        return
    plan = _plan(cluster.folder, component)
    environment = {entry["name"]: entry.get("value", "") for entry in plan.get("envs") or []}
    with cluster.log(component).open("ab") as log:
        process = subprocess.Popen(
            [plan["binary"], *plan.get("args", [])],
            cwd=plan.get("workDir") or cluster.folder,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    (cluster.folder / "pids" / f"{component}.pid").write_text(str(process.pid))
    # The cluster's folder knows it from here on; this object would complain that it still runs.
    process.returncode = 0


def _send(cluster: Cluster, component: Component, number: signal.Signals) -> None:
    process = cluster.processes().get(component)
    if process is None or not process.signal(number):
        raise ClusterFailed(f"{component} of {cluster.name} does not run")


def _plan(folder: Path, component: Component) -> dict[str, Any]:
    """How kwokctl started the process, from the record that it keeps."""
    for document in yaml.safe_load_all((folder / "kwok.yaml").read_text()):
        for part in (document or {}).get("components") or []:
            if part.get("name") == component:
                return dict(part)
    raise ClusterFailed(f"{folder.name} was made without {component}")
