"""Sealing for one reader: X25519, HKDF and ChaCha20-Poly1305, a fresh key for each message.

Decides the construction alone. Invariants: only the holder of the private key that the message was
sealed for can open it, and only under the context that it was sealed with; who sealed it is not
told, so what was opened must be checked by other means.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_VERSION: Final = b"\x01"
_KEY: Final = 32
_NONCE: Final = bytes(12)
"""Zero: each message has a key of its own."""


class SealRefused(ValueError):
    """A key that is none, or a message that was sealed for another reader or context."""


class Recipient:
    """A one-time key pair; the private half never leaves the process."""

    def __init__(self) -> None:
        self._key = X25519PrivateKey.generate()
        self._public = self._key.public_key().public_bytes_raw()

    @property
    def public(self) -> str:
        """The public half, in base64."""
        return base64.b64encode(self._public).decode()

    def open(self, sealed: bytes, context: str) -> bytes:
        """What was sealed; raises SealRefused."""
        head = len(_VERSION) + _KEY
        if len(sealed) < head or not sealed.startswith(_VERSION):
            raise SealRefused("this is no sealed message")
        theirs = sealed[len(_VERSION) : head]
        try:
            shared = self._key.exchange(X25519PublicKey.from_public_bytes(theirs))
            cipher = _cipher(shared, theirs, self._public, context)
            return cipher.decrypt(_NONCE, sealed[head:], None)
        except (InvalidTag, ValueError):
            raise SealRefused("the message was sealed for another reader or purpose") from None


def seal(public: str, plain: bytes, context: str) -> bytes:
    """Seal for the holder of a key; raises SealRefused for what is no key."""
    try:
        raw = base64.b64decode(public, validate=True)
        theirs = X25519PublicKey.from_public_bytes(raw)
        mine = X25519PrivateKey.generate()
        shared = mine.exchange(theirs)
    except (ValueError, binascii.Error):
        raise SealRefused("the public key must be 32 bytes in base64") from None
    ours = mine.public_key().public_bytes_raw()
    return _VERSION + ours + _cipher(shared, ours, raw, context).encrypt(_NONCE, plain, None)


def _cipher(shared: bytes, ours: bytes, theirs: bytes, context: str) -> ChaCha20Poly1305:
    info = b"huiju seal v1\0" + context.encode()
    return ChaCha20Poly1305(HKDF(SHA256(), _KEY, ours + theirs, info).derive(shared))
