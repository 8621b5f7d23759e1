"""One transfer: from an order and sealed links to a copy that readers may mount.

Composes what the neighbours decide. Invariants: a part is written after its digest was right and
logged after it was written; few parts are on their way (`memory.py`), so that an end at any moment
loses no more than these; the copy appears whole, by one rename, or not at all.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final

from huiju.api.reasons import Reason
from huiju.data.manifest import Entry, Piece, Reader, pieces
from huiju.data.pull import reuse
from huiju.data.pull.book import LinkBook
from huiju.data.pull.fetch import LONGEST_WAIT, Again, Corrupt, Fetcher, Meter, Spoiled
from huiju.data.pull.gate import Gate
from huiju.data.pull.inherit import keep
from huiju.data.pull.listing import Listing, obtain
from huiju.data.pull.memory import Own, Places, Room
from huiju.data.pull.order import Fenced, Mode, Order, PullFailed
from huiju.data.pull.partlog import PartLog
from huiju.data.pull.report import Say
from huiju.data.pull.session import opened
from huiju.data.pull.target import FolderTarget, told

SMALL: Final = 1 << 20
"""Bytes up to which a whole file does not count as a stream."""
SMALL_AT_ONCE: Final = 32
"""Small files on their way at once: each waits for a round trip most of its time."""
_BATCH: Final = 256
"""Files that are looked for at once in another copy."""
_CORRUPT_TRIES: Final = 3
_SPOILED_TRIES: Final = 3
_TELL: Final = 1.0
"""Seconds between two lines of progress."""


@dataclass(frozen=True, slots=True)
class Task:
    """A part to fetch."""

    number: int
    """Of the file in the manifest."""
    part: int
    """Of the part, counted through all files."""
    entry: Entry
    piece: Piece


class Puller:
    """One transfer. `run` once."""

    def __init__(self, order: Order, folder: Path, say: Say) -> None:
        self._order = order
        self._say = say
        self._gate = Gate(folder, say)
        self._book = LinkBook(folder, order, say)
        self._target = FolderTarget(Path(order.target), order.epoch)
        self._meter = Meter()
        self._threads = ThreadPoolExecutor(max(2, order.streams), thread_name_prefix="part")
        self._moved = time.monotonic()
        """When the last part arrived."""
        self._bytes = 0
        self._files = 0
        self._left: dict[int, int] = {}
        """Parts still to come of files that are on their way."""

    async def run(self) -> None:
        """Make the copy; raises PullFailed, Fenced, Stopped."""
        try:
            await asyncio.to_thread(self._target.claim)
            await self._claimed()
        finally:
            await self._book.close()
            self._threads.shutdown(wait=True, cancel_futures=True)
            self._target.close()

    async def _claimed(self) -> None:
        target = self._target
        try:
            try:
                await self._run()
            except PullFailed:
                # Whoever lost the target finds its folder gone: that is why, then.
                await asyncio.to_thread(target.check)
                raise
        except Fenced:
            await asyncio.to_thread(target.abandon)
            raise

    async def _run(self) -> None:
        target, order = self._target, self._order
        marker = await asyncio.to_thread(target.finished)
        if marker is not None and order.mode is Mode.REPAIR:
            await asyncio.to_thread(target.reopen)
        elif marker is not None and marker.get("version") == order.digest:
            self._say("done", **_public(marker), fetched=0)
            return
        own = await asyncio.to_thread(target.prepare, order.digest)
        async with AsyncExitStack() as stack:
            session = await stack.enter_async_context(opened(order, self._gate.pace))
            fetcher = Fetcher(session, self._gate.pace, self._meter, self._threads)
            watching = asyncio.create_task(self._gate.watch(), name="terms")
            stack.push_async_callback(_ended, watching)
            listing = await obtain(order, own, self._book, fetcher, self._gate)
            log = PartLog(own / "parts", listing.parts)
            stack.callback(log.close)
            await self._known(listing, log)
            telling = asyncio.create_task(self._tell(listing), name="progress")
            stack.push_async_callback(_ended, telling)
            await self._take_over(listing, log)
            await asyncio.to_thread(target.room, listing.bytes - self._bytes)
            await self._move(listing, log, fetcher)
        await self._finish(listing)

    # --- what is there already --------------------------------------------------------------------

    async def _known(self, listing: Listing, log: PartLog) -> None:
        """Find which parts are there, and count them."""
        repair = self._order.mode is Mode.REPAIR
        with told():
            await asyncio.to_thread(keep, self._target, listing.reader, log, repair=repair)
        for task in _tasks(listing.reader):
            if task.part in log:
                self._bytes += task.piece.size
                self._count(task, done=True)

    def _count(self, task: Task, *, done: bool) -> None:
        """Count files whose parts are all there."""
        total = max(1, len(task.entry.parts))
        left = self._left.get(task.number, total) - (1 if done else 0)
        if left:
            self._left[task.number] = left
        else:
            self._left.pop(task.number, None)
            self._files += 1
            self._target.whole(task.entry.path)

    async def _take_over(self, listing: Listing, log: PartLog) -> None:
        """Link what a finished copy of another version has; it is read, and not fetched."""
        for place, other in await asyncio.to_thread(reuse.others, self._target):
            found = reuse.common(listing.reader, other)
            while (batch := await asyncio.to_thread(list, islice(found, _BATCH))) != []:
                for number, part, entry in batch:
                    all = range(part, part + max(1, len(entry.parts)))
                    if any(each in log for each in all):
                        continue
                    self._gate.going()
                    if await asyncio.to_thread(self._target.adopt, entry, place):
                        for each in all:
                            log.add(each)
                        self._left.pop(number, None)
                        self._bytes += entry.size
                        self._files += 1

    # --- moving -----------------------------------------------------------------------------------

    async def _move(self, listing: Listing, log: PartLog, fetcher: Fetcher) -> None:
        queue: asyncio.Queue[Task | None] = asyncio.Queue(2 * SMALL_AT_ONCE)
        places = Places(self._order.streams, listing.part)
        try:
            async with asyncio.TaskGroup() as group:
                workers = max(SMALL_AT_ONCE, self._order.streams)
                for _ in range(workers):
                    group.create_task(self._work(queue, log, fetcher, places))
                for task in _tasks(listing.reader):
                    if task.part not in log:
                        await queue.put(task)
                for _ in range(workers):
                    await queue.put(None)
        except ExceptionGroup as errors:
            # The first is why the others were ended.
            raise errors.exceptions[0] from None

    async def _work(
        self, queue: asyncio.Queue[Task | None], log: PartLog, fetcher: Fetcher, places: Places
    ) -> None:
        while (task := await queue.get()) is not None:
            if not task.entry.parts and task.piece.size <= SMALL:
                await self._gate.passed()
                await self._bring(task, log, fetcher, Own(task.piece.size))
                continue
            async with places.place(task.piece.size) as place:
                await self._gate.passed()
                await self._bring(task, log, fetcher, place)

    async def _bring(self, task: Task, log: PartLog, fetcher: Fetcher, room: Room) -> None:
        """Fetch a part, as often as it takes, write it and log it."""
        if task.piece.size:
            await self._fetch(task, fetcher, room)
        content = await room.view()
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._threads, self._write, task, log, content)
        self._moved = time.monotonic()
        self._bytes += task.piece.size
        self._count(task, done=True)

    def _write(self, task: Task, log: PartLog, content: memoryview) -> None:
        self._target.write(task.entry, task.piece, content)
        with told(task.entry.path):
            log.add(task.part)

    async def _fetch(self, task: Task, fetcher: Fetcher, room: Room) -> None:
        corrupt = spoiled = attempt = 0
        path = task.entry.path
        while True:
            url, batch = await self._book.url(task.number, path)
            try:
                await fetcher.part(url, task.entry, task.piece, room)
                return
            except Corrupt:
                corrupt += 1
                if corrupt >= _CORRUPT_TRIES:
                    raise PullFailed(
                        Reason.CHECKSUM_MISMATCH,
                        f"the part at byte {task.piece.start} came {corrupt} times with another"
                        " digest",
                        path,
                    ) from None
            except Spoiled as refusal:
                spoiled += 1
                if spoiled >= _SPOILED_TRIES:
                    raise PullFailed(refusal.reason, str(refusal), path) from None
                self._book.spoiled(batch)
            except Again as failure:
                attempt += 1
                if time.monotonic() - self._moved > self._order.patience:
                    raise PullFailed(failure.reason, str(failure), path) from None
                await asyncio.sleep(max(failure.wait, min(LONGEST_WAIT, 0.25 * 2**attempt)))

    async def _tell(self, listing: Listing) -> None:
        """Lines of progress, while something changes."""
        rate, before, said = 0.0, self._meter.fetched, (-1, -1, -1.0)
        while True:
            now = (self._bytes, self._files, self._gate.pace.rate)
            if now != said or self._meter.fetched != before:
                rate += 0.3 * ((self._meter.fetched - before) / _TELL - rate)
                before, said = self._meter.fetched, now
                self._progress(listing, int(rate))
            await asyncio.sleep(_TELL)

    def _progress(self, listing: Listing, rate: int) -> None:
        self._say(
            "progress",
            bytesDone=self._bytes,
            bytesTotal=listing.bytes,
            filesDone=self._files,
            filesTotal=listing.files,
            rate=rate,
            limit=int(self._gate.pace.rate),
            fetched=self._meter.fetched,
        )

    async def _finish(self, listing: Listing) -> None:
        if (self._files, self._bytes) != (listing.files, listing.bytes):
            raise AssertionError("all parts are there and not all files")
        self._progress(listing, 0)
        marker = {
            "version": self._order.digest,
            "digest": listing.digest,
            "files": listing.files,
            "bytes": listing.bytes,
            "verifiedAt": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        await asyncio.to_thread(self._target.finish, marker)
        self._say("done", **_public(marker), fetched=self._meter.fetched)


def _public(marker: dict[str, Any]) -> dict[str, Any]:
    return {name: marker.get(name) for name in ("digest", "files", "bytes", "verifiedAt")}


def _tasks(reader: Reader) -> Iterator[Task]:
    """Every part of every file, numbered through."""
    count = 0
    for number, entry in enumerate(reader):
        for piece in pieces(entry, reader.part):
            yield Task(number, count, entry, piece)
            count += 1


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    results = await asyncio.gather(task, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result
