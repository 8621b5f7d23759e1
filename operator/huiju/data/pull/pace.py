"""How fast a puller may receive: a bucket of tokens for all its streams.

Pure but for the waiting. Invariant: in any window of W seconds no more than 97 % of the rate times
W, and a twentieth of a second's worth, are taken; with what sockets hold that stays below the rate
in every ten seconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

_SHARE: Final = 0.97
"""The rest is for what is on its way in sockets, and for headers."""
_BURST: Final = 0.05
"""Seconds of the rate that may come at once."""


class Pace:
    """One bucket; sizes are bytes."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._next = clock()

    @property
    def rate(self) -> float:
        """Bytes per second, 0 for no limit."""
        return self._rate

    def change(self, rate: float) -> None:
        """Set another rate; it holds for the next bytes."""
        if rate == self._rate:
            return
        now = self._clock()
        if self._rate > 0 and rate > 0:
            # What was taken and not waited for yet is a debt of bytes, not of seconds.
            debt = max(0.0, self._next - now) * self._rate
            self._next = now + debt / rate
        else:
            self._next = now
        self._rate = rate

    def delay(self, size: int) -> float:
        """Take tokens for bytes that came; seconds to wait before the next are read."""
        if self._rate <= 0:
            return 0.0
        now = self._clock()
        self._next = max(self._next, now - _BURST) + size / (self._rate * _SHARE)
        return max(0.0, self._next - now)

    async def take(self, size: int) -> None:
        """Take tokens and wait for them."""
        wait = self.delay(size)
        if wait > 0:
            await asyncio.sleep(wait)

    def socket_bytes(self, streams: int) -> int:
        """Bytes that the receive buffer of one socket may hold, 0 for the system's choice.

        What a kernel takes in ahead of us was sent, and counts on the link.
        """
        if self._rate <= 0:
            return 0
        return max(32_768, int(self._rate * 0.1 / streams))
