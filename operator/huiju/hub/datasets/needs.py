"""What jobs need of data sets: which versions they mean, where these are, and where they may go.

Decides what an entry of `spec.data` means for a namespace, and what it tells the scheduler; who may
use what is decided in `data/access.py`, and when a copy moves in `data/moves.py`. Invariants: a
version that was fixed for a job stays; a job has no mount but of a verified copy that it may use.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import msgspec

from huiju.api.center import DataStore
from huiju.api.dataset import Version
from huiju.api.durations import parse_duration
from huiju.api.reasons import Reason
from huiju.centers.jobview import ViewData
from huiju.centers.mounts import Mount
from huiju.data import access
from huiju.data.access import Grant, Refused, Share
from huiju.data.copies import CopyId, Demand, Holder, Part, cannot_hold, part_of, version_named
from huiju.data.naming import copy_folder
from huiju.hub.clock import seconds
from huiju.hub.datasets.catalog import Catalog, Replica
from huiju.hub.datasets.holders import holders_of
from huiju.hub.lifecycle import Bringing, Staged, Verdict
from huiju.hub.objects import DataStatus, JobObject
from huiju.hub.sites import Sites
from huiju.hub.status import finished
from huiju.hub.withdrawal import Withdrawn
from huiju.scheduling.model import DataNeed

OK: Final = Verdict(True)
_FRESH: Final = 1.0
"""Seconds for which what was found out about the centers is used again."""
_HOPELESS: Final = frozenset(
    {
        Reason.NO_ROUTE,
        Reason.NO_DATA_STORE,
        Reason.RESIDENCY_FORBIDS,
        Reason.PERMISSION_DENIED,
        Reason.QUOTA_EXCEEDED,
        Reason.UNKNOWN_VERSION,
    }
)
"""Of a copy that waits for one of these, its jobs look for another center."""
_MOST_ATTEMPTS: Final = 3
"""Failed transfers after which a job looks for another center; the copy is tried on."""
_LEAST_PATIENCE: Final = 60.0
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Bound:
    """An entry of a job's data, and the version that it means."""

    entry: ViewData
    share: Share
    version: Version
    grant: Grant | None

    @property
    def part(self) -> Part:
        """The part that the job needs."""
        return part_of(self.entry.include, self.entry.exclude)

    @property
    def fixed(self) -> DataStatus:
        """As the job's status keeps it."""
        share, version = self.share, self.version
        return DataStatus(
            self.entry.mount_path,
            share.namespace,
            share.name,
            share.uid,
            version.name,
            version.manifest_digest,
        )

    def copy_in(self, center: str) -> CopyId:
        """The copy that it needs in a center."""
        return CopyId(self.share.uid, self.version.name, center, self.part)


@lru_cache(maxsize=1024)
def entries_of(text: str) -> tuple[ViewData, ...]:
    """The entries of `spec.data`, which the cache keeps as text."""
    return msgspec.json.decode(text, type=tuple[ViewData, ...]) if text else ()


