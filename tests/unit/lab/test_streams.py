"""Bodies changed on their way: what must come through does, in the order that is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from lab import streams


async def chunks(*parts: bytes, pause: float = 0.0) -> AsyncIterator[bytes]:
    for part in parts:
        await asyncio.sleep(pause)
        yield part


async def whole(body: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in body])


async def test_a_cut_body_ends_where_it_is_told_and_a_short_one_is_whole() -> None:
    body = streams.cut(chunks(b"abc", b"def"), 4)
    assert [await anext(body), await anext(body)] == [b"abc", b"d"]
    with pytest.raises(streams.Ended):
        await anext(body)
    assert await whole(streams.cut(chunks(b"abc"), 3)) == b"abc"
    assert await whole(streams.stalled(chunks(b"abc"), 3)) == b"abc"


async def test_a_stalled_body_falls_silent() -> None:
    body = streams.stalled(chunks(b"abc", b"def"), 4)
    assert [await anext(body), await anext(body)] == [b"abc", b"d"]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(body), 0.05)


async def test_a_slow_body_is_whole() -> None:
    assert await whole(streams.slow(chunks(b"0123456789", b"x"), 0.01)) == b"0123456789x"


async def test_an_event_comes_twice_however_it_was_cut_into_chunks() -> None:
    assert await whole(streams.repeated(chunks(b"a\nb", b"b\nc\n"), 1)) == b"a\nbb\nbb\nc\n"


async def test_two_events_change_places() -> None:
    assert await whole(streams.reordered(chunks(b"a\nb\nc\nd\n"), 1)) == b"a\nc\nb\nd\n"
    assert await whole(streams.reordered(chunks(b"a\nb\n"), 1)) == b"a\nb\n"


async def test_a_lone_event_is_only_late() -> None:
    late = chunks(b"a\n", b"b\n", b"c\n", pause=0.6)
    assert await whole(streams.reordered(late, 2)) == b"a\nb\nc\n"
    lone = chunks(b"a\n", b"b\n", pause=1.4)
    assert await whole(streams.reordered(lone, 0)) == b"a\nb\n"
