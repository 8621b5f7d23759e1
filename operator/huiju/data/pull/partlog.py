"""Which parts of a copy are there: a file of numbers beside the data, one appended a part.

Parts of all files are numbered through in the manifest's order. Decides what is believed after an
end: on the same boot of the machine the kernel still had every write, so the log holds; after
another boot the parts must be read again. Invariants: a part is logged after it was verified and
written, never before; a log that another may still write to is replaced, not changed.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from huiju.data.pull.claim import write_whole

_RECORD: Final = 8
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_HEAD: Final = 64
"""Bytes of the first record: the boot's name."""


def boot_name() -> bytes:
    """What tells this boot of the machine from others; empty where nothing does."""
    try:
        return _BOOT.read_bytes().strip()[: _HEAD - 1]
    except OSError:
        return b""


class PartLog:
    """The parts that are there. Use `open`, then `go_on` or `replace`, then `add`."""

    def __init__(self, file: Path, total: int) -> None:
        self.total = total
        self.done = 0
        self.trusted = True
        """Whether what the log says is to be believed without reading the parts."""
        self._file = file
        self._bits = bytearray((total + 7) // 8)
        self._fd = -1
        self._end = 0
        self._adding = threading.Lock()

    def open(self, boot: bytes) -> None:
        """Read the log and change nothing; raises OSError."""
        try:
            found = self._file.read_bytes()
        except FileNotFoundError:
            found = b""
        self.trusted = not found or (bool(boot) and found[:_HEAD] == _head(boot))
        # A record that was cut by the end of its writer is as good as none.
        whole = max(0, len(found) - _HEAD) // _RECORD * _RECORD
        self._end = _HEAD + whole
        for at in range(_HEAD, self._end, _RECORD):
            self._set(int.from_bytes(found[at : at + _RECORD], "big"))

    def go_on(self, boot: bytes) -> None:
        """Add to what is there, of this boot; raises OSError."""
        self._fd = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        os.pwrite(self._fd, _head(boot), 0)
        os.ftruncate(self._fd, self._end)

    def replace(self, boot: bytes, parts: Iterable[int]) -> None:
        """Begin another log with these parts, in the place of this one; raises OSError."""
        self._bits = bytearray(len(self._bits))
        self.done = 0
        for part in parts:
            self._set(part)
        records = bytearray()
        for part in range(self.total):
            if part in self:
                records += part.to_bytes(_RECORD, "big")
        self.close()
        write_whole(self._file, _head(boot) + bytes(records))
        self.trusted = True
        self._end = _HEAD + len(records)
        self._fd = os.open(self._file, os.O_RDWR | os.O_CLOEXEC)

    def __contains__(self, number: int) -> bool:
        return bool(self._bits[number >> 3] & (1 << (number & 7)))

    def add(self, number: int) -> None:
        """Log a part that is written; raises OSError."""
        with self._adding:
            if number in self:
                return
            # One that a full disk cuts short is written over by the next.
            if os.pwrite(self._fd, number.to_bytes(_RECORD, "big"), self._end) < _RECORD:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._end += _RECORD
            self._set(number)

    def _set(self, number: int) -> None:
        if number < self.total and number not in self:
            self._bits[number >> 3] |= 1 << (number & 7)
            self.done += 1

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _head(boot: bytes) -> bytes:
    return boot.ljust(_HEAD, b"\n")
