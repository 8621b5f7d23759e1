"""The long line of the benchmarks: bytes come whole, not before their time, and are counted."""

from __future__ import annotations

import asyncio
import os
import time

import pytest

from lab.line import WINDOW
from tests.perf.bench_data import line

CONTENT = os.urandom(3_000_000)
PATIENCE = 60.0


async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back the content once a line was heard."""
    await reader.readline()
    writer.write(CONTENT)
    await writer.drain()
    writer.close()


async def fetch(endpoint: str) -> tuple[bytes, float]:
    """What comes over the line, and seconds until it was all there."""
    host, port = endpoint.removeprefix("http://").split(":")
    began = time.monotonic()
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"give\n")
    found = await asyncio.wait_for(reader.read(-1), PATIENCE)
    writer.close()
    return found, time.monotonic() - began


@pytest.mark.parametrize(("rate", "round_trip"), [(0.0, 0.0), (30e6, 0.1)])
async def test_bytes_come_whole_and_not_before_their_time(rate: float, round_trip: float) -> None:
    server = await asyncio.start_server(answering, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        with line(port, rate, round_trip) as long:
            both = await asyncio.gather(fetch(long.endpoint), fetch(long.endpoint))
            seen = await asyncio.to_thread(long.report)
    finally:
        server.close()
    for content, seconds in both:
        assert content == CONTENT
        # To and fro to open it, to and fro for what was asked.
        assert seconds >= 2 * round_trip
    assert seen["down"] == 2 * len(CONTENT)
    assert seen["busiest10s"] <= seen["down"]
    if rate:
        # One rate for both: neither rounding nor the two milliseconds ahead make up for that.
        assert max(seconds for _, seconds in both) >= 0.9 * 2 * len(CONTENT) / rate


def test_a_window_has_room_for_the_longest_line_that_is_measured() -> None:
    assert WINDOW > 1_250_000_000 * 0.030
