"""The links that a puller holds, and how it comes to new ones.

Asks by a line on standard output and finds the sealed answer in its folder as `links-SEQ`, or
`refused-SEQ` with a reason. Decides when to ask: when a link is missing or near its end, and ahead
of time for the files that follow. Invariants: one need is open at a time; an answer to another need
is never used.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from huiju.api.reasons import Reason
from huiju.data.links import MOST, Batch, unpack
from huiju.data.pull.order import Order, PullFailed
from huiju.data.pull.report import Say
from huiju.data.sealing import Recipient, SealRefused

_LOOK: Final = 0.2
"""Seconds between two looks into the folder while an answer is awaited."""
_MARGIN: Final = 30.0
"""Seconds before its end from which a link is used no more."""
_TRIES: Final = 8
"""Answers that may pass before one has the file: several streams ask for what each needs."""
_AGAIN: Final = 60.0
"""Seconds after which an open need is said again."""
_KEPT: Final = 3
"""Batches: the one in use, the one before for stragglers, and the one ahead."""


class LinkBook:
    """Links by number of the file."""

    def __init__(
        self,
        folder: Path,
        order: Order,
        say: Say,
        clock: Callable[[], float] = time.time,
        most: int = MOST,
    ) -> None:
        self._folder = folder
        self._order = order
        self._say = say
        self._clock = clock
        self._most = most
        self._recipient = Recipient()
        self._batches: list[Batch] = []
        self._asking: asyncio.Task[None] | None = None
        # Begins anew with each process, above whatever one before asked for.
        self._seq = int(clock()) * 1000

    async def manifest(self) -> Batch:
        """A batch that is fresh; it has the links of the manifest and its signature."""
        await self._ask(0, self._most)
        return self._batches[-1]

    async def url(self, number: int, path: str) -> tuple[str, Batch]:
        """A link to a file and the batch that it is of; raises PullFailed."""
        for _ in range(_TRIES):
            for batch in reversed(self._batches):
                link = batch.url(number, path)
                if link is not None and self._good(batch):
                    self._look_ahead(number, batch)
                    return link, batch
            await self._ask(number, self._most)
        raise PullFailed(
            Reason.TRANSFER_FAILED, "the links that came are for other files or at their end", path
        )

    def spoiled(self, batch: Batch) -> None:
        """A link of the batch was refused by the source: use it no more."""
        if batch in self._batches:
            self._batches.remove(batch)

    def _good(self, batch: Batch) -> bool:
        return batch.until - self._clock() > _MARGIN

    def _look_ahead(self, number: int, batch: Batch) -> None:
        """Ask for the files that follow while there is time."""
        end = batch.first + len(batch.urls)
        if batch.base or len(batch.urls) < self._most or number < end - self._most // 2:
            return
        if self._asking is None and all(other.first < end for other in self._batches):
            self._start(end, self._most)

    async def _ask(self, first: int, count: int) -> None:
        """Have an answer to a need; joins the one that is open."""
        if self._asking is None:
            self._start(first, count)
        task = self._asking
        if task is not None:
            await asyncio.shield(task)

    def _start(self, first: int, count: int) -> None:
        self._asking = asyncio.create_task(self._fetch(first, count), name="links")
        self._asking.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._asking = None
        if not task.cancelled():
            task.exception()  # whoever waits has it; ahead of time nobody does, and it is met again

    async def _fetch(self, first: int, count: int) -> None:
        self._seq += 1
        seq, started, said = self._seq, time.monotonic(), 0.0
        while True:
            waited = time.monotonic() - started
            if not said or waited - said > _AGAIN:
                said = max(waited, 1e-9)
                self._say(
                    "need", seq=seq, first=first, count=count, publicKey=self._recipient.public
                )
            answer = await asyncio.to_thread(self._answer, seq)
            if answer is not None:
                self._batches = [*self._batches[-_KEPT + 1 :], answer]
                return
            if waited > self._order.patience:
                raise PullFailed(
                    Reason.PEER_UNREACHABLE, "no links came from the center that has the data"
                )
            await asyncio.sleep(_LOOK)

    def _answer(self, seq: int) -> Batch | None:
        """What the folder holds for a need; raises PullFailed for a refusal."""
        try:
            sealed = (self._folder / f"links-{seq}").read_bytes()
        except FileNotFoundError:
            self._refusal(seq)
            return None
        order = self._order
        try:
            return unpack(sealed, self._recipient, order.replica, order.epoch, seq)
        except SealRefused:
            return None  # half written, or for another; said again after a while

    def _refusal(self, seq: int) -> None:
        try:
            told = json.loads((self._folder / f"refused-{seq}").read_bytes())
            reason = Reason(told["reason"])
        except (OSError, ValueError, KeyError, TypeError):
            return
        raise PullFailed(reason, str(told.get("message", "")))

    async def close(self) -> None:
        """Ask no more."""
        task = self._asking
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
