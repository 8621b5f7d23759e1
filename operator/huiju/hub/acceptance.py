"""Whether a job can be run as it is written, before it may wait in a queue.

Decides by the job, its queue, the rules of the accelerators, and one dry run of what it would
become per distinct template. Invariant: a refusal names the field and the cure; what one center
alone refuses is no fault of the job.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from fnmatch import fnmatchcase

from huiju.api.queue import ComputeQueueSpec
from huiju.api.reasons import Reason
from huiju.centers.legal import check_legal
from huiju.centers.render import RenderRefused
from huiju.hub.lifecycle import Verdict
from huiju.hub.objects import JobObject
from huiju.hub.trial import Trial
from huiju.kube.errors import KubeError, Transient

log = logging.getLogger(__name__)
OK = Verdict(True)
REMEMBERED = 4096
Key = tuple[object, ...]


class Acceptance:
    """Judges jobs; remembers the verdict of each distinct template."""

    def __init__(
        self,
        queues: Callable[[str], ComputeQueueSpec | None],
        data: Callable[[JobObject], Verdict],
        trial: Trial,
        recheck: float,
    ) -> None:
        self._queues = queues
        self._data = data
        self._trial = trial
        self._tried: OrderedDict[Key, None] = OrderedDict()
        self._locks: dict[Key, asyncio.Lock] = {}
        self._refused: dict[str, tuple[int, float, Verdict]] = {}
        self._recheck = recheck

    async def judge(self, job: JobObject) -> Verdict:
        """The verdict on the job as it is now."""
        if job.status.placement is not None or job.spec.suspend or job.spec.cancel:
            return OK
        known = self._refused.get(job.metadata.uid)
        if known is not None:
            generation, until, verdict = known
            if generation == job.metadata.generation and time.monotonic() < until:
                return verdict
            del self._refused[job.metadata.uid]
        verdict = self._by_rules(job)
        if not verdict.accepted:
            return verdict
        return await self._by_trial(job)

    def refuse(self, job: JobObject, verdict: Verdict) -> None:
        """Rendering for a real center refused the job; it is judged anew after a while."""
        until = time.monotonic() + self._recheck / 2
        self._refused[job.metadata.uid] = (job.metadata.generation, until, verdict)

    def forget(self, uid: str) -> None:
        """The job is gone."""
        self._refused.pop(uid, None)

    def _by_rules(self, job: JobObject) -> Verdict:
        pods = job.spec.pods
        if pods.error:
            return Verdict(False, Reason.INVALID_TEMPLATE, f"spec.template: {pods.error}")
        spec = self._queues(job.spec.queue)
        if spec is None:
            return Verdict(
                False,
                Reason.UNKNOWN_QUEUE,
                f"spec.queue: there is no ComputeQueue {job.spec.queue!r}; "
                "create it, or submit the job to another (kubectl get computequeues)",
            )
        namespace = job.metadata.namespace
        if not any(fnmatchcase(namespace, pattern) for pattern in spec.namespaces):
            return Verdict(
                False,
                Reason.NAMESPACE_NOT_ALLOWED,
                f"spec.queue: ComputeQueue {job.spec.queue!r} does not accept jobs of namespace "
                f"{namespace!r}; its spec.namespaces allows {', '.join(spec.namespaces)}",
            )
        for index, chosen in enumerate(job.spec.accelerators):
            wrong = check_legal(chosen.model, chosen.per_worker, job.spec.workers)
            if wrong:
                message = f"spec.accelerators[{index}].perWorker: {wrong}"
                return Verdict(False, Reason.ILLEGAL_ACCELERATOR_COUNT, message)
        return self._data(job)

    async def _by_trial(self, job: JobObject) -> Verdict:
        key = (
            job.metadata.namespace,
            job.spec.pods.trial,
            job.spec.accelerators,
            job.spec.workers > 1,
            job.spec.launch,
            job.spec.carry,
            job.spec.data,
            job.spec.failover.policy == "Reschedule",
            job.spec.checkpoint,
            job.spec.output,
            job.spec.progress,
            tuple(job.spec.placement.node_selector.items()),
        )
        if self._known(key):
            return OK
        # Jobs of one template that arrive together share one dry run.
        async with self._locks.setdefault(key, asyncio.Lock()):
            if self._known(key):
                return OK
            try:
                return await self._try(job, key)
            finally:
                self._locks.pop(key, None)

    def _known(self, key: Key) -> bool:
        if key not in self._tried:
            return False
        self._tried.move_to_end(key)
        return True

    async def _try(self, job: JobObject, key: Key) -> Verdict:
        try:
            tried = await self._trial.attempt(job)
        except RenderRefused as refusal:
            return Verdict(False, refusal.reason, refusal.message)
        except (Transient, TimeoutError) as error:
            # No center can say now; the one that is chosen later will.
            log.info("dry run not possible", extra={"job": job.key, "error": str(error)})
            return OK
        except KubeError as error:
            log.info("dry run refused by policy", extra={"job": job.key, "error": str(error)})
            return OK
        if tried:
            self._tried[key] = None
            if len(self._tried) > REMEMBERED:
                self._tried.popitem(last=False)
        return OK
