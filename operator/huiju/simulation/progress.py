"""How far a simulation is, on a terminal's standard error; silent elsewhere.

Decides nothing. Invariant: the line is gone when something else is printed.
"""

from __future__ import annotations

import time
from typing import TextIO

_EVERY = 0.2
_WIDTH = 24


class Bar:
    """One line that is drawn again and again."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shows = stream.isatty()
        self._drawn = 0
        self._at = 0.0

    def show(self, name: str, done: int, of: int) -> None:
        """So many of so many are done."""
        now = time.monotonic()
        if not self._shows or (now - self._at < _EVERY and done < of):
            return
        self._at = now
        filled = _WIDTH * done // max(1, of)
        text = f"{name}  [{'#' * filled}{'.' * (_WIDTH - filled)}] {done}/{of}"
        self._stream.write("\r" + text.ljust(self._drawn))
        self._stream.flush()
        self._drawn = len(text)

    def clear(self) -> None:
        """Take the line away."""
        if self._drawn:
            self._stream.write("\r" + " " * self._drawn + "\r")
            self._stream.flush()
            self._drawn = 0
