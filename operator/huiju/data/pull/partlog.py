"""Which parts of a copy are there: a file of numbers beside the data, one appended a part.

Parts of all files are numbered through in the manifest's order. Decides what is believed after an
end: on the same boot of the machine the kernel still had every write, so the log holds; after
another boot the parts must be read again. Invariant: a part is logged after it was verified and
written, never before.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

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
    """The parts that are there. Use `open` to begin or go on."""

    def __init__(self, file: Path, total: int) -> None:
        self.total = total
        self.done = 0
        self.trusted = True
        """Whether what the log says is to be believed without reading the parts."""
        self._file = file
        self._bits = bytearray((total + 7) // 8)
        self._fd = -1

    def open(self, boot: bytes) -> None:
        """Read the log, or begin one; raises OSError."""
        self._fd = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        head = boot.ljust(_HEAD, b"\n")
        found = os.pread(self._fd, _HEAD, 0)
        size = os.fstat(self._fd).st_size
        if len(found) < _HEAD:
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, head, 0)
            os.lseek(self._fd, _HEAD, os.SEEK_SET)
            return
        self.trusted = bool(boot) and found == head
        # A record that was cut by the end of its writer is as good as none.
        whole = (size - _HEAD) // _RECORD * _RECORD
        records = os.pread(self._fd, whole, _HEAD)
        for at in range(0, len(records), _RECORD):
            self._set(int.from_bytes(records[at : at + _RECORD], "big"))
        os.ftruncate(self._fd, _HEAD + whole)
        os.lseek(self._fd, _HEAD + whole, os.SEEK_SET)

    def restart(self, boot: bytes) -> None:
        """Begin anew with no part, for parts that are read again."""
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, boot.ljust(_HEAD, b"\n"), 0)
        os.lseek(self._fd, _HEAD, os.SEEK_SET)
        self._bits = bytearray(len(self._bits))
        self.done = 0
        self.trusted = True

    def __contains__(self, number: int) -> bool:
        return bool(self._bits[number >> 3] & (1 << (number & 7)))

    def add(self, number: int) -> None:
        """Log a part that is written."""
        if number not in self:
            os.write(self._fd, number.to_bytes(_RECORD, "big"))
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
