"""Which shares may be served from what: the word of the center's owner, key `dataSources`.

A share names its source by itself, and whoever may write shares on the hub could name another's
folder, or have another's key used. So the owner says, per share, which folders, keys and web
servers it may name: `SHARES=SOURCE`, where SHARES is a pattern of `namespace/name` and SOURCE

    /FOLDER                         a folder and all below it
    s3:SECRET[/BUCKET[/PREFIX]]     a key, for one bucket, for what is below a prefix
    web:[SECRET@]URL                a web server, below an address, with its token

Pure. Invariants: what is not named is not served; a word that makes no sense is refused as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from huiju.api.reasons import Reason
from huiju.centers.hostaccess import below
from huiju.data.access import Refused, Share
from huiju.scheduling.filter import matches

_SHARES: Final = re.compile(r"[^/=\s]+/[^/=\s]+")
_S3: Final = re.compile(r"s3:([a-z0-9.-]+)(?:/([a-z0-9][a-z0-9.-]+)(?:/(.+?))?/?)?")
_WEB: Final = re.compile(r"web:(?:([a-z0-9.-]+)@)?(https?://[^\s@?#]+)")
SHOWN: Final = "team-a/*=/exports/corpora, team-a/corpus=s3:KEY/BUCKET/PREFIX, team-b/*=web:URL"


class OfferRefused(ValueError):
    """A word that makes no sense; the message has the cure."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What some shares may be served from."""

    shares: str
    """Pattern of `namespace/name`."""
    kind: Literal["folder", "s3", "web"]
    place: str
    """Folder, `BUCKET/PREFIX` or address; empty is any bucket."""
    secret: str = ""

    def __str__(self) -> str:
        """The word that it came from."""
        match self.kind:
            case "folder":
                return f"{self.shares}={self.place}"
            case "s3":
                return f"{self.shares}=s3:{self.secret}{'/' if self.place else ''}{self.place}"
            case "web":
                return f"{self.shares}=web:{self.secret}{'@' if self.secret else ''}{self.place}"

    def covers(self, share: Share) -> bool:
        """Whether the share may have the source that it names."""
        source = share.spec.source
        if not matches((self.shares,), share.key):
            return False
        if source.files is not None:
            return self.kind == "folder" and below(source.files.path, (self.place,))
        if source.s3 is not None:
            there = f"{source.s3.bucket}/{source.s3.prefix or ''}".rstrip("/")
            own = self.kind == "s3" and self.secret == source.s3.secret_name
            return own and (not self.place or below(there, (self.place,)))
        if source.http is not None:
            own = self.kind == "web" and self.secret == (source.http.secret_name or "")
            url = source.http.url.rstrip("/")
            # An encoded dot would lead out of the folder once the address is put together.
            return own and "%2e" not in url.lower() and below(url, (self.place,))
        return False


def offer(word: str) -> Offer:
    """One word of the key; raises OfferRefused."""
    shares, _, source = word.partition("=")
    if _SHARES.fullmatch(shares) is None or not source:
        raise OfferRefused(f"{word!r} is not NAMESPACE/NAME=SOURCE, like {SHOWN}")
    if source.rstrip("/").startswith("/") and ".." not in source.split("/"):
        return Offer(shares, "folder", source.rstrip("/"))
    s3, web = _S3.fullmatch(source), _WEB.fullmatch(source)
    if s3 is not None:
        return Offer(shares, "s3", "/".join(part for part in s3.groups()[1:] if part), s3[1])
    if web is not None:
        return Offer(shares, "web", web[2].rstrip("/"), web[1] or "")
    raise OfferRefused(f"{source!r} is no folder, s3:SECRET/BUCKET/PREFIX or web:URL")


def not_offered(offers: Iterable[Offer], share: Share, center: str) -> Refused | None:
    """Why a share is not served from the source that it names, None where it may be."""
    if any(each.covers(share) for each in offers):
        return None
    return Refused(
        Reason.PERMISSION_DENIED,
        f"The owner of center {center} offers {share.key} no such source: `dataSources` of the"
        f" policy there would have to have {_word(share)}.",
    )


def _word(share: Share) -> str:
    source = share.spec.source
    if source.files is not None:
        return f"{share.key}={source.files.path}"
    if source.s3 is not None:
        place = "/".join(p for p in (source.s3.bucket, (source.s3.prefix or "").strip("/")) if p)
        return f"{share.key}=s3:{source.s3.secret_name}/{place}"
    web = source.http
    if web is None:
        return f"{share.key}=SOURCE"
    return f"{share.key}=web:{f'{web.secret_name}@' if web.secret_name else ''}{web.url}"
