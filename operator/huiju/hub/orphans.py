"""Objects in centers whose job is gone from the hub: found, judged, removed.

Decides which objects are orphans and whether there are suspiciously many. Invariants: nothing is
removed before the hub knows all its jobs; nothing is removed that another hub made; a mass of
seeming orphans (a hub restored from an old backup) stops everything and tells the operator.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from huiju.centers.syncer import Held
from huiju.hub.settings import HubSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look at a center found."""

    orphans: tuple[Held, ...]
    """To be removed now."""
    mass: bool
    message: str = ""


def judge(
    held: Iterable[Held],
    known: set[str],
    deleted: set[str],
    settings: HubSettings,
    *,
    allowed: bool,
) -> Finding:
    """Which of the held objects to remove.

    `known` are the UIDs of all jobs of a fully synced hub, `deleted` those that the hub saw being
    deleted (their removal is no surprise), `allowed` the operator's word that a mass is right.
    """
    everything = list(held)
    witnessed = tuple(h for h in everything if h.job_uid in deleted and h.job_uid not in known)
    surprising = tuple(h for h in everything if h.job_uid not in known and h.job_uid not in deleted)
    limit = max(settings.orphan_mass, int(len(everything) * settings.orphan_mass_share))
    if len(surprising) <= limit or allowed:
        return Finding((*witnessed, *surprising), mass=False)
    return Finding(
        witnessed,
        mass=True,
        message=(
            f"{len(surprising)} of {len(everything)} workloads in this center belong to no job on "
            "this hub; nothing was removed. If the hub was restored from a backup, restore the "
            "jobs first; if the jobs are really gone, annotate the ComputeCenter with "
            "huiju.dev/allow-orphan-removal=true."
        ),
    )
