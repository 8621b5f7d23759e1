"""A proxy between a client and an API server that misbehaves on demand.

Decides what happens to a request that a rule concerns; everything else passes unchanged. Invariant:
with the same seed and the same requests the same faults happen, and what reached the API server is
counted. Upgrades (exec, port-forward) do not pass.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import ssl
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
from aiohttp import web
from yarl import URL

from lab.cluster import Cluster
from lab.kwokctl import HOST

_HOP: Final = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "host"}
)
_PATH: Final = re.compile(
    r"/(?:api/[^/]+|apis/[^/]+/[^/]+)(?:/namespaces/[^/]+(?=/))?/(?P<plural>[^/]+)"
    r"(?:/(?P<name>[^/]+)(?:/(?P<sub>.+))?)?$"
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


class Fault(StrEnum):
    """What can happen to a request."""

    DELAY = "delay"
    """It waits for `seconds`, then passes."""
    ANSWER = "answer"
    """The proxy answers with status `code`; the server never sees it."""
    DROP = "drop"
    """The connection breaks; the server never sees it."""
    HANG = "hang"
    """No answer, ever; the server never sees it."""
    LOSE = "lose"
    """The server does it, then the connection breaks before the answer."""
    TWICE = "twice"
    """The server gets it twice; the client sees the second answer."""
    CUT = "cut"
    """The answer breaks off after `size` bytes."""
    STALL = "stall"
    """The answer falls silent after `size` bytes, the connection stays."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a rule sees of a request."""

    verb: str
    """As Kubernetes says it: get, list, watch, create, update, patch, delete, deletecollection."""
    resource: str
    """Plural name, with subresource: `pods`, `jobs/status`; empty for other paths."""
    path: str


@dataclass(slots=True)
class Rule:
    """Which requests a fault concerns: by verb, path, chance and number."""

    fault: Fault
    verbs: frozenset[str] = frozenset()
    """Empty means all."""
    path: str = ""
    """A regular expression, found anywhere in path and query."""
    probability: float = 1.0
    count: int | None = None
    """How often at most; None means for ever."""
    skip: int = 0
    """So many fitting requests pass first."""
    seconds: float = 0.0
    code: int = 503
    retry_after: int | None = None
    """Seconds that an answer asks to wait."""
    size: int = 0
    hits: int = field(default=0, init=False)
    """How often it happened."""

    def concerns(self, request: Request, chance: random.Random) -> bool:
        """Whether it happens to this request; counts."""
        if self.count is not None and self.hits >= self.count:
            return False
        if self.verbs and request.verb not in self.verbs:
            return False
        if not re.search(self.path, request.path):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if chance.random() >= self.probability:
            return False
        self.hits += 1
        return True


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

    def heal(self) -> None:
        """End a partition; what waited goes on."""
        self._open.set()

    def cut_all(self) -> None:
        """Break every connection that is open."""
        for transport in list(self._connections):
            _abort(transport)

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10.0)
        connector = aiohttp.TCPConnector(limit=0)
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
        match rule.fault if rule else None:
            case None | Fault.CUT | Fault.STALL:
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
        try:
            async with await self._send(incoming, request, body) as answer:
                return await self._pass_on(incoming, transport, answer, rule)
        except aiohttp.ClientError:
            return _abort(transport)

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
        """Send the answer on as it comes, up to where a rule ends it."""
        limit = rule.size if rule and rule.fault in (Fault.CUT, Fault.STALL) else None
        response = web.StreamResponse(status=answer.status, reason=answer.reason)
        for key, value in answer.headers.items():
            if key.lower() not in _HOP:
                response.headers.add(key, value)
        await response.prepare(incoming)
        async for chunk in answer.content.iter_any():
            await self._open.wait()
            if limit is not None and rule is not None:
                if len(chunk) > limit:
                    await response.write(chunk[:limit])
                    if rule.fault is Fault.STALL:
                        await asyncio.Event().wait()
                    _abort(transport)
                    return response
                limit -= len(chunk)
            await response.write(chunk)
        await self._open.wait()
        await response.write_eof()
        return response


def read_request(method: str, path: str) -> Request:
    """Name a request as the API server does."""
    bare, _, query = path.partition("?")
    found = _PATH.fullmatch(bare)
    if found is None:
        return Request(method.lower(), "", path)
    plural, name, sub = found["plural"], found["name"], found["sub"]
    watching = re.search(r"(?:^|&)watch=(?:1|true)(?:&|$)", query) is not None
    match method:
        case "GET" | "HEAD":
            verb = "watch" if watching else "get" if name else "list"
        case "POST":
            verb = "create"
        case "PUT":
            verb = "update"
        case "DELETE":
            verb = "delete" if name else "deletecollection"
        case _:
            verb = method.lower()
    return Request(verb, f"{plural}/{sub}" if sub else plural, path)


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
