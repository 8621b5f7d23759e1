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
from typing import TypeVar

from huiju.agent.publisher import Publisher
from huiju.agent.settings import AgentSettings
from huiju.agent.worker import Worker
from huiju.api.center import ComputeCenterSpec
from huiju.centers.mailbox import CENTER_UID, CENTER_VERSION, LEASE, PUBLISHED, mailbox_of
from huiju.centers.observe import Observation
from huiju.centers.sensor import Sensor
from huiju.centers.syncer import Syncer
from huiju.kube.client import Client
from huiju.kube.errors import Forbidden, KubeError, NotFound, Unauthorized
from huiju.kube.resources import COMPUTE_CENTERS, LEASES, NAMESPACES

log = logging.getLogger(__name__)
T = TypeVar("T")


class Agent:
    """One agent between a hub and a center; `run` ends only by cancellation or a bug."""

    def __init__(self, hub: Client, center: Client, identity: str, settings: AgentSettings) -> None:
        self.trouble = "starting"
        """Why the agent is not at work, empty if it is."""
        self._hub = hub
        self._center = center
        self._identity = identity
        self._settings = settings
        self._worker: Worker | None = None
        self._publisher: Publisher | None = None

    async def run(self) -> None:
        """Meet the hub and the center, then work until cancelled."""
        uid = await self._until(self._uid_of, self._center)
        hub_uid = await self._until(self._uid_of, self._hub)
        spec = await self._until(self._spec, self._hub)
        hub_id = hub_uid.replace("-", "")[:8]
        sensor = Sensor(self._center, spec, self._inventory_changed)
        syncer = Syncer(self._center, hub_id, self._observed)
        self._worker = worker = Worker(
            self._hub, syncer, self._settings.center, hub_id, self._settings.workers
        )
        self._publisher = publisher = Publisher(
            self._hub, sensor.inventory, syncer, worker.known, self._settings
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(sensor.run())
            group.create_task(syncer.run())
            await sensor.synced.wait()
            await syncer.synced.wait()
            version = (await self._until(lambda _: sensor.version(), self._center)).git_version
            group.create_task(self._present(uid, version))
            group.create_task(worker.run())
            # What is stray can be told only once the mailbox was read.
            await worker.synced.wait()
            group.create_task(publisher.run())

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
            published = self._publisher is not None and self._publisher.published.is_set()
            try:
                await self._say(uid, version, "true" if published else "false")
                self._well("" if published else "the inventory is not published yet")
            except (KubeError, TimeoutError) as error:
                self._well(self._explain(error))
            soon = min(self._settings.heartbeat, 0.5)
            await asyncio.sleep(self._settings.heartbeat if published else soon)

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
                return await ask(client)
            except (KubeError, TimeoutError) as error:
                self._well(self._explain(error))
                await asyncio.sleep(self._settings.retry)

    async def _uid_of(self, client: Client) -> str:
        return str((await client.get(NAMESPACES, "kube-system"))["metadata"]["uid"])

    async def _spec(self, hub: Client) -> ComputeCenterSpec:
        body = await hub.get(COMPUTE_CENTERS, self._settings.center)
        return ComputeCenterSpec.model_validate(body["spec"])

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
