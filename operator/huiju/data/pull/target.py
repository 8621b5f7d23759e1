"""Where a copy is made: a folder of a shared file system, seen by readers whole or not at all.

The copy grows in `.NAME.copying` beside its place and is moved there by one rename, after every
digest was right and the marker written. Decides who may write: the highest epoch, and of equal ones
the last that came. Invariants: nothing is written that was not verified, so that two writers on
one target write the same bytes or none; whoever lost the target neither logs nor finishes.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from huiju.api.reasons import Reason
from huiju.data.manifest import Entry, Piece
from huiju.data.paths import RESERVED
from huiju.data.pull.order import Fenced, PullFailed

MARKER: Final = f"{RESERVED}/complete.json"
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_BLOCK: Final = 1 << 20
_ROOM: Final = 16 << 20
"""Bytes that stay free for what file systems need beside data."""


@contextlib.contextmanager
def told(path: str = "") -> Iterator[None]:
    """Turn what a file system says into the end of the transfer."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise PullFailed(
                Reason.DISK_FULL, f"the store is full: {error.strerror}", path
            ) from None
        raise PullFailed(
            Reason.TRANSFER_FAILED, f"the store says: {error.strerror or error}", path
        ) from None


class FolderTarget:
    """The folder of one copy. Everything here blocks: call it from threads."""

    def __init__(self, place: Path, epoch: int) -> None:
        self.place = place
        self.staging = place.with_name(f".{place.name}.copying")
        self._lock = place.with_name(f".{place.name}.lock")
        self._mine = f"{epoch} {secrets.token_hex(8)}"
        self._epoch = epoch
        self._folders: set[str] = set()

    # --- who may write --------------------------------------------------------------------------

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        fd = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    @property
    def _fence(self) -> Path:
        return self.place.with_name(f".{self.place.name}.epoch")

    def claim(self) -> None:
        """Take the target; raises Fenced where a later transfer has it, PullFailed."""
        with told():
            self.place.parent.mkdir(parents=True, exist_ok=True)
            with self._locked():
                holder = self._holder()
                if holder and int(holder.partition(" ")[0]) > self._epoch:
                    raise Fenced("a later transfer has the target")
                _write(self._fence, self._mine.encode())

    def _holder(self) -> str:
        try:
            return self._fence.read_text()
        except FileNotFoundError:
            return ""

    def check(self) -> None:
        """Raise Fenced where another puller took the target."""
        if self._holder() != self._mine:
            raise Fenced("another transfer has the target")

    # --- making the copy ------------------------------------------------------------------------

    def beside(self) -> list[Path]:
        """Folders beside the place, those changed last first; what is begun is none of them."""
        found = []
        with contextlib.suppress(OSError), os.scandir(self.place.parent) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name == self.place.name:
                    continue
                with contextlib.suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        found.append((entry.stat(follow_symlinks=False).st_mtime, entry.name))
        return [self.place.with_name(name) for _, name in sorted(found, reverse=True)]

    def adopt(self, entry: Entry, place: Path) -> bool:
        """Link a file of a finished copy into staging, once its digest was found right.

        False where it is not as listed, or where the file system does not let it be linked.
        """
        whole = Piece(0, entry.size, entry.sha256)
        if not self.holds(entry, whole, place):
            return False
        self.check()
        file = self.staging / entry.path
        with told(entry.path):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.unlink(missing_ok=True)
        try:
            os.link(place / entry.path, file, follow_symlinks=False)
        except OSError:
            return False  # it is fetched as any other
        return True

    def finished(self, place: Path | None = None) -> dict[str, Any] | None:
        """The marker of a copy that is there, None where there is none."""
        try:
            found = json.loads(((place or self.place) / MARKER).read_bytes())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def prepare(self, digest: str) -> Path:
        """The staging folder for a version; what another version left there goes."""
        own = self.staging / RESERVED
        with told():
            mark = own / "version"
            if self.staging.exists() and (not mark.exists() or mark.read_text() != digest):
                shutil.rmtree(self.staging)
            (own / "manifests").mkdir(parents=True, exist_ok=True)
            _write(mark, digest.encode())
        return own

    def reopen(self) -> None:
        """Take a finished copy back into staging, to repair it."""
        with told(), self._locked():
            self.check()
            if self.place.exists():
                if self.staging.exists():
                    shutil.rmtree(self.staging)
                self.place.rename(self.staging)
                (self.staging / MARKER).unlink(missing_ok=True)

    def remove(self) -> None:
        """Take the copy away; readers see it whole or not at all."""
        with told(), self._locked():
            self.check()
            if self.place.exists():
                if self.staging.exists():
                    shutil.rmtree(self.staging)
                self.place.rename(self.staging)
            if self.staging.exists():
                shutil.rmtree(self.staging)

    def room(self, needed: int) -> None:
        """Raise PullFailed where so many bytes do not fit."""
        with told():
            facts = os.statvfs(self.place.parent)
        free = facts.f_bavail * facts.f_frsize
        if facts.f_blocks and needed and needed + min(_ROOM, needed) > free:
            raise PullFailed(
                Reason.DISK_FULL, f"{needed} bytes are to come, the store has {free} left"
            )

    def write(self, path: str, piece: Piece, content: memoryview) -> None:
        """Write verified bytes; raises Fenced, PullFailed."""
        self.check()
        with told(path):
            file = self.staging / path
            folder = os.path.dirname(path)
            if folder not in self._folders:
                file.parent.mkdir(parents=True, exist_ok=True)
                if len(self._folders) > 10_000:
                    self._folders.clear()
                self._folders.add(folder)
            flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(file, flags, 0o644)
            try:
                at = piece.start
                while content:
                    written = os.pwrite(fd, content, at)
                    at += written
                    content = content[written:]
            finally:
                os.close(fd)

    def holds(self, entry: Entry, piece: Piece, root: Path) -> bool:
        """Whether a part is there with its digest, and the file has its size."""
        hashed = hashlib.sha256()
        try:
            with (root / entry.path).open("rb", buffering=0) as file:
                if os.fstat(file.fileno()).st_size > entry.size:
                    return False
                file.seek(piece.start)
                left = piece.size
                while left and (block := file.read(min(left, _BLOCK))):
                    hashed.update(block)
                    left -= len(block)
        except OSError:
            return False
        return not left and hashed.hexdigest() == piece.sha256

    def finish(self, marker: dict[str, Any]) -> None:
        """Make the copy visible; raises Fenced, PullFailed."""
        with told(), self._locked():
            self.check()
            _sync(self.staging)
            _write(self.staging / MARKER, json.dumps(marker, ensure_ascii=False).encode())
            if self.place.exists():
                raise PullFailed(
                    Reason.TRANSFER_FAILED,
                    f"{self.place} is there and not a copy of ours; move it away",
                )
            self.staging.rename(self.place)
            _sync_folder(self.place.parent)


def _write(file: Path, content: bytes) -> None:
    """Write a small file, whole or not at all, and on the disk."""
    half = file.with_name(f"{file.name}.half")
    with half.open("wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
    half.replace(file)


def _sync(folder: Path) -> None:
    """Have the file system of the folder write everything to its disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syncfs(fd):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(fd)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
