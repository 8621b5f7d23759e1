"""The manifest of a transfer: fetched, checked, cut down to the part that is copied.

Decides whether a manifest is the one that was ordered. Invariant: nothing else of the source is
asked for before its digest, and its signature where one must be, were right.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from huiju.api.reasons import Reason
from huiju.data import manifest, signature
from huiju.data.links import Batch
from huiju.data.manifest import ManifestRefused, Reader, Summary
from huiju.data.paths import RESERVED
from huiju.data.pull.book import LinkBook
from huiju.data.pull.fetch import LONGEST_WAIT, Again, Fetcher, Spoiled
from huiju.data.pull.gate import Gate
from huiju.data.pull.order import Order, PullFailed
from huiju.data.pull.target import told

_LARGEST: Final = 4 << 30
"""Bytes of a manifest; fifty million files."""
_SPOILED_TRIES: Final = 3


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a transfer."""

    reader: Reader
    digest: str
    """Of the files that are copied: the version's, or that of the part."""
    files: int
    bytes: int
    parts: int

    @property
    def part(self) -> int:
        """Bytes of a part."""
        return self.reader.part


async def obtain(order: Order, own: Path, book: LinkBook, fetcher: Fetcher, gate: Gate) -> Listing:
    """The listing, from the staging folder or from the source; raises PullFailed."""
    root = own.parent
    whole = root / manifest.name_of(order.digest)
    if not await asyncio.to_thread(_is_there, whole, order):
        await _fetch(order, whole, book, fetcher, gate)
    return await asyncio.to_thread(_cut, order, root, whole)


def _is_there(whole: Path, order: Order) -> bool:
    try:
        manifest.expect(whole, order.digest)
        if order.signing_key:
            signed = whole.with_name(f"{whole.name}.sig").read_bytes()
            signature.verify(order.signing_key, order.digest, signed)
    except (OSError, ManifestRefused, signature.SignatureRefused, signature.KeyRefused):
        return False
    return True


async def _fetch(order: Order, whole: Path, book: LinkBook, fetcher: Fetcher, gate: Gate) -> None:
    started, attempt, spoiled = time.monotonic(), 0, 0
    while True:
        await gate.passed()
        batch = await book.manifest()
        try:
            await _keep(order, whole, batch, fetcher)
            return
        except Spoiled as refusal:
            spoiled += 1
            if spoiled >= _SPOILED_TRIES:
                raise PullFailed(refusal.reason, str(refusal)) from None
            book.spoiled(batch)
        except Again as failure:
            attempt += 1
            if time.monotonic() - started > order.patience:
                raise PullFailed(failure.reason, str(failure)) from None
            await asyncio.sleep(max(failure.wait, min(LONGEST_WAIT, 0.25 * 2**attempt)))


async def _keep(order: Order, whole: Path, batch: Batch, fetcher: Fetcher) -> None:
    """Fetch manifest and signature, and check them; raises PullFailed, and what fetching does."""
    if not await _into(whole, batch.manifest, fetcher, _LARGEST):
        name = manifest.name_of(order.digest)
        raise PullFailed(Reason.MANIFEST_MISSING, f"the source has no {name}")
    try:
        await asyncio.to_thread(manifest.expect, whole, order.digest)
        if order.signing_key:
            signed = whole.with_name(f"{whole.name}.sig")
            there = await _into(signed, batch.signature, fetcher, signature.LONGEST)
            content = await asyncio.to_thread(signed.read_bytes) if there else b""
            signature.verify(order.signing_key, order.digest, content)
    except ManifestRefused as refusal:
        raise PullFailed(Reason.CHECKSUM_MISMATCH, str(refusal)) from None
    except (signature.SignatureRefused, signature.KeyRefused) as refusal:
        raise PullFailed(Reason.SIGNATURE_INVALID, str(refusal)) from None


async def _into(file: Path, url: str, fetcher: Fetcher, most: int) -> bool:
    """Fetch a file whole, False where there is none; what it held before is in it no more."""
    half = _half(file)
    with told():
        opened = await asyncio.to_thread(half.open, "xb")
        try:
            there = await fetcher.into_file(url, file.name, opened, most)
        finally:
            await asyncio.to_thread(opened.close)
        await asyncio.to_thread(half.replace, file)
    return there


def _half(file: Path) -> Path:
    """A name for a file that grows; one that fell asleep over it writes into no other's."""
    return file.with_name(f"{file.name}.{secrets.token_hex(4)}.half")


def _cut(order: Order, root: Path, whole: Path) -> Listing:
    """What of the manifest is copied; raises PullFailed."""
    try:
        reader = Reader(whole)
        summary, file = (
            _part(order, reader, root) if order.include or order.exclude else (None, whole)
        )
        chosen = Reader(file)
        files = size = parts = 0
        for entry in chosen:
            files += 1
            size += entry.size
            parts += max(1, len(entry.parts))
    except ManifestRefused as refusal:
        raise PullFailed(Reason.CHECKSUM_MISMATCH, str(refusal)) from None
    digest = summary.digest if summary is not None else order.digest
    return Listing(chosen, digest, files, size, parts)


def _part(order: Order, reader: Reader, root: Path) -> tuple[Summary, Path]:
    half = _half(root / RESERVED / "manifests" / "part")
    with told(), half.open("xb") as opened:
        summary = manifest.subset(reader, opened, order.include, order.exclude)
    file = root / manifest.name_of(summary.digest)
    with told():
        half.replace(file)
    return summary, file
