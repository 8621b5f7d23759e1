"""Reads a finished copy and checks every digest: `mode: Verify`.

Decides nothing about what happens then. Invariant: it writes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from huiju.api.reasons import Reason
from huiju.data import manifest
from huiju.data.manifest import Entry, ManifestRefused, Reader, pieces
from huiju.data.pull.order import Order, PullFailed
from huiju.data.pull.report import Say
from huiju.data.pull.target import FolderTarget

_AT_ONCE = 256


async def verify(order: Order, say: Say) -> None:
    """Check the copy; raises PullFailed where there is none, or where a digest is wrong."""
    target = FolderTarget(Path(order.target), order.epoch)
    marker = await asyncio.to_thread(target.finished)
    if marker is None or marker.get("version") != order.digest:
        raise PullFailed(Reason.MANIFEST_MISSING, f"there is no copy of it at {order.target}")
    place = Path(order.target)
    file = place / manifest.name_of(str(marker["digest"]))
    try:
        await asyncio.to_thread(manifest.expect, file, str(marker["digest"]))
        reader = Reader(file)
    except (ManifestRefused, OSError) as error:
        raise PullFailed(Reason.CHECKSUM_MISMATCH, f"the copy's manifest: {error}") from None
    bad: list[str] = []
    count = 0
    loop = asyncio.get_running_loop()
    entries = iter(reader)
    with ThreadPoolExecutor(order.streams, thread_name_prefix="verify") as threads:
        while batch := list(islice(entries, _AT_ONCE)):
            found = await asyncio.gather(
                *(
                    loop.run_in_executor(threads, _whole, target, entry, reader.part)
                    for entry in batch
                )
            )
            bad += [entry.path for entry, good in zip(batch, found, strict=True) if not good]
            count += len(batch)
    say("verified", files=count, bad=len(bad), digest=marker["digest"])
    if bad:
        raise PullFailed(
            Reason.CHECKSUM_MISMATCH, f"{len(bad)} of {count} files are not as published", bad[0]
        )


def _whole(target: FolderTarget, entry: Entry, part: int) -> bool:
    parts: Iterator[manifest.Piece] = pieces(entry, part)
    return all(target.holds(entry, piece, target.place) for piece in parts)
