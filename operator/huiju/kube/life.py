"""How long credentials are good for, as they say themselves.

Pure; decides nothing. Times are seconds since the epoch by the clock of whoever issued them.
Invariant: nothing but two times is ever taken out of a credential.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass

from huiju.kube.credentials import Credentials


@dataclass(frozen=True, slots=True)
class Life:
    """From when to when a credential is good."""

    begins: float
    ends: float

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.ends - self.begins


def life_of(credentials: Credentials) -> Life | None:
    """The life of what these credentials prove themselves by; None if it has no end that is known.

    Of a token and a client certificate the one that ends first.
    """
    token = life_of_token(credentials.token) if credentials.token is not None else None
    pem = credentials.client_cert_pem
    certificate = life_of_certificate(pem) if pem is not None else None
    known = [life for life in (token, certificate) if life is not None]
    return min(known, key=lambda life: life.ends, default=None)


def life_of_token(token: str) -> Life | None:
    """The life of a signed token; None for one without end, or of another make."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        begins, ends = float(claims["iat"]), float(claims["exp"])
    except (ValueError, KeyError, TypeError):
        return None
    # Its own clock may say that it ended before it began; a life has some length all the same.
    return Life(begins, max(ends, begins + 1.0))


def life_of_certificate(pem: bytes) -> Life | None:
    """The life of the first certificate in a PEM text; None where there is none."""
    from cryptography import x509

    try:
        certificate = x509.load_pem_x509_certificate(pem)
    except ValueError:
        return None
    return Life(
        certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    )
