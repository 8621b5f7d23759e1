"""The agent as a process: election in the center, health, and an orderly end.

Decides when the parts may run (while this process holds the center's Lease) and what ends the
process. Invariant: one agent per center acts; another one waits, and one that lost the Lease exits.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import uuid
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress

from huiju.agent.agent import Agent
from huiju.agent.credentials import HubIdentity
from huiju.agent.settings import AgentSettings
from huiju.kube.client import Client
from huiju.kube.credentials import Credentials
from huiju.kube.leading import LeaderClient
from huiju.kube.lease import ElectionSettings, Elector
from huiju.telemetry.health import application, serving
from huiju.telemetry.metrics import CENTER, OWN, HubMetrics

log = logging.getLogger(__name__)
LEASE = "huiju-agent"
_LIVES_SECONDS = 5.0
EXIT_OK = 0
EXIT_LOST_LEASE = 3


class AgentProcess:
    """What lives as long as the process."""

    def __init__(
        self,
        identity_on_hub: Callable[[Client], HubIdentity],
        center: Credentials,
        settings: AgentSettings,
    ) -> None:
        self.metrics = HubMetrics()
        self.agent: Agent | None = None
        self.gained = asyncio.Event()
        self.lost = asyncio.Event()
        self.identity = f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"
        self._identity_on_hub = identity_on_hub
        self._center = center
        self._settings = settings
        self._elector: Elector | None = None

    def unready(self) -> str:
        """Why the process is not ready; one that waits for the Lease is."""
        return self.agent.trouble if self.agent is not None else ""

    def held(self) -> bool:
        """Whether this process may write now."""
        return self._elector is None or self._elector.held()

    async def run(self) -> None:
        """Wait for the center's Lease, then be its agent until cancelled or the Lease is lost."""
        try:
            self._stand()
            await self.gained.wait()
            observer = self.metrics.observer
            async with LeaderClient(
                self._center, name="center", held=self.held, observer=observer("center")
            ) as center:
                on_hub = self._identity_on_hub(center)
                async with LeaderClient(
                    on_hub.credentials, name="hub", held=self.held, observer=observer("hub")
                ) as hub:
                    self.agent = Agent(hub, center, self.identity, self._settings)
                    async with asyncio.TaskGroup() as group:
                        group.create_task(on_hub.run(), name="credential")
                        group.create_task(self.agent.run(), name="agent")
                        group.create_task(self._show_lives(hub, center), name="lives")
        finally:
            if self._elector is not None:
                await asyncio.to_thread(self._elector.stop)

    async def _show_lives(self, hub: Client, center: Client) -> None:
        """Keep the metrics in step with credentials that are renewed now and then."""
        while True:
            self.metrics.credentials({OWN: hub.life, CENTER: center.life})
            await asyncio.sleep(_LIVES_SECONDS)

    def _stand(self) -> None:
        if not self._settings.leader_election:
            self.gained.set()
            return
        loop = asyncio.get_running_loop()
        self._elector = Elector(
            lambda: Client(self._center, name="lease"),
            ElectionSettings(
                name=LEASE, namespace=self._settings.namespace, identity=self.identity
            ),
            on_gained=lambda: _tell(loop, self.gained),
            on_lost=lambda: _tell(loop, self.lost),
        )
        self._elector.start()


def _tell(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    with suppress(RuntimeError):  # the loop ended first: nobody is left to be told
        loop.call_soon_threadsafe(event.set)


async def run_agent(
    identity_on_hub: Callable[[Client], HubIdentity], center: Credentials, settings: AgentSettings
) -> int:
    """Run one agent until a signal (0) or the loss of the Lease (3); returns the exit code."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    process = AgentProcess(identity_on_hub, center, settings)
    async with AsyncExitStack() as stack:
        page = application(lambda: "", process.unready, process.metrics)
        port = await stack.enter_async_context(serving(page, settings.bind, settings.health_port))
        log.info("health and metrics", extra={"address": f"http://{settings.bind}:{port}"})
        tasks = {
            asyncio.create_task(stop.wait(), name="signal"),
            asyncio.create_task(process.lost.wait(), name="lease"),
            asyncio.create_task(process.run(), name="agent"),
        }
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result
    if process.lost.is_set() and not stop.is_set():
        log.error("the Lease was lost: leaving")
        return EXIT_LOST_LEASE
    return EXIT_OK
