"""The loop around the cycle: feed what changed, decide, commit, remember who waits and why.

Decides when a cycle runs; what it decides is the scheduler's. Invariants: cycles never overlap; a
decision is reserved in its center's ledger before anything else can be decided; a commit that
fails gives the reservation back.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import time
from math import inf
from typing import Protocol

from huiju.api.reasons import Reason
from huiju.hub.settings import HubSettings
from huiju.hub.waits import Waits
from huiju.scheduling.core import Core
from huiju.scheduling.model import Center, Outcome, Place, Preempt
from huiju.telemetry.metrics import HubMetrics

log = logging.getLogger(__name__)


class Site(Protocol):
    """A center as the dispatcher needs it."""

    def view(self, now: float) -> Center:
        """What the center can run now."""

    def reserve(self, decision: Place, epoch: int) -> None:
        """Keep the decision's units from other decisions until its pods are bound."""


class Dispatcher:
    """Runs cycles when something changed, never more often than `cycle_interval`."""

    def __init__(
        self,
        core: Core,
        waits: Waits,
        metrics: HubMetrics,
        settings: HubSettings,
        hooks: Hooks,
    ) -> None:
        self.core = core
        self._waits = waits
        self._metrics = metrics
        self._settings = settings
        self._hooks = hooks
        self._wake = asyncio.Event()
        self._dirty: set[str] = set()
        self._times: list[float] = []
        self._timer: asyncio.TimerHandle | None = None
        self._rings = inf

    def wake(self) -> None:
        """Something that the scheduler sees has changed."""
        self._wake.set()

    def wake_at(self, when: float) -> None:
        """Something becomes possible at `when` (seconds since the epoch)."""
        heapq.heappush(self._times, when)
        if when == self._times[0]:
            self._wake_soon(when)

    def _wake_soon(self, when: float) -> None:
        """Set the one timer, unless it rings earlier already."""
        if self._timer is not None and not self._timer.cancelled():
            if self._rings <= when:
                return
            self._timer.cancel()
        delay = max(0.0, when - time.time()) + 0.001
        self._rings = when
        self._timer = asyncio.get_running_loop().call_later(delay, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._wake.set()

    def center_changed(self, name: str) -> None:
        """The center's inventory or state has changed."""
        self._dirty.add(name)
        self._wake.set()

    async def run(self) -> None:
        """Run cycles until cancelled; a cycle that raises is a bug and does not end the loop."""
        async with asyncio.TaskGroup() as commits:
            while True:
                await self._wake.wait()
                self._wake.clear()
                if self._hooks.ready():
                    self._cycle_safely(commits)
                await asyncio.sleep(self._settings.cycle_interval)

    def _cycle_safely(self, commits: asyncio.TaskGroup) -> None:
        started = time.perf_counter()
        try:
            outcome = self._cycle()
        except Exception:
            # One bad object must not stop dispatching for everybody; the next event tries again.
            log.exception("cycle failed")
            self._metrics.cycle_failed()
            return
        self._metrics.cycle(time.perf_counter() - started, len(outcome.placed))
        for decision in outcome.placed:
            commits.create_task(self._hooks.commit(decision), name=f"commit {decision.job.name}")

    def _cycle(self) -> Outcome:
        now = time.time()
        dirty, self._dirty = self._dirty, set()
        for name in dirty:
            self._refresh(name, now)
        outcome = self.core.cycle(now)
        for decision in outcome.placed:
            self._waits.drop(decision.job.uid)
            self._metrics.waited(decision.job.queue, now - decision.job.submitted)
            self._hooks.reserve(decision)
        for wait in outcome.waiting:
            self._waits.note(wait.job.uid, wait.reason, wait.message, now)
            self._metrics.refused(wait.reason)
            self._hooks.waiting(wait.job.uid)
        for preemption in outcome.preempted:
            self._metrics.preempted(preemption.ground)
            self._hooks.preempt(preemption)
        self._arm(now)
        return outcome

    def _refresh(self, name: str, now: float) -> None:
        """Take over what a center can run now; one that cannot be viewed takes nothing."""
        site = self._hooks.site(name)
        if site is None:
            self.core.drop_center(name)
            return
        try:
            view = site.view(now)
        except Exception:
            log.exception("center cannot be viewed", extra={"center": name})
            view = Center(
                name=name, closed=Reason.CENTER_NOT_READY, closed_message="See the hub's log."
            )
        self.core.set_center(view)

    def _arm(self, now: float) -> None:
        while self._times and self._times[0] <= now:
            heapq.heappop(self._times)
        due = min(self._times[0] if self._times else inf, self.core.wakes_at)
        if due < inf:
            self._wake_soon(max(due, now))


class Hooks(Protocol):
    """What the dispatcher needs of the hub."""

    def ready(self) -> bool:
        """Whether all jobs and queues are known and this hub leads."""

    def site(self, name: str) -> Site | None:
        """The center of this name."""

    def reserve(self, decision: Place) -> None:
        """Reserve a decision in its center's ledger."""

    def waiting(self, uid: str) -> None:
        """A job's waiting reason changed."""

    def preempt(self, preemption: Preempt) -> None:
        """Stop a placed job gracefully and queue it again."""

    async def commit(self, decision: Place) -> None:
        """Make a decision durable and dispatch it; gives the reservation back on failure."""
