"""Listens to the pods of pullers: one stream of each pod's log, for as long as it speaks.

Decides which pods are listened to. Invariants: a stream that breaks is opened again, from a little
before; a pod that is gone is listened to no more; nothing of what is said is kept here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import aclosing
from typing import Any, Final, cast

import msgspec

from huiju.agent.pullerjob import CONTAINER, LABEL_REPLICA
from huiju.centers.objects import Condition, Meta
from huiju.kube.client import Client
from huiju.kube.errors import KubeError
from huiju.kube.informer import Informer
from huiju.kube.resources import PODS

log = logging.getLogger(__name__)
_AGAIN: Final = 1.0
"""Seconds until a stream that broke is opened again."""
_TAIL: Final = "500"
"""Lines that are read again then; what matters is said again each minute."""
_LONGEST_LINE: Final = 1 << 16


class _Waiting(msgspec.Struct, gc=False):
    reason: str = ""
    message: str = ""


class _State(msgspec.Struct, gc=False):
    waiting: _Waiting | None = None
    running: dict[str, Any] | None = None
    terminated: dict[str, Any] | None = None


class _Container(msgspec.Struct, gc=False):
    state: _State = msgspec.field(default_factory=_State)


class _Status(msgspec.Struct, rename="camel", gc=False):
    phase: str = "Pending"
    conditions: list[Condition] | None = None
    container_statuses: list[_Container] | None = None


class Pod(msgspec.Struct, gc=False):
    """A puller's pod."""

    metadata: Meta
    status: _Status = msgspec.field(default_factory=_Status)

    @property
    def replica(self) -> str:
        """UID of the replica that it copies."""
        return (self.metadata.labels or {}).get(LABEL_REPLICA, "")

    @property
    def speaks(self) -> bool:
        """Whether its container was started."""
        states = [each.state for each in self.status.container_statuses or ()]
        return any(s.running is not None or s.terminated is not None for s in states)

    @property
    def over(self) -> bool:
        """Whether it will say nothing more."""
        return self.status.phase in ("Succeeded", "Failed")


class Listener:
    """`said(replica, pod, line)` is called in the loop for each line, and must be quick."""

    def __init__(
        self,
        center: Client,
        namespace: str,
        said: Callable[[str, str, str], None],
        changed: Callable[[str], None],
    ) -> None:
        self._center = center
        self._namespace = namespace
        self._said = said
        self._changed = changed
        self._streams: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        """All that still run, those of pods that are gone among them."""
        self._pods = Informer(
            center, PODS, Pod, namespace=namespace, labels=LABEL_REPLICA, on_change=self._seen
        )

    async def run(self) -> None:
        """Listen until cancelled."""
        try:
            await self._pods.run()
        finally:
            streams = list(self._tasks)
            for task in streams:
                task.cancel()
            await asyncio.gather(*streams, return_exceptions=True)

    def pods_of(self, uid: str) -> list[Pod]:
        """The pods of a replica's pullers that are not over."""
        return [pod for pod in self._pods.store.values() if pod.replica == uid and not pod.over]

    def _seen(self, old: Pod | None, new: Pod | None) -> None:
        pod = new or old
        if pod is None:
            return
        self._changed(pod.replica)
        uid = pod.metadata.uid
        if new is None:
            task = self._streams.pop(uid, None)
            if task is not None:
                task.cancel()
        elif new.speaks and uid not in self._streams:
            task = asyncio.create_task(self._listen(new), name="puller's log")
            self._streams[uid] = task
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _listen(self, pod: Pod) -> None:
        """Read the log to its end; a pod that is over has one."""
        meta = pod.metadata
        while True:
            present = self._pods.store.get(f"{meta.namespace}/{meta.name}")
            if present is None or present.metadata.uid != meta.uid:
                return
            try:
                await self._read(pod)
                if present.over:
                    return
            except (KubeError, TimeoutError) as error:
                log.debug("log not read", extra={"pod": meta.name, "error": str(error)})
            await asyncio.sleep(_AGAIN)

    async def _read(self, pod: Pod) -> None:
        path = PODS.path(self._namespace, pod.metadata.name, "log")
        params = {"container": CONTAINER, "follow": "true", "tailLines": _TAIL}
        rest = b""
        chunks = self._center.stream(path, params)
        async with aclosing(cast(Any, chunks)):
            async for chunk in chunks:
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self._said(pod.replica, pod.metadata.uid, line.decode(errors="replace"))
                if len(rest) > _LONGEST_LINE:
                    rest = b""


def why_not_running(pods: Iterable[Pod]) -> str:
    """In the center's own words; empty where one runs, or where nothing is known."""
    for pod in pods:
        if pod.speaks:
            return ""
        for each in pod.status.container_statuses or ():
            if each.state.waiting is not None and each.state.waiting.reason:
                waiting = each.state.waiting
                return f"The puller's pod waits: {waiting.reason} {waiting.message}".strip()
        for condition in pod.status.conditions or ():
            if condition.type == "PodScheduled" and condition.status == "False":
                return f"The puller's pod waits: {condition.reason} {condition.message}".strip()
    return ""
