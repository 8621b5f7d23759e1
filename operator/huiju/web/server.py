"""Keeps the view API served and registered: certificate, listener, Service and APIService.

Decides where it listens and what the API server is told. Invariants: trouble here never ends the
hub, it is logged and tried again; a changed front proxy or certificate is taken up while serving.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from huiju.kube.client import Client
from huiju.kube.errors import AlreadyExists, KubeError, NotFound
from huiju.kube.life import Life, life_of_certificate
from huiju.kube.resources import API_SERVICES, SERVICES
from huiju.web.access import Access
from huiju.web.callers import FrontProxy, FrontProxyMissing, read_front_proxy, server_context
from huiju.web.discovery import GROUP, VERSION
from huiju.web.endpoint import Address, lead_to
from huiju.web.serving import Serving, load_or_issue
from huiju.web.view import HubView, ViewApi

log = logging.getLogger(__name__)
API_SERVICE: Final = f"{VERSION}.{GROUP}"


@dataclass(frozen=True, slots=True)
class ViewSettings:
    """Where the view API listens and how the API server finds it."""

    bind: str = "127.0.0.1"
    port: int = 8443
    """Port to listen on."""
    namespace: str = "huiju-system"
    service: str = "huiju-view"
    """Service that leads to this server; made only where `bind` is this machine alone."""
    service_port: int = 443
    advertise: str = ""
    """Address of this pod; the Service selects no pods and leads there: only a leader serves."""
    secret: str = "huiju-view-serving"  # noqa: S105  the Secret's name
    refresh: float = 30.0
    """Seconds between two looks at certificate, front proxy and registration."""

    @property
    def local(self) -> bool:
        """Whether only the API server of this very machine can reach it, as in a lab."""
        try:
            return ipaddress.ip_address(self.bind).is_loopback
        except ValueError:
            return self.bind == "localhost"

    @property
    def names(self) -> tuple[str, ...]:
        """DNS names that the certificate must be for."""
        host = f"{self.service}.{self.namespace}.svc"
        return (host, f"{host}.cluster.local")


async def serve_view(
    view: HubView,
    client: Client,
    settings: ViewSettings,
    told: Callable[[Life | None], None] = lambda _: None,
) -> None:
    """Serve until cancelled; `client` is the hub's own. `told`: how long the certificate lasts.

    `hub/role.py` names the rights that it needs.
    """
    server = _Server(view, client, settings, told)
    try:
        while True:
            try:
                await server.refresh()
            except FrontProxyMissing as missing:
                log.warning("view API is off", extra={"error": str(missing)})
            except (KubeError, TimeoutError, OSError) as error:
                log.warning("view API: will try again", extra={"error": str(error)})
            await asyncio.sleep(settings.refresh if server.ready else 2.0)
    finally:
        await server.close()


class _Server:
    """One listener, replaced when what it is made of changes."""

    def __init__(
        self,
        view: HubView,
        client: Client,
        settings: ViewSettings,
        told: Callable[[Life | None], None],
    ) -> None:
        self._told = told
        self._view = view
        self._client = client
        self._settings = settings
        self._api: ViewApi | None = None
        self._runner: web.AppRunner | None = None
        self._site: web.SockSite | None = None
        self._socket: socket.socket | None = None
        self._made_of: tuple[FrontProxy, Serving] | None = None
        self.ready = False

    async def refresh(self) -> None:
        """Bring listener and registration up to date."""
        self.ready = False
        proxy = await read_front_proxy(self._client)
        settings = self._settings
        serving = await load_or_issue(
            self._client, settings.namespace, settings.secret, settings.names
        )
        if self._made_of != (proxy, serving):
            await self._listen(proxy, serving)
            self._made_of = (proxy, serving)
            self._told(life_of_certificate(serving.cert_pem))
            log.info("view API listens", extra={"address": f"{settings.bind}:{settings.port}"})
        await register(self._client, settings, serving.ca_pem)
        self.ready = True

    async def _listen(self, proxy: FrontProxy, serving: Serving) -> None:
        if self._api is None or self._runner is None:
            self._api = ViewApi(self._view, Access(self._client), proxy)
            self._runner = web.AppRunner(
                self._api.application(),
                handler_cancellation=True,  # a silent log whose reader has left must end
                access_log=None,
                shutdown_timeout=1.0,
            )
            await self._runner.setup()
        self._api.proxy = proxy
        if self._socket is None:
            self._socket = _bound(self._settings.bind, self._settings.port)
        context = server_context(serving.context(), proxy)
        # The socket stays open in between, so that no connection is refused meanwhile.
        site = web.SockSite(self._runner, self._socket.dup(), ssl_context=context)
        old, self._site = self._site, site
        if old is not None:
            await old.stop()
        await site.start()

    async def close(self) -> None:
        """Stop listening and end every stream."""
        if self._runner is not None:
            await self._runner.cleanup()
        if self._socket is not None:
            self._socket.close()


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


# --- registration -----------------------------------------------------------------------------


def api_service(settings: ViewSettings, ca_pem: bytes) -> dict[str, Any]:
    """The APIService that sends the group's requests to this server."""
    return {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": API_SERVICE, "labels": {"app.kubernetes.io/part-of": "huiju"}},
        "spec": {
            "group": GROUP,
            "version": VERSION,
            "groupPriorityMinimum": 1000,
            "versionPriority": 10,
            "caBundle": base64.b64encode(ca_pem).decode(),
            "service": {
                "name": settings.service,
                "namespace": settings.namespace,
                "port": settings.port if settings.local else settings.service_port,
            },
        },
    }


def local_service(settings: ViewSettings) -> dict[str, Any]:
    """The Service of a hub that runs on the API server's own machine."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": settings.service,
            "namespace": settings.namespace,
            "labels": {"app.kubernetes.io/part-of": "huiju"},
        },
        "spec": {
            "type": "ExternalName",
            "externalName": "localhost",
            "ports": [{"port": settings.port, "protocol": "TCP"}],
        },
    }


async def register(client: Client, settings: ViewSettings, ca_pem: bytes) -> None:
    """Tell the API server where the group is served; writes only what differs."""
    if settings.local:
        await _ensure_local_service(client, settings)
    elif settings.advertise:
        here = Address(settings.advertise, settings.port)
        await lead_to(client, settings.service, settings.namespace, here)
    wanted = api_service(settings, ca_pem)
    try:
        found = await client.get(API_SERVICES, API_SERVICE)
    except NotFound:
        try:
            await client.create(API_SERVICES, wanted)
        except AlreadyExists:
            return  # another replica has just done it
        return
    spec = found.get("spec") or {}
    changed = {key: value for key, value in wanted["spec"].items() if spec.get(key) != value}
    if changed:
        await client.patch(API_SERVICES, API_SERVICE, {"spec": changed})


async def _ensure_local_service(client: Client, settings: ViewSettings) -> None:
    wanted = local_service(settings)
    try:
        found = await client.get(SERVICES, settings.service, settings.namespace)
    except NotFound:
        await client.create(SERVICES, wanted, settings.namespace)
        return
    ports = (found.get("spec") or {}).get("ports") or []
    if not ports or ports[0].get("port") != settings.port:
        await client.patch(SERVICES, settings.service, {"spec": wanted["spec"]}, settings.namespace)
