"""Which jobs stop so that another gets what it is owed.

Decides victims for the head of a line that fits nowhere. There are two grounds: its queue is below
its guarantee and others borrowed, or jobs of lower priority run in its own queue. Invariants: no
victim is taken out of its own queue's guarantee; none that is not preemptible or has run too
briefly; none more than needed; of all choices seen the one that loses the fewest
accelerator-seconds since the last checkpoint (all choices are seen up to `_EXACT` victims a
center).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import inf

from huiju.scheduling.fit import Fitter, Site
from huiju.scheduling.model import Job, Placed
from huiju.scheduling.reserve import Room
from huiju.scheduling.share import Share, Tree
from huiju.scheduling.world import World, group_of, residences

_EXACT = 10
_Key = tuple[str, str]
"""Center and model; `ANY` is all that runs there."""


def loss(placed: Placed, now: float) -> float:
    """Accelerator-seconds that stopping the job throws away."""
    since = placed.started if placed.last_checkpoint is None else placed.last_checkpoint
    period = placed.job.checkpoint_period
    if placed.last_checkpoint is None and period:
        since += (now - since) // period * period
    return placed.units * max(0.0, now - since)


@dataclass(frozen=True, slots=True)
class Claim:
    """A head that may make others stop."""

    job: Job
    share: Share
    now: float


@dataclass(frozen=True, slots=True)
class Choice:
    """Victims in one center, and why."""

    center: str
    loss: float
    victims: tuple[Placed, ...]
    creditor: Share | None = None
    """The queue whose guarantee covers the claim, if one does."""


def owed(share: Share, gflops: int) -> Share | None:
    """The highest queue from here upwards whose guarantee still covers the amount."""
    covered = [s for s in share.path if s.usage + gflops <= s.queue.guarantee]
    return covered[-1] if covered else None


class Stoppable:
    """The jobs that may be stopped at one time, whoever asks."""

    def __init__(self, world: World, now: float) -> None:
        self._world, self._now = world, now
        self._known: dict[_Key, dict[str, list[Placed]]] = {}

    def lower(self, job: Job, keys: Container[_Key]) -> dict[_Key, list[Placed]]:
        """Those of lower priority in the job's own queue, by these centers and models."""
        found: dict[_Key, list[Placed]] = {}
        for placed in self._world.placed_of.get(job.queue, {}).values():
            if placed.job.priority < job.priority:
                here = [key for key in residences(placed) if key in keys]
                if here and self._may(placed):
                    for key in here:
                        found.setdefault(key, []).append(placed)
        return found

    def by_queue(self, key: _Key) -> dict[str, list[Placed]]:
        """Those on a model in a center (`ANY`: on whichever), by queue."""
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = {}
            for placed in self._world.placed_in.get(key, {}).values():
                if self._may(placed):
                    known.setdefault(placed.job.queue, []).append(placed)
        return known

    def _may(self, placed: Placed) -> bool:
        lasted = (
            placed.started < self._now and placed.started <= self._now - self._world.policy.dwell
        )
        return lasted and placed.job.preemptible and placed.job.uid not in self._world.stopping

    def forget(self, center: str) -> None:
        """Some of a center were told to stop."""
        self._known = {key: known for key, known in self._known.items() if key[0] != center}


def choose(
    claim: Claim, fitter: Fitter, sites: Iterable[Site], world: World, stoppable: Stoppable
) -> Choice | None:
    """The victims that lose least over all centers, None if no set of them would do."""
    best: Choice | None = None
    sparing: dict[int, _Sparing] = {}
    places = [
        (state, want, (state.center.name, group_of(state, want)))
        for state, want in sites
        if fitter.most(want, state) >= fitter.shape.workers
    ]
    lower = stoppable.lower(claim.job, {key for _, _, key in places})
    for state, want, key in places:
        amount = want.gflops(state)
        if world.tree.ceiling(claim.share, amount) is not None:
            continue
        creditor = owed(claim.share, amount)
        allowed = lower.get(key, [])
        if creditor is not None:
            spares = sparing.get(id(creditor))
            if spares is None:
                spares = sparing[id(creditor)] = _Sparing(claim, creditor, world.tree)
            allowed = allowed + spares.among(stoppable.by_queue(key))
        if not allowed:
            continue
        victims = _least(Room(fitter, want, state, claim.job.uid), allowed, claim, world.tree)
        if victims is None:
            continue
        name = state.center.name
        found = Choice(name, sum(loss(v, claim.now) for v in victims), victims, creditor)
        if best is None or _rank(found, claim) < _rank(best, claim):
            best = found
    return best


