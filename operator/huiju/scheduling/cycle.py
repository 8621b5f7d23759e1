"""One pass over all that wait: who goes, where, and why the others do not.

Decides placements in turns (see `order`): the line whose turn it is offers its next job; the job
takes the cheapest center that can take it now; a job that cannot go lets others pass, but the head
of each line gets nodes held for it as soon as it is known when they come free. Invariants: what a
decision takes is gone before the next decision; the same state and time give the same outcome.
"""

from __future__ import annotations

from math import inf

from huiju.scheduling import reasons
from huiju.scheduling.capacity import CenterState, total_free
from huiju.scheduling.filter import matches
from huiju.scheduling.fit import Option
from huiju.scheduling.heads import Heads
from huiju.scheduling.model import (
    Assignment,
    Outcome,
    Place,
    Placed,
    Refusal,
    Trace,
    Wait,
)
from huiju.scheduling.order import JobClass, Leaf, turns
from huiju.scheduling.refusal import NO_HOLDS, Holds
from huiju.scheduling.score import Scorer, Wish
from huiju.scheduling.share import Share, tflops
from huiju.scheduling.summary import main_reason, message_of
from huiju.scheduling.world import World

_TRACED = 8
"""Candidates kept in the trace of a placement."""
_LIMITS = (reasons.QUEUE_CEILING, reasons.QUEUE_OVER_SHARE, reasons.BEHIND_OTHERS)
"""Reasons that no free node would change."""
Blocked = tuple[str, str]
"""Reason and message."""


