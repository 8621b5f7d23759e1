"""Where a copy is made: a folder of a shared file system, seen by readers whole or not at all.

The copy grows in a folder of the attempt's own beside its place (`claim.py`) and is moved there by
one rename, after every digest was right and the marker written. Decides which files are written
into: those that this attempt made, or took over from one that is gone. Invariants: nothing is
written that was not verified; no file of a finished copy is ever written to, by whomever.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from huiju.api.reasons import Reason
from huiju.data.manifest import Entry, Piece
from huiju.data.paths import RESERVED
from huiju.data.pull.claim import Claim, write_whole
from huiju.data.pull.order import PullFailed

MARKER: Final = f"{RESERVED}/complete.json"
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_RANGES: Final = frozenset({errno.ENOSYS, errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL})
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
        self._claim = Claim(place, epoch)
        self._folders: set[str] = set()
        self._begun: set[str] = set()
        """Files of several parts that are this attempt's to write into."""
        self._opening = threading.Lock()

    @property
    def staging(self) -> Path:
        """Where the copy grows."""
        return self._claim.staging

    # --- who may write --------------------------------------------------------------------------

    def claim(self) -> None:
        """Take the target; raises Fenced where a later transfer has it, PullFailed."""
        with told():
            self._claim.take()

    def check(self) -> None:
        """Raise Fenced where another puller took the target."""
        self._claim.check()

    @property
    def doubtful(self) -> bool:
        """Whether another may still write into files that are in staging."""
        return self._claim.doubtful

    def settle(self) -> None:
        """All that another may still write into was made anew."""
        self._claim.settle()

    def close(self) -> None:
        """Write no more."""
        self._claim.close()

    def abandon(self) -> None:
        """The claim was lost: take away what was written since."""
        self._claim.abandon()

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
        mark = own / "version"
        with told(), self._claim.locked():
            self.check()
            if self.staging.exists() and (not mark.exists() or mark.read_text() != digest):
                shutil.rmtree(self.staging)
            (own / "manifests").mkdir(parents=True, exist_ok=True)
            self._claim.hold()
            for half in own.rglob("*.half"):
                half.unlink(missing_ok=True)
            write_whole(mark, digest.encode())
        return own

    def reopen(self) -> None:
        """Take a finished copy back into staging, to repair it."""
        with told(), self._claim.locked():
            self.check()
            self._take_back()

    def remove(self) -> None:
        """Take the copy away; readers see it whole or not at all."""
        with told(), self._claim.locked():
            self.check()
            self._take_back()
            if self.staging.exists():
                shutil.rmtree(self.staging)

    def _take_back(self) -> None:
        if self.place.exists():
            if self.staging.exists():
                shutil.rmtree(self.staging)
            self.place.rename(self.staging)
            (self.staging / MARKER).unlink(missing_ok=True)

    def room(self, needed: int) -> None:
        """Raise PullFailed where so many bytes do not fit."""
        with told():
            facts = os.statvfs(self.place.parent)
        free = facts.f_bavail * facts.f_frsize
        if facts.f_blocks and needed and needed + min(_ROOM, needed) > free:
            raise PullFailed(
                Reason.DISK_FULL, f"{needed} bytes are to come, the store has {free} left"
            )

    def write(self, entry: Entry, piece: Piece, content: memoryview) -> None:
        """Write verified bytes; raises Fenced, PullFailed."""
        self.check()
        path = entry.path
        with told(path):
            file = self.staging / path
            folder = os.path.dirname(path)
            if folder not in self._folders:
                file.parent.mkdir(parents=True, exist_ok=True)
                if len(self._folders) > 10_000:
                    self._folders.clear()
                self._folders.add(folder)
            fd = self._open(entry, file)
            try:
                at = piece.start
                while content:
                    written = os.pwrite(fd, content, at)
                    at += written
                    content = content[written:]
            finally:
                os.close(fd)

    def _open(self, entry: Entry, file: Path) -> int:
        """The file to write a part into: a new one, unless it was begun by this attempt."""
        if not entry.parts:
            return _anew(file)
        with self._opening:
            if entry.path not in self._begun:
                fd = _anew(file)
                self._begun.add(entry.path)
                return fd
        return os.open(file, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def whole(self, path: str) -> None:
        """All parts of the file are written."""
        self._begun.discard(path)

    # --- what an attempt before has left ----------------------------------------------------------

    def go_on(self, path: str) -> bool:
        """Write into a file that was begun; False where a finished copy has it, too."""
        try:
            facts = os.lstat(self.staging / path)
        except OSError:
            return False
        if facts.st_nlink > 1:
            return False
        self._begun.add(path)
        return True

    def renew(self, entry: Entry, kept: Iterable[Piece]) -> bool:
        """Put parts of a file into a new one in its place; False where nothing could be kept."""
        file = self.staging / entry.path
        fresh = self.staging / RESERVED / "renewed.half"
        try:
            with file.open("rb", buffering=0) as old:
                fd = _anew(fresh)
                try:
                    for piece in kept:
                        _copy(old.fileno(), fd, piece)
                finally:
                    os.close(fd)
            fresh.replace(file)
        except OSError as error:
            with told(entry.path):
                fresh.unlink(missing_ok=True)
                file.unlink(missing_ok=True)
                if error.errno not in _FULL and error.errno != errno.ENOENT:
                    raise
            return False  # it is fetched anew, into the room that this has made
        self._begun.add(entry.path)
        return True

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
        with told():
            _sync(self.staging)
        with told(), self._claim.locked():
            self.check()
            write_whole(self.staging / MARKER, json.dumps(marker, ensure_ascii=False).encode())
            if self.place.exists():
                raise PullFailed(
                    Reason.TRANSFER_FAILED,
                    f"{self.place} is there and not a copy of ours; move it away",
                )
            self.staging.rename(self.place)
            _sync_folder(self.place.parent)


def _anew(file: Path) -> int:
    """A file that nobody else holds open or has linked."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(file, flags, 0o644)
    except FileExistsError:
        file.unlink()
        return os.open(file, flags, 0o644)


def _copy(source: int, target: int, piece: Piece) -> None:
    """Copy a part within a file system, which may do it by reference."""
    at, left = piece.start, piece.size
    while left:
        try:
            done = os.copy_file_range(source, target, left, at, at)
        except OSError as error:
            if error.errno not in _NO_RANGES:
                raise
            done = os.pwrite(target, os.pread(source, min(left, _BLOCK), at), at)
        if not done:
            raise OSError(errno.ENOENT, "the file is shorter than its parts")
        at += done
        left -= done


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
