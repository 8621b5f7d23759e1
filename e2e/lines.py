"""A program that goes on beside a test, read line by line.

Decides how long a line is waited for. Invariant: no line is lost or read twice.
"""

from __future__ import annotations

import queue
import threading
from subprocess import Popen


class Lines:
    """What a program that goes on prints, line by line."""

    def __init__(self, process: Popen[str]) -> None:
        self.seen: list[str] = []
        self._queue: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, args=(process,), daemon=True).start()

    def _read(self, process: Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._queue.put(line.rstrip("\n"))
        self._queue.put(None)

    def until(self, words: str, seconds: float = 60.0) -> str:
        """The next line with these words; fails where the program ends first."""
        while True:
            try:
                line = self._queue.get(timeout=seconds)
            except queue.Empty:
                raise AssertionError(f"no line with {words!r} among {self.seen}") from None
            assert line is not None, f"ended without {words!r}: {self.seen}"
            self.seen.append(line)
            if words in line:
                return line
