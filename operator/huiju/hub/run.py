"""The hub as a process: credentials, election, health, and an orderly end.

Decides when the parts of a hub may run (while it leads) and what ends the process. Invariant: after
the Lease is lost nothing of this process acts any more; it exits and starts afresh, so that no
state from before the loss is ever used.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress

from huiju.hub.hub import Hub
from huiju.hub.settings import HubSettings
from huiju.kube.client import Client
from huiju.kube.credentials import Credentials
from huiju.kube.errors import KubeError
from huiju.kube.leading import LeaderClient
from huiju.kube.lease import ElectionSettings, Elector
from huiju.kube.resources import NAMESPACES
from huiju.telemetry.health import application, serving
from huiju.telemetry.metrics import HubMetrics

log = logging.getLogger(__name__)
Extra = Callable[[Hub], Awaitable[None]]
"""Something that runs beside a leading hub until cancelled, such as the view API."""

EXIT_OK = 0
EXIT_LOST_LEASE = 3


class Leadership:
    """Whether this process leads; without an election it always does."""

    def __init__(self, credentials: Callable[[], Credentials], settings: HubSettings) -> None:
        self.gained = asyncio.Event()
        self.lost = asyncio.Event()
        self._elector: Elector | None = None
        if not settings.leader_election:
            self.gained.set()
            return
        loop = asyncio.get_running_loop()
        lease = settings.lease
        self._elector = Elector(
            lambda: Client(credentials(), name="lease"),
            ElectionSettings(
                name=lease.name,
                namespace=lease.namespace,
                identity=f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}",
                duration=lease.duration,
                renew=lease.renew,
                retry=lease.retry,
            ),
            on_gained=lambda: _tell(loop, self.gained),
            on_lost=lambda: _tell(loop, self.lost),
        )

    def held(self) -> bool:
        """Whether this process may write now."""
        return self._elector is None or self._elector.held()

    async def __aenter__(self) -> Leadership:
        if self._elector is not None:
            self._elector.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._elector is not None:
            await asyncio.to_thread(self._elector.stop)


def _tell(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    with suppress(RuntimeError):  # the loop ended first: nobody is left to be told
        loop.call_soon_threadsafe(event.set)


async def run_hub(
    credentials: Callable[[], Credentials], settings: HubSettings, extras: Sequence[Extra] = ()
) -> int:
    """Run one hub until a signal (0) or the loss of the Lease (3); returns the exit code."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    process = _Process(credentials, settings)
    async with AsyncExitStack() as stack:
        page = application(lambda: "", process.unready, process.metrics)
        port = await stack.enter_async_context(serving(page, settings.bind, settings.health_port))
        log.info("health and metrics", extra={"address": f"http://{settings.bind}:{port}"})
        leadership = await stack.enter_async_context(Leadership(credentials, settings))
        tasks = {
            asyncio.create_task(stop.wait(), name="signal"),
            asyncio.create_task(leadership.lost.wait(), name="lease"),
            asyncio.create_task(process.lead(leadership, extras), name="hub"),
        }
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result
    if stop.is_set() or not any(task.get_name() == "lease" for task in done):
        return EXIT_OK
    log.error("the Lease was lost: leaving")
    return EXIT_LOST_LEASE


class _Process:
    """What lives as long as the process."""

    def __init__(self, credentials: Callable[[], Credentials], settings: HubSettings) -> None:
        self.metrics = HubMetrics()
        self._credentials = credentials
        self._settings = settings
        self._leads = False
        self._hub: Hub | None = None

    def unready(self) -> str:
        """Why the process is not ready; a standby that waits for the Lease is."""
        if self._leads and (self._hub is None or not self._hub.synced):
            return "leading, but jobs, queues or centers are not all read yet"
        return ""

    async def lead(self, leadership: Leadership, extras: Sequence[Extra]) -> None:
        """Wait for the Lease, then run the hub."""
        await leadership.gained.wait()
        self._leads = True
        client = LeaderClient(
            self._credentials(),
            name="hub",
            held=leadership.held,
            observer=self.metrics.observer("hub"),
        )
        async with client:
            hub = Hub(
                client,
                await _hub_id(client),
                self._credentials,
                self._settings,
                self.metrics,
                leadership.held,
                self.metrics.observer,
            )
            self._hub = hub
            async with asyncio.TaskGroup() as group:
                group.create_task(hub.run(), name="hub parts")
                for extra in extras:
                    group.create_task(_run_extra(extra, hub))


async def _run_extra(extra: Extra, hub: Hub) -> None:
    await extra(hub)


async def _hub_id(client: Client) -> str:
    """Eight hex digits that tell this hub from all others, the same after each restart."""
    while True:
        try:
            namespace = await client.get(NAMESPACES, "kube-system")
        except (KubeError, TimeoutError) as error:
            log.warning("the hub's API server does not answer", extra={"error": str(error)})
            await asyncio.sleep(2)
            continue
        return str(namespace["metadata"]["uid"]).replace("-", "")[:8]