class Cycle:
    """One pass at one time; used once."""

    def __init__(self, world: World, scorer: Scorer, now: float) -> None:
        self.world, self.scorer, self.now = world, scorer, now
        self.placed: list[Place] = []
        self.waiting: list[Wait] = []
        self.heads = Heads(world, scorer, now)
        self._closed: set[str] = set()
        """Queues whose room is kept for a head that waits for a ceiling."""
        self._weighed: list[Option] = []
        """Options of the latest decision, best first."""
        self._wakes = inf

    def run(self) -> Outcome:
        """Decide everything that can be decided now."""
        world = self.world
        for state in world.centers.values():
            state.release_holds()
        lines = self._lines()
        self._first(lines)
        branch = turns(lines)
        while branch:
            leaf = branch.leaf()
            self._turn(leaf)
            branch.settle()
        self._tell_backing()
        world.changed = False
        world.wakes_at = min(self._wakes, self.heads.wakes)
        return Outcome(tuple(self.placed), tuple(self.waiting), tuple(self.heads.preempted))

    # --- who takes part ------------------------------------------------------------------------

    def _lines(self) -> dict[str, tuple[Share, list[JobClass]]]:
        found: dict[str, tuple[Share, list[JobClass]]] = {}
        for queue, line in self.world.lines.items():
            fault = self.world.tree.fault(queue)
            if fault is not None:
                for each in line.values():
                    self._tell(each, *fault)
                continue
            share = self.world.tree.share(queue)
            assert share is not None  # noqa: S101 - a queue without a fault exists
            classes = self._admitted(share, list(line.values()))
            if classes:
                found[queue] = (share, classes)
        return found

    def _admitted(self, share: Share, classes: list[JobClass]) -> list[JobClass]:
        queue = share.queue
        if "*" not in queue.namespaces:
            for each in classes:
                namespace = each.key.fitter.shape.namespace
                if not matches(queue.namespaces, namespace):
                    message = f"queue {queue.name!r} does not admit namespace {namespace!r}"
                    self._tell(each, reasons.NAMESPACE_NOT_ALLOWED, message)
            classes = [
                c for c in classes if matches(queue.namespaces, c.key.fitter.shape.namespace)
            ]
        if not classes:
            return []
        head = min(classes, key=JobClass.head)
        return [c for c in classes if c is head or c.untold or not self._hopeless(c)]

    def _hopeless(self, found: JobClass) -> bool:
        known = found.key.fitter.hopeless
        return known is not None and known[0] == self.world.growth and found.reason == known[1]

    def _first(self, lines: dict[str, tuple[Share, list[JobClass]]]) -> None:
        """Some heads get their nodes before anybody's turn.

        Those that have waited very long, and those of queues for whose jobs others were stopped:
        what a victim gave up is for whom it was stopped, or who is ahead of that one by now.
        """
        claimed = {self.world.jobs[uid].queue for uid in self.world.claims}
        heads = sorted(
            (head.head(), share, head)
            for share, head in (
                (share, min(classes, key=JobClass.head)) for share, classes in lines.values()
            )
            if self.heads.waited(head) >= self.world.policy.starving or share.queue.name in claimed
        )
        for _, share, head in heads:
            if self._over(share, 0) is None:
                self.heads.reserve(head, share)

    # --- a turn --------------------------------------------------------------------------------

    def _turn(self, leaf: Leaf) -> None:
        place, found = leaf.head()
        answer = self.decide(found, leaf.share, place[2])
        if isinstance(answer, Option):
            self._commit(found, answer, place[2], leaf.share)
            leaf.advance(blocked=False)
            return
        if leaf.top and answer[0] not in _LIMITS:
            self.heads.preempt(found, leaf.share)
            self.heads.reserve(found, leaf.share)
        self._tell(found, *answer)
        leaf.advance(blocked=True)

    def decide(self, found: JobClass, share: Share, uid: str) -> Option | Blocked:
        """The cheapest way to run the class's head now, or why there is none."""
        closed = next((s for s in share.path if s.queue.name in self._closed), None)
        if closed is not None:
            return reasons.BEHIND_OTHERS, (
                f"queue {closed.queue.name!r} keeps its room for a job that waited longer"
            )
        fitter = found.key.fitter
        if fitter.hopeless is not None and fitter.hopeless[0] == self.world.growth:
            return fitter.hopeless[1:]
        options, words = self._ask(found, uid)
        if not options:
            return self._refused(found, uid, main_reason(words))
        wish = self.wish(found, share)
        options.sort(key=lambda option: self.scorer.rank(option, wish, self.now))
        self._weighed = options
        first: Blocked | None = None
        for option in options:
            over = self._over(share, option.gflops)
            if over is None:
                return option
            first = first or over
        self._drain(found, share, options)
        assert first is not None  # noqa: S101 - there was at least one option
        return first

    def _ask(self, found: JobClass, uid: str) -> tuple[list[Option], list[str]]:
        """Options and reasons of refusals of all centers."""
        options: list[Option] = []
        words: list[str] = []
        for state in self.world.centers.values():
            verdict = found.key.fitter.verdict(state, self.now, self.holds(state, found, uid))
            options += verdict.options
            words += [word for word, _ in verdict.words]
        return options, words

    def _refused(self, found: JobClass, uid: str, reason: str) -> Blocked:
        """No center can take the class's head; remembers it if even without holds none could."""
        fitter, message = found.key.fitter, found.message
        if found.reason != reason or found.untold:
            message = message_of(self.refusals(found, uid), len(self.world.centers))
        held = [state for state in self.world.centers.values() if state.holds]
        waits = [entry.until for entry in fitter.avoid if entry.until > self.now]
        self._wakes = min(self._wakes, *waits, inf)
        if not waits and not any(
            fitter.verdict(state, self.now, frozenset(state.holds)).options for state in held
        ):
            fitter.hopeless = (self.world.growth, reason, message)
        return reason, message

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
        runtime = found.key.max_runtime or found.key.expected_runtime
        end = inf
        if runtime is not None:
            shape = found.key.fitter.shape
            slowest = min(self.scorer.speed(shape, i) for i in range(len(shape.alternatives)))
            end = self.now + runtime / slowest
        return frozenset(h for h in state.holds if h.job == uid or end <= h.until < inf)

    def wish(self, found: JobClass, share: Share) -> Wish:
        """What the score takes from the class."""
        return Wish(found.key.fitter.shape, found.key.expected_runtime, share.home)

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
        if kept and tree.borrows(share, gflops):
            free = total_free(self.world.centers.values())
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
        trace = self._traced(found, wish, uid, self._weighed[:_TRACED])
        assignments: list[Assignment] = []
        state = world.centers[option.center]
        for block, nodes, workers in option.plan:
            assignments += state.take(
                block, nodes, workers, option.model, option.resource, option.request
            )
        job = world.jobs[uid]
        self.placed.append(
            Place(
                job,
                option.center,
                option.alternative,
                option.resource,
                option.request,
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
        options, _ = self._ask(found, uid)
        wish = self.wish(found, share)
        options.sort(key=lambda option: self.scorer.rank(option, wish, self.now))
        return self._traced(found, wish, uid, options)

    def _traced(self, found: JobClass, wish: Wish, uid: str, options: list[Option]) -> Trace:
        candidates = [self.scorer.candidate(o, wish, self.now) for o in options]
        return Trace(tuple(candidates), tuple(self.refusals(found, uid)))

    def _tell(self, found: JobClass, reason: str, message: str) -> None:
        uids = [place[2] for place in found.line]
        if found.reason == reason:
            uids = [uid for uid in uids if uid in found.untold] if found.untold else []
        found.reason, found.message = reason, message
        found.untold.clear()
        self.waiting += [Wait(self.world.jobs[uid], reason, message) for uid in uids]

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
