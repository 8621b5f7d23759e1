"""What the scheduler knows between cycles: centers, queues, who waits in which line, who is placed.

Decides nothing. Invariants: a job waits, is placed, or is unknown, never two of these; the usage in
the tree is the sum over placed jobs; a class of jobs exists as long as a job is in it.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from math import inf

from huiju.scheduling.capacity import CenterState, Hold
from huiju.scheduling.ends import Ends, Speed
from huiju.scheduling.fit import Fitter, Kind
from huiju.scheduling.market import ANY, Market
from huiju.scheduling.model import Avoid, Center, Job, JobShape, Placed, Queue
from huiju.scheduling.order import JobClass, Line, place_of
from huiju.scheduling.policy import Policy
from huiju.scheduling.refusal import Want
from huiju.scheduling.share import Tree

FitterKey = tuple[JobShape, tuple[Avoid, ...]]
_MOST_RESIDENCES = 8192


class World:
    """The state behind `Core`; every change is noted so that idle cycles cost nothing."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.tree = Tree()
        self.centers: dict[str, CenterState] = {}
        """Sorted by name."""
        self.jobs: dict[str, Job] = {}
        self.lines: dict[str, Line] = {}
        """Classes of waiting jobs by queue."""
        self.backing: list[tuple[float, str]] = []
        """Heap of jobs that are in no line before a time."""
        self.untold_backing: list[str] = []
        """Jobs in `backing` that were not told why they wait."""
        self.placed: dict[str, Placed] = {}
        self.placed_in: dict[tuple[str, str], dict[str, Placed]] = {}
        """Placed jobs by center and model, and all of a center under `ANY`."""
        self.placed_of: dict[str, dict[str, Placed]] = {}
        """Placed jobs by queue."""
        self._priorities: dict[str, Counter[int]] = {}
        self.stopping: dict[str, str] = {}
        """Placed jobs that were told to stop, and for whom (empty if not known)."""
        self.claims: set[str] = set()
        """Waiting jobs for which others were told to stop."""
        self.now = 0.0
        """The latest time that a cycle ran at."""
        self.changed = True
        self.market = Market()
        self.prices = 0
        """Rises when what a score rests on has changed, besides the job and its place."""
        self.holding: dict[str, CenterState] = {}
        """Centers in which nodes are held."""
        self.wakes_at = inf
        self._fitters: dict[FitterKey, Fitter] = {}
        self._by_identity: dict[int, Fitter] = {}
        """Fitters that avoid no center by the identity of their shape, which they keep alive."""
        self._backing: set[str] = set()
        """The jobs in `backing`."""
        self._gflops: dict[str, int] = {}
        self._ends: dict[tuple[str, str], Ends] = {}
        """By center and model, once somebody asked."""

    def without(self, center: str, policy: Policy) -> World:
        """A copy in which nobody waits and the jobs placed in the center are unknown."""
        made = World(policy)
        made.tree = self.tree.copy()
        made.centers = {name: state.copy(made.market) for name, state in self.centers.items()}
        for uid, placed in self.placed.items():
            if placed.center == center:
                made.tree.add(placed.job.queue, -placed.gflops)
                continue
            made.placed[uid] = placed
            for key in residences(placed):
                made.placed_in.setdefault(key, {})[uid] = placed
        made.stopping = {uid: who for uid, who in self.stopping.items() if uid in made.placed}
        made.now = self.now
        return made

    # --- centers -------------------------------------------------------------------------------

    def set_center(self, center: Center) -> None:
        """Take over a center's newest view."""
        state = self.centers.get(center.name)
        if state is None:
            state = CenterState(center, self.market)
            self.centers[center.name] = state
            self.centers = dict(sorted(self.centers.items()))
        policy, wares = state.policy, state.wares
        self.holding.pop(center.name, None)
        state.replace(center)
        self.changed = True
        if state.wares != wares:
            self._ends.clear()
        if (state.policy, state.wares) != (policy, wares):
            self._repriced()

    def drop_center(self, name: str) -> None:
        """Forget a center; what jobs hold there is still counted until they are dropped."""
        state = self.centers.pop(name, None)
        if state is not None:
            self.holding.pop(name, None)
            self.market.touch(ANY, name, grown=True)
            self.changed = True
            self._ends.clear()
            self._repriced()

    def _repriced(self) -> None:
        self.prices += 1
        self._gflops.clear()

    def hold(self, hold: Hold) -> None:
        """Keep nodes of a center for a job."""
        state = self.centers[hold.center]
        state.hold(hold)
        self.holding[hold.center] = state

    def release_holds(self) -> None:
        """End all holds."""
        for state in self.holding.values():
            state.release_holds()
        self.holding.clear()

    def release(self, uid: str) -> bool:
        """A job needs its hold no longer; returns whether that may leave room to others."""
        room = [state.release_holds(uid) for state in self.holding.values()]
        self.holding = {name: state for name, state in self.holding.items() if state.holds}
        return any(room)

    def gflops(self, model: str) -> int:
        """Normalized compute of one unit of a model, 0 where no center has it."""
        known = self._gflops.get(model)
        if known is None:
            known = max(
                (
                    state.gflops(model, resource)
                    for state in self.centers.values()
                    for resource in state.resources.get(model, ())
                ),
                default=0,
            )
            self._gflops[model] = known
        return known

    # --- queues --------------------------------------------------------------------------------

    def set_queue(self, queue: Queue) -> None:
        """Add or replace a queue."""
        self.tree.set(queue)
        self.changed = True

    def drop_queue(self, name: str) -> None:
        """Forget a queue; its jobs wait for another of this name."""
        self.tree.drop(name)
        self.changed = True

    # --- waiting jobs --------------------------------------------------------------------------

    def set_job(self, job: Job) -> None:
        """A job waits; replaces what was known of it."""
        self.drop_placed(job.uid)
        known = self.jobs.get(job.uid)
        if known is not None and self._same_line(known, job):
            self.jobs[job.uid] = job
            found = self.class_of(job.uid)
            assert found is not None  # noqa: S101 - else it would not be the same line
            found.replace(job)
            return
        self.drop_job(job.uid)
        self.jobs[job.uid] = job
        self.changed = True
        if job.not_before > self.now:
            heapq.heappush(self.backing, (job.not_before, job.uid))
            self.untold_backing.append(job.uid)
            self._backing.add(job.uid)
        else:
            self._join(job)

    def _same_line(self, before: Job, after: Job) -> bool:
        step = self.policy.priority_step
        return (
            before.uid not in self._backing
            and after.not_before <= self.now
            and place_of(before, step) == place_of(after, step)
            and (before.queue, before.shape, before.avoid)
            == (after.queue, after.shape, after.avoid)
            and before.expected_runtime == after.expected_runtime
            and before.max_runtime == after.max_runtime
        )

    def _join(self, job: Job) -> None:
        fitter = self._known_fitter(job)
        if fitter is None:
            fitter = self._fitters[job.shape, job.avoid] = Fitter(job.shape, job.avoid)
            if not job.avoid:
                self._by_identity[id(job.shape)] = fitter
        times = (job.expected_runtime, job.max_runtime)
        kind = fitter.kinds.get(times)
        if kind is None:
            kind = fitter.kinds[times] = Kind(fitter, *times)
        line = self.lines.get(job.queue)
        if line is None:
            line = self.lines[job.queue] = Line()
        found = line.classes.get(kind)
        if found is None:
            found = line.classes[kind] = JobClass(job.queue, kind, self.policy.priority_step)
            kind.users += 1
        line.add(found, job)

    def _known_fitter(self, job: Job) -> Fitter | None:
        if not job.avoid:
            # Equal shapes are mostly one object; to find it takes less than to hash a shape.
            found = self._by_identity.get(id(job.shape))
            if found is not None and found.shape is job.shape:
                return found
        return self._fitters.get((job.shape, job.avoid))

    def drop_job(self, uid: str) -> None:
        """A job waits no longer."""
        found = self.class_of(uid)
        job = self.jobs.pop(uid, None)
        self.claims.discard(uid)
        self._backing.discard(uid)
        if job is None or found is None:
            return
        self.changed = True
        self.lines[found.queue].remove(found, job)
        if not found.line:
            self._drop_class(found)

    def _drop_class(self, found: JobClass) -> None:
        line, kind = self.lines[found.queue], found.key
        del line.classes[kind]
        if not line.classes:
            del self.lines[found.queue]
        kind.users -= 1
        if kind.users:
            return
        fitter = kind.fitter
        del fitter.kinds[kind.expected_runtime, kind.max_runtime]
        if not fitter.kinds:
            del self._fitters[fitter.shape, fitter.avoid]
            if self._by_identity.get(id(fitter.shape)) is fitter:
                del self._by_identity[id(fitter.shape)]

    def fitters(self) -> Iterable[Fitter]:
        """One for each distinct shape that waits."""
        return self._fitters.values()

    def class_of(self, uid: str) -> JobClass | None:
        """The class that a waiting job is in, None while it backs off."""
        job = self.jobs.get(uid)
        if job is None or uid in self._backing:
            return None
        fitter = self._known_fitter(job)
        line = self.lines.get(job.queue)
        if fitter is None or line is None:
            return None
        return line.classes[fitter.kinds[job.expected_runtime, job.max_runtime]]

    def fitter(self, job: Job) -> Fitter:
        """The fitter of a job that need not be waiting."""
        return self._known_fitter(job) or Fitter(job.shape, job.avoid)

    def wake(self, now: float) -> None:
        """It is `now`: jobs whose time has come join their lines."""
        self.now = now
        while self.backing and self.backing[0][0] <= now:
            when, uid = heapq.heappop(self.backing)
            job = self.jobs.get(uid)
            if job is not None and job.not_before == when and uid in self._backing:
                self._backing.remove(uid)
                self._join(job)
                self.changed = True

    # --- placed jobs ---------------------------------------------------------------------------

    def set_placed(self, placed: Placed) -> None:
        """A job holds a placement."""
        uid = placed.job.uid
        self.drop_job(uid)
        self._forget_placed(uid)
        self.placed[uid] = placed
        self.tree.add(placed.job.queue, placed.gflops)
        self._priorities.setdefault(placed.job.queue, Counter())[placed.job.priority] += 1
        self.placed_of.setdefault(placed.job.queue, {})[uid] = placed
        for key in residences(placed):
            self.placed_in.setdefault(key, {})[uid] = placed
            if key in self._ends:
                self._ends[key].add(placed, stopping=uid in self.stopping)
        self.changed = True

    def outranks(self, job: Job) -> bool:
        """Whether a job of lower priority is placed in the job's queue."""
        held = self._priorities.get(job.queue)
        return held is not None and any(n and p < job.priority for p, n in held.items())

    def stop(self, placed: Placed, beneficiary: str) -> None:
        """A placed job was told to stop; from now on it is expected to end at any moment."""
        self.stopping[placed.job.uid] = beneficiary
        if beneficiary in self.jobs:
            self.claims.add(beneficiary)
        for key in residences(placed):
            if key in self._ends:
                self._ends[key].add(placed, stopping=True)

    def drop_placed(self, uid: str) -> None:
        """A job holds no placement any more; the center's next view shows what it frees."""
        self.stopping.pop(uid, None)
        self._forget_placed(uid)

    def _forget_placed(self, uid: str) -> None:
        placed = self.placed.pop(uid, None)
        if placed is None:
            return
        for key in residences(placed):
            here = self.placed_in[key]
            del here[uid]
            if not here:
                del self.placed_in[key]
            if key in self._ends:
                self._ends[key].remove(uid)
        self.tree.add(placed.job.queue, -placed.gflops)
        self._priorities[placed.job.queue][placed.job.priority] -= 1
        del self.placed_of[placed.job.queue][uid]
        self.changed = True

    def ends(self, state: CenterState, want: Want, now: float, speed: Speed) -> Ends:
        """The same jobs by expected end, as seen at `now`; those told to stop end at once."""
        key = (state.center.name, group_of(state, want))
        known = self._ends.get(key)
        if known is None:
            known = self._ends[key] = Ends()
            for uid, placed in self.placed_in.get(key, {}).items():
                known.add(placed, stopping=uid in self.stopping)
        return known.follow(now, speed)


def group_of(state: CenterState, want: Want) -> str:
    """Whose jobs may hold something on nodes that offer the model: this model's, or all (`ANY`)."""
    return ANY if state.index[want.model, want.resource].mixed else want.model


_Residences = tuple[tuple[str, str], tuple[str, str]]


def residences(placed: Placed) -> _Residences:
    """Under what a placed job is found: center and model, and the center with `ANY`."""
    return _residences(placed.center, placed.job.shape.alternatives[placed.alternative].model)


@lru_cache(maxsize=_MOST_RESIDENCES)
def _residences(center: str, model: str) -> _Residences:
    return (center, model), (center, ANY)
