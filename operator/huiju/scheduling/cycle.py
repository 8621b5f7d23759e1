"""One pass over all that wait: who goes, where, and why the others do not.

Decides placements in turns (see `order`): the line whose turn it is offers its next job; the job
takes the cheapest center that can take it now; a job that cannot go lets others pass, but the head
of each line gets nodes held for it as soon as it is known when they come free. Invariants: what a
decision takes is gone before the next decision; the same state and time give the same outcome.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from operator import itemgetter

from huiju.scheduling import reasons
from huiju.scheduling.capacity import CenterState, total_free
from huiju.scheduling.fit import Fitter, Kind, Option
from huiju.scheduling.heads import Heads
from huiju.scheduling.model import (
    Assignment,
    Job,
    Outcome,
    Place,
    Placed,
    Refusal,
    Trace,
    Wait,
)
from huiju.scheduling.order import JobClass, Leaf, Line, turns
from huiju.scheduling.refusal import NO_HOLDS, Holds
from huiju.scheduling.score import Rank, Scorer, Wish, wish_of
from huiju.scheduling.share import Share, tflops
from huiju.scheduling.summary import main_reason, message_of, shown
from huiju.scheduling.world import World

_TRACED = 8
"""Candidates kept in the trace of a placement."""
_LIMITS = (reasons.QUEUE_CEILING, reasons.QUEUE_OVER_SHARE, reasons.BEHIND_OTHERS)
"""Reasons that no free node would change."""
Blocked = tuple[str, str]
"""Reason and message."""
_rank = itemgetter(0)


class Cycle:
    """One pass at one time; used once."""

    def __init__(self, world: World, scorer: Scorer, now: float) -> None:
        self.world, self.scorer, self.now = world, scorer, now
        self.placed: list[Place] = []
        self.waiting: list[Wait] = []
        self.heads = Heads(world, scorer, now)
        self._closed: set[str] = set()
        """Queues whose room is kept for a head that waits for a ceiling."""
        self._weighed: list[tuple[Rank, Option]] = []
        """Options of the latest decision, lowest rank first goes."""
        self._free: int | None = None
        """Normalized compute that is free, once somebody asked."""
        self._wakes = inf

    def run(self) -> Outcome:
        """Decide everything that can be decided now."""
        world = self.world
        world.release_holds()
        self._ask_fitters()
        lines = self._lines()
        self._first(lines)
        branch = turns(lines, self._tell)
        while branch:
            leaf = branch.leaf()
            self._turn(leaf)
            branch.settle()
        self._tell_backing()
        # What a hold kept beyond what its job took goes to whose turn is next: in another pass.
        uids = [place.job.uid for place in self.placed]
        left = [world.release(uid) for uid in uids if self.heads.holds_for(uid)]
        world.changed = any(left) and bool(world.lines)
        world.wakes_at = self.now if world.changed else min(self._wakes, self.heads.wakes)
        self.waiting.sort(key=_uid)
        return Outcome(tuple(self.placed), tuple(self.waiting), tuple(self.heads.preempted))

    # --- who takes part ------------------------------------------------------------------------

    def _ask_fitters(self) -> None:
        """Shapes that fit nowhere, even with no node held, need not be looked at job by job."""
        world = self.world
        for fitter in world.fitters():
            fitter.refresh(world.centers, world.market, self.now)
            answer = None
            if not fitter.options:
                answer = (main_reason(fitter.counts), "")
                self._wakes_with(fitter)
            for kind in fitter.kinds.values():
                kind.answer = answer

    def _wakes_with(self, fitter: Fitter) -> None:
        """Time alone ends the avoiding of a center."""
        for entry in fitter.avoid:
            if entry.until > self.now:
                self._wakes = min(self._wakes, entry.until)

    def _lines(self) -> dict[str, tuple[Share, Line]]:
        found: dict[str, tuple[Share, Line]] = {}
        for queue, line in self.world.lines.items():
            fault = self.world.tree.fault(queue)
            if fault is not None:
                self._tell_all(line.classes.values(), *fault)
                continue
            share = self.world.tree.share(queue)
            assert share is not None  # noqa: S101 - a queue without a fault exists
            line.admit(share.queue.namespaces)
            for each in line.barred:
                namespace = each.key.fitter.shape.namespace
                message = f"queue {queue!r} does not admit namespace {namespace!r}"
                self._tell_all((each,), reasons.NAMESPACE_NOT_ALLOWED, message)
            if line.heads:
                found[queue] = (share, line)
        return found

    def _tell_all(self, classes: Iterable[JobClass], reason: str, message: str) -> None:
        for each in classes:
            if each.untold is not None or each.reason != reason:
                self._tell(each, reason, message)

    def _first(self, lines: dict[str, tuple[Share, Line]]) -> None:
        """Some heads get their nodes before anybody's turn.

        Those that have waited very long, and those of queues for whose jobs others were stopped:
        what a victim gave up is for whom it was stopped, or who is ahead of that one by now.
        """
        starving = self.world.policy.starving
        claimed = {self.world.jobs[uid].queue for uid in self.world.claims}
        heads = [
            (line.heads[0], share)
            for share, line in lines.values()
            if self.heads.waited(line.heads[0]) >= starving or share.queue.name in claimed
        ]
        for head, share in sorted(heads, key=lambda pair: pair[0].head()):
            if self._over(share, 0) is None:
                self.heads.reserve(head, share)

    # --- a turn --------------------------------------------------------------------------------

    def _turn(self, leaf: Leaf) -> None:
        found = leaf.head()
        uid = found.line[0].uid
        answer: Option | Blocked | None = found.key.answer
        if answer is None or self.heads.holds_for(uid):
            answer = self.decide(found, leaf.share, uid)
        if isinstance(answer, Option):
            self._commit(found, answer, uid, leaf.share)
            leaf.advance(blocked=False)
            return
        if leaf.top and answer[0] not in _LIMITS:
            self.heads.preempt(found, leaf.share)
            self.heads.reserve(found, leaf.share)
        self._tell(found, *answer)
        leaf.advance(blocked=True)

    def decide(self, found: JobClass, share: Share, uid: str) -> Option | Blocked:
        """The cheapest way to run the class's head now, or why there is none."""
        options = self._options(found, uid)
        if not options:
            return self._refused(found, uid)
        closed = next((s for s in share.path if s.queue.name in self._closed), None)
        if closed is not None:
            return reasons.BEHIND_OTHERS, (
                f"queue {closed.queue.name!r} keeps its room for a job that waited longer"
            )
        wish = self.wish(found, share)
        rank = self.scorer.rank
        weighed = self._weighed = [(rank(option, wish, self.now), option) for option in options]
        best = min(weighed, key=_rank)[1]
        first = self._over(share, best.gflops)
        if first is None:
            return best
        weighed.sort(key=_rank)
        for _, option in weighed[1:]:
            if self._over(share, option.gflops) is None:
                return option
        self._drain(found, share, options)
        return first

    def _options(self, found: JobClass, uid: str) -> list[Option]:
        """All ways to run the class's head now."""
        world, fitter = self.world, found.key.fitter
        fitter.refresh(world.centers, world.market, self.now)
        options = [option for each in fitter.options.values() for option in each]
        if self.heads.keeps_out(uid, self._end(found.key)):
            return options
        for name, state in world.holding.items():
            holds = self.holds(state, found, uid)
            if holds:
                # On some held nodes it may run: what counts is what fits on these and free ones.
                options = [option for option in options if option.center != name]
                options += fitter.under(state, self.now, holds)[0]
        return options

    def _refused(self, found: JobClass, uid: str) -> Blocked:
        """No center can take the class's head; nor any of its kind for the rest of this cycle."""
        fitter = found.key.fitter
        self._wakes_with(fitter)
        answer = (main_reason(fitter.counts), "")
        if not self.heads.holds_for(uid):
            found.key.answer = answer
        return answer

    def message(self, fitter: Fitter, reason: str) -> str:
        """What is told to jobs of this shape that no center can take."""
        known = fitter.message
        if known is None or known[:2] != (fitter.asked, reason):
            centers = self.world.centers
            told = [
                refusal
                for name in shown(centers, fitter.words)
                for refusal in fitter.refusals(centers[name], self.now)
            ]
            text = message_of(told, len(centers), fitter.counts)
            known = fitter.message = (fitter.asked, reason, text)
        return known[2]

    def refusals(self, found: JobClass, uid: str) -> list[Refusal]:
        """What all centers that refuse the class's head say."""
        return [
            refusal
            for state in self.world.centers.values()
            for refusal in found.key.fitter.refusals(state, self.now, self.holds(state, found, uid))
        ]

    def holds(self, state: CenterState, found: JobClass, uid: str) -> Holds:
        """Holds that the job may ignore: its own, and those that begin after its end."""
        if not state.holds:
            return NO_HOLDS
        end = self._end(found.key)
        return frozenset([h for h in state.holds if h.job == uid or end <= h.until < inf])

    def _end(self, kind: Kind) -> float:
        """When a job of this kind that starts now has ended at the latest; infinite if unknown."""
        if kind.end[0] != self.now:
            runtime, end = kind.max_runtime or kind.expected_runtime, inf
            if runtime is not None:
                shape = kind.fitter.shape
                slowest = min(self.scorer.speed(shape, i) for i in range(len(shape.alternatives)))
                end = self.now + runtime / slowest
            kind.end = (self.now, end)
        return kind.end[1]

    def wish(self, found: JobClass, share: Share) -> Wish:
        """What the score takes from the class."""
        return wish_of(found.key, share.home)

    def _over(self, share: Share, gflops: int) -> Blocked | None:
        """Which limit of the tree the amount would break, None if none."""
        tree = self.world.tree
        above = tree.ceiling(share, gflops)
        if above is not None:
            return reasons.QUEUE_CEILING, (
                f"queue {above.queue.name!r} holds {tflops(above.usage)} TFLOPS, the job needs"
                f" {tflops(gflops)} more, the ceiling is {tflops(above.queue.ceiling or 0)}"
            )
        kept = tree.unlent(share)
        if self._free is None:
            self._free = total_free(self.world.centers.values())
        if kept and tree.borrows(share, gflops):
            free = self._free
            if free - gflops < kept:
                return reasons.QUEUE_OVER_SHARE, (
                    f"{tflops(free)} TFLOPS are free, other queues keep {tflops(kept)} of their"
                    f" guarantees, the job would borrow {tflops(gflops)}"
                )
        return None

    def _drain(self, found: JobClass, share: Share, options: list[Option]) -> None:
        """A head that waited long for a ceiling keeps the room below it from being refilled."""
        if self.heads.waited(found) < self.world.policy.patience:
            return
        least = min(option.gflops for option in options)
        above = self.world.tree.ceiling(share, least)
        if above is not None and least <= (above.queue.ceiling or 0):
            self._closed.add(above.queue.name)

    # --- what follows from a decision ----------------------------------------------------------

    def _commit(self, found: JobClass, option: Option, uid: str, share: Share) -> None:
        world, wish = self.world, self.wish(found, share)
        trace = self._placed_trace(found, wish)
        assignments: list[Assignment] = []
        state = world.centers[option.center]
        for block, nodes, workers in option.found.plan:
            assignments += state.take(
                block, nodes, workers, option.want.model, option.want.resource, option.want.request
            )
        if self._free is not None and not state.center.closed:
            self._free -= option.gflops
        job = world.jobs[uid]
        self.placed.append(
            Place(
                job,
                option.center,
                option.alternative,
                option.want.resource,
                option.want.request,
                tuple(assignments),
                option.gflops,
                trace,
            )
        )
        world.set_placed(
            Placed(
                job,
                option.center,
                option.alternative,
                option.units,
                option.gflops,
                self.now,
                assignments=tuple(assignments),
            )
        )

    def trace(self, found: JobClass, share: Share, uid: str) -> Trace:
        """What is weighed for a class now."""
        options = self._options(found, uid)
        wish = self.wish(found, share)
        options.sort(key=lambda option: self.scorer.rank(option, wish, self.now))
        candidates = [self.scorer.candidate(o, wish, self.now) for o in options]
        return Trace(tuple(candidates), tuple(self.refusals(found, uid)))

    def _placed_trace(self, found: JobClass, wish: Wish) -> Trace:
        """What a decision chose from, and how often each reason kept the others out."""
        best = sorted(self._weighed, key=_rank)[:_TRACED]
        counts = found.key.fitter.counts
        return Trace(
            tuple([self.scorer.candidate(option, wish, self.now) for _, option in best]),
            refused=tuple(sorted((word, count) for word, count in counts.items() if count)),
        )

    def _tell(self, found: JobClass, reason: str, message: str) -> None:
        untold, found.untold = found.untold, None
        if found.reason != reason:
            told: Iterable[Job] = found.line
        elif untold is not None:
            told = [self.world.jobs[uid] for uid in untold]
        else:
            found.message = message
            return
        found.reason, found.message = reason, message
        text = message or self.message(found.key.fitter, reason)
        self.waiting += [Wait(job, reason, text) for job in told]

    def _tell_backing(self) -> None:
        world = self.world
        if world.backing:
            self._wakes = min(self._wakes, world.backing[0][0])
        for uid in world.untold_backing:
            job = world.jobs.get(uid)
            if job is not None and job.not_before > self.now:
                message = f"waits {job.not_before - self.now:.0f} s before its next attempt"
                self.waiting.append(Wait(job, reasons.BACKING_OFF, message))
        world.untold_backing.clear()


def _uid(wait: Wait) -> str:
    return wait.job.uid
