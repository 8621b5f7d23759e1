"""The scheduler's front: tell it what is, run a cycle, ask it why.

Decides nothing by itself; `cycle` decides, `explain` and `whatif` tell. Holds its state between
cycles and follows changes, so that a cycle costs what changed. Not thread-safe; reads no clock: the
caller says what time it is. Invariant: explaining changes no decision.
"""

from __future__ import annotations

from huiju.scheduling.cordon import CordonEffect, whatif_cordon
from huiju.scheduling.cycle import Cycle
from huiju.scheduling.explain import explain, whatif
from huiju.scheduling.model import Center, Explanation, Job, Outcome, Placed, Queue
from huiju.scheduling.policy import Policy
from huiju.scheduling.score import Scorer
from huiju.scheduling.standing import Standing, standings
from huiju.scheduling.world import World


class Core:
    """All that is known of centers, queues and jobs, and the cycle over it."""

    def __init__(self, policy: Policy | None = None) -> None:
        self._world = World(policy or Policy())

    def set_center(self, center: Center) -> None:
        """Take over a center's newest view; what is placed there is already missing from it."""
        self._world.set_center(center)

    def drop_center(self, name: str) -> None:
        """Forget a center; unknown names are ignored."""
        self._world.drop_center(name)

    def set_queue(self, queue: Queue) -> None:
        """Add or replace a queue; its parent may come later."""
        self._world.set_queue(queue)

    def drop_queue(self, name: str) -> None:
        """Forget a queue; its jobs wait until there is another of this name."""
        self._world.drop_queue(name)

    def set_job(self, job: Job) -> None:
        """A job waits; replaces what was known of the job with this uid."""
        self._world.set_job(job)

    def drop_job(self, uid: str) -> None:
        """A job waits no longer; unknown uids are ignored."""
        self._world.drop_job(uid)

    def set_placed(self, placed: Placed) -> None:
        """A job holds a placement. Jobs that a cycle placed are already known as placed."""
        self._world.set_placed(placed)

    def drop_placed(self, uid: str) -> None:
        """A job holds no placement any more; unknown uids are ignored."""
        self._world.drop_placed(uid)

    def told_to_stop(self, uid: str) -> None:
        """A placed job is being stopped by whoever; its room comes free soon."""
        placed = self._world.placed.get(uid)
        if placed is not None and uid not in self._world.stopping:
            self._world.stop(placed, "")

    @property
    def wakes_at(self) -> float:
        """When time alone makes another cycle worth while (seconds since the epoch, or inf)."""
        return self._world.wakes_at

    def cycle(self, now: float) -> Outcome:
        """Decide all that can be decided at `now` (seconds since the epoch)."""
        world = self._world
        world.wake(now)
        if not world.changed and now < world.wakes_at:
            return Outcome()
        cycle = Cycle(world, self._scorer(), now)
        try:
            return cycle.run()
        except BaseException:
            # Nobody will hear of what was placed before the fault: those jobs wait on.
            for place in cycle.placed:
                world.set_job(place.job)
            world.changed = True
            raise

    def explain(self, uid: str, now: float) -> Explanation | None:
        """Why a job waits, None if it does not."""
        return explain(self._world, self._scorer(), uid, now)

    def whatif(self, job: Job, now: float) -> Explanation:
        """Where and when this job would run, were it submitted now."""
        return whatif(self._world, self._scorer(), job, now)

    def whatif_cordon(self, center: str, now: float) -> CordonEffect | None:
        """What cordoning the center would do to the jobs known now, None if it is unknown."""
        return whatif_cordon(self._world, center, now)

    def standings(self) -> tuple[Standing, ...]:
        """What each queue holds, asks for, deserves, borrows and lends, as of the last change."""
        return standings(self._world)

    def _scorer(self) -> Scorer:
        world = self._world
        return Scorer(world.policy, world.centers, world.gflops, world.prices)
