"""The name of a replica, from what it is a copy of: two who ask for the same copy meet there.

Standard library only, since commands import it. Invariant: equal copies have equal names, and
others differ (by 48 bits of a digest).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Final

STORE_FOLDER: Final = "huiju-data"
"""Folder of a store below which all copies lie."""
_SHOWN: Final = 40
_DIGITS: Final = 12


def replica_name(
    share: str,
    share_uid: str,
    version: str,
    center: str,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
) -> str:
    """`SHARE-DIGEST`, a DNS label; the patterns' order does not matter."""
    digest = _digest(share_uid, version, center, include, exclude)[:_DIGITS]
    return f"{share.replace('.', '-')[:_SHOWN].rstrip('-')}-{digest}"


def copy_folder(
    share_uid: str, version: str, include: Iterable[str] = (), exclude: Iterable[str] = ()
) -> str:
    """Where a copy's files lie below the folder of a center's store.

    By the share's UID: two shares with equal files do not meet there, so that nobody learns from
    the time a copy takes what others have.
    """
    return f"{STORE_FOLDER}/{share_uid}/{_digest(share_uid, version, '', include, exclude)[:32]}"


def _digest(
    share_uid: str, version: str, center: str, include: Iterable[str], exclude: Iterable[str]
) -> str:
    what = [share_uid, version, center, sorted(set(include)), sorted(set(exclude))]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()
