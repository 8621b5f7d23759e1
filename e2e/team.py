"""A team on the hub: a namespace, its jobs, and what becomes of them.

Decides how a job of the tests looks. Invariant: what a team leaves behind is removed with it, in
the centers too, so that the next test finds every device free.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from e2e.cluster import Cluster
from e2e.commands import until
from e2e.devices import ASCEND, NVIDIA, Devices
from e2e.network import SYSTEM, WORKER_IMAGE, Network

Fields = dict[str, Any]
WORKER: Final = ("python3", "/opt/e2e/worker.py")
ENDS: Final = frozenset({"Succeeded", "Failed", "Cancelled"})


@dataclass(frozen=True)
class Team:
    """One namespace of the hub."""

    network: Network
    namespace: str

    @property
    def hub(self) -> Cluster:
        """Where the team's jobs are."""
        return self.network.hub

    def huiju(self, *words: str, stdin: str = "", timeout: float = 60.0) -> str:
        """What `kubectl huiju` prints in the team's namespace."""
        return self.network.huiju(*words, "-n", self.namespace, stdin=stdin, timeout=timeout)

    def submit(self, name: str, *words: str, **changes: Any) -> None:
        """Create a job of one pod on one Ascend device that runs worker.py with `words`."""
        body = job(name, *words, **changes)
        self.hub.kubectl("create", "-n", self.namespace, "-f", "-", stdin=json.dumps(body))

    def exists(self, name: str) -> bool:
        """Whether the hub's cluster has the job."""
        words = ("get", "crossregionjob", name, "-n", self.namespace, "--ignore-not-found")
        return bool(self.hub.kubectl(*words, "-o", "name"))

    def edit(self, name: str, **spec: Any) -> None:
        """Change fields of a job's spec."""
        self.hub.patch("crossregionjob", name, {"spec": spec}, self.namespace)

    def status(self, name: str) -> Fields:
        """A job's status."""
        found: Fields = self.hub.get("crossregionjob", name, self.namespace).get("status") or {}
        return found

    def until(
        self, name: str, what: str, good: Callable[[Fields], object], seconds: float = 90.0
    ) -> Fields:
        """Wait for what a job's status is to show."""
        return until(f"job {name}: {what}", lambda: self.status(name), good, seconds=seconds)

    def until_phase(self, name: str, phase: str, seconds: float = 90.0) -> Fields:
        """Wait for a phase; an end that is another one fails at once."""
        status = self.until(
            name,
            phase,
            lambda s: s.get("phase") in {phase, *ENDS},
            seconds=seconds,
        )
        assert status["phase"] == phase, status
        return status

    def workloads(self, name: str) -> list[tuple[str, Fields]]:
        """Center and Job of each workload that stands for a job, whatever its state."""
        labels = f"huiju.dev/job-namespace={self.namespace},huiju.dev/job-name={name}"
        return [
            (center, item)
            for center, cluster in self.network.centers.items()
            for item in cluster.list("jobs", labels=labels)
        ]

    def pods(self, name: str) -> list[tuple[str, Fields]]:
        """Center and pod of each pod of a job."""
        return [
            (center, item) for center in self.network.centers for item in self.pods_in(center, name)
        ]

    def pods_in(self, center: str, name: str) -> list[Fields]:
        """The pods of a job in one center; no other is asked."""
        labels = f"huiju.dev/job-namespace={self.namespace},huiju.dev/job-name={name}"
        return self.network.centers[center].list("pods", labels=labels)

    def reports(self, name: str) -> list[Fields]:
        """What the workers of a job reported, by rank, read where they ran."""
        found = [line for line in self.lines(name) if line["event"] == "report"]
        return sorted(found, key=lambda line: int(line["rank"]))

    def lines(self, name: str) -> list[Fields]:
        """All that worker.py said in the pods that there are of a job, each line with its node."""
        found = []
        for center, pod in self.pods(name):
            meta = pod["metadata"]
            cluster = self.network.centers[center]
            text = cluster.kubectl("logs", meta["name"], "-n", meta["namespace"], "-c", "main")
            node = {"node": pod["spec"]["nodeName"]}
            found += [json.loads(line) | node for line in text.splitlines() if line[:1] == "{"]
        return found

    def clear(self) -> None:
        """Remove the team's jobs, and wait until no center holds anything of theirs."""
        self.hub.kubectl(
            "delete", "crossregionjobs,datasetgrants,datasetshares", "--all", "-n", self.namespace
        )
        labels = f"huiju.dev/job-namespace={self.namespace}"

        def left() -> list[str]:
            return [
                f"{center}/{item['metadata']['name']}"
                for center, cluster in self.network.centers.items()
                for item in cluster.list("jobs,pods", labels=labels)
            ]

        until(f"nothing left of {self.namespace}", left, lambda found: not found, seconds=120)
        self.hub.kubectl("delete", "namespace", self.namespace, "--wait=false")


def found(network: Network, namespace: str) -> Team:
    """Make a team, which lets the hub read what its jobs carry."""
    network.hub.have_namespace(namespace)
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "huiju-carry"}
    account = {"kind": "ServiceAccount", "name": "huiju-hub", "namespace": SYSTEM}
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "huiju-carry", "namespace": namespace},
        "roleRef": role,
        "subjects": [account],
    }
    network.hub.apply(binding)
    return Team(network, namespace)


def hub_id(hub: Cluster) -> str:
    """What the hub calls itself in the centers, in the names of namespaces among others."""
    return str(hub.get("namespace", "kube-system")["metadata"]["uid"]).replace("-", "")[:8]


def on(*kinds: Devices, units: int = 1) -> list[Fields]:
    """Alternatives of so many units each."""
    return [{"model": kind.model, "perWorker": units} for kind in kinds]


def rather(best: Devices, other: Devices, units: int = 1) -> Fields:
    """Alternatives of which the first is clearly the better, as long as it can be had."""
    first, second = on(best, other, units=units)
    return {"accelerators": [first, second | {"relativeSpeed": "0.2"}], "expectedRuntime": "1h"}


def job(name: str, *words: str, **changes: Any) -> Fields:
    """A job that runs worker.py; `pod` changes the pod's spec, `container` its container."""
    container = {
        "name": "main",
        "image": WORKER_IMAGE,
        "command": [*WORKER, *(words or ("report",))],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
        **changes.pop("container", {}),
    }
    pod = {
        "terminationGracePeriodSeconds": 2,
        "containers": [container],
        **changes.pop("pod", {}),
    }
    spec: Fields = {
        "queue": "default",
        "accelerators": on(ASCEND),
        "template": {"spec": pod},
        "launch": {"sharedMemory": "32Mi"},
        **changes,
    }
    return {
        "apiVersion": "huiju.dev/v1alpha1",
        "kind": "CrossRegionJob",
        "metadata": {"name": name},
        "spec": spec,
    }


__all__ = [
    "ASCEND",
    "NVIDIA",
    "WORKER_IMAGE",
    "Team",
    "found",
    "hub_id",
    "job",
    "on",
    "rather",
]
