"""The aggregated view API: why a job waits, where one would run, and what its workers print.

Decides who may ask (by `callers.py` and `access.py`) and how an answer travels; the answers are a
`HubView`'s. Invariants: no question is answered before its caller was authorized; log streams are
bounded in number, in all and for each user.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from typing import Any, Final, Protocol, cast

import msgspec
from aiohttp import web

from huiju.kube.errors import KubeError
from huiju.web.access import Access, Deed
from huiju.web.callers import Caller, FrontProxy, caller_of
from huiju.web.discovery import DOCUMENTS, GROUP_VERSION
from huiju.web.statuses import Refused, as_status, document

log = logging.getLogger(__name__)
Fields = dict[str, Any]
MAX_MANIFEST: Final = 1 << 20
MOST_STREAMS: Final = 64
MOST_STREAMS_OF_ONE: Final = 8
_OPENING: Final = 2.0
"""Seconds after which a silent log is answered with its headers, errors being unlikely by then."""


class HubView(Protocol):
    """The hub's side of the view API. Its methods raise KubeErrors, which become Statuses."""

    async def why(self, namespace: str, name: str) -> Fields | None:
        """Where a job stands; None if there is no such job."""

    async def whatif(self, namespace: str, manifest: Fields) -> Fields:
        """Where and when a job of this manifest would run; BadRequest or Invalid if it cannot."""

    async def datasets(self, namespace: str, search: str, labels: dict[str, str]) -> list[Fields]:
        """The data sets that a namespace may ask for, by words and labels."""

    async def cordon(self, center: str) -> Fields:
        """What cordoning a center would do; NotFound if there is none of this name."""

    def logs(
        self, namespace: str, name: str, *, worker: int, follow: bool, tail: int | None
    ) -> AsyncIterator[bytes]:
        """What a worker of the job prints; `tail`: only so many last lines first."""


class Slots:
    """Counts the open log streams."""

    def __init__(self, most: int = MOST_STREAMS, of_one: int = MOST_STREAMS_OF_ONE) -> None:
        self._most = most
        self._of_one = of_one
        self._open: Counter[str] = Counter()

    @contextmanager
    def taken(self, user: str) -> Iterator[None]:
        """Hold one stream's place; raises Refused(429) where none is free."""
        if self._open[user] >= self._of_one:
            raise Refused(
                429, f"{self._of_one} log streams of yours are open: close one", retry_after=5
            )
        if self._open.total() >= self._most:
            raise Refused(429, "too many log streams are open: try again later", retry_after=5)
        self._open[user] += 1
        try:
            yield
        finally:
            self._open[user] -= 1
            self._open += Counter()  # drops the zeros, so that the count stays small