def _rank(choice: Choice, claim: Claim) -> tuple[float, int, bool, str]:
    away = choice.center != claim.share.home
    return (choice.loss, len(choice.victims), away, choice.center)


class _Sparing:
    """Who of other queues may be stopped for a claim: what they hold beyond their guarantees."""

    def __init__(self, claim: Claim, creditor: Share, tree: Tree) -> None:
        self._claim, self._creditor, self._tree = claim, creditor, tree
        self._known: dict[str, float] = {claim.job.queue: 0.0}

    def among(self, by_queue: dict[str, list[Placed]]) -> list[Placed]:
        """Those of other queues that each could be spared."""
        found: list[Placed] = []
        for queue, placed in by_queue.items():
            most = self._known.get(queue)
            if most is None:
                most = self._known[queue] = self._of(queue)
            if most > 0:
                found += [p for p in placed if p.gflops <= most]
        return found

    def _of(self, queue: str) -> float:
        """What the queue, and each queue above it that the claim is not in, hold beyond theirs."""
        share = self._tree.share(queue)
        if share is None:
            return inf
        if self._creditor in share.path:
            return 0.0
        apart = [s for s in share.path if s not in self._claim.share.path]
        return min((s.usage - s.queue.guarantee for s in apart), default=inf)


def _spared(victims: Sequence[Placed], claim: Claim, tree: Tree) -> bool:
    """Whether every queue that loses victims keeps its guarantee."""
    lost: dict[int, int] = {}
    for victim in victims:
        share = tree.share(victim.job.queue)
        for above in share.path if share else ():
            if above in claim.share.path:
                break
            lost[id(above)] = lost.get(id(above), 0) + victim.gflops
            if above.usage - lost[id(above)] < above.queue.guarantee:
                return False
    return True


def _least(
    room: Room, allowed: list[Placed], claim: Claim, tree: Tree
) -> tuple[Placed, ...] | None:
    def fits(victims: Sequence[Placed]) -> bool:
        room.reset()
        for victim in victims:
            room.give_back(victim)
        return room.fits()

    if not allowed or not fits(allowed):
        return None
    allowed = [p for p in allowed if any(room.counts(a.node) for a in p.assignments)] or allowed
    allowed.sort(key=lambda p: (loss(p, claim.now), -p.started, p.job.uid))
    if len(allowed) <= _EXACT:
        return _search(allowed, fits, claim, tree)
    chosen: list[Placed] = []
    for placed in allowed:
        if _spared([*chosen, placed], claim, tree):
            chosen.append(placed)
            if fits(chosen):
                break
    else:
        return None
    for placed in reversed(list(chosen)):
        fewer = [p for p in chosen if p is not placed]
        if fits(fewer):
            chosen = fewer
    return tuple(chosen)


def _search(
    allowed: Sequence[Placed],
    fits: Callable[[Sequence[Placed]], bool],
    claim: Claim,
    tree: Tree,
) -> tuple[Placed, ...] | None:
    best: tuple[float, int, tuple[Placed, ...]] | None = None
    for count in range(1, len(allowed) + 1):
        for victims in combinations(allowed, count):
            cost = (sum(loss(v, claim.now) for v in victims), count)
            if best is not None and cost >= best[:2]:
                continue
            if _spared(victims, claim, tree) and fits(victims):
                best = (*cost, victims)
    return best[2] if best else None
