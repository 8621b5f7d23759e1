"""Whether a caller may ask: SubjectAccessReviews, remembered for a few seconds.

Decides nothing itself; the cluster's own authorizers do. Invariants: an answer is at most
`REMEMBER` seconds old, the memory is bounded, and no answer means no.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from huiju.kube.client import Client
from huiju.kube.resources import SUBJECT_ACCESS_REVIEWS
from huiju.web.callers import Caller
from huiju.web.discovery import GROUP, VERSION
from huiju.web.statuses import Refused

REMEMBER: Final = 5.0
_MOST: Final = 4096


@dataclass(frozen=True, slots=True)
class Deed:
    """What somebody wants to do in the view API."""

    verb: str
    namespace: str
    resource: str
    subresource: str = ""
    name: str = ""

    def __str__(self) -> str:
        what = f"{self.resource}/{self.subresource}" if self.subresource else self.resource
        where = f'in the namespace "{self.namespace}"' if self.namespace else "in the whole cluster"
        return f"{self.verb} {what}.{GROUP} {where}"


class Access:
    """Asks the API server, and remembers."""

    def __init__(self, client: Client, now: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._now = now
        self._known: dict[tuple[Caller, Deed], tuple[float, bool, str]] = {}

    async def demand(self, caller: Caller, deed: Deed) -> None:
        """Return if the caller may; raises Refused(403), or a KubeError where nobody answers."""
        now = self._now()
        known = self._known.get((caller, deed))
        if known is None or known[0] <= now:
            allowed, reason = await self._ask(caller, deed)
            self._remember(caller, deed, (now + REMEMBER, allowed, reason))
        else:
            _, allowed, reason = known
        if not allowed:
            because = f": {reason}" if reason else ""
            raise Refused(403, f'user "{caller.name}" may not {deed}{because}')

    async def _ask(self, caller: Caller, deed: Deed) -> tuple[bool, str]:
        answer = await self._client.create(SUBJECT_ACCESS_REVIEWS, review(caller, deed))
        verdict: dict[str, Any] = answer.get("status") or {}
        return bool(verdict.get("allowed")), str(verdict.get("reason") or "")

    def _remember(self, caller: Caller, deed: Deed, verdict: tuple[float, bool, str]) -> None:
        if len(self._known) >= _MOST:
            now = self._now()
            self._known = {k: v for k, v in self._known.items() if v[0] > now}
            if len(self._known) >= _MOST:
                self._known.clear()
        self._known[caller, deed] = verdict


def review(caller: Caller, deed: Deed) -> dict[str, Any]:
    """The SubjectAccessReview that asks for one deed."""
    attributes = {
        "verb": deed.verb,
        "group": GROUP,
        "version": VERSION,
        "namespace": deed.namespace,
        "resource": deed.resource,
        "subresource": deed.subresource,
        "name": deed.name,
    }
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": caller.name,
            "groups": list(caller.groups),
            "uid": caller.uid,
            "extra": {key: list(values) for key, values in caller.extra},
            "resourceAttributes": {key: value for key, value in attributes.items() if value},
        },
    }
