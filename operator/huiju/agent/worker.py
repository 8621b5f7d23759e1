"""One job at a time: makes the center as its CenterWork wants it, and reports what is to be seen.

Level-based, like the hub's reconciler. Decides what a report says where the center shows nothing.
Invariants: an epoch that was reported once is never made again; stops and removals come before
anything new; nothing outside the kinds, namespace and origin of the job's own bundle is made.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, Final

import msgspec

from huiju.api.reasons import Reason
from huiju.centers.bundle import Bundle, KubeDict
from huiju.centers.causes import Failure
from huiju.centers.mailbox import (
    REMOVE,
    RUN,
    STOP,
    Attempt,
    Carried,
    FullAttempt,
    FullWork,
    Report,
    Work,
    mailbox_of,
    report_of,
    stamp,
)
from huiju.centers.names import ORIGIN, Origin
from huiju.centers.observe import State
from huiju.centers.refusals import DispatchRefused
from huiju.centers.syncer import Syncer
from huiju.kube.client import Client
from huiju.kube.errors import KubeError, NotFound, Transient
from huiju.kube.informer import Informer
from huiju.kube.resources import CENTER_WORKS, CONFIG_MAPS, SECRETS
from huiju.kube.workqueue import WorkQueue

log = logging.getLogger(__name__)
_CARRIED: Final = {"Secret": SECRETS, "ConfigMap": CONFIG_MAPS}
_KINDS: Final = frozenset({"Secret", "ConfigMap", "Service", "Job"})
_ENDED: Final = frozenset({"succeeded", "failed", "suspended", "gone"})


class Worker:
    """Works on the CenterWorks of one mailbox; keys are UIDs of jobs."""

    def __init__(self, hub: Client, syncer: Syncer, center: str, hub_id: str, workers: int) -> None:
        self.queue = WorkQueue(group=lambda key: key)
        self._hub = hub
        self._syncer = syncer
        self._center = center
        self._hub_id = hub_id
        self._space = mailbox_of(center)
        self._workers = workers
        self._refused: dict[tuple[str, int], Report] = {}
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
            for _ in range(self._workers):
                group.create_task(self._work())

    def _changed(self, _old: Work | None, new: Work | None) -> None:
        if new is not None:
            self.queue.add(new.metadata.name)

    async def _work(self) -> None:
        while True:
            uid = await self.queue.get()
            try:
                work = self._informer.store.get(f"{self._space}/{uid}")
                if work is not None:
                    await self._once(work)
                self.queue.forget(uid)
            except (KubeError, TimeoutError) as error:
                delay = self.queue.retry(uid)
                log.info("retrying", extra={"job": uid, "error": str(error), "delay_s": delay})
            except Exception:
                # A bug with one job must not stop the others.
                self.queue.retry(uid)
                log.exception("work failed", extra={"job": uid})
            finally:
                self.queue.done(uid)
            await asyncio.sleep(0)

    async def _once(self, work: Work) -> None:
        uid = work.metadata.name
        trouble: KubeError | None = None
        try:
            for attempt in work.spec.attempts:
                await self._stop_or_remove(uid, attempt)
            for attempt in work.spec.attempts:
                if attempt.desired == RUN and self._is_new(work, attempt):
                    await self._make(work, attempt)
        except (KubeError, TimeoutError) as error:
            trouble = error if isinstance(error, KubeError) else Transient("no answer in time")
        await self._report(work, trouble)
        if trouble is not None:
            raise trouble

    async def _stop_or_remove(self, uid: str, attempt: Attempt) -> None:
        match attempt.desired:
            case "Stop":
                reason = Reason(attempt.reason) if attempt.reason in set(Reason) else None
                await self._syncer.suspend(
                    uid, attempt.epoch, reason or Reason.SUSPENDED, attempt.message
                )
            case "Remove":
                await self._syncer.remove(uid, attempt.epoch)
            case _:
                pass

    def _shown(self, uid: str) -> dict[int, Report]:
        return {seen.epoch: report_of(seen) for seen in self._syncer.observations_of(uid)}

    def _is_new(self, work: Work, attempt: Attempt) -> bool:
        uid = work.metadata.name
        return (
            attempt.epoch not in self._shown(uid)
            and work.report(attempt.epoch) is None
            and (uid, attempt.epoch) not in self._refused
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
            await self._syncer.ensure(bundle)
        except DispatchRefused as refusal:
            self._refused[uid, attempt.epoch] = Report(
                epoch=attempt.epoch,
                state=State.FAILED.value,
                reason=str(refusal.reason),
                message=refusal.message[:1024],
                failure=Failure.PLACEMENT.value,
                finished_at=stamp(time.time()),
            )

    async def _bundle(self, work: FullWork, attempt: FullAttempt) -> Bundle:
        """The bundle, with what is carried fetched from the mailbox."""
        uid, job = work.metadata.name, work.spec.job
        origin = Origin(self._hub_id, job.namespace, job.name, uid, attempt.epoch)
        carried = [await self._fetch(ref, attempt, origin) for ref in attempt.carried]
        bundle = Bundle(
            job_uid=uid,
            namespace=job.namespace,
            name=job.name,
            epoch=attempt.epoch,
            center=self._center,
            center_namespace=attempt.namespace,
            workload=attempt.workload,
            objects=(*carried, *attempt.objects),
        )
        check_bundle(bundle, str(origin))
        return bundle

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
        reports = self._reports(work)
        condition = self._condition(work, trouble)
        # After trouble the spec has not been carried out, whatever the center shows.
        generation = (
            work.status.observed_generation if trouble is not None else work.metadata.generation
        )
        told = work.status
        if (
            tuple(reports) == told.attempts
            and generation == told.observed_generation
            and told.conditions
            and condition["lastTransitionTime"] == told.conditions[0].last_transition_time
            and condition["message"] == told.conditions[0].message
        ):
            return
        newest = reports[-1] if reports else None
        status = {
            "observedGeneration": generation,
            "conditions": [condition],
            "summary": f"{newest.epoch} {newest.state}" if newest is not None else None,
            "attempts": [msgspec.to_builtins(report) for report in reports],
        }
        try:
            await self._hub.patch_status(
                CENTER_WORKS, uid, self._space, status, uid=work.metadata.uid
            )
        except NotFound:
            return

    def _reports(self, work: Work) -> list[Report]:
        uid = work.metadata.name
        shown = self._shown(uid)
        for attempt in work.spec.attempts:
            if attempt.epoch not in shown and attempt.desired != REMOVE:
                report = self._unseen(work, attempt)
                if report is not None:
                    shown[attempt.epoch] = report
        return [shown[epoch] for epoch in sorted(shown)]

    def _unseen(self, work: Work, attempt: Attempt) -> Report | None:
        """What there is to say of an epoch of which the center shows nothing."""
        known = self._refused.get((work.metadata.name, attempt.epoch))
        known = known or work.report(attempt.epoch)
        if known is not None and known.state in _ENDED:
            return known
        if attempt.desired == STOP:
            return Report(
                epoch=attempt.epoch,
                state=State.SUSPENDED.value,
                reason=attempt.reason,
                message=attempt.message,
            )
        if known is None:
            return None
        return Report(
            epoch=attempt.epoch,
            state=State.GONE.value,
            reason=str(Reason.WORKLOAD_GONE),
            message="The workload was removed in the center, not by Huiju.",
        )

    def _condition(self, work: Work, trouble: KubeError | None) -> dict[str, Any]:
        status = "True" if trouble is None else "False"
        reason = Reason.READY if trouble is None else Reason.DISPATCH_REFUSED
        before = work.status.conditions[0] if work.status.conditions else None
        flipped = before is None or before.status != status
        since = stamp(time.time()) if before is None or flipped else before.last_transition_time
        return {
            "type": "Synced",
            "status": status,
            "reason": str(reason),
            "message": str(trouble)[:1024] if trouble is not None else "",
            "observedGeneration": work.metadata.generation,
            "lastTransitionTime": since,
        }


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
