"""The hub's side of a pull center's mailbox: what a syncer and a sensor are for a push center.

Decides how what the hub wants of a center becomes CenterWork, and what the agent's reports mean.
Invariants: an attempt stands in a CenterWork only once all that it carries lies in the mailbox; an
attempt that was stopped is never wanted again; what a center writes can speak of its own work only.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, Final

import msgspec

from huiju.api.reasons import Reason
from huiju.centers.bundle import Bundle, KubeDict
from huiju.centers.mailbox import (
    CENTER_UID,
    CENTER_VERSION,
    LEASE,
    PUBLISHED,
    REMOVE,
    RUN,
    STOP,
    Report,
    Work,
    mailbox_of,
    observation_of,
)
from huiju.centers.mirror import MirroredInventory
from huiju.centers.names import Origin
from huiju.centers.objects import Meta
from huiju.centers.observe import Observation, State
from huiju.centers.refusals import template_refusal
from huiju.centers.shards import Shard, ShardRefused, Stray, counts_of
from huiju.centers.syncer import Held
from huiju.kube.client import Client, preconditions
from huiju.kube.clock import boottime
from huiju.kube.errors import AlreadyExists, ApiStatus, NotFound
from huiju.kube.informer import Informer
from huiju.kube.resources import (
    CENTER_INVENTORIES,
    CENTER_WORKS,
    CONFIG_MAPS,
    JOBS,
    LEASES,
    SECRETS,
    Resource,
)

log = logging.getLogger(__name__)
_CARRIED: Final = {"Secret": SECRETS, "ConfigMap": CONFIG_MAPS}
Fields = dict[str, Any]


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
        return self._works.store.get(f"{self._space}/{uid}")

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
            if attempt.epoch not in found and attempt.desired != REMOVE:
                # It lies in the mailbox: the agent may make it any moment, or has made it.
                found[attempt.epoch] = Observation(uid, attempt.epoch, State.PENDING, 0, 0)
        return tuple(found.values())

    @staticmethod
    def _add(found: dict[int, Observation], uid: str, report: Report) -> None:
        seen = observation_of(uid, report)
        if seen is not None:
            found[seen.epoch] = seen

    def held_epoch(self, uid: str) -> int:
        """The highest epoch of a job that the center holds; 0 for none."""
        work = self._find(uid)
        attempts = [a.epoch for a in work.spec.attempts] if work is not None else []
        seen = (observation.epoch for observation in self.observations_of(uid))
        return max((*attempts, *seen), default=0)

    def held(self) -> Iterator[Held]:
        """Everything that `remove` can remove."""
        for work in list(self._works.store.values()):
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
        """Let the hub's own API server check the workload: the center cannot be asked.

        Raises:
            RenderRefused: the template is wrong, in the server's own words.
            Transient: the server does not answer now.
        """
        workload = bundle.objects[-1]
        body = {**workload, "metadata": {**workload["metadata"], "namespace": "default"}}
        try:
            await self._client.create(JOBS, body, "default", dry_run=True)
        except ApiStatus as error:
            wrong = template_refusal(error)
            if wrong is not None:
                raise wrong from error

    async def ensure(self, bundle: Bundle) -> None:
        """Put a bundle into the mailbox; an epoch that lies there already stays as it is.

        Raises:
            KubeError: the hub's API server does not answer or refuses.
        """
        known = self._find(bundle.job_uid)
        if known is not None and known.attempt(bundle.epoch) is not None:
            return
        carried = [obj for obj in bundle.objects if obj["kind"] in _CARRIED]
        attempt = self._attempt(bundle, carried)
        first = [] if carried else [attempt]
        work, made = await self._work_of(bundle.job_uid, bundle.namespace, bundle.name, first)
        if made and not carried:
            return
        for ref, obj in zip(attempt["carried"], carried, strict=True):
            await self._carry(ref, obj, work["metadata"]["uid"], bundle.job_uid)
        attempts = work["spec"].get("attempts") or []
        if any(one["epoch"] == bundle.epoch for one in attempts):
            return
        # Never two valid epochs: what is older here has lost the right to run.
        older = [
            {**one, "desired": STOP, "reason": str(Reason.PREEMPTED)}
            if one["desired"] == RUN
            else one
            for one in attempts
        ]
        await self._put(work, [*older, attempt])

    async def suspend(self, uid: str, epoch: int, reason: Reason, message: str) -> None:
        """Want one epoch stopped; nothing to do is no error.

        Raises:
            KubeError: the hub's API server does not answer or refuses.
        """
        wish = {"desired": STOP, "reason": str(reason), "message": message[:1024]}
        await self._wish(uid, epoch, wish, instead_of=(RUN,))

    async def remove(self, uid: str, epoch: int) -> None:
        """Want one epoch removed, and take it out of the mailbox once the agent has done so.

        Raises:
            KubeError: the hub's API server does not answer or refuses.
        """
        known = self._find(uid)
        if known is None and not any(s.report.epoch == epoch for s in self._strays_of(uid)):
            return
        attempt = known.attempt(epoch) if known is not None else None
        if known is not None and (epoch == 0 or _gone(known, epoch)):
            await self._take_out(known, epoch)
            return
        if attempt is None or attempt.desired != REMOVE:
            await self._wish(uid, epoch, {"desired": REMOVE}, instead_of=(RUN, STOP))

    async def clear(
        self, origin: Origin, namespace: str, needed: Iterable[tuple[Resource, str]]
    ) -> None:
        """Want gone what was made for a workload that never came to be.

        Raises:
            KubeError: the hub's API server does not answer or refuses.
        """
        known = self._find(origin.uid)
        if known is not None and known.attempt(origin.epoch) is not None:
            await self._wish(origin.uid, origin.epoch, {"desired": REMOVE}, (RUN, STOP))
            return
        # A hub that died before the attempt stood in the mailbox may have carried something there.
        kinds = [res for res, _ in needed if res in _CARRIED.values()]
        for number, res in itertools.product(range(len(kinds)), set(kinds)):
            with suppress(NotFound):
                name = _carried_name(origin.uid, origin.epoch, number)
                await self._client.delete(res, name, self._space)

    async def _take_out(self, work: Work, epoch: int) -> None:
        meta = work.metadata
        attempt = work.attempt(epoch)
        # It would go with its CenterWork too, but a Secret should not wait for a collector's turn.
        for ref in attempt.carried if attempt is not None else ():
            with suppress(NotFound):
                await self._client.delete(_CARRIED[ref.kind], ref.mailbox, self._space)
        with suppress(NotFound):
            if any(a.epoch != epoch for a in work.spec.attempts):
                full = await self._client.get(CENTER_WORKS, meta.name, self._space)
                left = [a for a in full["spec"].get("attempts") or [] if a["epoch"] != epoch]
                await self._put(full, left)
            else:
                await self._client.delete(
                    CENTER_WORKS,
                    meta.name,
                    self._space,
                    uid=meta.uid,
                    resource_version=meta.resource_version,
                )

    async def _wish(self, uid: str, epoch: int, wish: Fields, instead_of: tuple[str, ...]) -> None:
        known = self._find(uid)
        attempt = known.attempt(epoch) if known is not None else None
        if attempt is not None and attempt.desired not in instead_of:
            return
        if attempt is None and all(o.epoch != epoch for o in self.observations_of(uid)):
            return
        fresh = {"epoch": epoch, **wish}
        # The names of a stray's job are only its label: who it belongs to is its UID.
        work, made = await self._work_of(uid, "unknown", uid, [fresh])
        if made:
            return
        attempts = list(work["spec"].get("attempts") or [])
        for index, one in enumerate(attempts):
            if one["epoch"] == epoch:
                if one["desired"] not in instead_of:
                    return
                attempts[index] = {**one, **wish}
                break
        else:
            attempts.append(fresh)
        await self._put(work, attempts)

    async def _work_of(
        self, uid: str, namespace: str, name: str, attempts: list[Fields]
    ) -> tuple[Fields, bool]:
        """The job's CenterWork, and whether it was made with these attempts now."""
        body = {
            "apiVersion": CENTER_WORKS.api_version,
            "kind": CENTER_WORKS.kind,
            "metadata": {"name": uid, "namespace": self._space},
            "spec": {"job": {"namespace": namespace, "name": name}, "attempts": attempts},
        }
        if self._find(uid) is None:
            with suppress(AlreadyExists):
                return await self._client.create(CENTER_WORKS, body, self._space), True
        return await self._client.get(CENTER_WORKS, uid, self._space), False

    async def _put(self, work: Fields, attempts: list[Fields]) -> None:
        """Write the attempts, only if the CenterWork is as it was read (else Conflict)."""
        meta = work["metadata"]
        required = preconditions(uid=meta["uid"], resource_version=meta["resourceVersion"])
        body = {"metadata": required, "spec": {"attempts": attempts}}
        await self._client.patch(CENTER_WORKS, meta["name"], body, self._space)

    async def _carry(self, ref: Fields, obj: KubeDict, owner: str, uid: str) -> None:
        """Lay a Secret or ConfigMap into the mailbox; it goes with its CenterWork."""
        reference = {
            "apiVersion": CENTER_WORKS.api_version,
            "kind": CENTER_WORKS.kind,
            "name": uid,
            "uid": owner,
        }
        metadata = {
            "name": ref["mailbox"],
            "namespace": self._space,
            "ownerReferences": [reference],
        }
        with suppress(AlreadyExists):
            res = _CARRIED[obj["kind"]]
            await self._client.create(res, {**obj, "metadata": metadata}, self._space)

    def _attempt(self, bundle: Bundle, carried: list[KubeDict]) -> Fields:
        refs = [
            {
                "kind": obj["kind"],
                "mailbox": _carried_name(bundle.job_uid, bundle.epoch, number),
                "name": obj["metadata"]["name"],
            }
            for number, obj in enumerate(carried)
        ]
        return {
            "epoch": bundle.epoch,
            "desired": RUN,
            "namespace": bundle.center_namespace,
            "workload": bundle.workload,
            "hash": bundle.hash,
            "carried": refs,
            "objects": [obj for obj in bundle.objects if obj["kind"] not in _CARRIED],
        }


def _carried_name(uid: str, epoch: int, number: int) -> str:
    return f"{uid}-e{epoch}-{number}"


def _gone(work: Work, epoch: int) -> bool:
    """Whether the agent has carried out a removal and shows nothing of the epoch any more."""
    attempt = work.attempt(epoch)
    wanted = attempt is not None and attempt.desired == REMOVE
    done = work.status.observed_generation >= work.metadata.generation
    return wanted and done and work.report(epoch) is None
