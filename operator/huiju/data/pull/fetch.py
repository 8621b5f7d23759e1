"""Fetches one part of a file and checks its digest.

Decides what an answer means: come again, ask for another link, or give up. Invariant: what is
returned has the digest that the manifest gives.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

import aiohttp
from yarl import URL

from huiju.api.reasons import Reason
from huiju.data.manifest import Entry, Piece
from huiju.data.pull.memory import Room
from huiju.data.pull.order import PullFailed
from huiju.data.pull.pace import Pace

_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=15, sock_read=45)
_CODE: Final = re.compile(rb"<Code>([A-Za-z]+)</Code>")
_INLINE: Final = 1 << 16
"""Bytes up to which a digest is taken at once: a thread would cost more."""
LONGEST_WAIT: Final = 60.0


class Again(Exception):
    """A failure that may pass."""

    def __init__(self, reason: Reason, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.reason = reason
        self.wait = wait
        """Seconds that the source asks to wait."""


class Spoiled(Exception):
    """The link was refused; another may do."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Corrupt(Exception):
    """The bytes came with another digest."""


@dataclass(slots=True)
class Meter:
    """Bytes that came over the network, wasted ones too."""

    fetched: int = 0


class Fetcher:
    """Fetches parts over one session."""

    def __init__(
        self, session: aiohttp.ClientSession, pace: Pace, meter: Meter, threads: Executor
    ) -> None:
        self._session = session
        self._pace = pace
        self._meter = meter
        self._threads = threads

    async def part(self, url: str, entry: Entry, piece: Piece, room: Room) -> None:
        """Fill the room with the part; raises Again, Spoiled, Corrupt, PullFailed."""
        ranged = bool(entry.parts)
        headers = {"Accept-Encoding": "identity"}
        if ranged:
            headers["Range"] = f"bytes={piece.start}-{piece.start + piece.size - 1}"
        try:
            async with self._session.get(
                URL(url, encoded=True), headers=headers, timeout=_TIMEOUT, allow_redirects=False
            ) as answer:
                await judge(answer, entry.path, ranged)
                _sizes(answer, entry, ranged)
                # Not before: while it waits for memory, the kernel takes in what comes.
                into = await room.view()
                await self._receive(answer, into, room)
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            # Not its words: they may have the address in them.
            raise Again(Reason.PEER_UNREACHABLE, type(error).__name__) from None
        await self._check(into, piece)

    async def _receive(self, answer: aiohttp.ClientResponse, into: memoryview, room: Room) -> None:
        at = 0
        async for block in answer.content.iter_any():
            size = len(block)
            self._meter.fetched += size
            if at + size > len(into):
                raise Again(Reason.PEER_UNREACHABLE, "more bytes came than were asked for")
            into[at : at + size] = block
            at += size
            room.left(len(into) - at)
            await self._pace.take(size)
        if at < len(into):
            raise Again(Reason.PEER_UNREACHABLE, f"{at} bytes of {len(into)} came")

    async def _check(self, content: memoryview, piece: Piece) -> None:
        if len(content) <= _INLINE:
            found = hashlib.sha256(content).hexdigest()
        else:
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(self._threads, _digest, content)
        if found != piece.sha256:
            raise Corrupt

    async def into_file(self, url: str, path: str, file: BinaryIO, most: int) -> bool:
        """Fetch a file whole, False where there is none; raises Again, Spoiled, PullFailed."""
        loop = asyncio.get_running_loop()
        left = most
        try:
            async with self._session.get(
                URL(url, encoded=True), timeout=_TIMEOUT, allow_redirects=False
            ) as answer:
                if answer.status == 404:
                    return False
                await judge(answer, path, False)
                async for block in answer.content.iter_any():
                    self._meter.fetched += len(block)
                    left -= len(block)
                    if left < 0:
                        raise PullFailed(Reason.TRANSFER_FAILED, f"more than {most} bytes", path)
                    await loop.run_in_executor(self._threads, file.write, block)
                    await self._pace.take(len(block))
                return True
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise Again(Reason.PEER_UNREACHABLE, type(error).__name__) from None


def _digest(content: memoryview) -> str:
    return hashlib.sha256(content).hexdigest()


def _sizes(answer: aiohttp.ClientResponse, entry: Entry, ranged: bool) -> None:
    """Raise where the source's file is another than the manifest says."""
    if not ranged:
        length = answer.headers.get("Content-Length", "")
        if length.isdigit() and int(length) != entry.size:
            raise PullFailed(Reason.SOURCE_CHANGED, "another size than was published", entry.path)
        return
    total = answer.headers.get("Content-Range", "").rpartition("/")[2]
    if total.isdigit() and int(total) != entry.size:
        raise PullFailed(Reason.SOURCE_CHANGED, "another size than was published", entry.path)


async def judge(answer: aiohttp.ClientResponse, path: str, ranged: bool) -> None:
    """Pass what can be read; raises Again, Spoiled, PullFailed."""
    match answer.status:
        case 206 if ranged:
            return
        case 200 if not ranged or "Content-Range" in answer.headers:
            return  # some stores send a range under 200
        case 200 | 206:
            raise PullFailed(
                Reason.TRANSFER_FAILED,
                "something on the way takes the Range out of requests; let it pass",
                path,
            )
        case 404:
            reason, said = await _told(answer, Reason.SOURCE_NOT_FOUND)
            raise PullFailed(reason, said or "the source has no such file", path)
        case 409 | 412 | 416:
            raise PullFailed(Reason.SOURCE_CHANGED, "another file than was published", path)
        case 400 | 401 | 403:
            raise Spoiled(*await _told(answer, Reason.PERMISSION_DENIED))
        case 429 | 503:
            raise Again(Reason.THROTTLED, f"the source answers {answer.status}", _wait(answer))
        case 408 | 500 | 502 | 504:
            raise Again(Reason.PEER_UNREACHABLE, f"the source answers {answer.status}")
        case status:
            raise PullFailed(Reason.TRANSFER_FAILED, f"the source answers {status}", path)


async def _told(answer: aiohttp.ClientResponse, otherwise: Reason) -> tuple[Reason, str]:
    """The reason that a gateway or a store gives."""
    body = await answer.content.read(4096)
    code = _CODE.search(body)
    if code is not None:
        word = code[1].decode()
        if word == "RequestTimeTooSkewed":
            return Reason.CLOCK_SKEW, "the clocks of signer and store differ"
        return otherwise, f"the store answers {answer.status} {word}"
    try:
        told: dict[str, Any] = json.loads(body)
        return Reason(told["reason"]), str(told["message"])
    except (ValueError, KeyError, TypeError):
        return otherwise, f"the source answers {answer.status}"


def _wait(answer: aiohttp.ClientResponse) -> float:
    asked = answer.headers.get("Retry-After", "")
    return min(float(asked), LONGEST_WAIT) if asked.isdigit() else 0.0
