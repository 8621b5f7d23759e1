"""How many calls of jobs may be under way in one center, so that a slow one delays no other.

The hub's workers are shared by all centers, and a call to a center that never answers lasts until
its deadline. Decides who may call now; who may not is parked and woken when a place comes free.
Invariants: at most `width` calls are under way, and after one that ran out of time only one until
the center answers in time again; whoever is parked is woken or comes back by itself.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from huiju.kube.clock import boottime
from huiju.kube.errors import Transient

SLOW: Final = 8.0
"""Seconds after which a call counts as one that the center left without an answer."""


class Crowded(Transient):
    """The center has as many calls under way as it may; try again when one of them has ended."""

    def __init__(self, lane: Lane) -> None:
        super().__init__(f"center {lane.center} has not answered {lane.busy} calls yet")
        self.lane = lane


class Lane:
    """The way into one center."""

    def __init__(self, center: str, width: int, clock: Callable[[], float] = boottime) -> None:
        self.center = center
        self.busy = 0
        """Calls under way."""
        self._width = width
        self._allowed = width
        self._clock = clock
        self._parked: OrderedDict[str, Callable[[str], None]] = OrderedDict()

    @property
    def slow(self) -> bool:
        """Whether the last calls were not answered in time."""
        return self._allowed < min(2, self._width)

    def park(self, key: str, wake: Callable[[str], None]) -> None:
        """Call `wake` with the key once there is room."""
        self._parked[key] = wake

    @contextmanager
    def call(self) -> Iterator[None]:
        """A place for one call.

        Raises:
            Crowded: none is free.
        """
        if self.busy >= self._allowed:
            raise Crowded(self)
        self.busy += 1
        started = self._clock()
        try:
            yield
        finally:
            self.busy -= 1
            self._learn(self._clock() - started)
            self._wake()

    def _learn(self, seconds: float) -> None:
        if seconds >= SLOW:
            self._allowed = 1
        else:
            self._allowed = min(self._width, 2 * self._allowed)

    def _wake(self) -> None:
        # As many as may call at all: of those who come some may have nothing to do here any more.
        for _ in range(min(self._allowed, len(self._parked))):
            key, wake = self._parked.popitem(last=False)
            wake(key)
