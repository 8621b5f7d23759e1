"""The reading verbs of one API server, decoded straight from bytes into the type asked for.

Decides paging and how a watch is asked for; `transport.py` decides how a call is made. Invariant:
a list that had to start again says so.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import urlencode

from huiju.kube.errors import Gone, TooLarge
from huiju.kube.life import Life
from huiju.kube.resources import Resource
from huiju.kube.transport import (
    JSON,
    Call,
    ClientSettings,
    CredentialsSource,
    Observer,
    Transport,
)
from huiju.kube.wire import (
    EventKind,
    ListBody,
    Page,
    T,
    WatchEvent,
    decode,
    event_of,
    lines,
    list_type,
    page_of,
)

_SMALLER = 50
"""Objects of a page where the whole list is too large to come at once."""


def query_of(params: Mapping[str, str]) -> str:
    """The query string of the parameters that are not empty, question mark included."""
    kept = {key: value for key, value in params.items() if value}
    return "?" + urlencode(kept) if kept else ""


class Reader:
    """Reads from one API server; `Client` adds the writing verbs."""

    def __init__(
        self,
        credentials: CredentialsSource,
        *,
        name: str,
        user_agent: str = "huiju",
        settings: ClientSettings | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.name = name
        self.settings = settings or ClientSettings()
        self._transport = Transport(
            credentials,
            name=name,
            user_agent=user_agent,
            settings=self.settings,
            observer=observer,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def life(self) -> Life | None:
        """Of the credentials in use; None if no end of theirs is known, or none are read yet."""
        return self._transport.life

    async def close(self) -> None:
        """Close every connection; calls and streams under way fail."""
        await self._transport.close()

    async def get(
        self,
        res: Resource,
        name: str,
        namespace: str | None = None,
        *,
        type: type[T] | None = None,
    ) -> T:
        """Read one object."""
        body = await self._transport.send(Call("GET", res.path(namespace, name), "get", res.plural))
        return self._decode(body, type)

    async def list(
        self,
        res: Resource,
        namespace: str | None = None,
        *,
        type: type[T] | None = None,
        labels: str = "",
        fields: str = "",
        limit: int = 500,
    ) -> AsyncIterator[Page[T]]:
        """Read a collection page by page, `limit` objects each.

        A continue token that expires on the way (410) restarts the list once, in one piece that
        cannot expire: a page with `first` set comes again. A page that is too large comes in
        smaller ones.
        """
        wanted: Any = dict if type is None else type
        body_type = list_type(wanted)
        token = ""
        first = True
        while True:
            query = query_of(
                {
                    "labelSelector": labels,
                    "fieldSelector": fields,
                    "limit": str(limit) if limit else "",
                    "continue": token,
                }
            )
            call = Call(
                "GET",
                res.path(namespace) + query,
                "list",
                res.plural,
                deadline=self.settings.list_deadline,
                compressed=True,
            )
            try:
                page: ListBody[T] = page_of(await self._transport.send(call), body_type)
            except Gone:
                if not token:
                    raise
                token, first, limit = "", True, 0
                continue
            except TooLarge:
                if limit == 1:
                    raise
                limit = max(1, limit // 10) if limit else _SMALLER
                continue
            token = page.metadata.continue_
            yield Page(page.items or [], page.metadata.resource_version, first)
            first = False
            if not token:
                return

    async def list_all(
        self,
        res: Resource,
        namespace: str | None = None,
        *,
        type: type[T] | None = None,
        labels: str = "",
        fields: str = "",
    ) -> Page[T]:
        """Read a whole collection at once, restarts handled."""
        items: list[T] = []
        version = ""
        pages = self.list(res, namespace, type=type, labels=labels, fields=fields)
        async with aclosing(cast(Any, pages)):
            async for page in pages:
                if page.first:
                    items.clear()
                items.extend(page.items)
                version = page.resource_version
        return Page(items, version, True)

    async def watch(
        self,
        res: Resource,
        namespace: str | None = None,
        *,
        resource_version: str,
        type: type[T] | None = None,
        labels: str = "",
        fields: str = "",
    ) -> AsyncIterator[WatchEvent[T]]:
        """Follow a collection from `resource_version` on until the server ends the stream.

        First comes an OPENED event. Raises Gone (list again), or Transient when the stream is cut
        or stays silent for `settings.silence_seconds` (watch again from the last version seen).
        Close it with `contextlib.aclosing`.
        """
        seconds = self.settings.watch_seconds * random.uniform(0.9, 1.1)  # noqa: S311  jitter
        query = query_of(
            {
                "watch": "1",
                "allowWatchBookmarks": "true",
                "resourceVersion": resource_version,
                "timeoutSeconds": str(max(1, int(seconds))),
                "labelSelector": labels,
                "fieldSelector": fields,
            }
        )
        call = Call("GET", res.path(namespace) + query, "watch", res.plural)
        wanted: Any = dict if type is None else type
        chunks = self._transport.stream(call, silence=self.settings.silence_seconds)
        async with aclosing(cast(Any, chunks)):
            async for line in lines(chunks, self.name):
                yield event_of(line, wanted) if line else WatchEvent(EventKind.OPENED, None)

    async def stream(
        self, path: str, params: Mapping[str, str] | None = None
    ) -> AsyncIterator[bytes]:
        """Yield a long answer, such as a pod's log, as it comes; silence is allowed."""
        call = Call(
            "GET", path + query_of(params or {}), "stream", path.rsplit("/", 1)[-1], accept="*/*"
        )
        chunks = self._transport.stream(call)
        async with aclosing(cast(Any, chunks)):
            async for chunk in chunks:
                if chunk:
                    yield chunk

    async def raw(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = JSON,
        deadline: float | None = None,
    ) -> bytes:
        """Make any call; `path` is encoded already. `deadline` in seconds."""
        verb = method.lower()
        return await self._transport.send(
            Call(
                method,
                path + query_of(params or {}),
                verb,
                "raw",
                body,
                content_type,
                accept="*/*",
                deadline=deadline,
            )
        )

    async def version(self) -> dict[str, Any]:
        """The server's version, from `/version`."""
        return self._decode(await self.raw("GET", "/version"), None)

    @staticmethod
    def _decode(body: bytes, wanted: type[T] | None) -> T:
        return cast(T, decode(body, dict if wanted is None else wanted))
