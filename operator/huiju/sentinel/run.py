"""The sentinel as a process: what it serves, its parts, and an orderly end.

Decides what ends the process. Invariants: guards get an answer as long as the process lives,
whatever its API server does; the port that guards reach tells the lease and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from contextlib import AsyncExitStack

import msgspec
from aiohttp import web

from huiju.centers.lease import LEASE_PATH
from huiju.kube.client import Client
from huiju.kube.credentials import Credentials
from huiju.sentinel.asker import Asker
from huiju.sentinel.settings import SentinelSettings
from huiju.sentinel.warden import Warden
from huiju.telemetry.health import application, serving
from huiju.telemetry.sentinel import SentinelMetrics

log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode


class Sentinel:
    """One center's sentinel; `run` returns only by cancellation or a bug."""

    def __init__(self, client: Client, settings: SentinelSettings) -> None:
        self.metrics = SentinelMetrics(lambda: self.asker.remaining())
        self.asker = Asker(client, settings, self.metrics)
        self.warden = Warden(client, self.asker, self.metrics, settings.retry)
        self.lease_port = 0
        """Where guards are answered; 0 before it serves."""
        self.health_port = 0
        self._settings = settings

    def unready(self) -> str:
        """Why asks are not written or workloads not followed, empty if all is well.

        A lease that ran out is no reason: guards must hear of that, too.
        """
        return self.asker.trouble or self.warden.trouble

    async def run(self) -> None:
        """Serve, ask and watch over workloads."""
        settings = self._settings
        async with AsyncExitStack() as stack:
            pages = application(lambda: "", self.unready, self.metrics)
            self.health_port = await stack.enter_async_context(
                serving(pages, settings.bind, settings.health_port)
            )
            self.lease_port = await stack.enter_async_context(
                serving(self._answers(), settings.bind, settings.lease_port)
            )
            log.info(
                "serving",
                extra={"lease_port": self.lease_port, "health_port": self.health_port},
            )
            async with asyncio.TaskGroup() as group:
                group.create_task(self.asker.run(), name="asker")
                group.create_task(self.warden.run(), name="warden")

    def _answers(self) -> web.Application:
        async def answer(_request: web.Request) -> web.Response:
            return web.Response(
                body=_encode(self.asker.answer()),
                content_type="application/json",
                headers={"Cache-Control": "no-store"},
            )

        app = web.Application(client_max_size=1024)
        app.router.add_get(LEASE_PATH, answer)
        return app


async def run_sentinel(credentials: Credentials, settings: SentinelSettings) -> int:
    """Run the center's sentinel until a signal; returns the exit code."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with Client(credentials, name="center") as client:
        tasks = {
            asyncio.create_task(stop.wait(), name="signal"),
            asyncio.create_task(Sentinel(client, settings).run(), name="sentinel"),
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
    return 0
