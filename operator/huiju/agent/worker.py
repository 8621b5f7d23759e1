"""One job at a time: makes the center as its CenterWork wants it, and reports what is to be seen.

Level-based, like the hub's reconciler. Decides what is made, stopped and removed when.
Invariants: an epoch that was reported once, or that is older than one that the center holds, is
never made; stops and removals come before anything new; nothing outside the kinds, namespace and
origin of the job's own bundle is made.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import Final

from huiju.agent.owner import Owner
from huiju.agent.reports import refusal_report, reports_of, status_of
from huiju.agent.settings import AgentSettings
from huiju.api.reasons import Reason
from huiju.centers.bundle import Bundle, KubeDict
from huiju.centers.mailbox import (
    RUN,
    Attempt,
    Carried,
    FullAttempt,
    FullWork,
    Report,
    Work,
    mailbox_of,
    report_of,
)
from huiju.centers.names import ORIGIN, Origin
from huiju.centers.observe import State
from huiju.centers.refusals import DispatchRefused
from huiju.centers.syncer import Syncer
from huiju.kube.client import Client
from huiju.kube.errors import KubeError, NotFound, Transient
from huiju.kube.informer import Informer
from huiju.kube.resources import CENTER_WORKS, CONFIG_MAPS, SECRETS, SERVICES
from huiju.kube.workqueue import WorkQueue

log = logging.getLogger(__name__)
_CARRIED: Final = {"Secret": SECRETS, "ConfigMap": CONFIG_MAPS}
_KINDS: Final = frozenset({"Secret", "ConfigMap", "Service", "Job"})


class Worker:
    """Works on the CenterWorks of one mailbox; keys are UIDs of jobs."""

    def __init__(
        self,
        hub: Client,
        syncer: Syncer,
        owner: Owner,
        hub_id: str,
        settings: AgentSettings,
    ) -> None:
        self.queue = WorkQueue(group=lambda key: key)
        self._hub = hub
        self._syncer = syncer
        self._owner = owner
        self._center = settings.center
        self._hub_id = hub_id
        self._space = mailbox_of(settings.center)
        self._settings = settings
        self._refused: dict[str, dict[int, Report]] = {}
        self._made: dict[str, set[int]] = {}
        self._informer = Informer(
            hub, CENTER_WORKS, Work, namespace=self._space, on_change=self._changed
        )

    @property
    def synced(self) -> asyncio.Event:
        """Set once the mailbox was read."""
        return self._informer.synced

    def known(self, uid: str) -> bool:
        """Whether a CenterWork speaks of the job."""
        return f"{self._space}/{uid}" in self._informer.store

    async def run(self) -> None:
        """Follow the mailbox and work until cancelled; the center must have been read."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._informer.run())
            await self._informer.synced.wait()
            await self._recall()
            workers = self._settings.workers
            group.create_task(self.queue.serve(self._pass, workers=workers, noun="job", log=log))

    def _changed(self, old: Work | None, new: Work | None) -> None:
        if new is not None:
            self.queue.add(new.metadata.name)
        elif old is not None:
            self._refused.pop(old.metadata.name, None)
            self._made.pop(old.metadata.name, None)

    async def _recall(self) -> None:
        """Count for the owner what has no nodes yet, before anything more is let in."""
        for work in list(self._informer.store.values()):
            shown = self._shown(work.metadata.name)
            waiting = {e for e, report in shown.items() if report.state == State.PENDING.value}
            if any(a.epoch in waiting and a.desired == RUN for a in work.spec.attempts):
                await self._recall_one(work, waiting)

    async def _recall_one(self, work: Work, epochs: set[int]) -> None:
        while True:
            try:
                full = await self._hub.get(
                    CENTER_WORKS, work.metadata.name, self._space, type=FullWork
                )
            except NotFound:
                return
            except (KubeError, TimeoutError) as error:
                log.info("not recalled yet", extra={"error": str(error)})
                await asyncio.sleep(self._settings.retry)
                continue
            for attempt in full.spec.attempts:
                if attempt.epoch in epochs and attempt.objects:
                    with suppress(DispatchRefused):
                        self._owner.recall(self._bundle_of(full, attempt, attempt.objects))
            return

    async def _pass(self, uid: str) -> None:
        work = self._informer.store.get(f"{self._space}/{uid}")
        if work is not None:
            await self._once(work)

    async def _once(self, work: Work) -> None:
        trouble: KubeError | None = None
        try:
            for attempt in work.spec.attempts:
                await self._stop_or_remove(work, attempt)
            for attempt in work.spec.attempts:
                if attempt.desired == RUN and self._is_new(work, attempt):
                    await self._make(work, attempt)
        except (KubeError, TimeoutError) as error:
            trouble = error if isinstance(error, KubeError) else Transient("no answer in time")
        await self._report(work, trouble)
        if trouble is not None:
            raise trouble

    async def _stop_or_remove(self, work: Work, attempt: Attempt) -> None:
        match attempt.desired:
            case "Stop":
                reason = Reason(attempt.reason) if attempt.reason in set(Reason) else None
                await self._syncer.suspend(
                    work.metadata.name, attempt.epoch, reason or Reason.SUSPENDED, attempt.message
                )
            case "Remove":
                await self._remove(work, attempt)
            case _:
                pass

    async def _remove(self, work: Work, attempt: Attempt) -> None:
        uid = work.metadata.name
        await self._syncer.remove(uid, attempt.epoch)
        if work.status.observed_generation >= work.metadata.generation or not attempt.namespace:
            return
        # An agent that died before the workload was made left what it needs: nothing leads there.
        needed = [(_CARRIED[ref.kind], ref.name) for ref in attempt.carried if ref.kind in _CARRIED]
        if attempt.workload:
            needed.append((SERVICES, attempt.workload))
        await self._syncer.clear(self._origin(work, attempt), attempt.namespace, needed)

    def _origin(self, work: Work | FullWork, attempt: Attempt) -> Origin:
        job = work.spec.job
        return Origin(self._hub_id, job.namespace, job.name, work.metadata.name, attempt.epoch)

    def _shown(self, uid: str) -> dict[int, Report]:
        return {seen.epoch: report_of(seen) for seen in self._syncer.observations_of(uid)}

    def _is_new(self, work: Work, attempt: Attempt) -> bool:
        uid = work.metadata.name
        shown = self._shown(uid)
        # A hub that was restored from a backup may want what it has given up for a newer one.
        return (
            all(epoch < attempt.epoch for epoch in shown)
            and work.report(attempt.epoch) is None
            and attempt.epoch not in self._refused.get(uid, ())
            and attempt.epoch not in self._made.get(uid, ())
        )

    # --- making ------------------------------------------------------------------------------

    async def _make(self, work: Work, attempt: Attempt) -> None:
        uid = work.metadata.name
        full = await self._hub.get(CENTER_WORKS, uid, self._space, type=FullWork)
        wanted = next((a for a in full.spec.attempts if a.epoch == attempt.epoch), None)
        if wanted is None or wanted.desired != RUN:
            return  # it changed meanwhile, which brings the key again
        try:
            bundle = await self._bundle(full, wanted)
            self._owner.admit(bundle)
            try:
                await self._syncer.ensure(bundle)
            finally:
                self._owner.settled(bundle)
        except DispatchRefused as refusal:
            report = refusal_report(attempt.epoch, refusal, time.time())
            self._refused.setdefault(uid, {})[attempt.epoch] = report
        else:
            # Whoever removes it before it is reported does not get it again.
            self._made.setdefault(uid, set()).add(attempt.epoch)

    async def _bundle(self, work: FullWork, attempt: FullAttempt) -> Bundle:
        """The bundle, with what is carried fetched from the mailbox."""
        origin = self._origin(work, attempt)
        carried = [await self._fetch(ref, attempt, origin) for ref in attempt.carried]
        bundle = self._bundle_of(work, attempt, (*carried, *attempt.objects))
        check_bundle(bundle, str(origin))
        return bundle

    def _bundle_of(
        self, work: FullWork, attempt: FullAttempt, objects: tuple[KubeDict, ...]
    ) -> Bundle:
        job = work.spec.job
        return Bundle(
            job_uid=work.metadata.name,
            namespace=job.namespace,
            name=job.name,
            epoch=attempt.epoch,
            center=self._center,
            center_namespace=attempt.namespace,
            workload=attempt.workload,
            objects=objects,
        )

    async def _fetch(self, ref: Carried, attempt: FullAttempt, origin: Origin) -> KubeDict:
        res = _CARRIED.get(ref.kind)
        if res is None:
            raise DispatchRefused(Reason.DISPATCH_REFUSED, f"A {ref.kind} does not travel.")
        try:
            found: KubeDict = await self._hub.get(res, ref.mailbox, self._space)
        except NotFound as error:
            raise Transient(f"{ref.kind} {ref.mailbox} is not in the mailbox yet") from error
        metadata = {
            "name": ref.name,
            "namespace": attempt.namespace,
            "labels": origin.labels(),
            "annotations": {ORIGIN: str(origin)},
        }
        kept: KubeDict = {
            k: found[k] for k in ("type", "immutable", "data", "binaryData") if k in found
        }
        return {"apiVersion": "v1", "kind": ref.kind, "metadata": metadata, **kept}

    # --- reporting ---------------------------------------------------------------------------

    async def _report(self, work: Work, trouble: KubeError | None) -> None:
        uid = work.metadata.name
        reports = reports_of(
            work,
            self._shown(uid),
            self._refused.get(uid, {}),
            self._made.get(uid, ()),
        )
        status = status_of(work, reports, trouble, time.time())
        if status is None:
            return
        with suppress(NotFound):
            await self._hub.patch_status(
                CENTER_WORKS, uid, self._space, status, uid=work.metadata.uid
            )


def check_bundle(bundle: Bundle, origin: str) -> None:
    """Refuse what no job's bundle holds, whoever wrote it into the mailbox.

    Raises:
        DispatchRefused: a kind, namespace or origin that is not this job's own.
    """
    if not bundle.objects or bundle.objects[-1].get("kind") != "Job":
        raise DispatchRefused(Reason.DISPATCH_REFUSED, "The bundle has no workload.")
    for obj in bundle.objects:
        meta = obj.get("metadata") or {}
        kind = obj.get("kind")
        if kind not in _KINDS:
            raise DispatchRefused(Reason.DISPATCH_REFUSED, f"A {kind} is no part of a job.")
        if meta.get("namespace") != bundle.center_namespace:
            raise DispatchRefused(
                Reason.DISPATCH_REFUSED, f"{kind} {meta.get('name')} is for another namespace."
            )
        if (meta.get("annotations") or {}).get(ORIGIN) != origin:
            raise DispatchRefused(
                Reason.DISPATCH_REFUSED, f"{kind} {meta.get('name')} is of another origin."
            )
