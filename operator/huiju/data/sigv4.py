"""Presigned URLs for S3-compatible stores: AWS Signature Version 4 in the query, path style.

Pure: time is passed in. Decides nothing about who may have a URL. Invariant: a URL says its end,
and no longer life than seven days is signed, which is what stores accept at most.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote, urlsplit

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_LONGEST: Final = 7 * 86_400
_PLAIN: Final = "-_.~"


@dataclass(frozen=True, slots=True)
class Key:
    """Access to a store."""

    access: str
    secret: str = field(repr=False)
    session: str = field(default="", repr=False)
    """Token of a temporary key."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket and the start of the keys that are meant."""

    endpoint: str
    """`https://host[:port]`, without a slash at its end."""
    name: str
    prefix: str = ""
    region: str = "us-east-1"

    def key(self, path: str) -> str:
        """The object's key for a path of the data set."""
        prefix = self.prefix.strip("/")
        return f"{prefix}/{path}" if prefix else path


class Signer:
    """Signs URLs of one bucket; holds the day's derived key."""

    def __init__(self, bucket: Bucket, key: Key) -> None:
        self.bucket = bucket
        self._key = key
        parts = urlsplit(bucket.endpoint)
        self._host = parts.netloc
        self._base = f"{parts.scheme}://{parts.netloc}"
        self._root = parts.path.rstrip("/")
        self._day = ""
        self._derived = b""

    def url(
        self,
        method: str,
        key: str,
        now: float,
        seconds: int,
        query: Mapping[str, str] | None = None,
    ) -> str:
        """A URL for one request to the object `key` (empty: the bucket), good for `seconds`."""
        if not 0 < seconds <= _LONGEST:
            raise ValueError(f"a URL lives 1 to {_LONGEST} seconds, not {seconds}")
        stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
        scope = f"{stamp[:8]}/{self.bucket.region}/s3/aws4_request"
        path = f"{self._root}/{quote(self.bucket.name, safe=_PLAIN)}"
        if key:
            path += f"/{quote(key, safe=_PLAIN + '/')}"
        fields = {
            **(query or {}),
            "X-Amz-Algorithm": _ALGORITHM,
            "X-Amz-Credential": f"{self._key.access}/{scope}",
            "X-Amz-Date": stamp,
            "X-Amz-Expires": str(seconds),
            "X-Amz-SignedHeaders": "host",
        }
        if self._key.session:
            fields["X-Amz-Security-Token"] = self._key.session
        asked = "&".join(
            f"{quote(name, safe=_PLAIN)}={quote(value, safe=_PLAIN)}"
            for name, value in sorted(fields.items())
        )
        canonical = (
            f"{method}\n{path}\n{asked}\nhost:{self._host}\n\nhost\nUNSIGNED-PAYLOAD".encode()
        )
        text = f"{_ALGORITHM}\n{stamp}\n{scope}\n{hashlib.sha256(canonical).hexdigest()}"
        signature = hmac.new(self._of_day(stamp[:8]), text.encode(), hashlib.sha256).hexdigest()
        return f"{self._base}{path}?{asked}&X-Amz-Signature={signature}"

    def _of_day(self, day: str) -> bytes:
        if day != self._day:
            derived = f"AWS4{self._key.secret}".encode()
            for word in (day, self.bucket.region, "s3", "aws4_request"):
                derived = hmac.new(derived, word.encode(), hashlib.sha256).digest()
            self._day, self._derived = day, derived
        return self._derived
