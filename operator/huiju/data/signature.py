"""Signed manifests: an Ed25519 signature over a manifest's digest, beside it in the source.

Decides what is signed and when a signature holds. Invariant: what is signed says that it is a
manifest's digest, so that the same key cannot be tricked by a text of another kind.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

_DOMAIN: Final = b"huiju manifest v1\n"
LONGEST: Final = 256
"""Bytes that a signature's file may have."""


class KeyRefused(ValueError):
    """A key that cannot be used; the message says what is needed."""


class SignatureRefused(ValueError):
    """A manifest that is not signed by the key that it must be signed by."""


def load_private(file: Path) -> Ed25519PrivateKey:
    """The key in a PEM file; raises KeyRefused."""
    try:
        key = load_pem_private_key(file.read_bytes(), password=None)
    except OSError as error:
        raise KeyRefused(f"{file}: {error.strerror}") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyRefused(f"{file} holds no private key without password; {_MAKE}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyRefused(f"{file} holds a key of another kind; {_MAKE}")
    return key


_MAKE: Final = "make an Ed25519 key with `openssl genpkey -algorithm ed25519 -out key.pem`"


def public_pem(key: Ed25519PrivateKey) -> str:
    """The public half, as `spec.signingKey` of a DatasetShare holds it."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def sign(key: Ed25519PrivateKey, digest: str) -> bytes:
    """The signature's file for a manifest of that digest."""
    return base64.b64encode(key.sign(_DOMAIN + digest.encode())) + b"\n"


def verify(public: str, digest: str, signature: bytes) -> None:
    """Raise SignatureRefused where the signature does not hold, KeyRefused for no usable key."""
    try:
        key = load_pem_public_key(public.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise KeyRefused("the signing key is no public key in PEM form") from None
    if not isinstance(key, Ed25519PublicKey):
        raise KeyRefused("the signing key is not an Ed25519 key")
    try:
        key.verify(base64.b64decode(signature, validate=False), _DOMAIN + digest.encode())
    except (InvalidSignature, ValueError):
        raise SignatureRefused(f"the manifest {digest} is not signed by the share's key") from None
