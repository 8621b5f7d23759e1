"""Builds the manifest of a version from a source: reads in parallel, writes in order.

Decides how far reading runs ahead. Invariant: memory is bounded by the batches in flight, whatever
the number of files.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import BinaryIO

from huiju.api.reasons import Reason
from huiju.data.manifest import Entry, ManifestRefused, Summary, Writer
from huiju.data.origin import Origin, OriginRefused, Progress


async def build(
    origin: Origin, file: BinaryIO, part: int, parallel: int, progress: Progress
) -> Summary:
    """Read the whole source and write its manifest into `file`; raises OriginRefused."""
    writer = Writer(file, part)
    reading: deque[asyncio.Task[list[Entry]]] = deque()
    try:
        async for batch in origin.batches():
            reading.append(asyncio.create_task(origin.digest(batch, part, progress)))
            if len(reading) >= 2 * parallel:
                _write(writer, await reading.popleft())
        while reading:
            _write(writer, await reading.popleft())
    finally:
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
    return writer.finish()


def _write(writer: Writer, entries: list[Entry]) -> None:
    try:
        for entry in entries:
            writer.add(entry)
    except ManifestRefused as refusal:
        raise OriginRefused(Reason.INVALID_SPEC, str(refusal)) from None
