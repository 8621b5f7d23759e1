"""A proxy between a client and an API server that misbehaves on demand.

Decides what happens to a request that a rule concerns; everything else passes unchanged. Invariant:
with the same seed and the same requests the same faults happen, and what reached the API server is
counted. Upgrades (exec, port-forward) do not pass.
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
from aiohttp import web
from yarl import URL

from huiju.kube.link import hang_up_at_once
from lab import streams
from lab.cluster import Cluster
from lab.faultrules import Fault, Request, Rule, read_request
from lab.kwokctl import HOST

_HOP: Final = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "host"}
)
_WRITES: Final = frozenset({"create", "update", "patch", "delete", "deletecollection"})
_REASONS: Final = {
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


class FaultProxy:
    """An https server that passes requests to one cluster. Use as an async context manager."""

    def __init__(self, cluster: Cluster, *, seed: int = 0) -> None:
        self.seen: Counter[tuple[str, str]] = Counter()
        """Requests that came, by verb and resource."""
        self.passed: Counter[tuple[str, str]] = Counter()
        """Requests that the server got, by verb and resource."""
        self.rules: list[Rule] = []
        """The first that concerns a request decides."""
        self._cluster = cluster
        self._chance = random.Random(seed)  # noqa: S311  repeatable, no secret
        self._pki = cluster.folder / "pki"
        self._open = asyncio.Event()
        self._open.set()
        self._heard = asyncio.Event()
        self._heard.set()
        self._runner: web.AppRunner | None = None
        self._connections: set[asyncio.BaseTransport] = set()
        self._port = 0

    @property
    def server(self) -> str:
        """Its address, for `Cluster.client(server=…)` and `Cluster.credentials(…)`."""
        return f"https://{HOST}:{self._port}"

    @property
    def writes(self) -> int:
        """Writes that the server got."""
        return sum(count for (verb, _), count in self.passed.items() if verb in _WRITES)

    def add(self, fault: Fault, *verbs: str, **how: Any) -> Rule:
        """Add a rule; `how` are the other fields of `Rule`."""
        rule = Rule(fault, frozenset(verbs), **how)
        self.rules.append(rule)
        return rule

    def partition(self) -> None:
        """From now on nothing passes in either direction, and nobody is told."""
        self._open.clear()
        self._heard.clear()

    def mute(self) -> None:
        """From now on requests arrive, and no answer comes back: a partition of one way."""
        self._heard.clear()

    def heal(self) -> None:
        """End a partition; what waited goes on."""
        self._open.set()
        self._heard.set()

    def cut_all(self) -> None:
        """Break every connection that is open."""
        for transport in list(self._connections):
            _abort(transport)

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10.0)
        connector = aiohttp.TCPConnector(limit=0)
        hang_up_at_once(connector)
        self._session = aiohttp.ClientSession(
            timeout=timeout, connector=connector, auto_decompress=False
        )
        self._as_admin = self._upstream(identity=True)
        self._as_token = self._upstream(identity=False)
        self._runner = web.AppRunner(
            app, handler_cancellation=True, access_log=None, shutdown_timeout=0.2
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, HOST, self._port, ssl_context=self._downstream())
        await site.start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.heal()
        self.cut_all()
        if self._runner is not None:
            await self._runner.cleanup()
        await self._session.close()
        # Clients in this very loop must get to see that their connections are gone.
        await asyncio.sleep(0.1)

    # --- TLS ----------------------------------------------------------------------------------

    def _downstream(self) -> ssl.SSLContext:
        """Serve with the API server's own certificate; clients may show one of the cluster."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self._pki / "ca.crt")
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_cert_chain(self._pki / "admin.crt", self._pki / "admin.key")
        return context

    def _upstream(self, *, identity: bool) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self._pki / "ca.crt")
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if identity:
            context.load_cert_chain(self._pki / "admin.crt", self._pki / "admin.key")
        return context

    def _identity(self, request: web.Request) -> ssl.SSLContext:
        """Whom to be: the administrator only where the client proved to be, and has no token."""
        transport = request.transport
        shown = transport.get_extra_info("peercert") if transport is not None else None
        return (
            self._as_admin if shown and "Authorization" not in request.headers else self._as_token
        )

    # --- one request --------------------------------------------------------------------------

    async def _handle(self, incoming: web.Request) -> web.StreamResponse:
        transport = incoming.transport
        if transport is None:
            return web.Response(status=499)
        self._connections.add(transport)
        try:
            return await self._judge(incoming, transport)
        finally:
            self._connections.discard(transport)

    async def _judge(
        self, incoming: web.Request, transport: asyncio.Transport
    ) -> web.StreamResponse:
        body = await incoming.read()
        request = read_request(incoming.method, incoming.path_qs)
        self.seen[request.verb, request.resource] += 1
        await self._open.wait()
        rule = next((rule for rule in self.rules if rule.concerns(request, self._chance)), None)
        try:
            return await self._befall(incoming, transport, request, body, rule)
        except aiohttp.ClientError:
            return _abort(transport)

    async def _befall(
        self,
        incoming: web.Request,
        transport: asyncio.Transport,
        request: Request,
        body: bytes,
        rule: Rule | None,
    ) -> web.StreamResponse:
        match rule.fault if rule else None:
            case None | Fault.CUT | Fault.STALL | Fault.SLOW | Fault.REPEAT | Fault.REORDER:
                pass
            case Fault.DELAY if rule:
                await asyncio.sleep(rule.seconds)
            case Fault.ANSWER if rule:
                return _status(rule)
            case Fault.DROP:
                return _abort(transport)
            case Fault.HANG:
                await asyncio.Event().wait()
            case Fault.TWICE | Fault.LOSE as fault:
                async with await self._send(incoming, request, body) as answer:
                    await answer.read()
                if fault is Fault.LOSE:
                    return _abort(transport)
        async with await self._send(incoming, request, body) as answer:
            return await self._pass_on(incoming, transport, answer, rule)

    async def _send(
        self, incoming: web.Request, request: Request, body: bytes
    ) -> aiohttp.ClientResponse:
        self.passed[request.verb, request.resource] += 1
        headers = [
            (key, value) for key, value in incoming.headers.items() if key.lower() not in _HOP
        ]
        return await self._session.request(
            incoming.method,
            URL(self._cluster.server + incoming.raw_path, encoded=True),
            headers=headers,
            data=body or None,
            ssl=self._identity(incoming),
            allow_redirects=False,
        )

    async def _pass_on(
        self,
        incoming: web.Request,
        transport: asyncio.Transport,
        answer: aiohttp.ClientResponse,
        rule: Rule | None,
    ) -> web.StreamResponse:
        """Send the answer on as it comes, changed or ended as a rule says."""
        await self._heard.wait()
        response = web.StreamResponse(status=answer.status, reason=answer.reason)
        for key, value in answer.headers.items():
            if key.lower() not in _HOP:
                response.headers.add(key, value)
        await response.prepare(incoming)
        try:
            async for chunk in _changed(answer.content.iter_any(), rule):
                await self._heard.wait()
                await response.write(chunk)
        except streams.Ended:
            return _abort(transport)
        await self._heard.wait()
        await response.write_eof()
        return response


