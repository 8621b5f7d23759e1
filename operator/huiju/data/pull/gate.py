"""The terms that hold now: rate, hours, stop; read again each second.

Decides nothing but when a part may begin. Invariant: a part that has begun is finished, whatever
the hour; the next waits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from huiju.api.reasons import Reason
from huiju.data.pull.order import Control, read_control
from huiju.data.pull.pace import Pace
from huiju.data.pull.report import Say
from huiju.data.windows import opens_at

_LOOK: Final = 1.0
"""Seconds between two looks at the terms."""


class Stopped(Exception):
    """The transfer was told to end for now."""


class Gate:
    """Lets parts begin."""

    def __init__(self, folder: Path, say: Say, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._say = say
        self._clock = clock
        self.control = read_control(folder, Control())
        self.pace = Pace(self.control.rate)
        self._open = asyncio.Event()
        self._said = 0.0
        self.waited = 0.0
        """Seconds for which no part could begin."""
        self.look()

    def look(self) -> None:
        """Take over what holds now."""
        self.control = read_control(self._folder, self.control)
        self.pace.change(self.control.rate)
        now = self._clock()
        opens = opens_at(self.control.windows, self.control.time_zone(), now)
        if opens <= now or self.control.stop:
            self._open.set()
            self._said = 0.0
            return
        self._open.clear()
        self.waited += _LOOK
        if self._said != opens:
            self._said = opens
            self._say("waiting", reason=str(Reason.WINDOW_CLOSED), until=opens)

    async def watch(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK)
            self.look()

    async def passed(self) -> None:
        """Wait until a part may begin; raises Stopped."""
        await self._open.wait()
        self.going()

    def going(self) -> None:
        """Pass what needs no link, whatever the hour; raises Stopped."""
        if self.control.stop:
            raise Stopped
