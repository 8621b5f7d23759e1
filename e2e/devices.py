"""Devices that do not exist, advertised by a real device plugin to real kubelets.

Decides what the two centers have. Invariant: nodes carry the labels that the vendor's own tools
give them, and nothing that Huiju alone would know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from e2e.cluster import HEALTH, Cluster
from e2e.commands import until

Fields = dict[str, Any]
PLUGINS: Final = "/var/lib/kubelet/device-plugins"
DAEMON: Final = "device-plugin"
SPACE: Final = "kube-system"


@dataclass(frozen=True, slots=True)
class Devices:
    """What every node of a center has."""

    resource: str
    model: str
    """Huiju's name of the model, which the labels tell."""
    count: int
    variable: str
    """In which a container finds its devices."""
    labels: tuple[tuple[str, str], ...]


ASCEND: Final = Devices(
    "huawei.com/Ascend910",
    "ascend-910b3",
    8,
    "ASCEND_VISIBLE_DEVICES",
    (
        ("accelerator", "huawei-Ascend910"),
        ("accelerator-type", "module-910b-8"),
        ("node.kubernetes.io/npu.chip.name", "910B3"),
    ),
)
NVIDIA: Final = Devices(
    "nvidia.com/gpu",
    "nvidia-a100-80g",
    8,
    "NVIDIA_VISIBLE_DEVICES",
    (
        ("nvidia.com/gpu.present", "true"),
        ("nvidia.com/gpu.product", "NVIDIA-A100-SXM4-80GB"),
        ("nvidia.com/gpu.count", "8"),
    ),
)


def label(cluster: Cluster, devices: Devices, *nodes: str) -> None:
    """Give nodes their labels, as the vendor's discovery does."""
    pairs = [f"{key}={value}" for key, value in devices.labels]
    cluster.kubectl("label", "node", *(nodes or cluster.nodes), *pairs, "--overwrite")


def install(cluster: Cluster, devices: Devices, image: str, *, own: bool) -> None:
    """Run the plugin on every node and wait for the devices; `own`: it is `image/plugin.py`."""
    if cluster.workers:
        # Devices on this node are for everybody.
        taint = "node-role.kubernetes.io/control-plane:NoSchedule-"
        if cluster.get("node", cluster.control_plane)["spec"].get("taints"):
            cluster.kubectl("taint", "node", cluster.control_plane, taint)
    label(cluster, devices)
    cluster.apply(_daemon(devices, image, own=own))
    for node in cluster.nodes:
        # All of them are well, whatever an earlier run did to them.
        cluster.on_node(node, f"mkdir -p {HEALTH}")
        break_devices(cluster, node)
        until_devices(cluster, node, devices, devices.count)


def until_devices(cluster: Cluster, node: str, devices: Devices, count: int) -> None:
    """Wait until the kubelet of a node offers so many."""
    until(
        f"{count} x {devices.resource} on {node}",
        lambda: cluster.allocatable(node, devices.resource),
        lambda found: found == count,
    )


def break_devices(cluster: Cluster, node: str, *numbers: int) -> None:
    """Let these devices of a node be unhealthy, and all others healthy."""
    words = " ".join(str(number) for number in numbers)
    cluster.on_node(node, f"echo '{words}' > {HEALTH}/unhealthy")


def withdraw(cluster: Cluster, *, away: bool) -> None:
    """Take the plugin off all nodes, or let it come back; as an upgrade that takes its time."""
    selector = {"no-such-node": "true"} if away else {"no-such-node": None}
    body = {"spec": {"template": {"spec": {"nodeSelector": selector}}}}
    cluster.patch("daemonset", DAEMON, body, SPACE)


def _daemon(devices: Devices, image: str, *, own: bool) -> Fields:
    words = ["--resource", devices.resource, "--count", str(devices.count)]
    container: Fields = {
        "name": "plugin",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": [*words, "--env", devices.variable],
        "volumeMounts": [
            {"name": "plugins", "mountPath": PLUGINS},
            {"name": "health", "mountPath": HEALTH},
        ],
    }
    if own:
        container["command"] = ["python3", "/opt/e2e/plugin.py"]
    labels = {"app": DAEMON}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": DAEMON, "namespace": SPACE},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "priorityClassName": "system-node-critical",
                    "tolerations": [{"operator": "Exists"}],
                    "terminationGracePeriodSeconds": 1,
                    "containers": [container],
                    "volumes": [
                        {"name": "plugins", "hostPath": {"path": PLUGINS}},
                        {
                            "name": "health",
                            "hostPath": {"path": HEALTH, "type": "DirectoryOrCreate"},
                        },
                    ],
                },
            },
        },
    }
