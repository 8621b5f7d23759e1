"""A hub and two centers, installed and joined as docs/install.md and docs/pull-centers.md say.

Decides the order of installing, and what each cluster is. `south` is a push center with two Ascend
nodes whose owner installed the chart; `north` is a pull center with one NVIDIA node and an agent.
Invariant: every step may be repeated on clusters that are left of an earlier run.
"""

from __future__ import annotations

import base64
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from e2e import devices
from e2e.cluster import Cluster
from e2e.commands import run, step, until
from e2e.settings import CHARTS, ROOT, Settings

Fields = dict[str, Any]
SYSTEM: Final = "huiju-system"
WORKER_IMAGE: Final = "huiju/e2e:1"
_AGENT: Final = "deployment/huiju-agent"
SOUTH_POLICY: Final = {"policy": {"imagePrefixes": ["huiju/"]}}
"""What south's owner allows, besides the chart's defaults."""


@dataclass(frozen=True)
class Network:
    """The three clusters of a run."""

    settings: Settings
    hub: Cluster
    south: Cluster
    north: Cluster
    folder: Path
    """For files of this run that no user ever sees."""

    @property
    def clusters(self) -> tuple[Cluster, Cluster, Cluster]:
        """All three."""
        return self.hub, self.south, self.north

    @property
    def centers(self) -> dict[str, Cluster]:
        """The two that run jobs, by name."""
        return {"south": self.south, "north": self.north}

    def huiju(self, *words: str, stdin: str = "", timeout: float = 60.0) -> str:
        """What `kubectl huiju` prints, asked of the hub by its administrator."""
        where = ("--kubeconfig", str(self.hub.kubeconfig))
        return run("kubectl", "huiju", *words, *where, stdin=stdin, timeout=timeout)

    # --- making it ---------------------------------------------------------------------------

    def make(self) -> None:
        """Clusters, images, devices, charts, centers, and a queue that is open to all."""
        step("clusters: hub, south, north")
        _beside(lambda c: c.make(self.settings.node_image), self.clusters)
        step("images")
        self._build_workers()
        _beside(lambda c: c.load(*self._images(c)), self.clusters)
        step("device plugins")
        own = not self.settings.plugin_image
        image = self.settings.plugin_image or WORKER_IMAGE
        devices.install(self.south, devices.ASCEND, image, own=own)
        devices.install(self.north, devices.NVIDIA, image, own=own)
        step("the hub's chart")
        self.install_hub()
        step("south joins (push)")
        self.join_south()
        step("north joins (pull)")
        self.join_north()
        self.hub.kubectl("apply", "-f", str(ROOT / "docs" / "examples" / "queue-open.yaml"))
        if self.settings.keep:
            self._restart()
        for name in self.centers:
            self.until_center(name, ready, "Ready")

    def _restart(self) -> None:
        """Run the image as it is now: one of the same name may have been there before."""
        for cluster, part in ((self.hub, "deployment/huiju-hub"), (self.north, _AGENT)):
            cluster.kubectl("rollout", "restart", part, "-n", SYSTEM)
            cluster.kubectl("rollout", "status", part, "-n", SYSTEM, "--timeout=90s", timeout=100)

    def remove(self) -> None:
        """Remove the clusters."""
        _beside(lambda c: c.remove(), self.clusters)

    def _images(self, cluster: Cluster) -> tuple[str, ...]:
        if cluster is self.hub:
            return (self.settings.image, WORKER_IMAGE)
        more = (self.settings.image,) if cluster is self.north else ()
        return (WORKER_IMAGE, *more)

    def _build_workers(self) -> None:
        """The image of the workers and of the device plugin, from what `make e2e` collected."""
        context = self.folder / "image"
        shutil.copytree(ROOT / "e2e" / "image", context, dirs_exist_ok=True)
        for wheel in self.settings.wheels.glob("*.whl"):
            shutil.copy(wheel, context)
        base = f"BASE={self.settings.base}"
        run("docker", "build", "-q", "--build-arg", base, "-t", WORKER_IMAGE, str(context))

    def install_hub(self, *more: str) -> None:
        """The hub's chart, in a namespace that holds pods to the restricted profile."""
        enforce = {"pod-security.kubernetes.io/enforce": "restricted"}
        self.hub.have_namespace(SYSTEM, enforce)
        self.hub.helm(*self.release("huiju"), *_image(self.settings.image), *more)

    def release(self, chart: str) -> tuple[str, ...]:
        """The words that install or upgrade a chart."""
        words = ("upgrade", "--install", chart, str(CHARTS / chart), "-n", SYSTEM)
        return (*words, "--wait", "--timeout", "180s")

    # --- push: the owner installs an account, and hands out its kubeconfig alone --------------

    def join_south(self) -> None:
        """As docs/install.md has it for an owner who hands out no administrator's kubeconfig."""
        values = self.folder / "south-values.yaml"
        values.write_text(yaml.safe_dump(SOUTH_POLICY))
        self.south.helm(*self.release("huiju-center"), "--create-namespace", "-f", str(values))
        secret = self.south.get("secret", "huiju-hub-token", SYSTEM)["data"]
        config = _kubeconfig(self.south.address, secret)
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "center-south", "namespace": SYSTEM},
            "data": {"kubeconfig": base64.b64encode(config.encode()).decode()},
        }
        ref = {"name": "center-south", "namespace": SYSTEM}
        center = {
            "apiVersion": "huiju.dev/v1alpha1",
            "kind": "ComputeCenter",
            "metadata": {"name": "south"},
            "spec": {
                "region": "south",
                "connection": {"push": {"kubeconfigSecret": ref}},
                "sharing": {"priorityClassName": "huiju-federated"},
            },
        }
        self.hub.apply(body, center)

    # --- pull: an agent with a credential of its own -------------------------------------------

    def join_north(self) -> None:
        """As docs/pull-centers.md has it."""
        if any(c["metadata"]["name"] == "north" for c in self.hub.list("computecenters")):
            self.install_north()
            return
        file = self.folder / "north-bootstrap.kubeconfig"
        where = ("--server", self.hub.address, "--bootstrap-file", str(file))
        self.huiju("join", "north", "--pull", "--region", "north", *where)
        self.north.have_namespace(SYSTEM)
        secret = ("create", "secret", "generic", "huiju-agent-bootstrap", "-n", SYSTEM)
        self.north.kubectl(*secret, f"--from-file=kubeconfig={file}")
        self.install_north()
        until(
            "the agent of north asks to be let in",
            lambda: self.hub.list("leases", "huiju-center-north"),
        )
        uid = self.north.get("namespace", "kube-system")["metadata"]["uid"]
        self.huiju("approve", "north", "--cluster", uid)

    def install_north(self, *more: str) -> None:
        """The center's chart with an agent; it is ready only once it was let in."""
        words = [word for word in self.release("huiju-center") if word != "--wait"]
        for value in ("agent.enabled=true", "agent.center=north", "push.enabled=false"):
            words += ["--set", value]
        self.north.helm(*words, *_image(self.settings.image), *more)

    # --- looking ------------------------------------------------------------------------------

    def center(self, name: str) -> Fields:
        """The status of a center."""
        found: Fields = self.hub.get("computecenter", name).get("status") or {}
        return found

    def until_center(
        self, name: str, good: Callable[[Fields], object], what: str, seconds: float = 90.0
    ) -> Fields:
        """Wait for what a center's status is to show."""
        return until(f"center {name}: {what}", lambda: self.center(name), good, seconds=seconds)


