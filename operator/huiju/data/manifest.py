"""A version's manifest: which files it has, of which size, with which digests.

The format is lines of JSON: a head `{"huiju":"manifest","v":1,"part":BYTES}`, then one line a file,
ordered by the bytes of its path: `{"path":…,"size":…,"sha256":HEX}` and, for a file larger than one
part, `"parts":[HEX,…]`. SHA-256 of the whole text is the version's identity.
Decides what a manifest may say. Invariants: what is read is ordered, free of doubles, holds only
paths that may be, and part digests that cover the file; nothing needs the whole list in memory.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO, Final, Literal, TypeVar

import msgspec

from huiju.data import paths

MEBIBYTE: Final = 1 << 20
PART: Final = 16 * MEBIBYTE
"""Bytes of a part where nothing else was asked for: what a stream holds in memory, and what a
transfer that was killed sends again."""
LARGEST_PART: Final = 256 * MEBIBYTE
"""A part is held in memory until its digest was checked."""
MOST_PARTS: Final = 100_000
"""Parts of one file; its line has 67 bytes for each."""
_LONGEST_LINE: Final = 8 * MEBIBYTE
_HEX: Final = r"^[0-9a-f]{64}$"

T = TypeVar("T")
Hex = Annotated[str, msgspec.Meta(pattern=_HEX, min_length=64, max_length=64)]
Size = Annotated[int, msgspec.Meta(ge=0, le=1 << 60)]


class ManifestRefused(ValueError):
    """A manifest that makes no sense or is another than expected; the message says where."""


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first line."""

    huiju: Literal["manifest"]
    v: Literal[1]
    part: Annotated[int, msgspec.Meta(ge=MEBIBYTE, le=LARGEST_PART)]
    """Bytes of a part; the last of a file may be shorter."""


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One file."""

    path: str
    size: Size
    sha256: Hex
    parts: tuple[Hex, ...] = ()
    """SHA-256 of each part, for a file larger than one."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a manifest comes to."""

    digest: str
    """`sha256:` and the digest of its text."""
    files: int
    bytes: int
    part: int
    collisions: int = 0
    """Names that differ from another in case alone."""
    examples: tuple[str, ...] = ()
    """The first few of them."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One part of a file, as it is fetched and verified."""

    start: int
    size: int
    sha256: str


def pieces(entry: Entry, part: int) -> Iterator[Piece]:
    """The parts of a file; one for a file that is not larger, also for an empty one."""
    if not entry.parts:
        yield Piece(0, entry.size, entry.sha256)
        return
    for number, digest in enumerate(entry.parts):
        start = number * part
        yield Piece(start, min(part, entry.size - start), digest)