def _changed(chunks: AsyncIterator[bytes], rule: Rule | None) -> AsyncIterator[bytes]:
    match rule.fault if rule else None:
        case Fault.CUT if rule:
            return streams.cut(chunks, rule.size)
        case Fault.STALL if rule:
            return streams.stalled(chunks, rule.size)
        case Fault.SLOW if rule:
            return streams.slow(chunks, rule.seconds)
        case Fault.REPEAT if rule:
            return streams.repeated(chunks, rule.size)
        case Fault.REORDER if rule:
            return streams.reordered(chunks, rule.size)
        case _:
            return chunks


def _status(rule: Rule) -> web.Response:
    """The answer of an API server that refuses."""
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "reason": _REASONS.get(rule.code, "Unknown"),
        "message": f"the lab's proxy answers {rule.code}",
        "code": rule.code,
    }
    headers = {} if rule.retry_after is None else {"Retry-After": str(rule.retry_after)}
    return web.Response(
        status=rule.code,
        text=json.dumps(body),
        content_type="application/json",
        headers=headers,
    )


def _abort(transport: asyncio.BaseTransport) -> web.Response:
    """Break a connection at once; the returned answer reaches nobody."""
    if isinstance(transport, asyncio.Transport):
        transport.abort()
    return web.Response(status=499)
