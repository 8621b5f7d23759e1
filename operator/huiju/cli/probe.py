"""Asking a server what an account may do, and whether a hub is at work.

Decides nothing; what follows from an answer is the caller's. Invariant: nothing is changed.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from huiju.cli.api import Api
from huiju.cli.table import dig

if TYPE_CHECKING:
    from collections.abc import Iterable


class Deed(NamedTuple):
    """What somebody may do, or not."""

    verb: str
    group: str
    """API group; empty for the core."""
    resource: str
    """Plural name."""
    subresource: str = ""
    name: str = ""
    """The one object that it is about; empty for all."""


def may(api: Api, deed: Deed, namespace: str | None = None) -> bool:
    """Whether the caller of `api` may do it (everywhere, without a namespace)."""
    from huiju.kube.resources import SELF_SUBJECT_ACCESS_REVIEWS as REVIEWS

    wanted = {**deed._asdict(), "namespace": namespace or ""}
    review = {
        "apiVersion": REVIEWS.api_version,
        "kind": REVIEWS.kind,
        "spec": {"resourceAttributes": {k: v for k, v in wanted.items() if v}},
    }
    return bool(dig(api.create(REVIEWS, review), "status", "allowed"))


def denied(api: Api, deeds: Iterable[Deed], *, patience: float = 0.0) -> list[Deed]:
    """Those that the caller may not do; new rights get `patience` seconds to be seen."""
    deadline = time.monotonic() + patience
    left = list(deeds)
    while True:
        left = [deed for deed in left if not may(api, deed)]
        if not left or time.monotonic() >= deadline:
            return left
        time.sleep(0.2)


def spell(deed: Deed) -> str:
    """A deed for a person: `create jobs.batch`."""
    what = f"{deed.resource}/{deed.subresource}" if deed.subresource else deed.resource
    kind = f"{what}.{deed.group}" if deed.group else what
    return f"{deed.verb} {kind} {deed.name}".rstrip()


def leader(api: Api, namespace: str, now: float) -> str | None:
    """Who leads the hub now, by its Lease; None if nobody does."""
    from datetime import datetime

    from huiju.kube.errors import NotFound
    from huiju.kube.resources import LEASES

    try:
        spec = api.get(LEASES, "huiju-hub", namespace).get("spec") or {}
    except NotFound:
        return None
    holder, renewed = spec.get("holderIdentity"), spec.get("renewTime")
    if not holder or not renewed:
        return None
    age = now - datetime.fromisoformat(renewed).timestamp()
    return str(holder) if age <= 2 * float(spec.get("leaseDurationSeconds") or 15) else None
