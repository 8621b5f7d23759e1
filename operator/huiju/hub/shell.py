"""Kopf, and nothing but Kopf: the low-volume kinds arrive here and leave as plain calls.

Runs Kopf in its own thread and event loop, since stopping a Kopf operator cancels every task of
its loop. Handlers only hand the object over; nothing is stored on the objects. Decides nothing.
Invariant: whatever happens in Kopf, the hub's own loop goes on; an unexpected end restarts Kopf.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, cast

import kopf

from huiju.api.meta import GROUP, VERSION
from huiju.kube.credentials import Credentials

log = logging.getLogger(__name__)

_CLOSING = 0.25
KINDS = ("computecenters", "computequeues", "datasetshares")
Handler = Callable[[str, str | None, Mapping[str, Any]], None]
"""(plural, event type, body); called in the hub's loop. Type None is the first listing."""


class _NullDiffBase(kopf.DiffBaseStorage):
    """Stores no copy of an object: the hub is level-based and compares with what it knows."""

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        return None


class _NullProgress(kopf.ProgressStorage):
    """Stores no progress: event handlers have none."""

    def fetch(self, *, key: Any, body: kopf.Body) -> Any:
        return None

    def store(self, *, key: Any, record: Any, body: kopf.Body, patch: kopf.Patch) -> None:
        return None

    def purge(self, *, key: Any, body: kopf.Body, patch: kopf.Patch) -> None:
        return None

    def touch(self, *, body: kopf.Body, patch: kopf.Patch, value: str | None) -> None:
        return None

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        return essence


def connection_info(credentials: Credentials) -> kopf.ConnectionInfo:
    """The hub's credentials as Kopf takes them."""

    def encoded(pem: bytes | str | None) -> str | None:
        if not pem:
            return None
        raw = pem.encode() if isinstance(pem, str) else pem
        return base64.b64encode(raw).decode()

    return kopf.ConnectionInfo(
        server=credentials.server,
        ca_data=encoded(credentials.ca_pem),
        certificate_data=encoded(credentials.client_cert_pem),
        private_key_data=encoded(credentials.client_key_pem),
        token=credentials.token,
    )


class Shell:
    """Kopf's thread: feeds the low-volume kinds to `handler` in the hub's loop."""

    def __init__(self, credentials: Callable[[], Credentials], handler: Handler) -> None:
        self._credentials = credentials
        self._handler = handler
        self._stop = threading.Event()
        self._ready = threading.Event()

    async def run(self) -> None:
        """Keep Kopf running until cancelled; restarts it when it ends by itself."""
        loop = asyncio.get_running_loop()
        pause = 1.0
        while True:
            ended = asyncio.Event()
            self._stop.clear()
            thread = threading.Thread(
                target=self._operate, args=(loop, ended), name="kopf", daemon=True
            )
            thread.start()
            try:
                await ended.wait()
            finally:
                self._stop.set()
                await asyncio.shield(asyncio.to_thread(thread.join, 10.0))
            log.error("kopf ended unexpectedly, restarting it", extra={"pause_s": pause})
            await asyncio.sleep(pause)
            pause = min(pause * 2, 30.0)

    def _operate(self, loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
        registry = self._registry(loop)
        settings = kopf.OperatorSettings()
        settings.persistence.diffbase_storage = _NullDiffBase()
        settings.persistence.progress_storage = _NullProgress()
        settings.posting.enabled = False
        settings.scanning.disabled = True
        settings.networking.error_backoffs = [0.5, 1, 2, 5]
        settings.networking.request_timeout = 30
        settings.watching.server_timeout = 300
        settings.watching.client_timeout = 330
        settings.watching.connect_timeout = 10
        settings.process.ultimate_exiting_timeout = 5
        try:
            asyncio.run(self._until_stopped(registry, settings))
        except Exception:
            # The thread's last line of defence: whatever broke Kopf is logged and Kopf restarted.
            log.exception("kopf failed")
        finally:
            if not loop.is_closed():
                loop.call_soon_threadsafe(ended.set)

    async def _until_stopped(
        self, registry: kopf.OperatorRegistry, settings: kopf.OperatorSettings
    ) -> None:
        await kopf.operator(
            registry=registry,
            settings=settings,
            # Else Kopf asks for the name of its user, and an image need not have any.
            identity=cast(Any, "huiju"),
            clusterwide=True,
            standalone=True,
            stop_flag=self._stop,
            ready_flag=self._ready,
        )
        # Kopf's connections end their TLS sessions in the next turns of the loop.
        await asyncio.sleep(_CLOSING)

    def _registry(self, loop: asyncio.AbstractEventLoop) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        @kopf.on.login(registry=registry)
        async def login(**_: Any) -> kopf.ConnectionInfo:
            return connection_info(self._credentials())

        for plural in KINDS:

            @kopf.on.event(GROUP, VERSION, plural, registry=registry)
            async def changed(
                type: str | None, body: kopf.Body, _plural: str = plural, **_: Any
            ) -> None:
                loop.call_soon_threadsafe(self._handler, _plural, type, dict(body))

        return registry
