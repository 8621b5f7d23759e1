"""What is kept of a test that failed: objects, events and logs of every cluster.

Decides what is collected. Invariants: no Secret is read; whatever cannot be had is said in its
place and hinders nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from e2e.cluster import Cluster
from e2e.commands import CommandFailed, run

KINDS: Final = (
    "nodes,namespaces,pods,services,endpointslices,jobs,deployments,daemonsets,leases,"
    "networkpolicies"
)
OURS: Final = "crossregionjobs,computecenters,computequeues,centerworks,centerinventories"
SYSTEM: Final = "huiju-system"


def collect(clusters: Iterable[Cluster], folder: Path, test: str) -> Path:
    """Write what the clusters show into a folder of the test's name, and return it."""
    place = folder / re.sub(r"[^A-Za-z0-9_.-]+", "_", test)
    for cluster in clusters:
        here = place / cluster.short
        here.mkdir(parents=True, exist_ok=True)
        if not _answers(cluster, here / "silent.txt"):
            continue
        _keep(cluster, here / "objects.yaml", "get", KINDS, "-A", "-o", "yaml")
        _keep(cluster, here / "nodes.txt", "describe", "nodes")
        _keep(cluster, here / "pods.txt", "get", "pods", "-A", "-o", "wide")
        _keep(cluster, here / "events.txt", "get", "events", "-A", "--sort-by=.lastTimestamp")
        if cluster.short == "hub":
            _keep(cluster, here / "huiju.yaml", "get", OURS, "-A", "-o", "yaml")
        for space, pod in _pods(cluster):
            _keep(
                cluster, here / f"{space}-{pod}.log", "logs", pod, "-n", space, "--all-containers"
            )
            if space == SYSTEM:
                before = ("logs", pod, "-n", space, "--all-containers", "--previous")
                _keep(cluster, here / f"{space}-{pod}.previous.log", *before)
    return place


def _answers(cluster: Cluster, file: Path) -> bool:
    """Whether there is anybody to ask: a test may have stopped the API server."""
    try:
        cluster.kubectl("get", "--raw", "/version", timeout=10)
    except CommandFailed as failure:
        file.write_text(f"{failure}\n")
        return False
    return True


def _pods(cluster: Cluster) -> list[tuple[str, str]]:
    """Huiju's own pods, and those of the federation."""
    try:
        pods = cluster.list("pods")
    except CommandFailed:
        return []
    return [
        (pod["metadata"]["namespace"], pod["metadata"]["name"])
        for pod in pods
        if pod["metadata"]["namespace"].startswith("huiju-")
    ]


def _keep(cluster: Cluster, file: Path, *words: str) -> None:
    try:
        text = run("kubectl", "--kubeconfig", str(cluster.kubeconfig), *words, timeout=60)
    except CommandFailed as failure:
        text = f"{failure}\n"
    if text:
        file.write_text(text)
