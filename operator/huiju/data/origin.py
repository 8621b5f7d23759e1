"""What a version is published from: the files of a source, in order, and their digests.

Decides nothing about manifests. Invariants: files come in the order of a manifest; a file that
changes while it is read is told, never given a digest of a mixture.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from huiju.api.reasons import Reason
from huiju.data import paths
from huiju.data.manifest import Entry

BATCH_FILES: Final = 256
BATCH_BYTES: Final = 16 << 20
"""A batch is one errand of a thread: small files are not worth one each."""
_BLOCK: Final = 1 << 20


class OriginRefused(Exception):
    """A source that cannot be published; the message has the cure."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Found:
    """A file of the source, not read yet."""

    path: str
    size: int
    mark: str = ""
    """Whatever changes with the file: a time, an ETag."""


class Progress:
    """How much was read; counted by several threads."""

    def __init__(self) -> None:
        self.files = 0
        self.bytes = 0
        self._lock = threading.Lock()

    def read(self, size: int) -> None:
        """Count bytes."""
        with self._lock:
            self.bytes += size

    def finished(self, files: int) -> None:
        """Count files."""
        with self._lock:
            self.files += files


class Origin(Protocol):
    """A source that can be listed and read."""

    def batches(self) -> AsyncIterator[list[Found]]:
        """All files in the order of a manifest, some at a time; raises OriginRefused."""

    async def digest(self, batch: Sequence[Found], part: int, progress: Progress) -> list[Entry]:
        """Read files; raises OriginRefused."""

    async def keep(self, name: str, file: Path) -> None:
        """Store a file at the path `name` of the source; raises OriginRefused."""


class Digests:
    """Digests of a file that comes block by block: of the whole, and of each part."""

    def __init__(self, found: Found, part: int) -> None:
        self._found = found
        self._part = part
        self._several = found.size > part
        self._whole = hashlib.sha256()
        self._one = hashlib.sha256()
        self._left = part
        self._parts: list[str] = []
        self.size = 0

    def add(self, block: memoryview | bytes) -> None:
        """Take the next bytes."""
        self._whole.update(block)
        self.size += len(block)
        if not self._several:
            return
        view = memoryview(block)
        while len(view) >= self._left:
            self._one.update(view[: self._left])
            self._parts.append(self._one.hexdigest())
            view = view[self._left :]
            self._one, self._left = hashlib.sha256(), self._part
        self._one.update(view)
        self._left -= len(view)

    def entry(self) -> Entry:
        """The manifest's line; raises OriginRefused where the size is another than was listed."""
        if self.size != self._found.size:
            raise changed(self._found.path)
        if self._several and self._left < self._part:
            self._parts.append(self._one.hexdigest())
        found = self._found
        return Entry(found.path, found.size, self._whole.hexdigest(), tuple(self._parts))


def changed(path: str) -> OriginRefused:
    """The refusal of a file that changed while it was read."""
    return OriginRefused(
        Reason.SOURCE_CHANGED, f"{path!r} changed while it was read; publish when nobody writes"
    )


