"""Carries out the transfers that the hub wants of a center: one puller each, told and listened to.

Level-based, one transfer at a time by the UID of its replica. Decides when a puller begins and
goes. Invariants: of one replica one transfer's Job is there, the newest; whose order is gone or
over has no Job; a puller hears of new terms and links within moments, and everything that it says
is reported, at most once in `data_interval` unless somebody waits for it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import msgspec
from pydantic import ValidationError

from huiju.agent import pullerjob
from huiju.agent.heard import Heard, heard_before
from huiju.agent.listening import Listener, Pod, why_not_running
from huiju.agent.settings import AgentSettings
from huiju.api.center import ComputeCenterSpec, DataStore
from huiju.api.reasons import Reason
from huiju.api.transfer import CenterCopySpec
from huiju.centers.images import mirrored
from huiju.centers.mailbox import mailbox_of
from huiju.centers.objects import Condition, Meta
from huiju.kube.client import Client, preconditions
from huiju.kube.errors import AlreadyExists, Conflict, NotFound
from huiju.kube.informer import Informer
from huiju.kube.resources import CENTER_COPIES, JOBS, PODS, SECRETS
from huiju.kube.workqueue import WorkQueue

log = logging.getLogger(__name__)
Fields = dict[str, Any]
_UNREAD: Final = 20.0
"""Seconds after a puller's end within which its last words are looked for."""


class CopyObject(msgspec.Struct, gc=False):
    """A CenterCopy as stored."""

    metadata: Meta
    spec: Fields = {}
    status: Fields = {}


class _JobStatus(msgspec.Struct, gc=False):
    conditions: list[Condition] | None = None


class PullerJob(msgspec.Struct, gc=False):
    """A puller's Job."""

    metadata: Meta
    status: _JobStatus = msgspec.field(default_factory=_JobStatus)

    @property
    def replica(self) -> str:
        """UID of the replica that it copies."""
        return (self.metadata.labels or {}).get(pullerjob.LABEL_REPLICA, "")

    def ended(self) -> Condition | None:
        """The condition by which it is over."""
        for each in self.status.conditions or ():
            if each.status == "True" and each.type in ("Complete", "Failed"):
                return each
        return None


