"""The agent, put together: one center, one mailbox.

Decides nothing about jobs; it wires the parts. Invariant: nothing is made before everything that
the center holds was read, and work goes on while the hub is away: what was missed is reported when
it answers again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
from pydantic import ValidationError

from huiju.agent.datasets import run_datasets
from huiju.agent.owner import Owner
from huiju.agent.publisher import Publisher
from huiju.agent.relay import Relay
from huiju.agent.settings import AgentSettings
from huiju.agent.worker import Worker
from huiju.api.center import ComputeCenterSpec
from huiju.centers.mailbox import CENTER_UID, CENTER_VERSION, LEASE, PUBLISHED, mailbox_of
from huiju.centers.objects import Meta
from huiju.centers.observe import Observation
from huiju.centers.sensor import Sensor
from huiju.centers.syncer import Syncer
from huiju.kube.client import Client
from huiju.kube.errors import Forbidden, KubeError, NotFound, Unauthorized
from huiju.kube.informer import Informer
from huiju.kube.resources import COMPUTE_CENTERS, LEASES, NAMESPACES

log = logging.getLogger(__name__)
T = TypeVar("T")


class _CenterObject(msgspec.Struct, gc=False):
    """The center's own ComputeCenter on the hub."""

    metadata: Meta
    spec: dict[str, Any] = {}


