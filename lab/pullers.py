"""Plays the kubelet for the pods that carry data sets: the real puller, its Secret, its log.

kwok's pods have no containers. The pods of pullers have here: Huiju's own program runs with the
pod's arguments, its Secret lies in a folder that is renewed as it changes, and API servers get its
log from an endpoint as kubelets have one. Decides where folders of a container are on this machine.
Invariants: the program sees what its pod mounts and nothing else; it ends with its pod.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
from aiohttp import web

from huiju.centers.objects import Meta
from huiju.kube.client import Client
from huiju.kube.errors import KubeError, NotFound
from huiju.kube.informer import Informer
from huiju.kube.resources import NODES, PODS, SECRETS
from lab.cluster import Cluster
from lab.fates import PULLER
from lab.played import stamp

_LOOK: Final = 0.05
KubeDict = dict[str, Any]


class _Object(msgspec.Struct):
    """A pod or a Secret."""

    metadata: Meta
    spec: KubeDict = {}
    status: KubeDict = {}
    data: dict[str, str] = {}


@dataclass(slots=True)
class Played:
    """One pod and its process."""

    pod: _Object
    folder: Path
    began: str = field(default_factory=stamp)
    process: asyncio.subprocess.Process | None = None
    over: bool = False

    @property
    def log(self) -> Path:
        """What it printed."""
        return self.folder / "log"

    @property
    def arguments(self) -> list[str]:
        """Of its program, as `ps` would show them."""
        words = list(self.pod.spec["containers"][0]["args"])
        return [str(self.folder / "order") if word == "/order" else word for word in words]


class Pullers:
    """The pods of one cluster's pullers; `root` is where the nodes' folders are on this machine."""

    def __init__(self, client: Client, folder: Path, root: Path) -> None:
        self.played: dict[str, Played] = {}
        """All that ever ran, by the pod's UID."""
        self._client = client
        self._folder = folder
        self._root = root
        self._port = 0
        self._nodes: dict[str, Any] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._pods = Informer(client, PODS, _Object, labels=PULLER, on_change=self._seen)
        self._secrets = Informer(
            client, SECRETS, _Object, labels=PULLER, on_change=self._secret_changed
        )

    # --- what tests ask ------------------------------------------------------------------------

    def running(self) -> list[Played]:
        """The pods whose program runs."""
        return [one for one in self.played.values() if one.process is not None and not one.over]

    def kill(self) -> int:
        """SIGKILL all programs; how many there were."""
        found = self.running()
        for one in found:
            if one.process is not None:
                with suppress(ProcessLookupError):
                    one.process.send_signal(signal.SIGKILL)
        return len(found)

    def said(self, event: str) -> list[KubeDict]:
        """All lines of an event, of all pods in the order of their start."""
        found = []
        for one in self.played.values():
            for line in one.log.read_text().splitlines() if one.log.exists() else ():
                with suppress(ValueError):
                    said = json.loads(line)
                    if said.get("event") == event:
                        found.append(said)
        return found

    # --- pods ------------------------------------------------------------------------------------

    async def run(self, port: int) -> None:
        """Play until cancelled; then every program ends at once."""
        self._port = port
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._secrets.run())
                await self._secrets.synced.wait()
                group.create_task(self._pods.run())
        finally:
            self.kill()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _seen(self, old: _Object | None, new: _Object | None) -> None:
        pod = new or old
        if pod is None:
            return
        known = self.played.get(pod.metadata.uid)
        if new is None or new.metadata.deletion_timestamp:
            if known is not None and known.process is not None and not known.over:
                with suppress(ProcessLookupError):
                    known.process.kill()
            if new is not None:
                self._spawn(self._forget(new))
        elif known is None and new.spec.get("nodeName") and new.status.get("phase") == "Pending":
            one = Played(new, self._folder / pod.metadata.uid)
            self.played[pod.metadata.uid] = one
            self._spawn(self._live(one))

    async def _forget(self, pod: _Object) -> None:
        with suppress(KubeError, TimeoutError):
            meta = pod.metadata
            await self._client.delete(PODS, meta.name, meta.namespace, uid=meta.uid, grace=0)

    async def _live(self, one: Played) -> None:
        await self._lead_logs_here(one.pod.spec["nodeName"])
        (one.folder / "order").mkdir(parents=True, exist_ok=True)
        while not self._bring(one):
            await asyncio.sleep(_LOOK)  # kubelets wait for the Secret too
        with one.log.open("ab") as log:
            one.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "huiju", *one.arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": os.environ.get("PATH", ""), "PYTHONUNBUFFERED": "1"},
            )
        await self._say(one, "Running", {"running": {"startedAt": one.began}})
        code = await one.process.wait()
        one.over = True
        code = 128 - code if code < 0 else code
        ended = {
            "exitCode": code,
            "reason": "Completed" if code == 0 else "Error",
            "startedAt": one.began,
            "finishedAt": stamp(),
        }
        await self._say(one, "Failed" if code else "Succeeded", {"terminated": ended})

    async def _say(self, one: Played, phase: str, state: KubeDict) -> None:
        container = one.pod.spec["containers"][0]
        status = {
            "phase": phase,
            "startTime": one.began,
            "hostIP": "127.0.0.1",
            "containerStatuses": [
                {
                    "name": container["name"],
                    "image": container["image"],
                    "imageID": "",
                    "ready": phase == "Running",
                    "restartCount": 0,
                    "state": state,
                }
            ],
        }
        meta = one.pod.metadata
        while True:
            try:
                await self._client.patch_status(
                    PODS, meta.name, meta.namespace, status, uid=meta.uid
                )
                return
            except NotFound:
                return
            except (KubeError, TimeoutError):
                await asyncio.sleep(0.2)

    # --- Secrets ---------------------------------------------------------------------------------

    def _secret_changed(self, _old: _Object | None, new: _Object | None) -> None:
        for one in self.running() if new is not None else ():
            self._bring(one)

    def _bring(self, one: Played) -> bool:
        """Have the folder hold what the Secret does, each file whole."""
        volumes = {volume["name"]: volume for volume in one.pod.spec["volumes"]}
        name = volumes["order"]["secret"]["secretName"]
        secret = self._secrets.store.get(f"{one.pod.metadata.namespace}/{name}")
        if secret is None:
            return False
        place = one.folder / "order"
        for key, value in secret.data.items():
            content = base64.b64decode(value)
            if key == "order.json":
                content = self._moved(content, volumes["store"])
            if not (place / key).exists() or (place / key).read_bytes() != content:
                half = place / f".{key}"
                half.write_bytes(content)
                half.replace(place / key)
        for file in place.iterdir():
            if file.name not in secret.data:
                file.unlink()
        return True

    def _moved(self, order: bytes, store: KubeDict) -> bytes:
        """The order with the store's folder on this machine in place of the container's."""
        told = json.loads(order)
        path = str(store["hostPath"]["path"])
        told["target"] = str(self._root) + path + told["target"].removeprefix("/store")
        return json.dumps(told).encode()

    # --- logs ------------------------------------------------------------------------------------

    async def _lead_logs_here(self, node: str) -> None:
        """Have API servers ask this endpoint for the logs of a node's pods."""
        if node in self._nodes:
            return
        found = await self._client.get(NODES, node)
        self._nodes[node] = found["status"].get("daemonEndpoints")
        await self._point(node, {"kubeletEndpoint": {"Port": self._port}})

    async def _point(self, node: str, where: Any) -> None:
        with suppress(NotFound):
            await self._client.patch_status(NODES, node, None, {"daemonEndpoints": where})

    async def restore(self) -> None:
        """Lead API servers back to where they asked before."""
        for node, where in self._nodes.items():
            await self._point(node, where)

    async def logs(self, request: web.Request) -> web.StreamResponse:
        """`/containerLogs/NAMESPACE/POD/CONTAINER`, as kubelets have it."""
        space, name = request.match_info["namespace"], request.match_info["pod"]
        one = next(
            (
                each
                for each in self.played.values()
                if (each.pod.metadata.namespace, each.pod.metadata.name) == (space, name)
            ),
            None,
        )
        if one is None:
            return web.Response(status=404, text="no such pod")
        response = web.StreamResponse()
        response.content_type = "text/plain"
        await response.prepare(request)
        at, follow = 0, request.query.get("follow") == "true"
        while True:
            over = one.over
            if one.log.exists():
                with one.log.open("rb") as file:
                    file.seek(at)
                    new = file.read()
                at += len(new)
                if new:
                    await response.write(new)
            if over or not follow:
                return response
            await asyncio.sleep(_LOOK)


@asynccontextmanager
async def pullers(cluster: Cluster, folder: Path, root: Path) -> AsyncIterator[Pullers]:
    """Play the pullers of a cluster until the context ends."""
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(await cluster.client())
        made = Pullers(client, folder, root)
        app = web.Application()
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", made.logs)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        pki = cluster.folder / "pki"
        context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        port = int(runner.addresses[0][1])
        task = asyncio.create_task(made.run(port))
        try:
            yield made
            if task.done():
                task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await made.restore()
