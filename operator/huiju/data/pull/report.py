"""What a puller says: one JSON object a line on standard output, for the center's agent to read.

Decides the words. Invariant: no link, token or key but the public one is in any line.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any, Final

EVENTS: Final = {
    "need": "links are wanted: seq, first, count, publicKey",
    "progress": "bytesDone, bytesTotal, filesDone, filesTotal, rate, limit (bytes/s), fetched",
    "waiting": "nothing moves: reason, until (seconds since the epoch)",
    "verified": "a finished copy was read: files, bad",
    "removed": "the copy was taken away",
    "done": "the copy is there: digest (of the part that was copied), bytes, files, fetched",
    "failed": "the end without a copy: reason, message, path",
}
"""Every event and its fields; all have replica, epoch, and at (seconds since the epoch)."""

Say = Callable[..., None]


class Report:
    """Writes lines for one transfer."""

    def __init__(self, replica: str, epoch: int) -> None:
        self._about = {"replica": replica, "epoch": epoch}

    def __call__(self, event: str, **fields: Any) -> None:
        """Say it now."""
        line = json.dumps(
            {"event": event, **self._about, "at": round(time.time(), 3), **fields},
            ensure_ascii=False,
        )
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
