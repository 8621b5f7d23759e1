"""Why a job waits and when it may start, from the same state that decides.

Decides nothing and changes nothing that a decision rests on. Invariant: what is told is what a
cycle at this moment would find; a predicted start says what it rests on.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import inf

from huiju.scheduling import reasons
from huiju.scheduling.cycle import Cycle
from huiju.scheduling.fit import Kind
from huiju.scheduling.model import Explanation, Job, Queue, Trace
from huiju.scheduling.order import JobClass, Place, place_of
from huiju.scheduling.score import Scorer
from huiju.scheduling.share import Share
from huiju.scheduling.summary import main_reason, message_of
from huiju.scheduling.world import World


def explain(world: World, scorer: Scorer, uid: str, now: float) -> Explanation | None:
    """Why a waiting job waits, None if it does not wait."""
    job = world.jobs.get(uid)
    if job is None:
        return None
    told = whatif(world, scorer, job, now)
    found = world.class_of(uid)
    if found is not None and found.untold is None and found.reason not in ("", told.reason):
        # The numbers of this moment: the class was told its reason perhaps long ago.
        message = found.message or Cycle(world, scorer, now).message(found.key.fitter, found.reason)
        return replace(told, reason=found.reason, message=message)
    return told


def whatif(world: World, scorer: Scorer, job: Job, now: float) -> Explanation:
    """Where and when a job would run, were it submitted now."""
    runtime, basis = _runtime(world, job)
    return replace(_answer(world, scorer, job, now), runtime=runtime, runtime_basis=basis)


def _runtime(world: World, job: Job) -> tuple[float | None, str]:
    """How long the job is expected to run, and who says so."""
    if job.expected_runtime is None:
        assumed = f"{world.policy.default_runtime:.0f} s are assumed"
        return None, f"neither the job nor ended jobs like it tell one; {assumed}"
    if job.alike:
        return job.expected_runtime, f"the median of {job.alike} ended job(s) like it"
    return job.expected_runtime, "as the job tells"


def _answer(world: World, scorer: Scorer, job: Job, now: float) -> Explanation:
    place = place_of(job, world.policy.priority_step)
    line = world.lines.get(job.queue)
    ahead = 0 if line is None else line.ahead_of(place)
    kind = Kind(world.fitter(job), job.expected_runtime, job.max_runtime)
    found = JobClass(job.queue, kind, world.policy.priority_step)
    found.add(job)
    fault = world.tree.fault(job.queue)
    share = world.tree.share(job.queue) or Share(Queue(job.queue))
    cycle = Cycle(world, scorer, now)
    trace = cycle.trace(found, share, job.uid)
    if job.not_before > now:
        message = f"waits {job.not_before - now:.0f} s before its next attempt"
        return Explanation(ahead + 1, ahead, reasons.BACKING_OFF, message, trace, job.not_before)
    if fault is not None:
        return Explanation(ahead + 1, ahead, *fault, trace)
    reason, message = _reason(world, cycle, found, share, place, trace)
    if trace.candidates and reason != reasons.QUEUED:
        # There is room, and a limit holds the job back: nobody knows for how long.
        basis = f"there is room in {trace.candidates[0].center}, and the job waits for its queue"
        return Explanation(ahead + 1, ahead, reason, message, trace, None, basis)
    told = Explanation(ahead + 1, ahead, reason, message, trace)
    return _start(told, cycle, found, share)


def _reason(
    world: World, cycle: Cycle, found: JobClass, share: Share, place: Place, trace: Trace
) -> tuple[str, str]:
    if not trace.candidates:
        words = Counter(refusal.reason for refusal in trace.refusals)
        return main_reason(words), message_of(trace.refusals, len(world.centers))
    answer = cycle.decide(found, share, place[2])
    if isinstance(answer, tuple):
        reason, message = answer
        return reason, message or cycle.message(found.key.fitter, reason)
    return reasons.QUEUED, f"fits in {answer.center} now"


def _start(told: Explanation, cycle: Cycle, found: JobClass, share: Share) -> Explanation:
    """The same with what is known of its start."""
    now = cycle.now
    others = f"; {told.ahead} job(s) of the queue are ahead" if told.ahead else ""
    if told.trace.candidates:
        best = told.trace.candidates[0].center
        basis = f"fits in {best} now{others}"
        return replace(told, predicted_start=now, basis=basis, predicted_center=best)
    seen = cycle.heads.forecast(found, share)
    kept = seen is None
    if seen is None:
        seen = cycle.heads.forecast(found, share, held=True)
    if seen is None:
        basis = "no center could take it, even when the jobs placed there have ended"
        return replace(told, basis=basis)
    if kept and seen.at <= now:
        # There is room, for others: when they will have used and left it, nobody knows.
        basis = f"the room in {seen.center} is kept for jobs that come first{others}"
        return replace(told, basis=basis)
    if kept:
        others = f"; nodes are kept for jobs that come first{others}"
    if seen.at == inf:
        basis = f"{seen.waits_for} job(s) in {seen.center} end at times nobody told{others}"
        return replace(told, basis=basis, predicted_center=seen.center)
    basis = (
        f"expected ends of {seen.waits_for} job(s) in {seen.center},"
        f" {seen.missing} worker(s) have no place now{others}"
    )
    return replace(
        told,
        predicted_start=seen.at,
        basis=basis,
        predicted_center=seen.center,
        expected=cycle.heads.cost(found, share, seen),
    )