def ready(status: Fields) -> bool:
    """Whether a center is Ready and its inventory known."""
    said = {c["type"]: c["status"] for c in status.get("conditions") or ()}
    return said.get("Ready") == "True" and bool(status.get("accelerators"))


def units(status: Fields, devices_: devices.Devices) -> tuple[int, int, int]:
    """Total, allocatable and free units of a model in a center."""
    for one in status.get("accelerators") or ():
        if one["model"] == devices_.model:
            total, allocatable = one.get("total", 0), one.get("allocatable", 0)
            return total, allocatable, one.get("free", 0)
    return 0, 0, 0


def plan(settings: Settings, folder: Path) -> Network:
    """The network of these settings; nothing is made yet."""

    def cluster(short: str, workers: int = 0) -> Cluster:
        return Cluster(f"{settings.prefix}-{short}", short, folder / f"{short}.yaml", workers)

    return Network(settings, cluster("hub"), cluster("south", 1), cluster("north"), folder)


def _beside(deed: Callable[[Cluster], None], clusters: Iterable[Cluster]) -> None:
    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(deed, cluster) for cluster in clusters]:
            done.result()


def _image(image: str) -> tuple[str, ...]:
    repository, _, tag = image.rpartition(":")
    return ("--set", f"image.repository={repository}", "--set", f"image.tag={tag}")


def _kubeconfig(server: str, secret: Fields) -> str:
    """Of the hub's account in a push center, from the data of its token's Secret."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "center",
        "contexts": [{"name": "center", "context": {"cluster": "center", "user": "huiju-hub"}}],
        "clusters": [
            {
                "name": "center",
                "cluster": {"server": server, "certificate-authority-data": secret["ca.crt"]},
            }
        ],
        "users": [
            {"name": "huiju-hub", "user": {"token": base64.b64decode(secret["token"]).decode()}}
        ],
    }
    return yaml.safe_dump(config)
