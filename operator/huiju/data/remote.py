"""Sources behind HTTP that a version is published from: S3-compatible buckets and web servers.

Decides how they are listed and read. Invariants: an object is read whole under the ETag that was
seen first, else it counts as changed; no key is in an address that outlives the request's minute.
"""

from __future__ import annotations

import asyncio
import os
import time
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

import aiohttp
from yarl import URL

from huiju.api.reasons import Reason
from huiju.data import paths
from huiju.data.manifest import Entry
from huiju.data.origin import (
    BATCH_BYTES,
    BATCH_FILES,
    Digests,
    Found,
    OriginRefused,
    Progress,
    changed,
)
from huiju.data.sigv4 import Signer

_ATTEMPTS: Final = 4
_PATIENCE: Final = aiohttp.ClientTimeout(total=None, sock_connect=15, sock_read=60)
_LIFETIME: Final = 300
"""Seconds that a URL for a request of our own lives: it is used at once."""


class Retry(Exception):
    """A failure that the next attempt may not meet."""


class HttpOrigin:
    """A web server, of which a list of paths is known."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, listed: Sequence[str], token: str = ""
    ) -> None:
        self._session = session
        self._url = url.rstrip("/")
        self._paths = listed
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    async def batches(self) -> AsyncIterator[list[Found]]:
        """The files of the list; each is asked for its size."""
        listed = paths.ordered(self._paths)
        for start in range(0, len(listed), 32):
            yield list(await asyncio.gather(*map(self._look, listed[start : start + 32])))

    async def _look(self, path: str) -> Found:
        allowed(path)
        async with self._session.head(
            self._address(path), headers=self._headers, timeout=_PATIENCE
        ) as answer:
            raise_for(answer, path)
            size = answer.headers.get("Content-Length", "")
            if not size.isdigit():
                raise OriginRefused(
                    Reason.INVALID_SPEC, f"{path!r}: the server does not say how large it is"
                )
            mark = answer.headers.get("ETag", "")
            return Found(path, int(size), mark)

    def _address(self, path: str) -> URL:
        return URL(f"{self._url}/{quote(path, safe='/-_.~')}", encoded=True)

    async def digest(self, batch: Sequence[Found], part: int, progress: Progress) -> list[Entry]:
        """Read files."""
        return [
            await read(self._session, self._address, found, part, progress, self._headers)
            for found in batch
        ]

    async def keep(self, name: str, file: Path) -> None:
        """A web server takes nothing."""
        raise OriginRefused(
            Reason.INVALID_SPEC,
            f"a web server takes no files: write the manifest to a folder with --out FOLDER and put"
            f" it on the server as {name}",
        )


class S3Origin:
    """A bucket; its listing is in the order of a manifest already."""

    def __init__(self, session: aiohttp.ClientSession, signer: Signer) -> None:
        self._session = session
        self._signer = signer

    async def batches(self) -> AsyncIterator[list[Found]]:
        """All objects under the prefix."""
        token = ""
        batch: list[Found] = []
        size = 0
        while True:
            found, token = await self._page(token)
            for each in found:
                batch.append(each)
                size += each.size
                if len(batch) >= BATCH_FILES or size >= BATCH_BYTES:
                    yield batch
                    batch, size = [], 0
            if not token:
                break
        if batch:
            yield batch

    async def _page(self, token: str) -> tuple[list[Found], str]:
        start = self._signer.bucket.key("")
        query = {"list-type": "2", "encoding-type": "url", "max-keys": "1000"}
        if start:
            query["prefix"] = start
        if token:
            query["continuation-token"] = token
        url = self._signer.url("GET", "", time.time(), _LIFETIME, query)
        for attempt in range(_ATTEMPTS):
            try:
                async with self._session.get(URL(url, encoded=True), timeout=_PATIENCE) as answer:
                    raise_for(answer, self._signer.bucket.name)
                    return _parse(await answer.read(), start)
            except (aiohttp.ClientError, TimeoutError, Retry) as error:
                await _again(attempt, self._signer.bucket.name, error)
        raise AssertionError  # _again raises at the last attempt

    def _address(self, path: str) -> URL:
        key = self._signer.bucket.key(path)
        return URL(self._signer.url("GET", key, time.time(), _LIFETIME), encoded=True)

    async def digest(self, batch: Sequence[Found], part: int, progress: Progress) -> list[Entry]:
        """Read objects."""
        return [
            await read(self._session, self._address, found, part, progress, {}) for found in batch
        ]

    async def keep(self, name: str, file: Path) -> None:
        """Store a file as an object."""
        key = self._signer.bucket.key(name)
        for attempt in range(_ATTEMPTS):
            url = URL(self._signer.url("PUT", key, time.time(), _LIFETIME), encoded=True)
            body = await asyncio.to_thread(file.open, "rb")
            try:
                headers = {"Content-Length": str(os.fstat(body.fileno()).st_size)}
                async with self._session.put(
                    url, data=body, headers=headers, timeout=_PATIENCE
                ) as answer:
                    raise_for(answer, name)
                    return
            except (aiohttp.ClientError, TimeoutError, Retry) as error:
                await _again(attempt, name, error)
            finally:
                body.close()


async def read(
    session: aiohttp.ClientSession,
    address: Callable[[str], URL],
    found: Found,
    part: int,
    progress: Progress,
    headers: dict[str, str],
) -> Entry:
    """Read one file and take its digests; tried again from its start where the line breaks."""
    asked = dict(headers)
    if found.mark.startswith('"'):
        asked["If-Match"] = found.mark
    for attempt in range(_ATTEMPTS):
        digests = Digests(found, part)
        try:
            async with session.get(address(found.path), headers=asked, timeout=_PATIENCE) as answer:
                raise_for(answer, found.path)
                async for block in answer.content.iter_any():
                    digests.add(block)
                    progress.read(len(block))
            progress.finished(1)
            return digests.entry()
        except (aiohttp.ClientError, TimeoutError, Retry) as error:
            progress.read(-digests.size)
            await _again(attempt, found.path, error)
    raise AssertionError  # _again raises at the last attempt


async def _again(attempt: int, path: str, error: Exception) -> None:
    if attempt + 1 == _ATTEMPTS:
        # The address has a signature in it, and some errors have the address in their words.
        words = str(error) if isinstance(error, Retry) else type(error).__name__
        raise OriginRefused(Reason.PEER_UNREACHABLE, f"{path!r}: {words}") from None
    await asyncio.sleep(0.5 * 2**attempt)


def raise_for(answer: aiohttp.ClientResponse, path: str) -> None:
    """Raise OriginRefused for a refusal, Retry for what may pass."""
    match answer.status:
        case 200 | 206:
            return
        case 404:
            raise OriginRefused(Reason.SOURCE_NOT_FOUND, f"{path!r} is not in the source")
        case 412:
            raise changed(path)
        case 429 | 500 | 502 | 503 | 504:
            raise Retry(f"the server answers {answer.status}")
        case status:
            raise OriginRefused(
                Reason.PERMISSION_DENIED,
                f"{path!r}: the server answers {status}; see that the key is right, may read there,"
                " and that the clocks agree",
            )


def allowed(path: str) -> None:
    """Raise OriginRefused for a path that no data set may hold."""
    try:
        paths.check(path)
    except paths.PathRefused as refusal:
        raise OriginRefused(Reason.INVALID_SPEC, str(refusal)) from None


def _parse(body: bytes, start: str) -> tuple[list[Found], str]:
    try:
        # The owner's own store; expat limits what entities may grow to.
        root = ET.fromstring(body)  # noqa: S314
    except ET.ParseError:
        raise Retry("the store's listing is no XML") from None
    space = root.tag.partition("}")[0] + "}" if root.tag.startswith("{") else ""
    found = []
    for each in root.iter(f"{space}Contents"):
        key = unquote((each.findtext(f"{space}Key") or "").replace("+", " "))
        path = key[len(start) :]
        size = int(each.findtext(f"{space}Size") or 0)
        if path.startswith(f"{paths.RESERVED}/") or (path.endswith("/") and not size):
            continue  # ours, or the mark that some tools leave for a folder
        allowed(path)
        found.append(Found(path, size, each.findtext(f"{space}ETag") or ""))
    return found, root.findtext(f"{space}NextContinuationToken") or ""
