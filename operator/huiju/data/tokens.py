"""Tokens of the gateway: short-lived, for one version of one share, signed by HMAC-SHA-256.

Pure: time is passed in. Decides when a token holds; whether its bearer may still have the data is
asked each time anew (`authority.py`). Invariant: nothing in a token is believed before its
signature was checked.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Final

import msgspec

from huiju.data.links import LIFE

KEY_BYTES: Final = 32
_DOMAIN: Final = b"huiju gateway v1\0"
_SKEW: Final = 60.0
"""Seconds by which the clocks of signer and gateway may differ."""


class TokenRefused(ValueError):
    """A token that does not hold; `late` where it did before."""

    def __init__(self, message: str, *, late: bool = False) -> None:
        super().__init__(message)
        self.late = late


class Claim(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a token is for."""

    share: str
    """UID of the DatasetShare."""
    digest: str
    """Digest of the version's manifest."""
    center: str
    """Center that copies."""
    namespaces: tuple[str, ...]
    """Namespaces on whose behalf."""
    replica: str
    """UID of the DatasetReplica."""
    epoch: int
    until: float
    """End, seconds since the epoch."""


def mint(key: bytes, claim: Claim) -> str:
    """The token, safe in a URL."""
    text = msgspec.json.encode(claim)
    return f"{_text(text)}.{_text(_mac(key, text))}"


def read(key: bytes, token: str, now: float) -> Claim:
    """What the token is for; raises TokenRefused."""
    body, _, mac = token.partition(".")
    try:
        text, found = _bytes(body), _bytes(mac)
    except (ValueError, binascii.Error):
        raise TokenRefused("this is no token") from None
    if len(key) < KEY_BYTES or not hmac.compare_digest(found, _mac(key, text)):
        raise TokenRefused("the token was not signed here")
    try:
        claim = msgspec.json.decode(text, type=Claim)
    except msgspec.DecodeError:
        raise TokenRefused("the token is of another version") from None
    if now >= claim.until:
        raise TokenRefused("the token is over", late=True)
    if claim.until > now + LIFE + _SKEW:
        raise TokenRefused("the token lives too long: the clocks differ")
    return claim


def _mac(key: bytes, text: bytes) -> bytes:
    return hmac.new(key, _DOMAIN + text, hashlib.sha256).digest()


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
