"""What is done for the head of a line that fits nowhere now: nodes are held, others are stopped.

Decides for whom nodes are held and for whom jobs stop, not which nodes (`reserve`) or which jobs
(`preempt`). Invariant: at most one hold a job and `Policy.reservations` in all; no job is stopped
for a head that is expected to start soon anyway.
"""

from __future__ import annotations

from math import inf

from huiju.scheduling import reasons
from huiju.scheduling.capacity import CenterState, Hold
from huiju.scheduling.ends import Ends
from huiju.scheduling.fit import Site
from huiju.scheduling.model import Candidate, Job, Placed, Preempt
from huiju.scheduling.order import JobClass
from huiju.scheduling.preempt import Choice, Claim, Stoppable, choose, loss
from huiju.scheduling.refusal import Want
from huiju.scheduling.reserve import Forecast, forecast, starts_by
from huiju.scheduling.score import Scorer, wish_of
from huiju.scheduling.share import Share, tflops
from huiju.scheduling.world import World


class Heads:
    """Blocked heads of one cycle."""

    def __init__(self, world: World, scorer: Scorer, now: float) -> None:
        self.world, self.scorer, self.now = world, scorer, now
        self.preempted: list[Preempt] = []
        self._seen = 0
        self._held: set[str] = set()
        self._stoppable = Stoppable(world, now)
        holds = [hold for state in world.holding.values() for hold in state.holds]
        self._holders = {hold.job for hold in holds}
        self._latest = max((hold.until for hold in holds if hold.until < inf), default=-inf)
        """The latest time at which a hold ends that ends at all."""
        self.wakes = inf
        """When time alone may change what is decided here."""

    def keeps_out(self, uid: str, end: float) -> bool:
        """Whether no held node is for a job that ends then: none is its own, none begins later."""
        return uid not in self._holders and end > self._latest

    def waited(self, found: JobClass) -> float:
        """Seconds that the class's head has waited since it was submitted."""
        waited = self.now - found.line[0].submitted
        policy = self.world.policy
        for limit in (policy.hold_after, policy.patience, policy.starving):
            if waited < limit:
                self.wakes = min(self.wakes, self.now + limit - waited)
        return waited

    def holds_for(self, uid: str) -> bool:
        """Whether nodes are held for the job."""
        return uid in self._held

    def reserve(self, found: JobClass, share: Share) -> None:
        """Hold nodes for a head that fits nowhere now, if it is known or long enough unknown."""
        policy, uid = self.world.policy, found.line[0].uid
        if not policy.backfill or self._seen >= policy.reservations or uid in self._held:
            return
        seen = self.forecast(found, share)
        if seen is None:
            return
        # Heads without a known end count too: looking for one is what costs.
        self._seen += 1
        waited = self.waited(found)
        if waited < (policy.patience if seen.at == inf else policy.hold_after):
            return
        if seen.learned and waited < policy.starving and self.now + policy.certain < seen.at < inf:
            # So early, nodes would stand idle for a start that mostly comes otherwise.
            self.wakes = min(self.wakes, seen.at - policy.certain)
            return
        self._held.add(uid)
        self._holders.add(uid)
        if seen.at < inf:
            self._latest = max(self._latest, seen.at)
        self.world.hold(Hold(uid, seen.center, seen.at, seen.nodes))
        if self.now < seen.at < inf:
            self.wakes = min(self.wakes, seen.at)

    def preempt(self, found: JobClass, share: Share) -> None:
        """Stop others for a head that is owed room, unless it gets room soon anyway."""
        world, policy = self.world, self.world.policy
        job = found.line[0]
        owed = any(s.queue.guarantee > s.usage for s in share.path)
        if not policy.preemption or not (owed or world.outranks(job)):
            return
        fitter, sites = found.key.fitter, self._sites(found)
        if starts_by(fitter, sites, self._ends, self.now, job.uid, self.now + policy.soon):
            return
        claim = Claim(job, share, self.now)
        choice = choose(claim, fitter, sites, world, self._stoppable)
        if choice is None:
            # Some may have run too briefly to be stopped yet.
            self.wakes = min(self.wakes, self.now + policy.soon)
            return
        told = [self._told(victim, choice, job) for victim in choice.victims]
        self.preempted += told
        for preemption in told:
            world.stop(preemption.victim, job.uid)
        self._stoppable.forget(choice.center)

    def _told(self, victim: Placed, choice: Choice, job: Job) -> Preempt:
        """What a victim is told: for whom it stops, on what ground, and what that loses."""
        creditor, queue = choice.creditor, victim.job.queue
        if queue == job.queue or creditor is None:
            ground = "priority"
            why = f"priority {job.priority} goes before {victim.job.priority} in queue {queue!r}"
        else:
            ground = "guarantee"
            debtor = self.world.tree.share(queue)
            why = f"{_held(creditor)}, {_held(debtor) if debtor else f'queue {queue!r} is gone'}"
        message = (
            f"Makes room in {victim.center} for {job.name}: {why}."
            f" Loses at most {loss(victim, self.now):.0f} accelerator-seconds of work."
        )
        return Preempt(victim, reasons.PREEMPTED, message, job.uid, ground)

    def forecast(self, found: JobClass, share: Share, *, held: bool = False) -> Forecast | None:
        """When and where the class's head could start; `held` counts in what is kept for others."""
        wish = wish_of(found.key, share.home)
        return forecast(
            found.key.fitter,
            self._sites(found),
            self._ends,
            self.now,
            found.line[0].uid,
            share.home,
            lambda state, want: self.scorer.toll(
                wish, state.center.name, want.alternative, want.gflops(state), self.now
            ),
            uncertain=self.world.policy.uncertain,
            held=held,
        )

    def cost(self, found: JobClass, share: Share, seen: Forecast) -> Candidate:
        """What the expected start costs, for people."""
        state = self.world.centers[seen.center]
        want = found.key.fitter.wants(seen.alternative, state)[0]
        where = (seen.center, seen.alternative, want.gflops(state))
        wait = max(0.0, seen.at - self.now)
        return self.scorer.later(wish_of(found.key, share.home), *where, wait, self.now)

    def _sites(self, found: JobClass) -> tuple[Site, ...]:
        world = self.world
        return found.key.fitter.sites(world.centers, world.prices, self.now)

    def _ends(self, state: CenterState, want: Want) -> Ends:
        return self.world.ends(state, want, self.now, self.scorer.speed)


def _held(share: Share) -> str:
    held, owed = tflops(share.usage), tflops(share.queue.guarantee)
    return f"queue {share.queue.name!r} holds {held} of {owed} guaranteed TFLOPS"
