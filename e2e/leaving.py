"""Taking everything away again, as docs/uninstall.md says, and looking at what is left.

Decides the order. Invariant: nothing is forced: no finalizer is taken off, and each end is waited
for.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Final

from e2e.cluster import Cluster
from e2e.commands import CommandFailed, until
from e2e.network import SYSTEM, Network

PART_OF: Final = "app.kubernetes.io/part-of=huiju"
_PASSING: Final = frozenset({"events", "events.events.k8s.io"})
"""Kinds whose objects go by themselves after a while."""


def everything_goes(net: Network) -> None:
    """Section "Everything goes", then each center's part of "A center leaves"."""
    hub = net.hub
    if "crossregionjobs.huiju.dev" in _kinds(hub):
        hub.kubectl("delete", "crossregionjobs", "--all", "-A", timeout=120)
        for center in net.centers.values():
            _until_empty(center)
        hub.kubectl("delete", "datasetshares,datasetgrants", "--all", "-A")
        if hub.list("datasetreplicas"):
            words = ("--for=delete", "datasetreplicas", "--all", "-A", "--timeout=120s")
            hub.kubectl("wait", *words, timeout=130)
        hub.kubectl("delete", "computecenters,computequeues", "--all")
    hub_goes(net)
    for kind in _kinds(hub):
        if kind.endswith(".huiju.dev"):
            hub.kubectl("delete", "crd", kind, timeout=120)
    hub.kubectl("delete", "clusterrole,clusterrolebinding", "-l", PART_OF)
    for binding in hub.list("rolebindings"):
        if binding["metadata"]["name"] == "huiju-carry":
            hub.delete("rolebinding", "huiju-carry", binding["metadata"]["namespace"])
    for space in (*_namespaces(hub, "huiju-center-"), SYSTEM):
        hub.delete("namespace", space)
    for center in net.centers.values():
        center_leaves(center)


def _until_empty(center: Cluster) -> None:
    until(
        f"no workload is left in {center.short}",
        lambda: center.list("jobs.batch", labels="huiju.dev/hub"),
        lambda left: not left,
        seconds=120,
    )


def hub_goes(net: Network) -> None:
    """The hub's chart alone."""
    net.hub.helm("uninstall", "huiju", "-n", SYSTEM, "--wait", "--ignore-not-found")


def center_leaves(center: Cluster) -> None:
    """What the center's owner does."""
    center.helm("uninstall", "huiju-center", "-n", SYSTEM, "--wait", "--ignore-not-found")
    for kind, name in (
        ("clusterrolebinding", "huiju-hub"),
        ("clusterrole", "huiju-hub"),
        ("priorityclass", "huiju-federated"),
        ("namespace", SYSTEM),
    ):
        center.delete(kind, name)
    for space in _namespaces(center, "huiju-"):
        center.delete("namespace", space)


def traces(cluster: Cluster) -> list[str]:
    """Every object of whatever kind that is named after Huiju, or says that it is part of it."""
    kinds = cluster.kubectl("api-resources", "--verbs=list", "-o", "name").split()

    def named(kind: str) -> list[str]:
        try:
            names = cluster.kubectl("get", kind, "-A", "-o", "name").splitlines()
            marked = cluster.kubectl("get", kind, "-A", "-l", PART_OF, "-o", "name").splitlines()
        except CommandFailed as failure:
            return [f"{kind}: {failure}"]
        # The clusters themselves are named after Huiju, and so are their nodes.
        return [*(n for n in names if "huiju" in n.replace(cluster.name, "")), *marked]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(named, [kind for kind in kinds if kind not in _PASSING]))
    return sorted({name for names in found for name in names})


def _kinds(cluster: Cluster) -> list[str]:
    return [item["metadata"]["name"] for item in cluster.list("crd")]


def _namespaces(cluster: Cluster, prefix: str) -> list[str]:
    names = [str(item["metadata"]["name"]) for item in cluster.list("namespaces")]
    return [name for name in names if name.startswith(prefix)]