class Agent:
    """One agent between a hub and a center; `run` ends only by cancellation or a bug."""

    def __init__(self, hub: Client, center: Client, identity: str, settings: AgentSettings) -> None:
        self.trouble = "starting"
        """Why the agent is not at work, empty if it is."""
        self._hub = hub
        self._center = center
        self._identity = identity
        self._settings = settings
        self._at_work = False
        """Whether an agent that moves data alone does so."""
        self._waits = ""
        """What the first questions still wait for."""
        self._owner: Owner | None = None
        self._worker: Worker | None = None
        self._publisher: Publisher | None = None
        self._spec: ComputeCenterSpec | None = None
        self._respecced = asyncio.Event()
        """The hub says something else of the center's accelerators."""
        self._relay = Relay(hub, mailbox_of(settings.center), center, settings.namespace, identity)
        self._spec_informer = Informer(
            hub,
            COMPUTE_CENTERS,
            _CenterObject,
            fields=f"metadata.name={settings.center}",
            on_change=self._center_changed,
        )

    async def run(self) -> None:
        """Meet the hub and the center, then work until cancelled."""
        uid = await self._until(_uid_of, self._center)
        version = str((await self._until(Client.version, self._center)).get("gitVersion", ""))
        async with asyncio.TaskGroup() as group:
            # From the start, so that a platform engineer sees who wants to be let in.
            group.create_task(self._present(uid, version))
            if not self._settings.data_only:
                group.create_task(self._relay.run(), name="relay")
            hub_id = (await self._until(_uid_of, self._hub)).replace("-", "")[:8]
            group.create_task(self._spec_informer.run())
            if self._settings.data:
                await self._spec_informer.synced.wait()
                moving = run_datasets(self._hub, self._center, lambda: self._spec, self._settings)
                group.create_task(moving, name="datasets")
            if self._settings.data_only:
                self._at_work = True
                return
            while True:
                await self._respecced.wait()
                self._respecced.clear()
                if self._spec is not None:
                    await self._serve(hub_id, self._spec)

    async def _serve(self, hub_id: str, spec: ComputeCenterSpec) -> None:
        """Work until the hub says something else of the center."""
        parts = asyncio.create_task(self._run_parts(hub_id, spec), name="parts")
        anew = asyncio.create_task(self._respecced.wait())
        try:
            await asyncio.wait({parts, anew}, return_when=asyncio.FIRST_COMPLETED)
            if parts.done():
                parts.result()
        finally:
            self._publisher = self._worker = None
            for task in (parts, anew):
                task.cancel()
            await asyncio.gather(parts, anew, return_exceptions=True)

    async def _run_parts(self, hub_id: str, spec: ComputeCenterSpec) -> None:
        sensor = Sensor(self._center, spec, self._inventory_changed)
        syncer = Syncer(self._center, hub_id, self._observed, sensor.ailing)
        self._owner = owner = Owner(
            self._center,
            self._settings.namespace,
            hub_id,
            sensor.inventory.census,
            syncer.observations_of,
        )
        self._worker = worker = Worker(self._hub, syncer, owner, hub_id, self._settings)
        async with asyncio.TaskGroup() as group:
            group.create_task(sensor.run())
            group.create_task(syncer.run())
            group.create_task(owner.run())
            await sensor.synced.wait()
            await syncer.synced.wait()
            await owner.synced.wait()
            group.create_task(worker.run())
            # What is stray can be told only once the mailbox was read.
            await worker.synced.wait()
            self._publisher = publisher = Publisher(
                self._hub, sensor.inventory, syncer, worker.known, self._settings
            )
            group.create_task(publisher.run())

    def _center_changed(self, _old: _CenterObject | None, new: _CenterObject | None) -> None:
        if new is None:
            return  # what runs goes on; the hub writes nothing more into the mailbox
        try:
            spec = ComputeCenterSpec.model_validate(new.spec)
        except ValidationError as error:
            log.error("the hub's ComputeCenter is not understood: %s", error.errors()[0]["msg"])
            return
        if self._spec is None or spec.accelerators != self._spec.accelerators:
            self._respecced.set()
        self._spec = spec

    def _inventory_changed(self) -> None:
        if self._publisher is not None:
            self._publisher.wake.set()

    def _observed(self, observation: Observation) -> None:
        if self._worker is not None:
            self._worker.queue.add(observation.job_uid)
        self._inventory_changed()

    async def _present(self, uid: str, version: str) -> None:
        """Tell the hub that the agent is alive, for as long as it is."""
        while True:
            published = self._at_work or (
                self._publisher is not None and self._publisher.published.is_set()
            )
            try:
                await self._say(uid, version, "true" if published else "false")
                unpublished = "" if published else self._unpublished()
                policy = self._owner.trouble if self._owner is not None else ""
                self._well(self._waits or policy or unpublished)
            except (KubeError, TimeoutError) as error:
                self._well(self._explain(error))
            soon = min(self._settings.heartbeat, 0.5)
            await asyncio.sleep(self._settings.heartbeat if published else soon)

    def _unpublished(self) -> str:
        trouble = self._publisher.trouble if self._publisher is not None else ""
        return "the inventory is not published yet" + (f": {trouble}" if trouble else "")

    async def _say(self, uid: str, version: str, published: str) -> None:
        body = {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {
                "name": LEASE,
                "annotations": {CENTER_UID: uid, CENTER_VERSION: version, PUBLISHED: published},
            },
            "spec": {
                "holderIdentity": self._identity,
                "renewTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            },
        }
        space = mailbox_of(self._settings.center)
        try:
            await self._hub.patch(LEASES, LEASE, body, space)
        except NotFound:
            await self._hub.create(LEASES, body, space)

    async def _until(self, ask: Callable[[Client], Awaitable[T]], client: Client) -> T:
        """Ask until there is an answer."""
        while True:
            try:
                answer = await ask(client)
                self._waits = ""
                return answer
            except (KubeError, TimeoutError) as error:
                self._waits = self._explain(error)
                self._well(self._waits)
                await asyncio.sleep(self._settings.retry)

    def _explain(self, error: Exception) -> str:
        match error:
            case Unauthorized():
                return f"the credential is refused (wrong, expired or revoked): {error}"
            case Forbidden():
                return f"not allowed (not approved yet, or revoked): {error}"
            case NotFound():
                return (
                    f"the hub has no ComputeCenter {self._settings.center} or no namespace"
                    f" {mailbox_of(self._settings.center)}: {error}"
                )
            case _:
                return str(error) or type(error).__name__

    def _well(self, trouble: str) -> None:
        if trouble != self.trouble and trouble:
            log.warning("not at work: %s", trouble)
        elif trouble != self.trouble:
            log.info("at work")
        self.trouble = trouble


async def _uid_of(client: Client) -> str:
    return str((await client.get(NAMESPACES, "kube-system"))["metadata"]["uid"])