class Copying:
    """The transfers of one center's mailbox."""

    def __init__(
        self,
        hub: Client,
        center: Client,
        spec: Callable[[], ComputeCenterSpec | None],
        settings: AgentSettings,
    ) -> None:
        self.queue = WorkQueue(group=lambda key: key)
        self._hub = hub
        self._center = center
        self._spec = spec
        self._settings = settings
        self._space = mailbox_of(settings.center)
        self._own = settings.namespace
        self._heard: dict[str, Heard] = {}
        self._told: dict[str, dict[str, bytes]] = {}
        """What each Secret holds, by name."""
        self._written: dict[str, float] = {}
        self._unread: dict[str, float] = {}
        """Jobs that have ended without a last word, and since when, by name."""
        self._orders = Informer(
            hub, CENTER_COPIES, CopyObject, namespace=self._space, on_change=self._order_changed
        )
        self._jobs = Informer(
            center,
            JOBS,
            PullerJob,
            namespace=self._own,
            labels=pullerjob.LABEL_REPLICA,
            on_change=self._job_changed,
        )
        self._listener = Listener(center, self._own, self._said, self._pod_changed)

    async def run(self) -> None:
        """Follow the mailbox and work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._orders.run(), name="orders of copies")
            group.create_task(self._jobs.run(), name="pullers")
            await self._orders.synced.wait()
            await self._jobs.synced.wait()
            group.create_task(self._listener.run(), name="what pullers say")
            for job in list(self._jobs.store.values()):
                self.queue.add(job.replica)
            workers = self._settings.workers
            group.create_task(self.queue.serve(self._once, workers=workers, noun="copy", log=log))

    # --- what wakes ------------------------------------------------------------------------------

    def _order_changed(self, old: CopyObject | None, new: CopyObject | None) -> None:
        found = new or old
        if found is not None and (new is None or old is None or new.spec != old.spec):
            self.queue.add(found.metadata.name)

    def _job_changed(self, old: PullerJob | None, new: PullerJob | None) -> None:
        found = new or old
        if found is not None:
            self.queue.add(found.replica)

    def _pod_changed(self, uid: str) -> None:
        self.queue.add(uid)

    def _said(self, uid: str, pod: str, line: str) -> None:
        heard = self._heard.get(uid)
        if heard is None:
            return
        before = (heard.state, heard.need)
        heard.line(line, pod)
        if (heard.state, heard.need) != before:
            self.queue.add(uid)
            return
        pause = self._written.get(uid, 0.0) + self._settings.data_interval - time.monotonic()
        self.queue.add_after(uid, max(0.0, pause))

    # --- one transfer ----------------------------------------------------------------------------

    async def _once(self, uid: str) -> None:
        order = self._orders.store.get(f"{self._space}/{uid}")
        if order is None or order.metadata.deletion_timestamp:
            self._heard.pop(uid, None)
            self._written.pop(uid, None)
            await self._sweep(uid, keep="")
            return
        try:
            spec = CenterCopySpec.model_validate(order.spec)
        except ValidationError as error:
            log.error("order refused", extra={"copy": uid, "error": error.errors()[0]["msg"]})
            return
        heard = self._heard.get(uid)
        if heard is None or (heard.epoch, heard.mode) != (spec.epoch, spec.mode):
            if heard is not None and heard.epoch > spec.epoch:
                return  # an order of before, brought late
            heard = self._heard[uid] = heard_before(uid, spec, order.status)
        if not heard.over:
            await self._carry_out(uid, spec, heard)
        if heard.over:
            await self._sweep(uid, keep="")
        await self._report(order, heard)

    async def _carry_out(self, uid: str, spec: CenterCopySpec, heard: Heard) -> None:
        name = pullerjob.job_name(uid, spec.epoch, spec.mode)
        await self._sweep(uid, keep=name)
        store = self._store()
        if store is None or place_of(store) != self._settings.data_store:
            given = f"{place_of(store)!r}" if store is not None else "none"
            allowed = (
                f"in {self._settings.data_store!r}" if self._settings.data_store else "nowhere"
            )
            heard.fail(
                Reason.NO_DATA_STORE,
                f"The owner of center {self._settings.center} lets copies lie {allowed}"
                f" (--data-store of its agent); spec.dataStore of the ComputeCenter is {given}.",
            )
            return
        if not pullerjob.folder_is_ours(spec.folder):
            heard.fail(Reason.PERMISSION_DENIED, f"{spec.folder!r} is no folder of a copy.")
            return
        job = self._jobs.store.get(f"{self._own}/{name}")
        if job is None:
            await self._tell(uid, name, spec)
            await self._begin(uid, name, store)
        elif job.ended() is None:
            await self._tell(uid, name, spec)
            heard.pending(why_not_running(self._listener.pods_of(uid)))
        else:
            self._judge_the_end(uid, name, job, heard)

    def _store(self) -> DataStore | None:
        spec = self._spec()
        return spec.data_store if spec is not None else None

    async def _begin(self, uid: str, name: str, store: DataStore) -> None:
        spec = self._spec()
        mirrors = spec.registry_mirrors if spec is not None else []
        image = mirrored(self._settings.pull_image, mirrors)
        body = pullerjob.job_body(uid, name, self._own, store, image, self._settings.pull_user)
        with suppress(AlreadyExists):
            await self._center.create(JOBS, body, self._own)
            log.info("puller begun", extra={"copy": uid, "job": name})

    def _judge_the_end(self, uid: str, name: str, job: PullerJob, heard: Heard) -> None:
        """The Job is over and no last word was heard: its log may still be coming."""
        now = time.monotonic()
        since = self._unread.setdefault(name, now)
        if now - since < _UNREAD:
            self.queue.add_after(uid, 1.0)
            return
        end = job.ended()
        words = f"{end.reason}: {end.message}" if end is not None and end.reason else "unknown"
        heard.fail(Reason.TRANSFER_FAILED, f"The puller ended without a word ({words}).")

    # --- telling ---------------------------------------------------------------------------------

    async def _tell(self, uid: str, name: str, spec: CenterCopySpec) -> None:
        """Have the Secret say what holds now, and its readers look."""
        wanted = pullerjob.told(uid, spec)
        known = self._told.get(name)
        if known is None:
            known = await self._made(uid, name, wanted)
        if known == wanted:
            return
        change: Fields = dict.fromkeys(known.keys() - wanted.keys()) | pullerjob.secret_data(wanted)
        await self._center.patch(SECRETS, name, {"data": change}, self._own)
        self._told[name] = wanted
        for pod in self._listener.pods_of(uid):
            await self._nudge(pod, spec)

    async def _made(self, uid: str, name: str, wanted: dict[str, bytes]) -> dict[str, bytes]:
        """Make the Secret; what one of an earlier agent holds is not known, and written over."""
        body = pullerjob.secret_body(uid, name, self._own, wanted)
        try:
            await self._center.create(SECRETS, body, self._own)
        except AlreadyExists:
            found: Fields = await self._center.get(SECRETS, name, self._own)
            return dict.fromkeys(found.get("data") or {}, b"")
        self._told[name] = wanted
        return wanted

    async def _nudge(self, pod: Pod, spec: CenterCopySpec) -> None:
        """Kubelets bring what is new in a Secret with the next change of the pod."""
        seq = spec.answer.seq if spec.answer is not None else 0
        meta = pod.metadata
        note = {pullerjob.TOLD: f"{seq} {spec.rate}"}
        body = {"metadata": {**preconditions(uid=meta.uid), "annotations": note}}
        with suppress(NotFound, Conflict):
            await self._center.patch(PODS, meta.name, body, self._own)

    # --- tidying and reporting -------------------------------------------------------------------

    async def _sweep(self, uid: str, keep: str) -> None:
        """Remove the Jobs of the replica but one, and what they were told by."""
        for job in list(self._jobs.store.values()):
            meta = job.metadata
            if job.replica != uid or meta.name == keep or meta.deletion_timestamp:
                continue
            self._told.pop(meta.name, None)
            self._unread.pop(meta.name, None)
            for res in (SECRETS, JOBS):
                with suppress(NotFound, Conflict):
                    await self._center.delete(res, meta.name, self._own)

    async def _report(self, order: CopyObject, heard: Heard) -> None:
        uid, meta = order.metadata.name, order.metadata
        fresh = self._orders.store.get(f"{self._space}/{uid}") or order
        after = heard.status(fresh.status, meta.generation, time.time())
        gone = dict.fromkeys(fresh.status.keys() - after.keys())
        change = {n: v for n, v in after.items() if fresh.status.get(n) != v} | gone
        if not change:
            return
        self._written[uid] = time.monotonic()
        with suppress(NotFound, Conflict):
            await self._hub.patch_status(CENTER_COPIES, uid, self._space, change, uid=meta.uid)


def place_of(store: DataStore) -> str:
    """A store as its center's owner names it."""
    return f"{store.nfs.server}:{store.nfs.path}" if store.nfs is not None else store.path or ""
