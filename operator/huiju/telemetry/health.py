"""`/healthz`, `/readyz` and `/metrics` over plain HTTP, on the loopback unless told otherwise.

Decides nothing; asks the two functions that it was given. Invariant: a check that does not answer

"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Protocol

from aiohttp import web

from huiju.telemetry.metrics import CONTENT_TYPE

Check = Callable[[], str]
"""Returns what is wrong, or the empty string."""


class Exposed(Protocol):
    """Metrics of a program."""

    def exposition(self) -> bytes:
        """All of them in Prometheus' text format."""


def application(healthy: Check, ready: Check, metrics: Exposed) -> web.Application:
    """The three pages."""

    def page(check: Check) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(_request: web.Request) -> web.Response:
            trouble = check()
            return web.Response(status=503 if trouble else 200, text=(trouble or "ok") + "\n")

        return answer

    async def exposition(_request: web.Request) -> web.Response:
        return web.Response(
            body=metrics.exposition(),
            headers={"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"},
        )

    app = web.Application()
    app.router.add_get("/healthz", page(healthy))
    app.router.add_get("/readyz", page(ready))
    app.router.add_get("/metrics", exposition)
    return app


@asynccontextmanager
async def serving(app: web.Application, host: str, port: int) -> AsyncIterator[int]:
    """Serve while the context lasts; yields the port (of use where 0 was asked for)."""
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
