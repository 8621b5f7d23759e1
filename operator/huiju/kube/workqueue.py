"""Keys waiting to be handled: each once, one at a time, fair between groups, backed off by key.

Decides order and pauses, never what a key means. Invariant: a key added while it is handled is
handled once more, and no key is handled twice at once.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import random
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from huiju.kube.errors import Conflict, KubeError, Transient


class QueueFull(KubeError):
    """More distinct keys wait than the queue was made for."""


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """Bounds of a queue; times in seconds."""

    base: float = 0.5
    """Pause after a key's first failure; doubles with each further one."""
    longest: float = 60.0
    """Longest pause."""
    jitter: float = 0.2
    """Pauses are shortened by up to this part, so that failures do not come back together."""
    capacity: int = 1_000_000
    """Distinct keys that may wait at once."""


class KeyedQueue:
    """The queue's state without a clock or tasks: time is passed in (seconds, never going back)."""

    def __init__(
        self,
        settings: QueueSettings,
        *,
        group: Callable[[str], str],
        rng: random.Random,
    ) -> None:
        self._settings = settings
        self._group = group
        self._rng = rng
        self._ready: OrderedDict[str, OrderedDict[str, None]] = OrderedDict()
        self._size = 0
        self._busy: dict[str, bool] = {}  # handled now -> was added again meanwhile
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._failures: dict[str, int] = {}

    def __len__(self) -> int:
        """Keys that are ready to be handled."""
        return self._size

    @property
    def busy(self) -> int:
        """Keys that are being handled."""
        return len(self._busy)

    @property
    def delayed(self) -> int:
        """Keys that wait for a time."""
        return len(self._due)

    def add(self, key: str) -> None:
        """Make a key ready; one that is ready already stays once, in its place."""
        if key in self._busy:
            self._busy[key] = True
            return
        group = self._group(key)
        keys = self._ready.get(group)
        if keys is None:
            keys = self._ready[group] = OrderedDict()
        elif key in keys:
            return
        if self._size >= self._settings.capacity:
            if not keys:
                del self._ready[group]
            raise QueueFull(f"{self._size} keys wait already")
        keys[key] = None
        self._size += 1

    def add_at(self, key: str, when: float) -> None:
        """Make a key ready at `when`; of several such wishes the earliest counts."""
        known = self._due.get(key)
        if known is not None and known <= when:
            return
        if known is None and len(self._due) >= self._settings.capacity:
            raise QueueFull(f"{len(self._due)} keys wait for their time already")
        self._due[key] = when
        heapq.heappush(self._heap, (when, key))

    def next_due(self) -> float | None:
        """When the next delayed key becomes ready."""
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)  # an earlier wish replaced this one
        return self._heap[0][0] if self._heap else None

    def wake(self, now: float) -> int:
        """Make ready what is due; returns how many keys that were."""
        count = 0
        while (due := self.next_due()) is not None and due <= now:
            _, key = heapq.heappop(self._heap)
            del self._due[key]
            self.add(key)
            count += 1
        return count

    def pop(self) -> str | None:
        """Take the next key: the groups in turn, the oldest of a group first."""
        if not self._size:
            return None
        group, keys = self._ready.popitem(last=False)
        key, _ = keys.popitem(last=False)
        if keys:
            self._ready[group] = keys
        self._size -= 1
        self._busy[key] = False
        return key

    def done(self, key: str) -> bool:
        """Note that a key was handled; True if it is ready again since it was added meanwhile."""
        again = self._busy.pop(key)
        if again:
            self.add(key)
        return again

    def failed(self, key: str) -> float:
        """Note a failure of a key and return the pause before it should be tried again."""
        count = self._failures.get(key, 0) + 1
        self._failures[key] = count
        settings = self._settings
        pause = min(settings.longest, settings.base * 2.0 ** min(count - 1, 60))
        return pause * (1.0 - settings.jitter * self._rng.random())

    def forget(self, key: str) -> None:
        """Start the key's pauses from the beginning: it was handled well."""
        self._failures.pop(key, None)


