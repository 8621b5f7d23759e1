"""What was allowed and is no more: jobs that run on data, and copies that were made for them.

Pure. Decides what counts as taken away, by the rules of `data/access.py`; when it takes effect is
decided in `hub/withdrawal.py` for jobs and in `data/moves.py` for copies. Invariant: a share that
is not there takes nothing away, since a hub may be restored from a backup that has it not.
"""

from __future__ import annotations

from collections.abc import Iterable

from huiju.data.access import (
    WITHDRAWS,
    Grant,
    Place,
    Refused,
    Share,
    best_grant,
    may_use,
)
from huiju.data.copies import version_named
from huiju.hub.datasets.catalog import Replica


def barred(
    replica: Replica, share: Share, grants: Iterable[Grant], place: Place, now: float
) -> Refused | None:
    """Why none of the namespaces that a copy was made for may use it any more.

    None where one may, and where it was made for no job at all.
    """
    version = version_named(share, replica.spec.version)
    if version is None:
        return None
    all, refused = list(grants), None
    for space in replica.status.get("usedBy") or ():
        grant = best_grant(share, all, str(space), now)
        refused = may_use(share, grant, str(space), version, place, now)
        if refused is None or refused.reason not in WITHDRAWS:
            return None
    return refused
