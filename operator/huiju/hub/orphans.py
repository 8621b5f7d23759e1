"""Objects in centers whose job is gone from the hub: found, judged, removed.

Decides which objects are orphans and whether there are suspiciously many. Invariants: nothing is
removed before the hub knows all its jobs; nothing is removed that another hub made; a mass of
seeming orphans (a hub restored from an old backup) stops everything and tells the operator, whose
consent holds for these very orphans and for no later mass.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass

from huiju.centers.syncer import Held
from huiju.hub.settings import ANNOTATION_ALLOW_ORPHAN_REMOVAL, HubSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look at a center found."""

    orphans: tuple[Held, ...]
    """To be removed now."""
    mass: bool
    message: str = ""
    agreed: frozenset[str] = frozenset()
    """UIDs of the jobs whose workloads the operator agreed to have removed, as far as they are
    left."""


def mark_of(orphans: Iterable[Held]) -> str:
    """Eight hex digits that stand for the jobs of these orphans and for no others."""
    jobs = ",".join(sorted({held.job_uid for held in orphans}))
    return hashlib.sha256(jobs.encode()).hexdigest()[:8]


def judge(
    held: Iterable[Held],
    known: set[str],
    deleted: set[str],
    settings: HubSettings,
    *,
    consent: str,
    agreed: frozenset[str],
) -> Finding:
    """Which of the held objects to remove.

    `known` are the UIDs of all jobs of a fully synced hub, `deleted` those that the hub saw being
    deleted (their removal is no surprise), `consent` the operator's word that the mass of this mark
    may go, `agreed` what an earlier look found the operator to have agreed to.
    """
    everything = list(held)
    witnessed = tuple(h for h in everything if h.job_uid in deleted and h.job_uid not in known)
    surprising = tuple(h for h in everything if h.job_uid not in known and h.job_uid not in deleted)
    jobs = frozenset(h.job_uid for h in surprising)
    limit = max(settings.orphan_mass, int(len(everything) * settings.orphan_mass_share))
    if len(surprising) <= limit:
        return Finding((*witnessed, *surprising), mass=False)
    mark = mark_of(surprising)
    if consent == mark or jobs <= agreed:
        # What is left of them is still agreed to when the first are gone and the mark is another.
        return Finding((*witnessed, *surprising), mass=False, agreed=jobs)
    return Finding(
        witnessed,
        mass=True,
        message=(
            f"{len(surprising)} of {len(everything)} workloads in this center belong to no job on "
            "this hub; nothing was removed. If the hub was restored from a backup, restore the "
            "jobs first; if the jobs are really gone, annotate the ComputeCenter with "
            f"{ANNOTATION_ALLOW_ORPHAN_REMOVAL}={mark}, which allows to remove just these."
        ),
    )
