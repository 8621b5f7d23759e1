"""Watch lines come out whole, however the network cuts them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from hypothesis import given
from hypothesis import strategies as st

from huiju.kube.wire import lines

LINE = st.binary(max_size=40).filter(lambda line: b"\n" not in line)


@given(st.lists(LINE, max_size=12), st.lists(st.integers(1, 30), max_size=40), st.booleans())
def test_lines_survive_any_cut(sent: list[bytes], sizes: list[int], ends: bool) -> None:
    text = b"".join(line + b"\n" for line in sent)
    if not ends:
        text += b"unfinished"
    pieces, at = [], 0
    for size in sizes:
        pieces.append(text[at : at + size])
        at += size
    pieces.append(text[at:])

    async def chunks() -> AsyncIterator[bytes]:
        for piece in pieces:
            if piece:
                yield piece

    async def gather() -> list[bytes]:
        return [line async for line in lines(chunks(), "test")]

    # An unfinished line is a cut stream: the watch goes on from the last whole event.
    assert asyncio.run(gather()) == [line for line in sent if line]
