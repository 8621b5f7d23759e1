"""One job at a time: look at it, ask the policy what is due, do it.

Level-based: a pass reads the present state and nothing else, so it may run at any moment and any
number of times. Decides nothing itself (see `lifecycle.py`); invariant: one pass per job at once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

from huiju.api.reasons import Reason
from huiju.centers.observe import Observation, State
from huiju.centers.render import RenderRefused
from huiju.centers.syncer import DispatchRefused
from huiju.hub import status as transitions
from huiju.hub.acceptance import Acceptance
from huiju.hub.announce import Announcer
from huiju.hub.commit import Committer, Result
from huiju.hub.datasets.needs import Needs
from huiju.hub.failovers import Failovers
from huiju.hub.jobcache import JobCache
from huiju.hub.jobwriter import JobWriter
from huiju.hub.lane import Crowded
from huiju.hub.lifecycle import Action, Plan, decide, kind_of
from huiju.hub.objects import JobObject, PlacementStatus
from huiju.hub.population import Population
from huiju.hub.recall import Recall, recalled
from huiju.hub.renderer import Renderer
from huiju.hub.settings import HubSettings
from huiju.hub.sites import Sites
from huiju.hub.waits import Waits
from huiju.kube.clock import boottime
from huiju.kube.errors import KubeError
from huiju.kube.workqueue import WorkQueue
from huiju.scheduling.model import Place, Preempt
from huiju.telemetry.metrics import HubMetrics

log = logging.getLogger(__name__)
CROWDED_PAUSE: Final = 5.0
STRAY_PAUSE: Final = 2.0
RECALL_PAUSE: Final = 1.0


class Reconciler:
    """Reconciles jobs by key, `namespace/name`."""

    def __init__(
        self,
        settings: HubSettings,
        jobs: JobCache,
        sites: Sites,
        population: Population,
        acceptance: Acceptance,
        writer: JobWriter,
        renderer: Renderer,
        committer: Committer,
        needs: Needs,
        recall: Recall,
        waits: Waits,
        events: Announcer,
        metrics: HubMetrics,
    ) -> None:
        self.queue = WorkQueue(group=lambda key: key.partition("/")[0])
        self._settings = settings
        self._jobs = jobs
        self._sites = sites
        self._population = population
        self._acceptance = acceptance
        self._writer = writer
        self._renderer = renderer
        self._committer = committer
        self._needs = needs
        self._recall = recall
        self._waits = waits
        self._events = events
        self._metrics = metrics
        self._failovers = Failovers(settings.failovers_per_minute, boottime())
        self._commits = asyncio.Semaphore(settings.commit_concurrency)
        self._stops: dict[str, tuple[Reason, str]] = {}

    async def run(self) -> None:
        """Work on keys until cancelled."""
        await self.queue.serve(self._pass, workers=self._settings.workers, noun="job", log=log)

    async def _pass(self, key: str) -> None:
        try:
            await self._once(key)
        except Crowded as crowded:
            # Not this job's failure: it comes back when the center has room, or by itself.
            crowded.lane.park(key, self.queue.add)
            self.queue.add_after(key, CROWDED_PAUSE)

    async def _once(self, key: str) -> None:
        job = self._jobs.get(key)
        if job is None:
            return
        uid = job.metadata.uid
        if self._population.deciding(uid):
            return  # the commit ends with a look at the job
        verdict = await self._acceptance.judge(job)
        if self._jobs.get(key) is not job or self._population.deciding(uid):
            self.queue.add(key)
            return
        now = time.time()
        forgotten = self._recall.forgotten(job)
        if forgotten is not None:
            await self._take_over(job, forgotten, now)
            return
        self._recall.settled(uid)
        seen = self._recall.seen(job, self._sites.seen(job))
        staged, withdrawn = self._needs.staged(job), self._needs.withdrawn(job)
        plan = decide(job, verdict, seen, now, self._settings, staged, withdrawn)
        stop = self._stops.get(uid)
        if stop is not None and plan.action is Action.NONE and _live(seen.observed):
            plan = Plan(plan.status, Action.STOP, *stop)
        if plan.fails_over:
            plan = self._in_turn(job, plan, now)
        await self._carry_out(job, plan, now)
        if seen.observed is not None and seen.observed.stopping:
            # Also after a restart nobody else is stopped for room that is coming free.
            self._population.stopping(uid)

    def _in_turn(self, job: JobObject, plan: Plan, now: float) -> Plan:
        """The plan if it is the job's turn to leave a lost center, else one that waits for it."""
        pause = self._failovers.take(boottime())
        if not pause:
            return plan
        pace = self._settings.failovers_per_minute
        message = f"{plan.status.message} It waits for its turn: {pace} jobs leave in a minute."
        status = transitions.observed(job.status, job.metadata.generation)
        return Plan(transitions.unknown(status, message, now), again=now + pause)

    async def _take_over(self, job: JobObject, forgotten: PlacementStatus, now: float) -> None:
        """Go on from a placement that the status has forgotten, as after a restore."""
        status = transitions.observed(job.status, job.metadata.generation)
        written = await self._writer.write(job, recalled(status, forgotten, now))
        self._recall.taken_over(written)
        self._events.transition(written, job.status.reason)
        self.queue.add(job.key)

    async def _carry_out(self, job: JobObject, plan: Plan, now: float) -> None:
        uid, before = job.metadata.uid, job.status.placement
        if plan.action is Action.CLEAR:
            await self._sites.clear(job)
        if plan.written_off:
            self._sites.leaves(job)
        job = await self._write(job, plan)
        self._sites.learn_faults(job, now)
        if before is not None:
            self._judge_promise(job, before, now)
        if job.status.placement is None:
            self._stops.pop(uid, None)
        if plan.fails_over and before is not None:
            self._metrics.failed_over(before.center)
        self._population.update(job, queued=plan.queued)
        match plan.action:
            case Action.NONE | Action.CLEAR:
                pass
            case Action.ENSURE if not self._recall.complete:
                self.queue.add_after(job.key, RECALL_PAUSE)  # it may run elsewhere by now
            case Action.ENSURE:
                await self._ensure(job)
            case Action.STOP:
                await self._sites.stop(job, plan.reason, plan.message)
            case Action.DELETE:
                await self._writer.delete(job)
        await self._stop_older(job)
        if plan.queued:
            await self._write_wait(job, now)
        if plan.again is not None:
            self.queue.add_after(job.key, max(1.0, plan.again - time.time()))

    def _judge_promise(self, job: JobObject, placement: PlacementStatus, now: float) -> None:
        """What became of the job may tell whether its center had the nodes that it showed."""
        if job.status.reason == Reason.UNSCHEDULABLE:
            if self._sites.promise_broken(job, placement, now):
                model = job.spec.accelerators[placement.alternative].model
                self._metrics.promise_broken(placement.center, model)
        elif job.status.phase == "Running":
            self._sites.promise_kept(job, placement)

    async def _write(self, job: JobObject, plan: Plan) -> JobObject:
        before = job.status
        known, job = job, await self._writer.write(job, plan.status)
        if job is not known:
            self.queue.add(job.key)  # what is due after this change; its echo brings nobody here
        if job.status.reason != before.reason and job.status.reason:
            self._events.transition(job, before.reason)
        return job

    async def _write_wait(self, job: JobObject, now: float) -> None:
        held_back = self._recall.held_back
        if held_back:
            self._waits.note(job.metadata.uid, Reason.HUB_RESTORED, held_back, now)
        due, later = self._waits.due(job.metadata.uid, job.status.reason, now)
        if later is not None:
            self.queue.add_after(job.key, later - now)
        if due is None:
            return
        status = transitions.observed(job.status, job.metadata.generation)
        await self._writer.write(job, transitions.waiting(status, due.reason, due.message, now))
        self.queue.add(job.key)

    async def _stop_older(self, job: JobObject) -> None:
        """Nothing of an epoch that no longer holds may run on; a center that does not let itself
        be told holds up nothing else of the job."""
        for site, observed in self._sites.strays(job):
            told = {"job": job.key, "center": site.name, "epoch": observed.epoch}
            log.warning("stopping a workload whose epoch does not hold", extra=told)
            message = "Its epoch no longer holds."
            try:
                await site.stop(observed.job_uid, observed.epoch, Reason.PREEMPTED, message)
            except (KubeError, TimeoutError) as error:
                log.info("not stopped yet", extra={**told, "error": str(error)})
                self.queue.add_after(job.key, STRAY_PAUSE)

    async def _ensure(self, job: JobObject) -> None:
        placement = job.status.placement
        if placement is None:
            return
        body = await self._renderer.body(job)
        if body is None:
            self.queue.retry(job.key)
            return
        try:
            mounts = self._needs.mounts(job, placement.center) or ()
            avoided = self._sites.avoided(job, placement.center, time.time())
            bundle = await self._renderer.again(body, placement, mounts, avoided)
            await self._sites.ensure(bundle)
        except RenderRefused as refusal:
            await self._end_attempt(job, refusal.reason, refusal.message)
        except DispatchRefused as refusal:
            await self._end_attempt(job, refusal.reason, refusal.message)

    async def _end_attempt(self, job: JobObject, reason: Reason, message: str) -> None:
        status = transitions.observed(job.status, job.metadata.generation)
        now = time.time()
        after = transitions.attempt_failed(
            status, kind_of(reason), reason, message, now, self._settings
        )
        await self._writer.write(job, after)
        self.queue.add(job.key)

    def forget(self, uid: str) -> None:
        """The job is gone."""
        self._stops.pop(uid, None)

    def preempt(self, preemption: Preempt) -> None:
        """The scheduler wants this job's place: stop it gracefully, keep its place in the queue."""
        job = self._jobs.by_uid(preemption.victim.job.uid)
        if job is None:
            return
        self._stops[job.metadata.uid] = (Reason.PREEMPTED, preemption.message)
        self.queue.add(job.key)

    def _give_back(self, decision: Place) -> None:
        """The decision did not hold, or it does and only the answer to its write was lost."""
        job = self._jobs.by_uid(decision.job.uid)
        if job is None or job.status.placement is None:
            self._population.withdrawn(decision)
            return
        self._population.settled(decision.job.uid)
        self._population.update(job, queued=False)

    async def commit(self, decision: Place) -> None:
        """Commit a decision, dispatch it, and give its units back if it did not hold."""
        uid = decision.job.uid
        key = decision.job.name
        try:
            async with self._commits:  # not for as long as a center takes to answer
                committed = await self._committer.commit(decision)
            job = committed.job
            if committed.verdict is not None and job is not None:
                self._acceptance.refuse(job, committed.verdict)
            if committed.result is Result.COMMITTED and job is not None and committed.bundle:
                self._events.transition(job, "")
                self._population.committed(job, decision)
                try:
                    await self._sites.ensure(committed.bundle, fresh=True)
                except DispatchRefused as refusal:
                    await self._end_attempt(job, refusal.reason, refusal.message)
            else:
                if committed.result is Result.STAGED and job is not None:
                    self._events.transition(job, "")
                self._give_back(decision)
        except (KubeError, TimeoutError) as error:
            # The placement may stand or not: the next pass reads what holds and goes on from there.
            log.info("dispatch interrupted", extra={"job": key, "error": str(error)})
        except Exception:
            log.exception("commit failed", extra={"job": key})
            self._population.withdrawn(decision)
        finally:
            self._population.settled(uid)
            self.queue.add(key)


def _live(observed: Observation | None) -> bool:
    return observed is not None and observed.state in (State.PENDING, State.RUNNING)