class WorkQueue:
    """An asyncio work queue of keys, for one event loop.

    `serve` handles keys; a worker of another kind does `key = await queue.get()`, handles it, then
    `forget(key)` or `retry(key)`, and always `done(key)`. Keys of different groups take turns, so
    that a group with much to do (a center, a namespace) delays no other.
    """

    def __init__(
        self,
        *,
        group: Callable[[str], str] = lambda key: "",
        settings: QueueSettings | None = None,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self._state = KeyedQueue(
            settings or QueueSettings(),
            group=group,
            rng=rng or random.Random(),  # noqa: S311  jitter, no secret
        )
        self._clock = clock
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")

    def __len__(self) -> int:
        """Keys that are ready and not yet taken."""
        return len(self._state)

    @property
    def busy(self) -> int:
        """Keys that are being handled."""
        return self._state.busy

    @property
    def delayed(self) -> int:
        """Keys that wait for a time."""
        return self._state.delayed

    def add(self, key: str) -> None:
        """Ask for a key to be handled; asking twice before it is taken is asking once."""
        self._state.add(key)
        self._notify()

    def add_after(self, key: str, seconds: float) -> None:
        """Ask for a key to be handled in `seconds`; of several such wishes the earliest counts."""
        if seconds <= 0:
            self.add(key)
            return
        self._state.add_at(key, self._clock() + seconds)
        self._arm()

    async def get(self) -> str:
        """Wait for the next key and take it; `done(key)` must follow."""
        while True:
            key = self._state.pop()
            if key is not None:
                return key
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self._notify()  # we were chosen, but leave: another must come
                elif waiter in self._waiters:
                    self._waiters.remove(waiter)
                raise

    def done(self, key: str) -> None:
        """Note that a key was handled, well or not."""
        if self._state.done(key):
            self._notify()

    def retry(self, key: str) -> float:
        """Ask for another try after the key's own pause, which is returned in seconds."""
        delay = self._state.failed(key)
        self.add_after(key, delay)
        return delay

    def forget(self, key: str) -> None:
        """Start the key's pauses from the beginning: it was handled well."""
        self._state.forget(key)

    async def serve(
        self,
        handle: Callable[[str], Awaitable[None]],
        *,
        workers: int,
        noun: str,
        log: logging.Logger,
    ) -> None:
        """Have so many workers handle keys until cancelled; `noun` names a key in the log.

        A key whose handling failed comes back after its own pause; a bug with one stops no other.
        """
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self._serve(handle, noun, log))

    async def _serve(
        self, handle: Callable[[str], Awaitable[None]], noun: str, log: logging.Logger
    ) -> None:
        while True:
            key = await self.get()
            try:
                await handle(key)
                self.forget(key)
            except Conflict:
                self.retry(key)  # the watch brings the newer copy and with it the key
            except (Transient, TimeoutError) as error:
                delay = self.retry(key)
                log.info("retrying", extra={noun: key, "error": str(error), "delay_s": delay})
            except KubeError as error:
                delay = self.retry(key)
                log.warning("refused", extra={noun: key, "error": str(error), "delay_s": delay})
            except Exception:
                self.retry(key)
                log.exception("not handled", extra={noun: key})
            finally:
                self.done(key)
            # A pass may have had nothing to wait for: the others must get their turn all the same.
            await asyncio.sleep(0)

    def close(self) -> None:
        """Stop the timer; keys still waiting are dropped with the queue."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _notify(self) -> None:
        """Wake one waiting worker if there is something to take."""
        if not len(self._state):
            return
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _arm(self) -> None:
        """Set the one timer to the next delayed key."""
        due = self._state.next_due()
        if due is None or (self._timer is not None and self._timer_at <= due):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = due
        wait = max(0.0, due - self._clock())
        self._timer = asyncio.get_running_loop().call_later(wait, self._ring)

    def _ring(self) -> None:
        self._timer = None
        for _ in range(self._state.wake(self._clock())):
            self._notify()
        self._arm()
