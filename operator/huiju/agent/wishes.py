"""Whether the owner of a share wants a copy in a center, by objects that only people write.

The share's own namespace needs no grant, so a request on its behalf is believed only where the
share's rules or pins name the center, a person ordered the copy, or a job of the namespace reads
the data; the hub's own account can write none of these (`hub/role.py`, `hub/admission.py`). Pure.
Invariant: nothing that the hub writes counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from huiju.api.transfer import CenterServingSpec
from huiju.data.access import Place, Share
from huiju.data.copies import counts

Fields = Mapping[str, Any]


def ruled(share: Share, place: Place) -> bool:
    """Whether the share's own spec has copies in the center."""
    if place.name in share.spec.pins:
        return True
    return any(counts(rule, place) for rule in share.spec.copies)


def ordered(replica: Fields | None, share: Share, asked: CenterServingSpec) -> bool:
    """Whether a person ordered this very copy."""
    spec = (replica or {}).get("spec") or {}
    told = (spec.get("shareUid"), spec.get("manifestDigest"), spec.get("center"))
    return bool(spec.get("wanted")) and told == (share.uid, asked.digest, asked.center)


def read_by(jobs: Iterable[Fields | None], share: Share) -> bool:
    """Whether one of these jobs of the share's namespace reads the data."""
    for job in jobs:
        if job is None or job["metadata"].get("namespace") != share.namespace:
            continue
        for entry in (job.get("spec") or {}).get("data") or ():
            space = entry.get("namespace") or share.namespace
            if (space, entry.get("dataset")) == (share.namespace, share.name):
                return True
    return False
