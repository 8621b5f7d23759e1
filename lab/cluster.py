"""One real cluster: started, proven ready, reached, and ended without a trace.

Decides what ready means. Invariant: `destroy` leaves no process and no folder, whatever state the
cluster is in, and needs nothing but the folder to do so.
"""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import yaml

from huiju.kube import kubeconfig as kubeconfigs
from huiju.kube.client import Client, ClientSettings
from huiju.kube.credentials import Credentials
from huiju.kube.errors import KubeError
from huiju.kube.resources import SERVICE_ACCOUNTS
from huiju.kube.transport import Observer
from lab import ports as port_table
from lab.components import launch, log_of, process_of
from lab.kwokctl import HOST, PORTS, ClusterSpec, Component, Ports, configuration, kwokctl
from lab.processes import Process, command_line
from lab.programs import Programs

_TAIL: Final = 12
_POLL: Final = 0.1
_KWOKCTL_SECONDS: Final = 60.0
_LONG_ENOUGH: Final = 10.0
"""Seconds that kwokctl needs at most where nothing is wrong and nothing else runs."""
_SAID: Final = 2000


class ClusterFailed(Exception):
    """A cluster did not come up; the message holds the last words of its processes."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster in its folder `<home>/clusters/<name>`, running or not."""

    spec: ClusterSpec
    ports: Ports
    home: Path
    programs: Programs

    @classmethod
    def prepare(cls, spec: ClusterSpec, home: Path, programs: Programs) -> Cluster:
        """Make the folder and reserve the ports."""
        folder = home / "clusters" / spec.name
        folder.mkdir(parents=True)
        found = Ports(*port_table.reserve(PORTS, folder))
        return cls(spec, found, home, programs)

    @property
    def name(self) -> str:
        """Its name in the lab."""
        return self.spec.name

    @property
    def folder(self) -> Path:
        """Everything the cluster has on disk."""
        return self.home / "clusters" / self.name

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig of its administrator that needs no other file."""
        return self.folder / "admin.kubeconfig"

    @property
    def server(self) -> str:
        """Address of its API server."""
        return f"https://{HOST}:{self.ports.apiserver}"

    @property
    def etcd(self) -> str:
        """Address of its etcd (plain http)."""
        return f"http://{HOST}:{self.ports.etcd}"

    # --- life ---------------------------------------------------------------------------------

    async def start(self, seconds: float = 120.0) -> None:
        """Create the cluster and wait until it works; raises ClusterFailed after `seconds`."""
        until = time.monotonic() + seconds
        config = self.folder / "lab.yaml"
        config.write_text(configuration(self.spec, self.ports, self.programs, self.folder))
        said = await self._create(config, min(seconds, _KWOKCTL_SECONDS))
        if not (self.folder / "pki" / "admin.crt").is_file():
            raise ClusterFailed(f"cluster {self.name}: kwokctl made nothing:\n{said}")
        self.kubeconfig.write_text(self.kubeconfig_text())
        self.kubeconfig.chmod(0o600)
        try:
            await self.ready(max(1.0, until - time.monotonic()), revive=True)
        except ClusterFailed as failure:
            raise ClusterFailed(f"{failure}\n--- kwokctl\n{said[-_SAID:]}") from None

    async def _create(self, config: Path, seconds: float) -> str:
        """Let kwokctl create the cluster, until it ends or the cluster works without its word.

        Now and then kwokctl does not notice that all its components run, and waits for ever.
        """
        creating = asyncio.create_task(
            kwokctl(
                self.programs,
                self.home,
                self.folder / "kwokctl.kubeconfig",
                "create",
                "cluster",
                f"--name={self.name}",
                f"--config={config}",
                seconds=seconds,
            )
        )
        try:
            patience = _LONG_ENOUGH
            while not (await asyncio.wait({creating}, timeout=patience))[0]:
                patience = 1.0
                if (self.folder / "pki" / "admin.crt").is_file():
                    self.kubeconfig.write_text(self.kubeconfig_text())
                    if not await self._unready():
                        return "kwokctl was still waiting when everything worked"
            return creating.result()
        finally:
            creating.cancel()
            await asyncio.gather(creating, return_exceptions=True)

    async def ready(self, seconds: float = 60.0, *, revive: bool = False) -> None:
        """Wait until every part serves; raises ClusterFailed with the ends of the logs.

        `revive`: start again what has ended meanwhile, as a controller manager does that has waited
        in vain for an API server on a busy machine.
        """
        until = time.monotonic() + seconds
        while missing := await self._unready():
            if revive:
                for component in self.spec.components:
                    launch(self.folder, component)
            if time.monotonic() >= until:
                raise ClusterFailed(
                    f"cluster {self.name} is not ready after {seconds:g} s, {missing}"
                    f"\n{self.log_tail()}"
                )
            await asyncio.sleep(_POLL)

    def destroy(self) -> None:
        """Kill every process of the cluster and remove its folder. Safe to repeat."""
        destroy(self.folder)

    def forget(self) -> None:
        """Empty the store of a stopped etcd."""
        if Component.ETCD in self.processes():
            raise ClusterFailed(f"etcd of {self.name} runs; kill it first")
        shutil.rmtree(self.folder / "etcd")
        (self.folder / "etcd").mkdir(mode=0o700)

    # --- reaching it --------------------------------------------------------------------------

    async def client(
        self,
        *,
        server: str | None = None,
        settings: ClientSettings | None = None,
        observer: Observer | None = None,
    ) -> Client:
        """A client with the administrator's rights; `server` reaches it through a proxy."""
        return Client(
            self.credentials(server), name=self.name, settings=settings, observer=observer
        )

    def credentials(self, server: str | None = None) -> Credentials:
        """The administrator's credentials."""
        if server is None:
            return kubeconfigs.from_kubeconfig(self.kubeconfig)
        return kubeconfigs.from_secret_bytes(self.kubeconfig_text(server).encode())

    def kubeconfig_text(self, server: str | None = None) -> str:
        """The administrator's kubeconfig; `server` reaches the cluster through a proxy."""
        pki = self.folder / "pki"

        def data(name: str) -> str:
            return base64.b64encode((pki / name).read_bytes()).decode()

        cluster = {"server": server or self.server, "certificate-authority-data": data("ca.crt")}
        user = {
            "client-certificate-data": data("admin.crt"),
            "client-key-data": data("admin.key"),
        }
        return yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": self.name,
                "contexts": [
                    {"name": self.name, "context": {"cluster": self.name, "user": "admin"}}
                ],
                "clusters": [{"name": self.name, "cluster": cluster}],
                "users": [{"name": "admin", "user": user}],
            }
        )

    async def compact(self) -> int:
        """Forget all history in etcd, so that old resourceVersions answer 410; returns revision."""
        async with aiohttp.ClientSession() as session:
            # Any range answers with the revision that etcd is at.
            key = base64.b64encode(b"\0").decode()
            revision = await self._etcd(session, "/v3/kv/range", {"key": key, "limit": 1})
            await self._etcd(session, "/v3/kv/compaction", {"revision": revision, "physical": True})
            return revision

    async def _etcd(
        self, session: aiohttp.ClientSession, path: str, body: dict[str, str | int | bool]
    ) -> int:
        async with session.post(self.etcd + path, data=json.dumps(body)) as answer:
            found = await answer.json(content_type=None)
            if answer.status != 200:
                raise RuntimeError(f"etcd of {self.name} refused {path}: {found}")
            return int(found["header"]["revision"])

    # --- looking at it ------------------------------------------------------------------------

    def processes(self) -> dict[Component, Process]:
        """The living processes."""
        found: dict[Component, Process] = {}
        for component in self.spec.components:
            process = process_of(self.folder, component)
            if process is not None:
                found[component] = process
        return found

    def log(self, component: Component) -> Path:
        """The log file of one process."""
        return log_of(self.folder, component)

    def log_tail(self) -> str:
        """The last lines of each process's log."""
        parts = []
        alive = self.processes()
        for component in self.spec.components:
            state = "runs" if component in alive else "does not run"
            try:
                lines = self.log(component).read_text(errors="replace").splitlines()[-_TAIL:]
            except OSError:
                lines = []
            parts.append("\n".join([f"--- {component} ({state})", *lines]))
        return "\n".join(parts)

    async def _unready(self) -> str:
        """What does not work yet, in words; empty when all does."""
        try:
            async with Client(self.credentials(), name=self.name, settings=_PROBE) as client:
                if (answer := await client.raw("GET", "/readyz")) != b"ok":
                    return f"kube-apiserver says {answer[:80]!r}"
                if Component.CONTROLLER_MANAGER in self.spec.components:
                    # The controller manager makes it, and pods need it.
                    await client.get(SERVICE_ACCOUNTS, "default", "default")
        except KubeError as error:
            return f"kube-apiserver: {error}"
        for scheme, port, component in (
            ("https", self.ports.scheduler, Component.SCHEDULER),
            ("http", self.ports.kwok, Component.KWOK),
        ):
            if component not in self.spec.components:
                continue
            if not await _healthy(f"{scheme}://{HOST}:{port}/healthz"):
                return f"{component} is not healthy"
        return ""


_PROBE: Final = ClientSettings(deadline=3.0)


def destroy(folder: Path) -> None:
    """End the cluster of a folder, however far it came, and remove the folder."""
    for component in reversed(Component):
        process = process_of(folder, component)
        if process is not None:
            process.end()
    # kwokctl may have been starting something when it was interrupted.
    for process in strays(folder):
        process.end()
    shutil.rmtree(folder, ignore_errors=True)
    port_table.release(folder)


def strays(folder: Path) -> list[Process]:
    """Processes whose program or arguments lie in the folder, pid file or not (Linux only)."""
    found: list[Process] = []
    needle = f"{folder}/"
    for entry in Path("/proc").glob("[0-9]*"):
        pid = int(entry.name)
        words = command_line(pid)
        if words and words[0].startswith(needle):
            found.append(Process.of(pid))
    return found


async def _healthy(url: str) -> bool:
    timeout = aiohttp.ClientTimeout(total=2.0)
    try:
        # Those ports have self-signed certificates, and nothing is sent to them.
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url, ssl=False) as answer,
        ):
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False
