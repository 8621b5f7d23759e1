"""An answer's body on its way through the proxy, changed as a fault says.

Decides nothing about which. Invariant: but for `cut` and `stalled`, everything that came goes out,
and nothing else but what is repeated.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

_PIECES: Final = 8
_PATIENCE: Final = 1.0
"""Seconds for which an event is held back for a later one to overtake it."""

Chunks = AsyncIterator[bytes]


class Ended(Exception):
    """The connection breaks here."""


async def cut(chunks: Chunks, size: int) -> Chunks:
    """The first `size` bytes, then the end of the connection, if there are more."""
    async for chunk in chunks:
        if len(chunk) > size:
            yield chunk[:size]
            raise Ended
        size -= len(chunk)
        yield chunk


async def stalled(chunks: Chunks, size: int) -> Chunks:
    """The first `size` bytes, then silence, if there are more."""
    try:
        async for chunk in cut(chunks, size):
            yield chunk
    except Ended:
        await asyncio.Event().wait()


async def slow(chunks: Chunks, seconds: float) -> Chunks:
    """Everything, each chunk in small pieces over so many seconds."""
    async for chunk in chunks:
        length = max(1, -(-len(chunk) // _PIECES))
        for start in range(0, len(chunk), length):
            await asyncio.sleep(seconds / _PIECES)
            yield chunk[start : start + length]


async def repeated(chunks: Chunks, after: int) -> Chunks:
    """Everything, one event of a watch twice: that after so many others."""
    number = 0
    async for line in _lines(chunks):
        yield line
        if number == after:
            yield line
        number += 1


async def reordered(chunks: Chunks, after: int) -> Chunks:
    """Everything, one event of a watch behind the next one, if that comes soon."""
    lines = aiter(_lines(chunks))
    number = 0
    async for line in lines:
        if number != after:
            yield line
        else:
            async for one in _swapped(line, lines):
                yield one
        number += 1


async def _swapped(held: bytes, lines: Chunks) -> Chunks:
    coming = asyncio.ensure_future(anext(lines, None))
    try:
        done, _ = await asyncio.wait({coming}, timeout=_PATIENCE)
        if not done:
            yield held
        later = await coming
        if later is not None:
            yield later
        if done:
            yield held
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)


async def _lines(chunks: Chunks) -> Chunks:
    rest = b""
    async for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line + b"\n"
    if rest:
        yield rest
