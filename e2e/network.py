"""A hub and two centers, installed and joined as docs/install.md and docs/pull-centers.md say.

Decides the order of installing, and what each cluster is. `south` is a push center with two Ascend
nodes whose owner installed the chart; `north` is a pull center with one NVIDIA node and an agent.
Invariant: every step may be repeated on clusters that are left of an earlier run.
"""

from __future__ import annotations

import base64
import shutil
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from e2e import devices
from e2e.cluster import Cluster
from e2e.commands import run, step, until
from e2e.settings import ROOT, Edition, Settings

Fields = dict[str, Any]
SYSTEM: Final = "huiju-system"
WORKER_IMAGE: Final = "huiju/e2e:1"
STORE_IMAGE: Final = "huiju/e2e-store:1"
FAST: Final[Fields] = {"lease": {"profile": "fast"}}
"""From the start: what was once promised for five minutes holds for five minutes."""
SOUTH: Final[Fields] = {"policy": {"imagePrefixes": ["huiju/"]}, "sentinel": {"enabled": True}}
"""What south's owner allows and runs, besides the chart's defaults."""
NORTH: Final[Fields] = {
    "push": {"enabled": False},
    "agent": {"enabled": True, "center": "north"},
    "sentinel": {"enabled": True},
}
"""The same of north's."""


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

    def huiju(
        self,
        *words: str,
        stdin: str = "",
        timeout: float = 60.0,
        env: Mapping[str, str] | None = None,
    ) -> str:
        """What `kubectl huiju` prints, asked of the hub by its administrator."""
        where = ("--kubeconfig", str(self.hub.kubeconfig))
        return run("kubectl", "huiju", *words, *where, stdin=stdin, timeout=timeout, env=env)

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
        self.install()
        if self.settings.keep:
            self._restart()
        for name in self.centers:
            self.until_center(name, ready, "Ready")

    def install(self, edition: Edition | None = None) -> None:
        """Install everything and join both centers; what is there already is upgraded."""
        step("the hub's chart")
        self.install_hub(edition)
        step("south joins (push)")
        self.join_south(edition)
        step("north joins (pull)")
        self.join_north(edition)
        self.hub.kubectl("apply", "-f", str(ROOT / "docs" / "examples" / "queue-open.yaml"))

    def _restart(self) -> None:
        """Run the image as it is now: one of the same name may have been there before."""
        for cluster, parts in (
            (self.hub, ("hub",)),
            (self.south, ("sentinel",)),
            (self.north, ("agent", "sentinel")),
        ):
            names = [f"deployment/huiju-{part}" for part in parts]
            cluster.kubectl("rollout", "restart", *names, "-n", SYSTEM)
            for name in names:
                cluster.until_rolled_out(name, SYSTEM)

    def remove(self) -> None:
        """Remove the clusters."""
        _beside(lambda c: c.remove(), self.clusters)

    def _images(self, cluster: Cluster) -> tuple[str, ...]:
        known = (self.settings.edition, self.settings.previous)
        more = (STORE_IMAGE,) if cluster is self.south else ()
        return (*(edition.image for edition in known if edition), WORKER_IMAGE, *more)

    def _build_workers(self) -> None:
        """The images of workers, device plugin and bucket, from what `make e2e` collected."""
        context = self.folder / "image"
        shutil.copytree(ROOT / "e2e" / "image", context, dirs_exist_ok=True)
        for wheel in self.settings.wheels.glob("*.whl"):
            shutil.copy(wheel, context)
        base = ("--build-arg", f"BASE={self.settings.base}")
        for image, target in ((WORKER_IMAGE, "worker"), (STORE_IMAGE, "store")):
            run("docker", "build", "-q", *base, "--target", target, "-t", image, str(context))

    def install_hub(self, edition: Edition | None = None) -> None:
        """The hub's chart, in a namespace that holds pods to the restricted profile."""
        enforce = {"pod-security.kubernetes.io/enforce": "restricted"}
        self.hub.have_namespace(SYSTEM, enforce)
        self._release(self.hub, "huiju", {}, edition)

    def _release(
        self,
        cluster: Cluster,
        chart: str,
        values: Fields,
        edition: Edition | None,
        *,
        wait: bool = True,
    ) -> None:
        """Install a chart, or upgrade it to these values."""
        what = edition or self.settings.edition
        repository, _, tag = what.image.rpartition(":")
        file = self.folder / f"{cluster.short}-values.yaml"
        file.write_text(yaml.safe_dump(values | {"image": {"repository": repository, "tag": tag}}))
        words = ("upgrade", "--install", chart, str(what.charts / chart), "-n", SYSTEM)
        cluster.helm(*words, "-f", str(file), "--timeout", "180s", *(("--wait",) if wait else ()))

    # --- push: the owner installs an account, and hands out its kubeconfig alone --------------

    def join_south(self, edition: Edition | None = None) -> None:
        """As docs/install.md has it for an owner who hands out no administrator's kubeconfig."""
        self.south.have_namespace(SYSTEM)
        self.install_south(edition=edition)
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
                **FAST,
            },
        }
        self.hub.apply(body, center)

    def install_south(self, values: Fields | None = None, edition: Edition | None = None) -> None:
        """The center's chart with its account; its sentinel has nobody to answer it at first."""
        self._release(self.south, "huiju-center", merged(SOUTH, values or {}), edition, wait=False)

    # --- pull: an agent with a credential of its own -------------------------------------------

    def join_north(self, edition: Edition | None = None) -> None:
        """As docs/pull-centers.md has it."""
        if any(c["metadata"]["name"] == "north" for c in self.hub.list("computecenters")):
            self.install_north(edition=edition)
            return
        self.huiju("join", "north", "--pull", "--region", "north", *self.hand_over("north"))
        self.hub.patch("computecenter", "north", {"spec": FAST})
        self.take_over("north")
        self.install_north(edition=edition)
        until(
            "the agent of north asks to be let in",
            lambda: self.hub.list("leases", "huiju-center-north"),
        )
        uid = self.north.get("namespace", "kube-system")["metadata"]["uid"]
        self.huiju("approve", "north", "--cluster", uid)

    def install_north(self, values: Fields | None = None, edition: Edition | None = None) -> None:
        """The center's chart with an agent; it is ready only once it was let in."""
        self._release(self.north, "huiju-center", merged(NORTH, values or {}), edition, wait=False)

    def hand_over(self, center: str) -> tuple[str, ...]:
        """Flags of `join` by which a center's owner gets the file with the agent's first token."""
        file = self.folder / f"{center}-bootstrap.kubeconfig"
        return "--server", self.hub.address, "--bootstrap-file", str(file)

    def take_over(self, center: str) -> None:
        """What the owner does with that file."""
        cluster = self.centers[center]
        cluster.have_namespace(SYSTEM)
        cluster.delete("secret", "huiju-agent-bootstrap", SYSTEM)
        file = self.folder / f"{center}-bootstrap.kubeconfig"
        secret = ("create", "secret", "generic", "huiju-agent-bootstrap", "-n", SYSTEM)
        cluster.kubectl(*secret, f"--from-file=kubeconfig={file}")

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


def condition(status: Fields, name: str) -> str:
    """`True`, `False` or `Unknown`; empty where nothing is said."""
    said = {str(c["type"]): str(c["status"]) for c in status.get("conditions") or ()}
    return said.get(name, "")


def ready(status: Fields) -> bool:
    """Whether a center is Ready and its inventory known."""
    return condition(status, "Ready") == "True" and bool(status.get("accelerators"))


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


def merged(base: Fields, more: Fields) -> Fields:
    """Values with those of another file over them, as Helm merges them."""
    made = dict(base)
    for key, value in more.items():
        old = made.get(key)
        made[key] = (
            merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
        )
    return made


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