def piece_count(size: int, part: int) -> int:
    """Parts of a file of that size."""
    return max(1, -(-size // part))


def name_of(digest: str) -> str:
    """Where a manifest lies under the root of its source and of every copy."""
    return f"{paths.RESERVED}/manifests/{digest.removeprefix('sha256:')}.ndjson"


def signature_name_of(digest: str) -> str:
    """Where the signature of a manifest lies."""
    return f"{name_of(digest)}.sig"


class Writer:
    """Writes a manifest into an open file, one entry after the other."""

    def __init__(self, file: BinaryIO, part: int = PART) -> None:
        self._file = file
        self._part = part
        self._encoder = msgspec.json.Encoder()
        self._hash = hashlib.sha256()
        self._files = 0
        self._bytes = 0
        self._last = b""
        self._cases = paths.Collisions()
        self._write(Head("manifest", 1, part))

    def add(self, entry: Entry) -> None:
        """Append a file; raises ManifestRefused."""
        _fits(entry, self._part, self._last)
        self._last = paths.key(entry.path)
        self._cases.add(entry.path)
        self._files += 1
        self._bytes += entry.size
        self._write(entry)

    def _write(self, line: msgspec.Struct) -> None:
        text = self._encoder.encode(line) + b"\n"
        self._hash.update(text)
        self._file.write(text)

    def finish(self) -> Summary:
        """What was written; the file is the caller's to close."""
        self._file.flush()
        return Summary(
            f"sha256:{self._hash.hexdigest()}",
            self._files,
            self._bytes,
            self._part,
            self._cases.count,
            tuple(self._cases.examples),
        )


def _fits(entry: Entry, part: int, last: bytes) -> None:
    try:
        paths.check(entry.path)
    except paths.PathRefused as refusal:
        raise ManifestRefused(str(refusal)) from None
    if paths.key(entry.path) <= last:
        raise ManifestRefused(f"{entry.path!r} is out of order or there twice")
    needed = piece_count(entry.size, part)
    if needed > MOST_PARTS:
        raise ManifestRefused(
            f"{entry.path!r} has {needed} parts, {MOST_PARTS} are allowed: use larger parts"
        )
    if len(entry.parts) != (needed if needed > 1 else 0):
        raise ManifestRefused(f"{entry.path!r} must have {needed} part digests")


def digest_of(file: Path) -> str:
    """`sha256:` and the digest of a file's bytes."""
    with file.open("rb") as opened:
        return f"sha256:{hashlib.file_digest(opened, 'sha256').hexdigest()}"


def expect(file: Path, digest: str) -> None:
    """Raise ManifestRefused where the file is not the manifest of that digest."""
    found = digest_of(file)
    if found != digest:
        raise ManifestRefused(f"the manifest has digest {found}, expected was {digest}")


class Reader:
    """Reads a manifest from a file, as often as asked, without holding it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        with file.open("rb") as opened:
            self.head = _decode(_HEADS, _line(opened, 1), 1)

    @property
    def part(self) -> int:
        """Bytes of a part."""
        return self.head.part

    def __iter__(self) -> Iterator[Entry]:
        return self.after(0)

    def after(self, skip: int) -> Iterator[Entry]:
        """The entries without the first `skip`, which are passed over unread."""
        last = b""
        with self._file.open("rb") as opened:
            for number in range(1, skip + 2):
                _line(opened, number)
            number = skip + 2
            while line := _line(opened, number):
                entry = _decode(_ENTRIES, line, number)
                _fits(entry, self.head.part, last)
                last = paths.key(entry.path)
                yield entry
                number += 1

    def find(self, path: str) -> Entry | None:
        """The entry of a path, by halving: entries are in order."""
        wanted = paths.key(path)
        with self._file.open("rb") as opened:
            low = len(_line(opened, 1))
            high = opened.seek(0, os.SEEK_END)
            # Lines that begin in [low, high) may be the one; what is before is smaller.
            while low < high:
                start = _line_start(opened, low, (low + high) // 2)
                opened.seek(start)
                line = _line(opened, 0)
                entry = _decode(_ENTRIES, line, 0)
                key = paths.key(entry.path)
                if key == wanted:
                    return entry
                if key < wanted:
                    low = start + len(line)
                else:
                    high = start
        return None


_HEADS: Final = msgspec.json.Decoder(Head)
_ENTRIES: Final = msgspec.json.Decoder(Entry)


def _line(opened: BinaryIO, number: int) -> bytes:
    line = opened.readline(_LONGEST_LINE)
    if line and not line.endswith(b"\n"):
        raise ManifestRefused(f"line {number} of the manifest is cut off or too long")
    return line


def _line_start(opened: BinaryIO, low: int, position: int) -> int:
    """Where the line begins that holds the byte at `position`; `low` begins a line."""
    step = 512
    end = position
    while end > low:
        begin = max(low, end - step)
        opened.seek(begin)
        found = opened.read(end - begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        end, step = begin, step * 4
    return low


def _decode(decoder: msgspec.json.Decoder[T], line: bytes, number: int) -> T:
    try:
        return decoder.decode(line)
    except msgspec.DecodeError as error:
        raise ManifestRefused(f"line {number} of the manifest: {error}") from None


def subset(
    reader: Reader, file: BinaryIO, include: Sequence[str], exclude: Sequence[str]
) -> Summary:
    """Write the manifest of the files that the patterns cover; it has a digest of its own.

    Equal files make equal subsets, whatever patterns chose them.
    """
    writer = Writer(file, reader.part)
    for entry in reader:
        if paths.selects(include, exclude, entry.path):
            writer.add(entry)
    return writer.finish()
