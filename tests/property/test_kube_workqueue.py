"""The work queue against a plain model: once, one at a time, fair, earliest wish, own pauses."""

from __future__ import annotations

import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from huiju.kube.workqueue import KeyedQueue, QueueSettings

KEYS = st.sampled_from([f"{group}/{name}" for group in "abc" for name in "xyz"])
SETTINGS = QueueSettings(base=1.0, longest=8.0, jitter=0.25, capacity=100)


def group_of(key: str) -> str:
    return key.split("/")[0]


class QueueMachine(RuleBasedStateMachine):
    """Drives `KeyedQueue` and a slow, obvious model side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = KeyedQueue(SETTINGS, group=group_of, rng=random.Random(1))
        self.now = 0.0
        self.ready: set[str] = set()
        self.busy: set[str] = set()
        self.dirty: set[str] = set()
        self.due: dict[str, float] = {}
        self.failures: dict[str, int] = {}
        self.passed_over: dict[str, int] = {}

    def _added(self, key: str) -> None:
        (self.dirty if key in self.busy else self.ready).add(key)

    @rule(key=KEYS)
    def add(self, key: str) -> None:
        self.queue.add(key)
        self._added(key)

    @rule(key=KEYS, seconds=st.floats(0.1, 5.0))
    def add_later(self, key: str, seconds: float) -> None:
        when = self.now + seconds
        self.queue.add_at(key, when)
        self.due[key] = min(self.due.get(key, when), when)

    @rule(seconds=st.floats(0.0, 6.0))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        ripe = {key for key, when in self.due.items() if when <= self.now}
        assert self.queue.wake(self.now) == len(ripe)
        for key in ripe:
            del self.due[key]
            self._added(key)

    @precondition(lambda self: self.ready)
    @rule()
    def take(self) -> None:
        key = self.queue.pop()
        assert key in self.ready
        assert key not in self.busy
        self.ready.remove(key)
        self.busy.add(key)
        self.passed_over[group_of(key)] = 0
        for group in {group_of(other) for other in self.ready} - {group_of(key)}:
            self.passed_over[group] = self.passed_over.get(group, 0) + 1
            assert self.passed_over[group] <= 3, "a group was passed over by all the others twice"

    @precondition(lambda self: not self.ready)
    @rule()
    def nothing_to_take(self) -> None:
        assert self.queue.pop() is None

    @precondition(lambda self: self.busy)
    @rule(data=st.data(), well=st.booleans())
    def finish(self, data: st.DataObject, well: bool) -> None:
        key = data.draw(st.sampled_from(sorted(self.busy)))
        if well:
            self.queue.forget(key)
            self.failures.pop(key, None)
        else:
            self.failures[key] = self.failures.get(key, 0) + 1
            full = min(8.0, 2.0 ** (self.failures[key] - 1))
            assert 0.75 * full <= self.queue.failed(key) <= full
        assert self.queue.done(key) == (key in self.dirty)
        self.busy.remove(key)
        if key in self.dirty:
            self.dirty.remove(key)
            self.ready.add(key)

    @invariant()
    def counts_agree(self) -> None:
        assert len(self.queue) == len(self.ready)
        assert self.queue.busy == len(self.busy)
        assert self.queue.delayed == len(self.due)
        assert self.queue.next_due() == (min(self.due.values()) if self.due else None)


QueueMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestQueueMachine = QueueMachine.TestCase
