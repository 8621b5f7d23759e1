"""A backup of the hub's store, and the return to it, as docs/operations.md has it.

Decides how etcd's folder is saved where only the node's own programs can be counted on: while etcd
is stopped by a signal, its folder is what a crash would leave, from which etcd recovers. Operators
take `etcdctl snapshot save`. Invariant: no process that remembers a later state goes on.
"""

from __future__ import annotations

from typing import Final

from e2e.cluster import Cluster
from e2e.commands import until
from e2e.network import SYSTEM

FOLDER: Final = "/var/lib/etcd"
SAVED: Final = "/var/lib/etcd-saved"
_PARTS: Final = ("kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd")
_HUB: Final = "deployment/huiju-hub"


def save(cluster: Cluster) -> None:
    """Copy the store."""
    cluster.on_node(
        cluster.control_plane,
        f"rm -rf {SAVED}; pkill -STOP -x etcd; cp -a {FOLDER} {SAVED}; pkill -CONT -x etcd",
    )


def put_back(cluster: Cluster) -> None:
    """Stop the hub, then put the saved store in place under new processes."""
    cluster.kubectl("scale", _HUB, "--replicas=0", "-n", SYSTEM)
    labels = "app.kubernetes.io/component=hub"
    until("no hub is left", lambda: cluster.list("pods", SYSTEM, labels), lambda left: not left)
    ends = "; ".join(f"pkill -KILL -f '^([^ ]*/)?{part}( |$)'" for part in _PARTS)
    cluster.on_node(
        cluster.control_plane,
        f"systemctl stop kubelet; {ends}; sleep 1; rm -rf {FOLDER}/member;"
        f" cp -a {SAVED}/member {FOLDER}/; systemctl start kubelet",
    )
    until("the hub's API server is back", lambda: cluster.list("nodes"), seconds=180)
