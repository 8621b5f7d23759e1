"""The owner's side of a transfer: answers a puller's need with links that live minutes.

Decides how long a link lives and which files it is for. Invariants: links are made for listed files
of the granted version and no others; none outlives the grant; a key of the store is used here and
is in nothing that leaves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from huiju.api.reasons import Reason
from huiju.data import manifest, paths, tokens
from huiju.data.access import Refused
from huiju.data.authority import Asked, Authority, Granted
from huiju.data.links import LIFE, Batch, Need, gateway_url, pack
from huiju.data.manifest import Entry, Reader
from huiju.data.sealing import SealRefused
from huiju.data.sigv4 import Signer


@dataclass(frozen=True, slots=True)
class Transfer:
    """A transfer that asks for links."""

    replica: str
    """UID of the DatasetReplica."""
    epoch: int
    public: str
    """The puller's one-time key."""
    asked: Asked
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


class Linker(Protocol):
    """Makes links to one source."""

    def batch(
        self, transfer: Transfer, need: Need, files: Iterator[Entry], now: float, seconds: int
    ) -> Batch:
        """Links to the files; the manifest's and its signature's are always among them."""


class S3Linker:
    """Presigned URLs of an S3-compatible store, one a file."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    def batch(
        self, transfer: Transfer, need: Need, files: Iterator[Entry], now: float, seconds: int
    ) -> Batch:
        """A URL a file."""

        def url(path: str) -> str:
            return self._signer.url("GET", self._signer.bucket.key(path), now, seconds)

        digest = transfer.asked.digest
        return Batch(
            seq=need.seq,
            until=now + seconds,
            manifest=url(manifest.name_of(digest)),
            signature=url(manifest.signature_name_of(digest)),
            first=need.first,
            urls=tuple(url(entry.path) for entry in files),
        )


class GatewayLinker:
    """A token of the owner's gateway, one for all files: the gateway knows the manifest itself."""

    def __init__(self, address: str, key: bytes) -> None:
        self._address = address.rstrip("/")
        self._key = key

    def batch(
        self, transfer: Transfer, need: Need, files: Iterator[Entry], now: float, seconds: int
    ) -> Batch:
        """A token."""
        asked = transfer.asked
        claim = tokens.Claim(
            asked.share,
            asked.digest,
            asked.center,
            asked.namespaces,
            transfer.replica,
            transfer.epoch,
            now + seconds,
        )
        token = tokens.mint(self._key, claim)
        base = f"{self._address}/v1/{asked.share}/{asked.digest.removeprefix('sha256:')}"
        return Batch(
            seq=need.seq,
            until=now + seconds,
            manifest=gateway_url(base, manifest.name_of(asked.digest), token),
            signature=gateway_url(base, manifest.signature_name_of(asked.digest), token),
            base=base,
            token=token,
        )


def answer(
    authority: Authority,
    linker: Linker,
    listed: Reader,
    transfer: Transfer,
    need: Need,
    now: float,
) -> bytes | Refused:
    """The sealed batch for a need, or why there is none."""
    verdict = authority.judge(transfer.asked, now)
    if isinstance(verdict, Refused):
        return verdict
    seconds = _life(verdict, now)
    if seconds < 1:
        return Refused(Reason.GRANT_EXPIRED, "Its time is over.")
    files = islice(_from(listed, transfer, need.first), need.count)
    batch = linker.batch(transfer, need, files, now, seconds)
    try:
        return pack(batch, transfer.public, transfer.replica, transfer.epoch)
    except SealRefused as refusal:
        return Refused(Reason.TRANSFER_FAILED, str(refusal))


def _life(verdict: Granted, now: float) -> int:
    return LIFE if verdict.until is None else int(min(LIFE, verdict.until - now))


def _from(listed: Reader, transfer: Transfer, first: int) -> Iterator[Entry]:
    """The files of the transfer from the one of that number on."""
    if not transfer.include and not transfer.exclude:
        return listed.after(first)
    chosen = (
        entry for entry in listed if paths.selects(transfer.include, transfer.exclude, entry.path)
    )
    return islice(chosen, first, None)
