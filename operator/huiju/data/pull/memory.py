"""What a puller holds of parts on their way: few places, each for one part.

Decides when a request may be sent: while another part is still being received, digested and
written, so that a round trip and a digest cost the line nothing; and how much memory parts take
together, however many streams were asked for. Invariant: a part has a place from its first byte
until it is written, and `MOST` bytes or one part are all that places take.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final, Protocol, Self

from huiju.data.manifest import MEBIBYTE

MOST: Final = 80 * MEBIBYTE
AHEAD: Final = 4 * MEBIBYTE
"""Bytes before the end of a part at which the request for another may be sent."""


class Room(Protocol):
    """Where a part is received."""

    async def view(self) -> memoryview:
        """The bytes to fill, once there is memory for them; the same ones each time."""

    def left(self, size: int) -> None:
        """So many bytes of the part are still to come."""


class Own:
    """A place of its own, for what is too small to be counted."""

    def __init__(self, size: int) -> None:
        self._view = memoryview(bytearray(size))

    async def view(self) -> memoryview:
        """The bytes."""
        return self._view

    def left(self, size: int) -> None:
        """Nobody waits for it."""


class Places:
    """The places of one transfer."""

    def __init__(self, streams: int, part: int) -> None:
        self.count = max(1, min(streams, MOST // part))
        self._part = part
        self._requests = asyncio.Semaphore(self.count)
        self._free: asyncio.LifoQueue[bytearray | None] = asyncio.LifoQueue()
        for _ in range(self.count):
            self._free.put_nowait(None)  # made when it is needed first

    def place(self, size: int) -> Place:
        """A place for a part of that size; enter it before the request."""
        return Place(self._requests, self._free, size, self._part)


class Place:
    """A place for one part, to be used as a context."""

    def __init__(
        self,
        requests: asyncio.Semaphore,
        free: asyncio.LifoQueue[bytearray | None],
        size: int,
        part: int,
    ) -> None:
        self._requests = requests
        self._free = free
        self._size = size
        self._part = part
        self._asks = False
        self._buffer: bytearray | None = None

    async def __aenter__(self) -> Self:
        await self._requests.acquire()
        self._asks = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.left(0)
        if self._buffer is not None:
            self._free.put_nowait(self._buffer)
            self._buffer = None

    async def view(self) -> memoryview:
        """The bytes to fill; waits until a place is free."""
        if self._buffer is None:
            self._buffer = await self._free.get() or bytearray(self._part)
        return memoryview(self._buffer)[: self._size]

    def left(self, size: int) -> None:
        """Near the end of the part another request may be sent."""
        if self._asks and size <= AHEAD:
            self._asks = False
            self._requests.release()
