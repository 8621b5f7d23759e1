"""What the lab says while it works: one line a step, with the time that passed.

Decides wording and pace only. Invariant: everything goes to stderr, so that `-o json` stays clean.
"""

from __future__ import annotations

import sys
import time
from typing import TextIO


class Progress:
    """Lines on a stream; on a terminal a running step rewrites its own line."""

    def __init__(self, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        self._stream = stream or sys.stderr
        self._quiet = quiet
        self._live = self._stream.isatty()
        self._open = False
        self._said_at = float("-inf")

    def say(self, text: str) -> None:
        """Write one lasting line."""
        if self._quiet:
            return
        start = "\r\x1b[2K" if self._open else ""
        print(f"{start}{text}", file=self._stream, flush=True)
        self._open = False

    def tick(self, text: str, *, every: float = 15.0) -> None:
        """Show how far a step is: at once on a terminal, each `every` seconds elsewhere."""
        if self._quiet:
            return
        if self._live:
            print(f"\r\x1b[2K{text}", end="", file=self._stream, flush=True)
            self._open = True
        elif time.monotonic() - self._said_at >= every:
            self._said_at = time.monotonic()
            self.say(text)


def minutes(seconds: float) -> str:
    """Time as people say it: `45 s`, `3 min 05 s`."""
    whole = int(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02d} s"
