"""A mailbox's ResourceQuota, until the hub's quota controller counts under it.

Decides when to make a quota anew. Kubernetes' quota controller learns of new kinds within half a
minute; a quota made before that is looked at again only minutes later, and until then every object
of such a kind is refused. Invariant: what a person wrote into the quota stays.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from huiju.cli.table import dig

if TYPE_CHECKING:
    from huiju.cli.session import Session

Fields = dict[str, Any]
_LOOK: Final = 1.0
"""Seconds between two looks."""
_ANEW: Final = 5.0
"""Seconds that a new quota has to be counted in."""
_PATIENCE: Final = 60.0
"""Twice the seconds within which the controller learns of new kinds."""


def until_counted(session: Session, center: str) -> None:
    """Wait until the center's mailbox takes objects, making its quota anew where that helps."""
    told = False
    end, anew_at = time.monotonic() + _PATIENCE, 0.0
    while uncounted := _uncounted(session, center):
        now = time.monotonic()
        if now > end:
            session.note(
                f"warning: the hub's quota controller does not count {', '.join(uncounted)} in the"
                f" mailbox of {center}, and nothing can be written there before it does: is"
                " kube-controller-manager at work?"
            )
            return
        if not told:
            session.note("Waiting for the hub's quota controller to count in the mailbox…")
            told = True
        if now >= anew_at:
            _remake(session, center)
            anew_at = now + _ANEW
        time.sleep(_LOOK)


def _quota(session: Session, center: str) -> Fields | None:
    from huiju.centers.mailbox import mailbox_of
    from huiju.cli.pulling import QUOTA
    from huiju.kube.errors import NotFound
    from huiju.kube.resources import RESOURCE_QUOTAS

    try:
        return session.api.get(RESOURCE_QUOTAS, QUOTA, mailbox_of(center))
    except NotFound:
        return None  # whoever took it away wants no limit


def _uncounted(session: Session, center: str) -> list[str]:
    quota = _quota(session, center)
    if quota is None:
        return []
    used = dig(quota, "status", "used") or {}
    return sorted(set(quota["spec"].get("hard") or {}) - set(used))


def _remake(session: Session, center: str) -> None:
    from huiju.kube.resources import RESOURCE_QUOTAS

    quota = _quota(session, center)
    if quota is None:
        return
    kept = {key: quota["metadata"].get(key) for key in ("name", "namespace", "labels")}
    space = quota["metadata"]["namespace"]
    session.api.delete(RESOURCE_QUOTAS, quota["metadata"]["name"], space)
    session.api.create(RESOURCE_QUOTAS, quota | {"metadata": kept, "status": {}}, space)