class ViewApi:
    """The routes. `proxy` may be replaced while serving, when the API server's settings change."""

    def __init__(self, view: HubView, access: Access, proxy: FrontProxy) -> None:
        self.proxy = proxy
        self._view = view
        self._access = access
        self._slots = Slots()

    def application(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(middlewares=[as_status], client_max_size=MAX_MANIFEST)
        jobs = f"/apis/{GROUP_VERSION}/namespaces/{{namespace}}/crossregionjobs/{{name}}"
        app.router.add_get(f"{jobs}/why", self._why)
        # `log` is what API servers take for long-running, as they do a pod's; others time out.
        app.router.add_get(f"{jobs}/log", self._logs)
        app.router.add_get(f"{jobs}/logs", self._logs)
        app.router.add_post(f"/apis/{GROUP_VERSION}/namespaces/{{namespace}}/whatif", self._whatif)
        app.router.add_get(f"/apis/{GROUP_VERSION}/namespaces/{{namespace}}/datasets", self._data)
        centers = f"/apis/{GROUP_VERSION}/computecenters/{{name}}"
        app.router.add_get(f"{centers}/cordon", self._cordon)
        for path in DOCUMENTS:
            app.router.add_get(path, _describe)
        for path in ("/healthz", "/livez", "/readyz"):
            app.router.add_get(path, _alive)
        return app

    async def _why(self, request: web.Request) -> web.StreamResponse:
        namespace, name = await self._authorized(request, "get", "why")
        answer = await self._view.why(namespace, name)
        if answer is None:
            raise Refused(
                404,
                f'crossregionjobs.huiju.dev "{name}" not found',
                details={"group": "huiju.dev", "kind": "crossregionjobs", "name": name},
            )
        return document({"kind": "Explanation", "apiVersion": GROUP_VERSION} | answer)

    async def _whatif(self, request: web.Request) -> web.StreamResponse:
        caller = caller_of(request, self.proxy)
        namespace = request.match_info["namespace"]
        await self._access.demand(caller, Deed("create", namespace, "whatif"))
        try:
            manifest = msgspec.json.decode(await request.read(), type=dict)
        except msgspec.MsgspecError as error:
            raise Refused(400, f"the body is not a CrossRegionJob in JSON: {error}") from error
        answer = await self._view.whatif(namespace, manifest)
        return document({"kind": "Explanation", "apiVersion": GROUP_VERSION} | answer)

    async def _data(self, request: web.Request) -> web.StreamResponse:
        caller, namespace = caller_of(request, self.proxy), request.match_info["namespace"]
        await self._access.demand(caller, Deed("list", namespace, "datasets"))
        labels = _labels(request.query.get("labelSelector", ""))
        items = await self._view.datasets(namespace, request.query.get("search", ""), labels)
        kind = {"kind": "DatasetList", "apiVersion": GROUP_VERSION, "metadata": {}}
        return document({**kind, "items": items})

    async def _cordon(self, request: web.Request) -> web.StreamResponse:
        # Jobs of all namespaces are told of: this is a right on the whole cluster.
        caller, name = caller_of(request, self.proxy), request.match_info["name"]
        await self._access.demand(caller, Deed("get", "", "computecenters", "cordon", name))
        answer = await self._view.cordon(name)
        return document({"kind": "CordonEffect", "apiVersion": GROUP_VERSION} | answer)

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        caller = caller_of(request, self.proxy)
        subresource = request.path.rsplit("/", 1)[-1]
        namespace, name = await self._authorized(request, "get", subresource, caller)
        query = request.query
        with self._slots.taken(caller.name):
            chunks = self._view.logs(
                namespace,
                name,
                worker=_number(query.get("worker"), "worker") or 0,
                follow=query.get("follow", "") in ("true", "1"),
                tail=_number(query.get("tail"), "tail"),
            )
            async with aclosing(cast(Any, chunks)):
                return await _send(request, chunks)

    async def _authorized(
        self, request: web.Request, verb: str, subresource: str, caller: Caller | None = None
    ) -> tuple[str, str]:
        """Namespace and name of the job, once the caller may ask."""
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        caller = caller or caller_of(request, self.proxy)
        deed = Deed(verb, namespace, "crossregionjobs", subresource, name)
        await self._access.demand(caller, deed)
        return namespace, name


async def _send(request: web.Request, chunks: AsyncIterator[bytes]) -> web.StreamResponse:
    """Send a stream; what fails before its first bytes is still answered as a Status."""
    response = web.StreamResponse()
    response.content_type = "text/plain"
    first = asyncio.create_task(_next(chunks))
    try:
        await asyncio.wait({first}, timeout=_OPENING)
        if first.done():
            first.result()  # raises what went wrong
        await response.prepare(request)
    except BaseException:
        first.cancel()
        await asyncio.wait({first})  # the generator cannot be closed while it runs
        raise
    try:
        chunk = await first
        while chunk is not None:
            await response.write(chunk)
            chunk = await _next(chunks)
    except KubeError as error:
        # A Status can no longer be sent; a cut connection tells the reader that the end is missing.
        log.info("log stream cut", extra={"path": request.path, "error": str(error)})
        if request.transport is not None:
            request.transport.abort()
        return response
    await response.write_eof()
    return response


async def _next(chunks: AsyncIterator[bytes]) -> bytes | None:
    return await anext(chunks, None)


def _labels(selector: str) -> dict[str, str]:
    found = {}
    for part in filter(None, selector.split(",")):
        key, equals, value = part.partition("=")
        if not equals or not key:
            raise Refused(400, f"labelSelector: {part!r} is not like domain=medical")
        found[key.strip()] = value.lstrip("=").strip()
    return found


def _number(given: str | None, name: str) -> int | None:
    if given is None:
        return None
    if not given.isdecimal() or len(given) > 9:
        raise Refused(400, f"{name} must be a number from 0 on, not {given!r}")
    return int(given)


async def _describe(request: web.Request) -> web.Response:
    return document(DOCUMENTS[request.path])


async def _alive(_: web.Request) -> web.Response:
    return web.Response(text="ok")
