"""An object store in south: `rclone serve s3` in a pod on the node's own network.

Decides what lies in the bucket. Invariant: its key is in the store, in the owner's Secret beside
the agent, and nowhere else.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from typing import Any, Final

from e2e.cluster import Cluster
from e2e.commands import run
from e2e.network import STORE_IMAGE, SYSTEM, WORKER_IMAGE
from e2e.team import WORKER

Fields = dict[str, Any]
PORT: Final = 9000
SPACE: Final = "store"
FILES: Final = {"train/a.bin": 40_000_000, "train/b.txt": 70_000, "README.md": 12, "empty": 0}
_FILL: Final = f"""
import os, pathlib
for name, size in {FILES!r}.items():
    path = pathlib.Path("/data/corpora/zh", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(size))
"""


@dataclass
class Bucket:
    """The bucket `corpora` with files below `zh`."""

    cluster: Cluster
    access: str = field(default_factory=lambda: f"e2e{secrets.token_hex(8)}")
    secret: str = field(default_factory=lambda: secrets.token_hex(20))

    @property
    def endpoint(self) -> str:
        """Where pods of every cluster and this machine reach it."""
        template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        address = run("docker", "inspect", "-f", template, self.cluster.control_plane).strip()
        return f"http://{address}:{PORT}"

    def make(self) -> dict[str, str]:
        """Start it; returns the SHA-256 of each file."""
        self.remove()  # one that an earlier run left has another key
        self.cluster.have_namespace(SPACE)
        self.cluster.apply(self._key("store-key", SPACE), self._pod())
        self.cluster.kubectl("wait", "--for=condition=Ready", "pod/store", "-n", SPACE)
        said = self.cluster.kubectl("logs", "store", "-n", SPACE, "-c", "look")
        found: dict[str, str] = json.loads(said)["files"]
        return found

    def hand_key_to_agent(self, name: str) -> None:
        """What the data's owner does."""
        self.cluster.apply(self._key(name, SYSTEM))

    def remove(self) -> None:
        """End it."""
        self.cluster.delete("namespace", SPACE)

    def _key(self, name: str, namespace: str) -> Fields:
        # A list in CSV: the comma of the pair needs quotes.
        pair = f'"{self.access},{self.secret}"'
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": namespace},
            "stringData": {
                "accessKeyId": self.access,
                "secretAccessKey": self.secret,
                **({"pair": pair} if namespace == SPACE else {}),
            },
        }

    def _pod(self) -> Fields:
        mount = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
        pair = {"secretKeyRef": {"name": "store-key", "key": "pair"}}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "store", "namespace": SPACE},
            "spec": {
                "hostNetwork": True,
                "nodeName": self.cluster.control_plane,
                "terminationGracePeriodSeconds": 1,
                "initContainers": [
                    {
                        "name": "fill",
                        "image": WORKER_IMAGE,
                        "command": ["python3", "-c", _FILL],
                        **mount,
                    },
                    {
                        "name": "look",
                        "image": WORKER_IMAGE,
                        "command": [*WORKER, "digest", "/data/corpora/zh"],
                        **mount,
                    },
                ],
                "containers": [
                    {
                        "name": "store",
                        "image": STORE_IMAGE,
                        "args": ["serve", "s3", "/data", "--addr", f":{PORT}"],
                        "env": [
                            {"name": "RCLONE_AUTH_KEY", "valueFrom": pair},
                            {"name": "RCLONE_CONFIG", "value": "/dev/null"},
                        ],
                        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
                        **mount,
                    }
                ],
                "volumes": [{"name": "data", "emptyDir": {}}],
            },
        }
