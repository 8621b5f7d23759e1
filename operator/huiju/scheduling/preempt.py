"""Which jobs stop so that another gets what it is owed.

Decides victims for the head of a line that fits nowhere. There are two grounds: its queue is below
its guarantee and others borrowed, or jobs of lower priority run in its own queue. Invariants: no
victim is taken out of its own queue's guarantee; none that is not preemptible or has run too
briefly; none more than needed; of all choices seen the one that loses the fewest
accelerator-seconds since the last checkpoint (all choices are seen up to `_EXACT` victims a
center).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from huiju.scheduling.model import Job, Placed
from huiju.scheduling.reserve import Room
from huiju.scheduling.share import Share, Tree

_EXACT = 10


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
    dwell: float


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


def choose(
    claim: Claim,
    rooms: Iterable[Room],
    placed_in: Callable[[str], Iterable[Placed]],
    tree: Tree,
    gflops: Callable[[Room], int],
) -> Choice | None:
    """The victims that lose least over all centers, None if no set of them would do."""
    best: Choice | None = None
    for room in rooms:
        amount = gflops(room)
        if tree.ceiling(claim.share, amount) is not None:
            continue
        name = room.state.center.name
        creditor = owed(claim.share, amount)
        allowed = [p for p in placed_in(name) if _may_stop(p, claim, creditor, tree)]
        victims = _least(room, allowed, claim, tree)
        if victims is None:
            continue
        found = Choice(name, sum(loss(v, claim.now) for v in victims), victims, creditor)
        if best is None or _rank(found, claim) < _rank(best, claim):
            best = found
    return best


def _rank(choice: Choice, claim: Claim) -> tuple[float, int, bool, str]:
    away = choice.center != claim.share.home
    return (choice.loss, len(choice.victims), away, choice.center)


def _may_stop(placed: Placed, claim: Claim, creditor: Share | None, tree: Tree) -> bool:
    job = placed.job
    if not job.preemptible or claim.now - placed.started < claim.dwell:
        return False
    if job.queue == claim.job.queue:
        return job.priority < claim.job.priority
    share = tree.share(job.queue)
    if creditor is None:
        return False
    return share is None or creditor not in share.path


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
    allowed = [p for p in allowed if _helps(room, p)] or allowed
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


def _helps(room: Room, placed: Placed) -> bool:
    nodes = {a.node for a in placed.assignments}
    return any(nodes.intersection(block.nodes) for block in room.blocks)


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
