"""What a source's answers mean to a puller, from a real server that answers as told."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from huiju.api.reasons import Reason
from huiju.data.manifest import MEBIBYTE, Entry, Piece, pieces
from huiju.data.pull.fetch import Again, Corrupt, Fetcher, Meter, Spoiled
from huiju.data.pull.memory import Own
from huiju.data.pull.order import PullFailed
from huiju.data.pull.pace import Pace

CONTENT = bytes(range(256)) * 8192
"""Two parts of a MiB."""
HALVES = tuple(hashlib.sha256(CONTENT[n : n + MEBIBYTE]).hexdigest() for n in (0, MEBIBYTE))
ENTRY = Entry("a.bin", len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), HALVES)
SECOND = list(pieces(ENTRY, MEBIBYTE))[1]
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def source(answer: Answer) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/a.bin", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/a.bin"
    finally:
        await runner.cleanup()


async def fetch(answer: Answer, entry: Entry = ENTRY, piece: Piece = SECOND) -> bytes:
    room = Own(piece.size)
    async with source(answer) as url, aiohttp.ClientSession() as session:
        with ThreadPoolExecutor(1) as threads:
            await Fetcher(session, Pace(0), Meter(), threads).part(url, entry, piece, room)
    return bytes(await room.view())


def says(status: int, body: bytes = b"", **headers: str) -> Answer:
    async def answer(_request: web.Request) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=status, body=body, headers=named)

    return answer


async def ranged(request: web.Request) -> web.StreamResponse:
    start, end = request.headers["Range"].removeprefix("bytes=").split("-")
    body = CONTENT[int(start) : int(end) + 1]
    told = {"Content-Range": f"bytes {start}-{end}/{len(CONTENT)}"}
    return web.Response(status=206, body=body, headers=told)


async def test_a_part_comes_by_its_range() -> None:
    assert await fetch(ranged) == CONTENT[MEBIBYTE:]


async def test_a_store_that_sends_a_range_under_200_is_understood() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        made = await ranged(request)
        made.set_status(200)
        return made

    assert await fetch(answer) == CONTENT[MEBIBYTE:]


async def test_a_proxy_that_takes_ranges_away_is_told() -> None:
    with pytest.raises(PullFailed) as failure:
        await fetch(says(200, CONTENT))
    assert "takes the Range out of requests" in str(failure.value)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (says(404), Reason.SOURCE_NOT_FOUND),
        (says(412), Reason.SOURCE_CHANGED),
        (says(416), Reason.SOURCE_CHANGED),
        (says(206, b"x", Content_Range="bytes 1048576-1048576/7"), Reason.SOURCE_CHANGED),
        (says(302, b"", Location="http://127.0.0.1:9/elsewhere"), Reason.TRANSFER_FAILED),
    ],
)
async def test_what_no_other_try_cures_ends_the_transfer(answer: Answer, reason: Reason) -> None:
    with pytest.raises(PullFailed) as failure:
        await fetch(answer)
    assert failure.value.reason is reason


@pytest.mark.parametrize(
    ("answer", "reason", "wait"),
    [
        (says(503), Reason.THROTTLED, 0.0),
        (says(429, b"", Retry_After="7"), Reason.THROTTLED, 7.0),
        (says(429, b"", Retry_After="86400"), Reason.THROTTLED, 60.0),
        (says(500), Reason.PEER_UNREACHABLE, 0.0),
        (says(206, b"short"), Reason.PEER_UNREACHABLE, 0.0),
        (says(206, CONTENT), Reason.PEER_UNREACHABLE, 0.0),
    ],
)
async def test_what_may_pass_is_tried_again(answer: Answer, reason: Reason, wait: float) -> None:
    with pytest.raises(Again) as failure:
        await fetch(answer)
    assert failure.value.reason is reason
    assert failure.value.wait == wait


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<Error><Code>AccessDenied</Code></Error>", Reason.PERMISSION_DENIED),
        (b"<Error><Code>RequestTimeTooSkewed</Code></Error>", Reason.CLOCK_SKEW),
        (b'{"reason": "GrantRevoked", "message": "revoked"}', Reason.GRANT_REVOKED),
        (b"<html>no</html>", Reason.PERMISSION_DENIED),
    ],
)
async def test_a_refused_link_says_why(body: bytes, reason: Reason) -> None:
    with pytest.raises(Spoiled) as refusal:
        await fetch(says(403, body))
    assert refusal.value.reason is reason


async def test_other_bytes_of_the_right_length_are_found() -> None:
    wrong = bytearray(CONTENT[MEBIBYTE:])
    wrong[77] ^= 1
    with pytest.raises(Corrupt):
        await fetch(says(206, bytes(wrong)))


async def test_an_error_page_under_200_is_no_file() -> None:
    whole = Entry("a.bin", 300, hashlib.sha256(b"y" * 300).hexdigest())
    page = b"<?xml version='1.0'?><Error><Code>InternalError</Code></Error>"
    with pytest.raises(PullFailed) as failure:
        await fetch(says(200, page), whole, Piece(0, 300, whole.sha256))
    assert failure.value.reason is Reason.SOURCE_CHANGED
    with pytest.raises(Corrupt):
        await fetch(says(200, page.ljust(300)), whole, Piece(0, 300, whole.sha256))


async def test_no_address_is_in_what_is_told_of_a_broken_line() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.close()
        await asyncio.sleep(0)
        return web.Response()

    with pytest.raises(Again) as failure:
        await fetch(answer)
    assert "127.0.0.1" not in str(failure.value)