class Needs:
    """Answers for jobs out of the catalog and the centers; keeps answers for a moment."""

    def __init__(
        self, catalog: Catalog, sites: Sites, clock: Callable[[], float] = time.time
    ) -> None:
        self._catalog = catalog
        self._sites = sites
        self._clock = clock
        self._holders: tuple[float, dict[str, Holder]] = (0.0, {})

    # --- what a job means ------------------------------------------------------------------------

    def bind(self, job: JobObject) -> tuple[Bound, ...] | Refused:
        """The versions that the job's data means; those that were fixed before stay."""
        fixed = {data.mount_path: data for data in job.status.data}
        found = []
        for entry in entries_of(str(job.spec.data or "")):
            bound = self._bind(job.metadata.namespace, entry, fixed.get(entry.mount_path))
            if isinstance(bound, Refused):
                message = f"spec.data, {entry.mount_path}: {bound.message}"
                return Refused(bound.reason, message)
            found.append(bound)
        return tuple(found)

    def _bind(self, namespace: str, entry: ViewData, fixed: DataStatus | None) -> Bound | Refused:
        if fixed is not None:
            known = self._catalog.share(f"{fixed.namespace}/{fixed.dataset}")
            same = known is not None and known.share.uid == fixed.share_uid
            version = version_named(known.share, fixed.version) if known and same else None
            if known is None or version is None:
                message = f"data set {fixed.namespace}/{fixed.dataset} is no more"
                return Refused(Reason.UNKNOWN_DATASET, message)
            return Bound(entry, known.share, version, self._grant(known.share, namespace))
        found = self._catalog.find(entry.dataset, entry.namespace or None, namespace)
        if isinstance(found, Refused):
            return found
        named = access.version_of(found.share.spec, entry.version)
        if isinstance(named, Refused):
            return named
        return Bound(entry, found.share, named, self._grant(found.share, namespace))

    def _grant(self, share: Share, namespace: str) -> Grant | None:
        grants = self._catalog.grants_for(share)
        return access.best_grant(share, grants, namespace, self._clock())

    def verdict(self, job: JobObject) -> Verdict:
        """Whether the job may use its data in any center at all."""
        if not job.spec.data:
            return OK
        bound = self.bind(job)
        if isinstance(bound, Refused):
            return Verdict(False, bound.reason, bound.message)
        holders = self.holders().values()
        for each in bound:
            refused = [self._refused(job, each, holder) for holder in holders]
            first = next(iter(refused), None)
            if first is not None and all(refused) and first.reason is not Reason.RESIDENCY_FORBIDS:
                message = f"spec.data, {each.entry.mount_path}: {first.message}"
                return Verdict(False, first.reason, message)
        return OK

    # --- what the scheduler is told --------------------------------------------------------------

    def of(self, job: JobObject) -> tuple[DataNeed, ...]:
        """What the job needs, and where it is or can be brought."""
        if not job.spec.data:
            return ()
        bound = self.bind(job)
        if isinstance(bound, Refused):
            return ()
        center, until = self._kept_to(job, bound)
        only = center if self._clock() < until else ""
        return tuple(self._need(job, each, only) for each in bound)

    def _need(self, job: JobObject, bound: Bound, only: str) -> DataNeed:
        holders = self.holders()
        owner = bound.share.spec.source.center
        copies = frozenset(r.spec.center for r in self.copies(bound) if r.verified)
        size = self._size(bound)
        sender = holders.get(owner)
        barred = []
        for name, holder in sorted(holders.items()):
            refused = self._refused(job, bound, holder)
            if refused is None and name not in copies:
                refused = self._cannot_come(bound, holder, sender, size)
                if refused is None and only and name != only:
                    refused = Refused(
                        Reason.COPY_REQUIRED, f"it was brought to {only}, and is not here"
                    )
            if refused is not None:
                barred.append((name, str(refused.reason), refused.message))
        return DataNeed(
            f"{bound.share.key} {bound.version.name}",
            size,
            copies,
            bound.version.files if bound.part.whole else 0,
            frozenset({owner}),
            tuple(barred),
        )

    def _cannot_come(
        self, bound: Bound, holder: Holder, sender: Holder | None, size: int
    ) -> Refused | None:
        owner = bound.share.spec.source.center
        if bound.entry.mode == "Require":
            return Refused(Reason.COPY_REQUIRED, "mode Require, and there is no copy here")
        if sender is None or not sender.answers:
            return Refused(Reason.PEER_UNREACHABLE, f"center {owner}, which has it, is silent")
        return cannot_hold(holder, size, sender, owner)

    def _size(self, bound: Bound) -> int:
        """Bytes to bring: of a part as soon as any copy of it has told."""
        if bound.part.whole:
            return bound.version.bytes
        told = (int(r.status.get("bytesTotal") or 0) for r in self.copies(bound) if not r.whole)
        return max(told, default=0) or bound.version.bytes

    def _kept_to(self, job: JobObject, bound: tuple[Bound, ...]) -> tuple[str, float]:
        """The center that the data was brought to, and until when the job is to wait for it there.

        It waits as long as bringing the data took: until then it has lost no more by waiting than
        it would by bringing the data elsewhere, so it never pays more than twice what it had to.
        """
        staging = job.status.staging
        if staging is None:
            return "", 0.0
        there = [self.verified(each, staging.center) for each in bound]
        since = [seconds(str(r.status.get("verifiedAt") or "")) for r in there if r is not None]
        if len(since) < len(there):
            return "", 0.0
        chosen = seconds(staging.since)
        ready = max([chosen, *since])
        patience = max(_LEAST_PATIENCE, ready - chosen)
        return staging.center, ready + patience

    # --- copies ----------------------------------------------------------------------------------

    def copies(self, bound: Bound) -> Iterator[Replica]:
        """Copies that serve the need, the whole ones first."""
        found = [
            replica
            for replica in self._catalog.replicas_of(bound.share)
            if replica.spec.version == bound.version.name
            and (replica.whole or part_of(replica.spec.include, replica.spec.exclude) == bound.part)
        ]
        yield from sorted(found, key=lambda replica: (not replica.whole, replica.key))

    def verified(self, bound: Bound, center: str) -> Replica | None:
        """The verified copy that serves the need in a center."""
        here = (r for r in self.copies(bound) if r.spec.center == center and r.verified)
        return next(here, None)

    def missing(self, job: JobObject, center: str) -> tuple[Bound, ...] | Refused:
        """What the job needs and a center has no verified copy of; a refusal where it may not."""
        bound = self.bind(job)
        if isinstance(bound, Refused):
            return bound
        holder = self.holders().get(center)
        for each in bound:
            refused = self._refused(job, each, holder) if holder is not None else None
            if refused is not None:
                return refused
        return tuple(each for each in bound if self.verified(each, center) is None)

    def staged(self, job: JobObject) -> Staged | None:
        """How far the data of a staging job is; None for a job that stages nothing."""
        staging = job.status.staging
        if staging is None:
            return None
        site = self._sites.get(staging.center)
        if site is None or site.lost:
            message = f"Center {staging.center}, to which the data was on its way, is lost."
            return Staged(Bringing.FAILED, Reason.CENTER_UNREACHABLE, message)
        lacks = self.missing(job, staging.center)
        if isinstance(lacks, Refused):
            return Staged(Bringing.FAILED, lacks.reason, lacks.message)
        if not lacks:
            all = self.bind(job)
            until = 0.0 if isinstance(all, Refused) else self._kept_to(job, all)[1]
            return Staged(Bringing.THERE, until=until if until > self._clock() else None)
        for bound in lacks:
            failed = self._failed(bound, staging.center)
            if failed is not None:
                return failed
        names = ", ".join(f"{b.share.key} {b.version.name}" for b in lacks)
        message = f"{names} on the way to {staging.center}; no accelerators are held meanwhile."
        return Staged(Bringing.COMING, Reason.STAGING, message)

    def _failed(self, bound: Bound, center: str) -> Staged | None:
        here = [r for r in self.copies(bound) if r.spec.center == center]
        if not here:
            return None
        said = (here[0].status.get("conditions") or [{}])[0]
        tries = int(here[0].status.get("attempt") or 0)
        reason = str(said.get("reason") or "")
        if reason not in _HOPELESS and tries < _MOST_ATTEMPTS:
            return None
        words = f"{bound.share.key} does not come to {center}: {said.get('message') or reason}"
        known = reason in {str(each) for each in Reason}
        return Staged(Bringing.FAILED, Reason(reason) if known else Reason.TRANSFER_FAILED, words)

    # --- what was taken away ---------------------------------------------------------------------

    def withdrawn(self, job: JobObject) -> Withdrawn | None:
        """What a placed job has mounted and may not use any more; what has to go first of it."""
        placement = job.status.placement
        if placement is None or not job.spec.data:
            return None
        holder = self.holders().get(placement.center)
        fixed = {data.mount_path: data for data in job.status.data}
        found = []
        for entry in entries_of(str(job.spec.data)):
            bound = self._bind(job.metadata.namespace, entry, fixed.get(entry.mount_path))
            if isinstance(bound, Refused) or holder is None:
                continue
            refused = self._refused(job, bound, holder)
            if refused is not None and refused.reason in access.WITHDRAWS:
                grace = parse_duration(bound.share.spec.revocation_grace)
                message = f"{bound.share.key} {bound.version.name}: {refused.message}"
                found.append(Withdrawn(refused.reason, message, grace))
        return min(found, key=lambda each: each.grace, default=None)

    def _refused(self, job: JobObject, bound: Bound, holder: Holder) -> Refused | None:
        space, now = job.metadata.namespace, self._clock()
        return access.may_use(bound.share, bound.grant, space, bound.version, holder.place, now)

    # --- what is held, and mounted ---------------------------------------------------------------

    def demands(self, jobs: Iterable[JobObject]) -> Iterator[Demand]:
        """The copies that these jobs wait for or hold."""
        for job in jobs:
            status = job.status
            held = status.placement or status.staging
            if held is None or finished(status):
                continue
            entries = {e.mount_path: e for e in entries_of(str(job.spec.data or ""))}
            for data in status.data:
                entry = entries.get(data.mount_path)
                if entry is not None:
                    part = part_of(entry.include, entry.exclude)
                    which = CopyId(data.share_uid, data.version, held.center, part)
                    yield Demand(job.key, which)

    def mounts(self, job: JobObject, center: str) -> tuple[Mount, ...] | None:
        """Where the job sees its data in a center; None where the center has no store.

        Only for what was found to be there (see `missing`), and for trials, which run nothing.
        """
        bound = self.bind(job)
        site = self._sites.get(center)
        if isinstance(bound, Refused) or not bound:
            return ()
        if site is None or site.spec.data_store is None:
            return None
        return tuple(self._mount(each, center, site.spec.data_store) for each in bound)

    def _mount(self, bound: Bound, center: str, store: DataStore) -> Mount:
        replica = self.verified(bound, center)
        part = bound.part
        if replica is not None:
            part = part_of(replica.spec.include, replica.spec.exclude)
        folder = copy_folder(bound.share.uid, bound.version.name, part.include, part.exclude)
        return Mount(bound.entry.mount_path, store, folder)

    def forget_centers(self) -> None:
        """Look at the centers anew: whoever is woken by their change must see it."""
        self._holders = (0.0, {})

    def holders(self) -> dict[str, Holder]:
        """The centers as copies see them, as of this moment."""
        now = self._clock()
        at, known = self._holders
        if not known or not at <= now < at + _FRESH:
            known = holders_of(self._sites, now)
            self._holders = (now, known)
        return known
