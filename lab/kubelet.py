"""Plays the kubelet for the pods of a cluster that ask for it, with real processes.

kwok's pods have no containers. A pod with the annotation `lab.huiju.dev/played: "true"` has: its
guard and its first step are Huiju's own programs, and a small program works in place of the main
container. Decides which pods are played and when their statuses are written. Invariants: nothing
waits for the API server but the writing of statuses; when this process dies, all that it runs dies.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from zlib import crc32

import msgspec

from huiju.centers.objects import Meta
from huiju.guard.terms import PORT
from huiju.kube import kubeconfig as kubeconfigs
from huiju.kube.client import Client, ClientSettings
from huiju.kube.errors import Conflict, KubeError, NotFound
from huiju.kube.informer import Informer
from huiju.kube.resources import PODS
from lab import fates
from lab.played import stamp
from lab.podlife import Node, PodLife
from lab.runrecord import Record

log = logging.getLogger(__name__)
_RETRY: Final = 0.5
_DEADLINE: Final = 3.0
"""Seconds for one call: after a partition the next try should not be long in coming."""


class _Pod(msgspec.Struct):
    """A pod: its metadata to follow it by, the rest as it came."""

    metadata: Meta
    spec: dict[str, Any]
    status: dict[str, Any] = {}


class Kubelet:
    """The played pods of one cluster."""

    def __init__(self, client: Client, node: Node) -> None:
        self._client = client
        self._node = node
        self._lives: dict[str, PodLife] = {}
        self._dirty: dict[str, PodLife | _Pod] = {}
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._count = crc32(str(node.folder).encode()) % 2**14
        self._pods = Informer(client, PODS, _Pod, on_change=self._seen)

    async def run(self) -> None:
        """Play until cancelled; then everything ends at once."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pods.run())
                group.create_task(self._report())
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- following -----------------------------------------------------------------------------

    def _seen(self, old: _Pod | None, new: _Pod | None) -> None:
        if new is None:
            life = self._lives.pop(old.metadata.uid, None) if old is not None else None
            if life is not None:
                life.stop(0.0)
            return
        if fates.PLAYED not in (new.metadata.annotations or {}) or not new.spec.get("nodeName"):
            return
        life = self._lives.get(new.metadata.uid)
        if life is None:
            self._first(new)
        elif new.metadata.deletion_timestamp:
            life.stop()
            self._again(life)

    def _first(self, pod: _Pod) -> None:
        phase = pod.status.get("phase", "Pending")
        if phase == "Pending" and not pod.metadata.deletion_timestamp:
            body = msgspec.to_builtins(pod)
            life = PodLife(body, self._address(), self._node, self._again)
            self._lives[pod.metadata.uid] = life
            task = asyncio.create_task(life.live())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif phase not in ("Succeeded", "Failed") or pod.metadata.deletion_timestamp:
            # An earlier kubelet ran it, and all that it ran died with it.
            self._dirty[pod.metadata.uid] = pod
            self._wake.set()

    def _address(self) -> str:
        """An address of this machine's own that no other pod's guard has."""
        while True:
            self._count += 1
            address = f"127.{64 + self._count // 2**14 % 128}.{self._count // 250 % 250}"
            address = f"{address}.{1 + self._count % 250}"
            with socket.socket() as probe:
                try:
                    probe.bind((address, PORT))
                except OSError:
                    continue
            return address

    # --- reporting -----------------------------------------------------------------------------

    def _again(self, life: PodLife) -> None:
        self._dirty[life.pod["metadata"]["uid"]] = life
        self._wake.set()

    async def _report(self) -> None:
        """Write what changed; what could not be written is tried again."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._dirty:
                uid, what = next(iter(self._dirty.items()))
                del self._dirty[uid]
                try:
                    await self._write(what)
                except (NotFound, Conflict):
                    continue  # it is gone, or another has its name
                except (KubeError, TimeoutError) as error:
                    log.info("status not written: %s", error)
                    self._dirty.setdefault(uid, what)
                    await asyncio.sleep(_RETRY)

    async def _write(self, what: PodLife | _Pod) -> None:
        if isinstance(what, _Pod):
            meta, status, over = what.metadata, _lost(what), True
        else:
            found = what.pod["metadata"]
            meta = msgspec.convert(found, Meta)
            status, over = what.status(), what.over
        await self._client.patch_status(PODS, meta.name, meta.namespace, status, uid=meta.uid)
        present = self._pods.store.get(f"{meta.namespace}/{meta.name}")
        if over and present is not None and present.metadata.deletion_timestamp:
            await self._client.delete(PODS, meta.name, meta.namespace, uid=meta.uid, grace=0)


def _lost(pod: _Pod) -> dict[str, Any]:
    """The end of a pod whose kubelet died: what became of its containers nobody saw."""
    ended = {
        "exitCode": 137,
        "reason": "ContainerStatusUnknown",
        "message": "The container could not be located when the pod was terminated",
        "startedAt": pod.status.get("startTime") or stamp(),
        "finishedAt": stamp(),
    }
    return {
        "phase": "Failed",
        "containerStatuses": [
            {
                "name": one["name"],
                "image": one.get("image", ""),
                "imageID": "",
                "ready": False,
                "restartCount": 0,
                "state": {"terminated": ended},
            }
            for one in pod.spec["containers"]
        ],
    }


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m lab.kubelet", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--cluster", required=True, help="its name, as the record shows it")
    parser.add_argument("--record", type=Path, required=True, help="file of what ran when")
    parser.add_argument("--folder", type=Path, required=True, help="where pods have their logs")
    parser.add_argument("--sentinel", default="", metavar="URL", help="where guards ask")
    return parser.parse_args(argv)


async def _main(arguments: argparse.Namespace) -> None:
    node = Node(
        cluster=arguments.cluster,
        folder=arguments.folder,
        sentinel=arguments.sentinel,
        record=Record(arguments.record),
    )
    credentials = kubeconfigs.from_kubeconfig(arguments.kubeconfig)
    settings = ClientSettings(deadline=_DEADLINE)
    async with Client(credentials, name=arguments.cluster, settings=settings) as client:
        kubelet = asyncio.create_task(Kubelet(client, node).run())
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, kubelet.cancel)
        try:
            await kubelet
        except asyncio.CancelledError:
            return


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    asyncio.run(_main(_arguments(sys.argv[1:])))
