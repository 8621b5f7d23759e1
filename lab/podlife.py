"""One pod's life as its kubelet leads it: the steps, the gate, the probes, the end.

Decides order and times by Kubernetes' rules for `restartPolicy: Never` with sidecars: init
containers one after the other, a sidecar counts as started once its startup probe succeeded, main
containers together; then the sidecars end, last one first. Invariants: all of it goes on without an
API server; no process of a pod outlives its life; the record holds a start before main containers
start and an end after they ended.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from huiju.api.durations import parse_duration
from huiju.guard import terms
from lab import fates
from lab.played import Container, KubeDict, environment, stamp
from lab.runrecord import START, STOP, Record, Who

_PAYLOAD: Final = Path(__file__).with_name("payload.py")
_PAUSE: Final = 1.0
_TOLD: Final = {
    fates.RUN_FOR: "LAB_RUN_FOR",
    fates.PREFIX + "term-seconds": "LAB_TERM_SECONDS",
    fates.PREFIX + "save-every": "LAB_SAVE_EVERY",
    fates.PREFIX + "hang-after": "LAB_HANG_AFTER",
}
_TOLD_VERBATIM: Final = {
    fates.EXIT_CODE: "LAB_EXIT_CODE",
    fates.PREFIX + "term-code": "LAB_TERM_CODE",
    fates.PREFIX + "progress-file": "LAB_PROGRESS_FILE",
}


@dataclass(frozen=True, slots=True)
class Node:
    """What a pod's life needs of its machine."""

    cluster: str
    folder: Path
    """Where pods have what is theirs."""
    sentinel: str
    """Where guards ask, in place of the name that only a cluster's DNS knows; empty: as told."""
    record: Record


