"""A line between a puller and a store: as slow, long and faulty as asked.

Decides what happens to bytes on their way; reads nothing of them, so signatures hold. Invariants:
the rate is one for all connections, as on a real link; every byte that went down is counted with
its time.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

_BLOCK: Final = 1 << 16


class Relay:
    """Listens on the loopback and passes to a port there. Use as an async context manager."""

    def __init__(self, port: int, *, rate: float = 0.0, delay: float = 0.0) -> None:
        self.rate = rate
        """Bytes per second down, for all connections together; 0 is without limit."""
        self.delay = delay
        """Seconds that bytes take one way, both ways."""
        self.down = 0
        """Bytes that went down."""
        self.cuts: list[int] = []
        """For each next connection: break it after so many bytes down; negative passes."""
        self.flips: list[int] = []
        """For each next connection: change the byte at this place down; negative passes."""
        self.times: list[tuple[float, int]] = []
        """When how many bytes went down."""
        self.closed = False
        """True refuses every connection."""
        self._upstream = port
        self._next = 0.0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def endpoint(self) -> str:
        """Its address."""
        if self._server is None:
            raise RuntimeError("the relay does not run")
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def busiest(self, seconds: float) -> int:
        """The most bytes that went down in any window of so many seconds."""
        most = total = first = 0
        for at, size in self.times:
            total += size
            while self.times[first][0] <= at - seconds:
                total -= self.times[first][1]
                first += 1
            most = max(most, total)
        return most

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # what was aborted is closed in the loop's next round

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if self.closed:
            writer.transport.abort()
            return
        cut = self.cuts.pop(0) if self.cuts else -1
        flip = self.flips.pop(0) if self.flips else -1
        try:
            theirs, ours = await asyncio.open_connection("127.0.0.1", self._upstream)
        except OSError:
            writer.transport.abort()
            return
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, ours))
                group.create_task(self._pass_down(theirs, writer, cut, flip))
        except* OSError:
            pass
        finally:
            for end in (writer, ours):
                with suppress(OSError, RuntimeError):
                    end.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while block := await reader.read(_BLOCK):
            await asyncio.sleep(2 * self.delay)  # the way there and back, in one place
            writer.write(block)
            await writer.drain()
        raise ConnectionResetError

    async def _pass_down(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: int, flip: int
    ) -> None:
        passed = 0
        while block := await reader.read(_BLOCK):
            size = len(block)
            if passed <= flip < passed + size:
                changed = bytearray(block)
                changed[flip - passed] ^= 0xFF
                block = bytes(changed)
            if 0 <= cut < passed + size:
                block = block[: cut - passed]
            await self._wait(len(block))
            writer.write(block)
            await writer.drain()
            passed += len(block)
            self.down += len(block)
            self.times.append((time.monotonic(), len(block)))
            if len(block) < size:
                break
        raise ConnectionResetError

    async def _wait(self, size: int) -> None:
        if self.rate <= 0:
            return
        now = time.monotonic()
        self._next = max(self._next, now - 0.02) + size / self.rate
        if self._next > now:
            await asyncio.sleep(self._next - now)