class FolderOrigin:
    """A folder: a PVC, NFS, or a parallel file system."""

    def __init__(self, root: Path, threads: int, *, follow_links: bool = False) -> None:
        self.empty_folders = 0
        """Folders without a file, which no manifest can name."""
        self._root = root
        self._real = Path(os.path.realpath(root))
        self._follow = follow_links
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="digest")

    async def batches(self) -> AsyncIterator[list[Found]]:
        """All files of the folder."""
        walk = self._batched()
        while (batch := await asyncio.to_thread(next, walk, None)) is not None:
            yield batch

    def _batched(self) -> Iterator[list[Found]]:
        batch: list[Found] = []
        size = 0
        for found in self._walk(""):
            batch.append(found)
            size += found.size
            if len(batch) >= BATCH_FILES or size >= BATCH_BYTES:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def _walk(self, folder: str) -> Iterator[Found]:
        try:
            with os.scandir(self._root / folder) as found:
                # A folder's files follow its name and a slash: that is where it is in the order.
                here = sorted(
                    (os.fsencode(e.name + "/" if self._is_folder(e) else e.name), e) for e in found
                )
        except OSError as error:
            raise unreadable(str(self._root / folder), error) from None
        if not here and folder:
            self.empty_folders += 1
        for key, entry in here:
            path = folder + entry.name
            if path == paths.RESERVED:
                continue
            if key.endswith(b"/"):
                yield from self._walk(f"{path}/")
            else:
                yield self._file(path, entry)

    def _is_folder(self, entry: os.DirEntry[str]) -> bool:
        return entry.is_dir(follow_symlinks=self._follow)

    def _file(self, path: str, entry: os.DirEntry[str]) -> Found:
        try:
            paths.check(path)
        except paths.PathRefused as refusal:
            raise OriginRefused(Reason.INVALID_SPEC, str(refusal)) from None
        if entry.is_symlink():
            self._check_link(path)
        try:
            facts = entry.stat(follow_symlinks=self._follow)
        except OSError as error:
            raise unreadable(path, error) from None
        if not stat.S_ISREG(facts.st_mode):
            raise OriginRefused(
                Reason.INVALID_SPEC, f"{path!r} is neither a file nor a folder; take it out"
            )
        return Found(path, facts.st_size, str(facts.st_mtime_ns))

    def _check_link(self, path: str) -> None:
        if not self._follow:
            raise OriginRefused(
                Reason.INVALID_SPEC,
                f"{path!r} is a symbolic link; take it out, or publish what it leads to with"
                " --follow-links",
            )
        if not Path(os.path.realpath(self._root / path)).is_relative_to(self._real):
            raise OriginRefused(
                Reason.INVALID_SPEC, f"{path!r} leads out of the data set's folder; take it out"
            )

    async def digest(self, batch: Sequence[Found], part: int, progress: Progress) -> list[Entry]:
        """Read files in a thread of their own."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._read, batch, part, progress)

    def _read(self, batch: Sequence[Found], part: int, progress: Progress) -> list[Entry]:
        buffer = memoryview(bytearray(_BLOCK))
        entries = []
        for found in batch:
            try:
                entries.append(self._read_one(found, part, progress, buffer))
            except OSError as error:
                raise unreadable(found.path, error) from None
        progress.finished(len(entries))
        return entries

    def _read_one(self, found: Found, part: int, progress: Progress, buffer: memoryview) -> Entry:
        digests = Digests(found, part)
        with (self._root / found.path).open("rb", buffering=0) as file:
            while size := file.readinto(buffer):
                digests.add(buffer[:size])
                progress.read(size)
            after = os.fstat(file.fileno())
        if str(after.st_mtime_ns) != found.mark:
            raise changed(found.path)
        return digests.entry()

    async def keep(self, name: str, file: Path) -> None:
        """Copy a file into the folder, whole or not at all."""
        await asyncio.to_thread(store, self._root / name, file)

    def close(self) -> None:
        """Let the threads go."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def store(place: Path, file: Path) -> None:
    """Copy a file to its place, whole or not at all; raises OriginRefused."""
    import shutil

    half = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, half)
        half.replace(place)
    except OSError as error:
        half.unlink(missing_ok=True)
        raise OriginRefused(
            Reason.PERMISSION_DENIED,
            f"the manifest cannot be written to {place}: {error.strerror}; it must lie in the"
            " source, beside the data",
        ) from None


def unreadable(path: str, error: OSError) -> OriginRefused:
    """The refusal of a file that cannot be read."""
    reason = Reason.PERMISSION_DENIED
    if isinstance(error, FileNotFoundError):
        reason = Reason.SOURCE_NOT_FOUND
    return OriginRefused(reason, f"{path!r}: {error.strerror or error}")