class PodLife:
    """From the start to the last status; `changed` is called when there is a new status."""

    def __init__(
        self, pod: KubeDict, pod_ip: str, node: Node, changed: Callable[[PodLife], None]
    ) -> None:
        meta = pod["metadata"]
        labels = meta.get("labels") or {}
        self.pod = pod
        self.over = False
        self._ip = pod_ip
        self._node = node
        self._changed = changed
        self._folder = node.folder / meta["uid"]
        self._folder.mkdir(parents=True, exist_ok=True)
        self._given = self._volumes()
        self._began = stamp()
        self._phase = "Pending"
        self._stopping = asyncio.Event()
        self._grace = float(pod["spec"].get("terminationGracePeriodSeconds", 30))
        self._who = Who(
            cluster=node.cluster,
            namespace=meta["namespace"],
            pod=meta["name"],
            uid=meta["uid"],
            node=pod["spec"].get("nodeName", ""),
            job_uid=labels.get("huiju.dev/job-uid", ""),
            epoch=int(labels.get("huiju.dev/epoch", 0)),
        )
        spec = pod["spec"]
        self._init = [self._container(one) for one in spec.get("initContainers") or ()]
        self._main = [self._container(one) for one in spec["containers"]]

    # --- what it is made of --------------------------------------------------------------------

    def _volumes(self) -> dict[str, KubeDict]:
        return {one["name"]: one for one in self.pod["spec"].get("volumes") or ()}

    def _place(self, mount: KubeDict) -> Path:
        volume = self._given.get(mount["name"]) or {}
        of_node = (volume.get("hostPath") or {}).get("path")
        base = Path(of_node) if of_node else self._folder / "volumes" / mount["name"]
        place: Path = base / (mount.get("subPath") or "")
        place.mkdir(parents=True, exist_ok=True)
        return place

    def _container(self, spec: KubeDict) -> Container:
        places = {
            one["mountPath"].rstrip("/"): self._place(one)
            for one in spec.get("volumeMounts") or ()
            if one["mountPath"] != "/dev/shm"  # noqa: S108  nothing of it is a variable
        }
        variables = environment(spec, self.pod, self._ip, places)
        if self._node.sentinel and variables.get(terms.SENTINEL, terms.NO_LEASE) != terms.NO_LEASE:
            variables[terms.SENTINEL] = self._node.sentinel
        if spec["name"] in (terms.GUARD, terms.PREPARE):
            command = [sys.executable, "-m", "huiju", *spec["args"]]
        else:
            command = [sys.executable, "-I", "-S", str(_PAYLOAD)]
            variables |= self._told(places)
        made = Container(spec, command, variables, self._folder, self._note)
        if spec["name"] == terms.GUARD:
            made.tell(terms.LAST_WORDS, str(made.words))
        return made

    def _told(self, places: Mapping[str, Path]) -> dict[str, str]:
        """What the pod's annotations ask of the program."""
        notes = self.pod["metadata"].get("annotations") or {}
        found = {
            name: f"{parse_duration(notes[key])}" for key, name in _TOLD.items() if key in notes
        }
        found |= {name: notes[key] for key, name in _TOLD_VERBATIM.items() if key in notes}
        progress = found.get("LAB_PROGRESS_FILE", "")
        for mount, place in places.items():
            if progress.startswith(f"{mount}/"):
                found["LAB_PROGRESS_FILE"] = str(place) + progress[len(mount) :]
        return found

    def _note(self, event: str, **more: Any) -> None:
        self._node.record.note(event, self._who, **more)

    # --- its life ------------------------------------------------------------------------------

    def stop(self, grace: float | None = None) -> None:
        """The pod was deleted, or its node is drained: end it within the grace period."""
        if grace is not None:
            self._grace = min(self._grace, grace)
        self._stopping.set()

    async def live(self) -> None:
        """Lead it to its end; cancelled, it ends at once, as by a power cut."""
        sidecars: list[asyncio.Task[None]] = []
        try:
            if await self._begin(sidecars):
                await self._run()
            await self._end_sidecars(sidecars)
        finally:
            for task in sidecars:
                task.cancel()
            for container in (*self._init, *self._main):
                container.kill()
            await asyncio.gather(*sidecars, return_exceptions=True)
            for container in (*self._init, *self._main):
                await container.wait()
            self.over = True
            self._phase = self._last_phase()
            self._changed(self)

    async def _begin(self, sidecars: list[asyncio.Task[None]]) -> bool:
        """The init containers in order; False where the pod ends before its main containers."""
        for container in self._init:
            if container.spec.get("restartPolicy") == "Always":
                sidecars.append(asyncio.create_task(self._sidecar(container)))
                going = self._started(container)
            else:
                await container.start()
                going = _succeeded(container)
            self._changed(self)
            if not await self._unless_stopped(going, container):
                return False
        return True

    async def _started(self, container: Container) -> bool:
        # Startup probes of a sidecar restart it when they give up: it is asked on and on.
        while not await container.probed("startupProbe", self._ip, until_success=True):
            await asyncio.sleep(_PAUSE)
        container.ready = True
        return True

    async def _unless_stopped(self, going: Any, container: Container) -> bool:
        work = asyncio.ensure_future(going)
        stopped = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return bool(work.result())
            if container.spec.get("restartPolicy") != "Always":
                await container.stop(self._grace)
            return False
        finally:
            for task in (work, stopped):
                task.cancel()
            await asyncio.gather(work, stopped, return_exceptions=True)

    async def _sidecar(self, container: Container) -> None:
        """Keep it running: a sidecar that ends is started again."""
        while True:
            await container.start()
            await container.wait()
            await asyncio.sleep(_PAUSE)
            container.restarts += 1

    async def _run(self) -> None:
        self._note(START)
        try:
            for container in self._main:
                await container.start()
                container.ready = True
            self._phase = "Running"
            self._changed(self)
            async with asyncio.TaskGroup() as group:
                for container in self._main:
                    group.create_task(self._watch(container))
        finally:
            for container in self._main:
                container.kill()
            for container in self._main:
                await container.wait()
            self._note(STOP, codes=[(await one.wait()) for one in self._main])

    async def _watch(self, container: Container) -> None:
        """Until it has ended, by itself, by its probe or by the pod's end."""
        ended = asyncio.create_task(container.wait())
        refused = asyncio.create_task(self._refused(container))
        stopped = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({ended, refused, stopped}, return_when=asyncio.FIRST_COMPLETED)
            await container.stop(self._grace)
            await ended
        finally:
            for task in (ended, refused, stopped):
                task.cancel()
            await asyncio.gather(ended, refused, stopped, return_exceptions=True)

    async def _refused(self, container: Container) -> None:
        """Returns when the liveness probe has given the container up."""
        if container.spec.get("livenessProbe") is None:
            await asyncio.Event().wait()
        await container.probed("livenessProbe", self._ip, until_success=False)

    async def _end_sidecars(self, tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for container in reversed(self._init):
            with suppress(ProcessLookupError):
                await container.stop(self._grace)

    # --- its status ----------------------------------------------------------------------------

    def _last_phase(self) -> str:
        states = [one.status()["state"].get("terminated") for one in self._main]
        good = all(state is not None and state["exitCode"] == 0 for state in states)
        return "Succeeded" if good else "Failed"

    def status(self) -> KubeDict:
        """The pod's status as its kubelet reports it."""
        ready = "True" if self._phase == "Running" else "False"
        kinds = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady")
        return {
            "phase": self._phase,
            "startTime": self._began,
            "hostIP": "127.0.0.1",
            "podIP": self._ip,
            "podIPs": [{"ip": self._ip}],
            "conditions": [
                {"type": kind, "status": ready, "lastTransitionTime": stamp()} for kind in kinds
            ],
            "initContainerStatuses": [one.status() for one in self._init],
            "containerStatuses": [one.status() for one in self._main],
        }


async def _succeeded(container: Container) -> bool:
    return await container.wait() == 0
