"""What a puller and the owner's center say to each other: needs, and sealed batches of links.

A need names files by their number in the manifest (of the part that is copied, where patterns
choose one); a batch answers it with a URL a file, or with one token of the owner's gateway for all
of them. Decides the format alone. Invariants: a batch is opened by the puller that asked and by no
other, and only as the answer to that need; it is small enough for a Kubernetes Secret.
"""

from __future__ import annotations

import zlib
from typing import Annotated, Final
from urllib.parse import quote

import msgspec

from huiju.data.sealing import Recipient, SealRefused, seal

LIFE: Final = 900
"""Seconds that a link lives at most."""
MOST: Final = 5_000
"""Files of one need: their URLs, packed, stay below half a MiB."""
LARGEST: Final = 900_000
"""Bytes of a sealed batch; a Secret holds 1 MiB in all."""
_LARGEST_PLAIN: Final = 32 << 20

Number = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]


class Need(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Files that a puller wants links for."""

    seq: Number
    """Counts the needs of one puller; a batch answers the need of its number."""
    first: Number
    """Number of the first file, from 0."""
    count: Annotated[int, msgspec.Meta(ge=0, le=MOST)]
    """Files at most; 0 asks for the manifest alone."""


class Batch(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Links that live until `until`, seconds since the epoch."""

    seq: int
    until: float
    manifest: str
    """URL of the manifest."""
    signature: str = ""
    """URL of its signature, where there is one."""
    first: int = 0
    urls: tuple[str, ...] = ()
    """URLs of the files from number `first` on."""
    base: str = ""
    """Address of the gateway under which all paths are found, instead of `urls`."""
    token: str = ""
    """What the gateway wants to see."""

    def url(self, number: int, path: str) -> str | None:
        """The URL of a file, None where the batch has none."""
        if self.base:
            return gateway_url(self.base, path, self.token)
        index = number - self.first
        return self.urls[index] if 0 <= index < len(self.urls) else None


def gateway_url(base: str, path: str, token: str) -> str:
    """The URL of a path at a gateway."""
    return f"{base}/{quote(path, safe='/-_.~')}?t={token}"


def context(replica: str, epoch: int, seq: int) -> str:
    """What a batch is bound to: the replica's UID, the transfer, the need."""
    return f"links\0{replica}\0{epoch}\0{seq}"


def pack(batch: Batch, public: str, replica: str, epoch: int) -> bytes:
    """Seal a batch for the puller of a transfer; raises SealRefused."""
    packed = zlib.compress(msgspec.json.encode(batch), 6)
    sealed = seal(public, packed, context(replica, epoch, batch.seq))
    if len(sealed) > LARGEST:
        raise SealRefused(f"{len(sealed)} bytes of links are too many; ask for fewer files at once")
    return sealed


def unpack(sealed: bytes, recipient: Recipient, replica: str, epoch: int, seq: int) -> Batch:
    """Open a batch; raises SealRefused."""
    packed = recipient.open(sealed, context(replica, epoch, seq))
    unzip = zlib.decompressobj()
    try:
        plain = unzip.decompress(packed, _LARGEST_PLAIN)
        if not unzip.eof:
            raise SealRefused("the batch is larger than any that makes sense")
        batch = msgspec.json.decode(plain, type=Batch)
    except (zlib.error, msgspec.DecodeError):
        raise SealRefused("the batch is no batch of links") from None
    if batch.seq != seq:
        raise SealRefused("the batch answers another need")
    return batch
