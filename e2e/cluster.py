"""One cluster made by kind: its nodes as containers, its API by kubectl.

Decides how a cluster is made, reached and removed. Invariant: every call names the cluster's own
kubeconfig, so nothing is ever read or written elsewhere.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from e2e.commands import CommandFailed, run, started, until

Fields = dict[str, Any]
HEALTH: Final = "/var/lib/huiju-devices"
_LOADED: Final = "/var/huiju-e2e-images"
_CREATE_SECONDS: Final = 300.0


@dataclass(frozen=True)
class Cluster:
    """One cluster; `name` is kind's, `short` what people call it."""

    name: str
    short: str
    kubeconfig: Path
    workers: int = 0
    """Nodes besides the one of the control plane."""

    # --- as containers -----------------------------------------------------------------------

    @property
    def control_plane(self) -> str:
        """The first node, and the container that it is."""
        return f"{self.name}-control-plane"

    @property
    def worker(self) -> str:
        """The second node."""
        return f"{self.name}-worker"

    @property
    def nodes(self) -> list[str]:
        """All nodes."""
        more = [self.worker, *(f"{self.worker}{n}" for n in range(2, self.workers + 1))]
        return [self.control_plane, *more[: self.workers]]

    @property
    def address(self) -> str:
        """Where pods of other clusters reach the API server."""
        return f"https://{self.control_plane}:6443"

    def make(self, node_image: str) -> None:
        """Make it, or take the one that is left of an earlier run."""
        if self.name in run("kind", "get", "clusters").split():
            run("kind", "export", "kubeconfig", "--name", self.name, *self._where())
            return
        roles = [{"role": "control-plane"}, *({"role": "worker"} for _ in range(self.workers))]
        config = {"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "nodes": roles}
        image = ("--image", node_image) if node_image else ()
        run(
            *("kind", "create", "cluster", "--name", self.name, "--config", "-", "--wait", "240s"),
            *(*image, *self._where(), "--quiet"),
            stdin=yaml.safe_dump(config),
            timeout=_CREATE_SECONDS,
        )

    def remove(self) -> None:
        """Remove it, if it is there."""
        run("kind", "delete", "cluster", "--name", self.name, *self._where(), "--quiet")

    def load(self, *images: str) -> None:
        """Give its nodes images of the engine, unless they have just these."""
        known = run("docker", "image", "inspect", "-f", "{{.Id}}", *images)
        if self.on_node(self.nodes[-1], f"cat {_LOADED} 2>/dev/null || true") == known:
            return
        run("kind", "load", "docker-image", *images, "--name", self.name, timeout=300)
        self.on_node(self.nodes[-1], f"cat > {_LOADED} <<'END'\n{known}END")

    def on_node(self, node: str, script: str) -> str:
        """Run a shell script on a node."""
        return run("docker", "exec", node, "sh", "-c", script)

    def _where(self) -> tuple[str, str]:
        return "--kubeconfig", str(self.kubeconfig)

    # --- as a cluster ------------------------------------------------------------------------

    def kubectl(self, *words: str, stdin: str = "", timeout: float = 60.0) -> str:
        """What kubectl prints."""
        return run("kubectl", *self._where(), *words, stdin=stdin, timeout=timeout)

    def get(self, kind: str, name: str, namespace: str = "") -> Fields:
        """One object."""
        found: Fields = json.loads(
            self.kubectl("get", kind, name, *_in(namespace), "-o", "json", "--request-timeout=10s")
        )
        return found

    def list(self, kind: str, namespace: str = "", labels: str = "") -> list[Fields]:
        """Objects of a kind, in one namespace or in all."""
        where = _in(namespace) if namespace else ("-A",)
        which = ("-l", labels) if labels else ()
        text = self.kubectl("get", kind, *where, *which, "-o", "json", "--request-timeout=10s")
        items: list[Fields] = json.loads(text)["items"]
        return items

    def apply(self, *objects: Fields, namespace: str = "") -> None:
        """Have these objects."""
        text = yaml.safe_dump_all(objects)
        self.kubectl("apply", "--server-side", *_in(namespace), "-f", "-", stdin=text)

    def patch(self, kind: str, name: str, body: Fields, namespace: str = "") -> None:
        """Merge into an object."""
        words = ("patch", kind, name, *_in(namespace), "--type=merge", "-p", json.dumps(body))
        self.kubectl(*words)

    def delete(self, kind: str, name: str, namespace: str = "") -> None:
        """Delete an object, if it is there, and wait until it is gone."""
        words = ("delete", kind, name, *_in(namespace), "--ignore-not-found", "--timeout=90s")
        self.kubectl(*words, timeout=100)

    def have_namespace(self, name: str, labels: Mapping[str, str] | None = None) -> None:
        """Have a namespace."""
        meta = {"name": name, "labels": dict(labels or {})}
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": meta})

    def helm(self, *words: str, timeout: float = 240.0) -> str:
        """What Helm prints; nothing of the user's own is read or written."""
        home = self.kubeconfig.parent / "helm"
        kinds = ("CACHE", "CONFIG", "DATA")
        env = {f"HELM_{kind}_HOME": str(home / kind.lower()) for kind in kinds}
        helm = os.environ.get("HUIJU_HELM") or "helm"
        return run(helm, *words, *self._where(), timeout=timeout, env=env)

    def exec(self, pod: str, namespace: str, *words: str, timeout: float = 60.0) -> str:
        """What a program in a pod prints."""
        return self.kubectl("exec", pod, "-n", namespace, "--", *words, timeout=timeout)

    def allocatable(self, node: str, resource: str) -> int:
        """Units of a resource that a node says it can give."""
        found = self.get("node", node)["status"]["allocatable"].get(resource, "0")
        return int(found)

    def started(self, *words: str) -> AbstractContextManager[subprocess.Popen[str]]:
        """A kubectl that runs beside the test; it is ended with the context."""
        # The kubeconfig comes last, since `huiju` must come first.
        return started("kubectl", *words, *self._where())

    def until_rolled_out(self, workload: str, namespace: str) -> None:
        """Wait until all pods of a Deployment are new and ready."""
        words = ("rollout", "status", workload, "-n", namespace, "--timeout=120s")
        self.kubectl(*words, timeout=130)

    def until_gone(self, kind: str, name: str, namespace: str = "", seconds: float = 90.0) -> None:
        """Wait until there is no such object."""

        def left() -> str:
            return self.kubectl(
                "get", kind, name, *_in(namespace), "--ignore-not-found", "-o", "name"
            )

        until(f"{kind} {name} gone from {self.short}", left, lambda text: not text, seconds=seconds)


def refused(cluster: Cluster, *words: str, stdin: str = "") -> str:
    """What kubectl says to something that must not be allowed; fails where it was."""
    try:
        answer = cluster.kubectl(*words, stdin=stdin)
    except CommandFailed as failure:
        return failure.output
    raise AssertionError(f"kubectl {' '.join(words)} was allowed: {answer}")


def _in(namespace: str) -> tuple[str, ...]:
    return ("-n", namespace) if namespace else ()
