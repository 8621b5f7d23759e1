"""What hub, agent and sentinel cost when nothing happens: `python -m e2e.measure` on kept clusters.

Decides what is read and where: resident memory and processor time of each process from the kernel
of its node, start from the pod's own conditions. Invariant: nothing is changed in the clusters.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from e2e import network, settings
from e2e.cluster import Cluster
from e2e.commands import run
from e2e.network import SYSTEM

SECONDS: Final = 60.0
READ: Final = """
import json, os
status = dict(line.split(":", 1) for line in open("/proc/1/status"))
words = open("/proc/1/stat").read().rsplit(")", 1)[1].split()
print(json.dumps({
    "rss": int(status["VmRSS"].split()[0]) * 1024,
    "peak": int(status["VmHWM"].split()[0]) * 1024,
    "cpu": (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK"),
}))
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One process."""

    pod: str
    leads: bool
    ready_seconds: float
    """From the start of its container until it was ready."""
    millicores: float
    resident: int
    """Bytes."""
    peak: int
    """Bytes, since its start."""


def read(cluster: Cluster, pod: str) -> dict[str, float]:
    """What the kernel says of a pod's process now."""
    words = ("exec", pod, "-n", SYSTEM, "--", "/opt/huiju/bin/python", "-c", READ)
    found: dict[str, float] = json.loads(cluster.kubectl(*words))
    return found


def rows(cluster: Cluster, part: str, lease: str) -> list[Row]:
    """All processes of one kind, over a while in which nothing happens."""
    pods = cluster.list("pods", SYSTEM, f"app.kubernetes.io/component={part}")
    holder = str(cluster.get("lease", lease, SYSTEM)["spec"]["holderIdentity"])
    names = [str(pod["metadata"]["name"]) for pod in pods]
    before = {name: (time.monotonic(), read(cluster, name)) for name in names}
    time.sleep(SECONDS)
    made = []
    for pod, name in zip(pods, names, strict=True):
        since, then = before[name]
        now = read(cluster, name)
        passed = time.monotonic() - since
        made.append(
            Row(
                name,
                holder.startswith(name),
                ready_after(pod),
                1000 * (now["cpu"] - then["cpu"]) / passed,
                int(now["rss"]),
                int(now["peak"]),
            )
        )
    return made


def ready_after(pod: dict[str, Any]) -> float:
    """Seconds from the start of the container that runs until the pod was Ready; whole seconds."""
    (status,) = pod["status"]["containerStatuses"]
    began = datetime.fromisoformat(status["state"]["running"]["startedAt"])
    ready = next(c for c in pod["status"]["conditions"] if c["type"] == "Ready")
    return (datetime.fromisoformat(ready["lastTransitionTime"]) - began).total_seconds()


def main(_words: Sequence[str] = ()) -> int:
    """Print a table; returns the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        net = network.plan(settings.from_environment(), Path(folder))
        for cluster in net.clusters:
            cluster.make("")
        size = run(
            "docker", "image", "inspect", net.settings.edition.image, "--format", "{{.Size}}"
        )
        print(f"image {net.settings.edition.image}: {int(size) / 1e6:.0f} MB")
        print("| process | ready after | idle CPU | resident | peak |\n|---|---|---|---|---|")
        found = [
            *rows(net.hub, "hub", "huiju-hub"),
            *rows(net.north, "agent", "huiju-agent"),
            *rows(net.north, "sentinel", "huiju-sentinel"),
        ]
        for row in found:
            role = "leads" if row.leads else "stands by"
            memory = f"{row.resident / 2**20:.0f} MiB | {row.peak / 2**20:.0f} MiB"
            print(
                f"| {row.pod} ({role}) | {row.ready_seconds:.0f} s | {row.millicores:.1f} m |"
                f" {memory} |"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
