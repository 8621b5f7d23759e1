"""Who may make a copy, and where: a claim on the copy's place, and a staging folder of its own.

The highest epoch may write, and of equal ones the last that came. What an attempt before has left
is moved into the new one's folder, so that paths of the older lead nowhere. Whoever fell asleep in
the middle of a write may still hold a file open: `doubtful` says so, where the lock that a writer
holds for its life is not free. Locks are believed among processes of one kernel alone (the log of
parts tells whether it is the same). Invariants: a folder is moved on only after its claim was
overwritten; a claim that was lost never comes back; doubt stays until it was settled.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from huiju.api.reasons import Reason
from huiju.data.paths import RESERVED
from huiju.data.pull.order import Fenced, PullFailed

_WRITER: Final = f"{RESERVED}/writer"
"""File of a staging folder whose lock its writer holds."""
_DOUBT: Final = f"{RESERVED}/doubtful"
"""File that is there while doubt is."""
_LOCK_WAIT: Final = 60.0
"""Seconds for which the short lock on a place is waited for."""
_WRITER_WAIT: Final = 3.0
"""Seconds in which a writer that lost its claim is expected to end."""
_LOOK: Final = 0.1


class Claim:
    """One attempt's claim on the place of a copy. Everything here blocks."""

    def __init__(self, place: Path, epoch: int) -> None:
        self.place = place
        self.epoch = epoch
        mark = secrets.token_hex(8)
        self.staging = place.with_name(f".{place.name}.copying-{epoch}-{mark}")
        self._mine = f"{epoch} {mark}"
        self._fence = place.with_name(f".{place.name}.epoch")
        self._lock = place.with_name(f".{place.name}.lock")
        self._writer = -1

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the place's lock for a few steps; raises PullFailed where it never is free."""
        fd = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            if not _locks(fd, _LOCK_WAIT):
                raise PullFailed(
                    Reason.TRANSFER_FAILED,
                    f"{self._lock.name} is locked by another transfer that does not go on",
                )
            yield
        finally:
            os.close(fd)

    def take(self) -> None:
        """Claim the place, and what was begun there; raises Fenced, PullFailed, OSError."""
        self.place.parent.mkdir(parents=True, exist_ok=True)
        with self.locked():
            holder = self._holder()
            if holder and int(holder.partition(" ")[0]) > self.epoch:
                raise Fenced("a later transfer has the target")
            write_whole(self._fence, self._mine.encode())
            self._move(holder)

    def _move(self, holder: str) -> None:
        """Make the folder of the holder before ours; what others left goes."""
        before = self._folder_of(holder)
        with os.scandir(self.place.parent) as entries:
            left = [Path(e.path) for e in entries if e.name.startswith(self._prefix)]
        for folder in left:
            if folder == before:
                folder.rename(self.staging)
            else:
                shutil.rmtree(folder, ignore_errors=True)

    @property
    def _prefix(self) -> str:
        return f".{self.place.name}.copying"

    def _folder_of(self, holder: str) -> Path:
        return self.place.with_name(f"{self._prefix}-{holder.replace(' ', '-')}")

    def hold(self) -> None:
        """Hold the writer's lock, and find out whether whoever had it is gone."""
        self.close()
        file = self.staging / _WRITER
        fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        if not _locks(fd, _WRITER_WAIT):
            # Asleep, or slow to see that it lost its claim: it may write into what it holds open.
            os.close(fd)
            write_whole(self.staging / _DOUBT, b"")
            file.unlink()
            fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            fcntl.flock(fd, fcntl.LOCK_EX)
        self._writer = fd

    @property
    def doubtful(self) -> bool:
        """Whether somebody else may still write into files that are here."""
        return (self.staging / _DOUBT).exists()

    def settle(self) -> None:
        """Nobody else can any more: what could be written to was made anew."""
        (self.staging / _DOUBT).unlink(missing_ok=True)

    def _holder(self) -> str:
        try:
            return self._fence.read_text()
        except FileNotFoundError:
            return ""

    def check(self) -> None:
        """Raise Fenced where another attempt took the place."""
        if self._holder() != self._mine:
            raise Fenced("another transfer has the target")

    def close(self) -> None:
        """Hold the writer's lock no more."""
        if self._writer >= 0:
            os.close(self._writer)
            self._writer = -1

    def abandon(self) -> None:
        """After the claim was lost: take away what was still written into the old folder."""
        with contextlib.suppress(OSError, PullFailed), self.locked():
            # Under the lock whoever took the claim has moved what it wanted of the folder.
            if self._holder() != self._mine:
                shutil.rmtree(self.staging, ignore_errors=True)


def write_whole(file: Path, content: bytes) -> None:
    """Write a small file, whole or not at all, and on the disk."""
    half = file.with_name(f"{file.name}.{secrets.token_hex(4)}.half")
    with half.open("xb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
    half.replace(file)


def _locks(fd: int, seconds: float) -> bool:
    """Take the lock within so many seconds."""
    end = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                return False
            time.sleep(_LOOK)
        else:
            return True
