"""The hub's side of a pull center's mailbox: what a syncer and a sensor are for a push center.

Decides what the agent's reports mean; `wishes.py` writes what the hub wants. Invariants: what a
center writes can speak of its own work only; what makes no sense is logged and counts as unsaid.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, Final

import msgspec

from huiju.api.reasons import Reason
from huiju.centers.bundle import Bundle
from huiju.centers.mailbox import (
    CENTER_UID,
    CENTER_VERSION,
    LEASE,
    PUBLISHED,
    REMOVE,
    Report,
    Work,
    mailbox_of,
    observation_of,
)
from huiju.centers.mirror import MirroredInventory
from huiju.centers.names import MOST_EPOCH, Origin
from huiju.centers.objects import Meta
from huiju.centers.observe import Observation, State
from huiju.centers.shards import Shard, ShardRefused, Stray, counts_of
from huiju.centers.syncer import Held
from huiju.hub.wishes import Wishes
from huiju.kube.client import Client
from huiju.kube.clock import boottime
from huiju.kube.errors import KubeError
from huiju.kube.informer import Informer, older
from huiju.kube.resources import (
    CENTER_INVENTORIES,
    CENTER_WORKS,
    LEASES,
    Resource,
)

log = logging.getLogger(__name__)


Fields = dict[str, Any]
_LONGEST: Final = 1024


class Presence(msgspec.Struct, gc=False):
    """The Lease by which an agent tells that it is alive."""

    metadata: Meta

    def note(self, key: str) -> str:
        """What the agent says of itself under this annotation."""
        return (self.metadata.annotations or {}).get(key, "")


class Mailbox:
    """One pull center, as its mailbox shows it."""

    def __init__(
        self,
        client: Client,
        center: str,
        hub_id: str,
        on_change: Callable[[], None],
        on_observed: Callable[[Observation], None],
    ) -> None:
        self.inventory = MirroredInventory()
        self.synced = asyncio.Event()
        """Set once everything in the mailbox was read."""
        self.heard_at: float | None = None
        """When the agent was last seen to change its Lease, on the boot-time clock."""
        self.presence: Presence | None = None
        self._client = client
        self._center = center
        self._hub_id = hub_id
        self._space = mailbox_of(center)
        self._on_change = on_change
        self._on_observed = on_observed
        self._wishes = Wishes(client, center, self._find, self.note, self._shows)
        self._noted: dict[str, Work] = {}
        """What the hub has written and its watch has not told yet."""
        self._refused: dict[str, str] = {}
        """What is wrong with pieces of the inventory that make no sense."""
        self._strays: dict[str, tuple[Stray, ...]] = {}
        """Workloads without a CenterWork, by the piece that tells of them."""
        space = self._space
        self._works = Informer(client, CENTER_WORKS, Work, namespace=space, on_change=self._work)
        self._shards = Informer(
            client, CENTER_INVENTORIES, Shard, namespace=space, on_change=self._shard
        )
        self._leases = Informer(
            client,
            LEASES,
            Presence,
            namespace=space,
            fields=f"metadata.name={LEASE}",
            on_change=self._lease,
        )

    async def run(self) -> None:
        """Follow the mailbox until cancelled."""
        informers = (self._works, self._shards, self._leases)
        async with asyncio.TaskGroup() as group:
            for informer in informers:
                group.create_task(informer.run())
            for informer in informers:
                await informer.synced.wait()
            self.synced.set()
            self._on_change()

    @property
    def failure(self) -> KubeError | None:
        """Why the mailbox cannot be read, if it cannot."""
        informers = (self._works, self._shards, self._leases)
        return next((i.failure for i in informers if i.failure is not None), None)

    # --- what the agent says -----------------------------------------------------------------

    @property
    def center_uid(self) -> str:
        """UID of the kube-system namespace of the agent's cluster, as it says."""
        return self.presence.note(CENTER_UID) if self.presence else ""

    @property
    def version(self) -> str:
        """Version of the center's API server, as the agent says."""
        return self.presence.note(CENTER_VERSION) if self.presence else ""

    @property
    def refused(self) -> str:
        """Why a piece of the inventory is not gone by, empty if all make sense."""
        return next(iter(self._refused.values()), "")

    @property
    def published(self) -> bool:
        """Whether all that the center holds lies in the mailbox."""
        return self.presence is not None and self.presence.note(PUBLISHED) == "true"

    def _lease(self, old: Presence | None, new: Presence | None) -> None:
        self.presence = new
        if old is not None and new is not None:
            # A Lease that was there before says nothing of the agent's life; a change does.
            self.heard_at = boottime()
        self._on_change()

    def _work(self, old: Work | None, new: Work | None) -> None:
        work = new or old
        if work is None:
            return
        uid = work.metadata.name
        noted = self._noted.get(uid)
        if noted is not None and (not _older(work, noted) or new is None):
            del self._noted[uid]
        seen = self.observations_of(uid)
        for observation in seen or (Observation(uid, 0, State.GONE, 0, 0),):
            self._on_observed(observation)

    def _shard(self, old: Shard | None, new: Shard | None) -> None:
        shard = new or old
        if shard is None:
            return
        name = shard.metadata.name
        try:
            counts = counts_of(new.spec) if new is not None else {}
        except ShardRefused as refusal:
            # What makes no sense offers nothing; the lie costs only the center that tells it.
            log.warning(
                "inventory refused",
                extra={"center": self._center, "shard": name, "error": str(refusal)},
            )
            counts = {}
            self._refused[name] = f"Its inventory is not gone by: {refusal}"[:_LONGEST]
        else:
            self._refused.pop(name, None)
        self.inventory.set_shard(name, counts)
        self._strays.pop(name, None)
        if new is not None and new.spec.strays:
            self._strays[name] = new.spec.strays
            for stray in new.spec.strays:
                seen = observation_of(stray.job_uid, stray.report)
                if seen is not None:
                    self._on_observed(seen)
        self._on_change()

    # --- what the center holds ---------------------------------------------------------------

    def _find(self, uid: str) -> Work | None:
        return self._noted.get(uid) or self._works.store.get(f"{self._space}/{uid}")

    def note(self, body: Fields) -> None:
        """Take what was written: who looks before the watch tells must not miss it."""
        written = msgspec.convert(body, Work)
        known = self._find(written.metadata.name)
        if known is None or not _older(written, known):
            self._noted[written.metadata.name] = written

    def _strays_of(self, uid: str) -> Iterator[Stray]:
        for strays in self._strays.values():
            yield from (stray for stray in strays if stray.job_uid == uid)

    def observations_of(self, uid: str) -> tuple[Observation, ...]:
        """What the center shows of all epochs of a job."""
        found: dict[int, Observation] = {}
        for stray in self._strays_of(uid):
            self._add(found, uid, stray.report)
        work = self._find(uid)
        if work is None:
            return tuple(found.values())
        for report in work.status.attempts:
            self._add(found, uid, report)
        for attempt in work.spec.attempts:
            epoch, said = attempt.epoch, attempt.placement
            if epoch in found:
                found[epoch] = replace(found[epoch], placement=said)
            elif attempt.desired != REMOVE:
                # It lies in the mailbox: the agent may make it any moment, or has made it.
                found[epoch] = Observation(uid, epoch, State.PENDING, 0, 0, placement=said)
        return tuple(found.values())

    @staticmethod
    def _add(found: dict[int, Observation], uid: str, report: Report) -> None:
        seen = observation_of(uid, report)
        if seen is not None and 0 < seen.epoch <= MOST_EPOCH:
            found[seen.epoch] = seen

    def _shows(self, uid: str, epoch: int) -> bool:
        return any(seen.epoch == epoch for seen in self.observations_of(uid))

    def held_epoch(self, uid: str, most: int = MOST_EPOCH) -> int:
        """The highest epoch of a job that the center holds, of those up to `most`; 0 for none."""
        work = self._find(uid)
        attempts = [a.epoch for a in work.spec.attempts] if work is not None else []
        seen = (observation.epoch for observation in self.observations_of(uid))
        return max((epoch for epoch in (*attempts, *seen) if epoch <= most), default=0)

    def job_uids(self) -> set[str]:
        """The jobs of which the center holds anything that may run."""
        return {held.job_uid for held in self.held()}

    def held(self) -> Iterator[Held]:
        """Everything that `remove` can remove."""
        works = {work.metadata.name: work for work in self._works.store.values()} | self._noted
        for work in works.values():
            uid = work.metadata.name
            epochs = {a.epoch: a for a in work.spec.attempts}
            if not epochs:
                yield Held(uid, 0, "", "")
            for epoch, attempt in epochs.items():
                yield Held(uid, epoch, attempt.namespace, attempt.workload)
            for report in work.status.attempts:
                if report.epoch not in epochs:
                    yield Held(uid, report.epoch, "", "")
        for strays in list(self._strays.values()):
            for stray in strays:
                if self._find(stray.job_uid) is None:
                    yield Held(stray.job_uid, stray.report.epoch, stray.namespace, stray.workload)

    # --- what the hub wants ------------------------------------------------------------------

    async def dry_run(self, bundle: Bundle) -> None:
        """See `Wishes.dry_run`."""
        await self._wishes.dry_run(bundle)

    async def ensure(self, bundle: Bundle) -> None:
        """See `Wishes.ensure`."""
        await self._wishes.ensure(bundle)

    async def suspend(self, uid: str, epoch: int, reason: Reason, message: str) -> None:
        """See `Wishes.suspend`."""
        await self._wishes.suspend(uid, epoch, reason, message)

    async def remove(self, uid: str, epoch: int) -> None:
        """See `Wishes.remove`."""
        await self._wishes.remove(uid, epoch)

    async def clear(
        self, origin: Origin, namespace: str, needed: Iterable[tuple[Resource, str]]
    ) -> None:
        """See `Wishes.clear`."""
        await self._wishes.clear(origin, namespace, needed)


def _older(one: Work, other: Work) -> bool:
    """Whether `one` is an earlier state of the very object that `other` is."""
    ours, theirs = one.metadata.resource_version, other.metadata.resource_version
    return one.metadata.uid == other.metadata.uid and older(ours, theirs)
