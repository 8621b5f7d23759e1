"""A network that lives: jobs come, end, fail; nodes and centers go and return; queues change.

After every cycle everything that must hold is checked against the facts that the machine keeps by
itself, and against two more cores: one that hears the same news in another order, and (where
nothing is remembered but what is) one that is made anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from huiju.scheduling import reasons
from huiju.scheduling.core import Core
from huiju.scheduling.model import (
    CPU,
    PODS,
    Alternative,
    Avoid,
    Center,
    Job,
    Outcome,
    Place,
    Preempt,
    Queue,
    ShareLimit,
    vector,
)
from huiju.scheduling.policy import Policy
from tests.scheduling_worlds import A910, B3, H100, as_placed, bucket, job, shape, wants, without

KINDS = (shape(H100, 4, cpu=8000), shape(B3, 8, cpu=16000), shape(A910, 8))
GFLOPS = {a.model: a.gflops for a in (H100, B3, A910)}
CENTERS = ("east", "north", "west")
LEAVES = ("p", "q", "r")
LIMITS = {
    reasons.QUEUE_CEILING,
    reasons.QUEUE_OVER_SHARE,
    reasons.BEHIND_OTHERS,
}
FAULTS = {
    reasons.UNKNOWN_QUEUE,
    reasons.PARENT_MISSING,
    reasons.QUEUE_STOPPED,
    reasons.BACKING_OFF,
}
News = dict[tuple[str, str], Callable[[Core], None]]


@dataclass
class Running:
    """A job that holds nodes."""

    place: Place
    since: float


shapes = st.builds(
    lambda models, size, workers, cpu: wants(
        workers=workers,
        alternatives=tuple(Alternative(m, size) for m in models),
        request=vector({CPU: cpu, PODS: 1}),
    ),
    st.lists(st.sampled_from(sorted(GFLOPS)), min_size=1, max_size=2, unique=True),
    st.sampled_from([1, 1, 2, 4, 8]),
    st.sampled_from([1, 1, 1, 2, 3]),
    st.sampled_from([100, 3000]),
)
amounts = st.sampled_from([0, 0, 1000, 2000, 4000])


class Network(RuleBasedStateMachine):
    """What is, and a core that follows it; nobody is ever stopped."""

    policy = Policy(patience=30.0, starving=60.0, preemption=False)
    remade = True
    """Whether a core made anew must decide the same."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 10.0
        self.core, self.twin = Core(self.policy), Core(self.policy)
        self.whole: dict[str, Center] = {}
        """Centers as they are without the jobs that run there."""
        self.away: set[str] = set()
        self.lost: set[str] = set()
        """Nodes."""
        self.queues: dict[str, Queue] = {}
        self.waiting: dict[str, Job] = {}
        self.running: dict[str, Running] = {}
        self.told: dict[str, str] = {}
        self.news: News = {}
        self.serial = 0

    # --- what happens --------------------------------------------------------------------------

    @initialize(counts=st.lists(st.integers(0, 2), min_size=9, max_size=9), limit=st.integers(0, 6))
    def begin(self, counts: list[int], limit: int) -> None:
        """Three centers with a few nodes, a tree of four queues."""
        for at, name in enumerate(CENTERS):
            buckets = [
                bucket([f"{name}-{i}-{n}" for n in range(counts[3 * at + i])], kind)
                for i, kind in enumerate(KINDS)
                if counts[3 * at + i]
            ]
            limits = (ShareLimit(H100.model, limit, 0),) if name == "west" else ()
            self.whole[name] = Center(name, tuple(buckets), limits=limits)
            self.center_changed(name)
        for queue in (Queue("root"), Queue("p", "root"), Queue("q", "root"), Queue("r")):
            self.queue_changed(queue)

    def center_changed(self, name: str) -> None:
        """The cores hear of a center before the next cycle."""
        if name in self.away:
            self.news["center", name] = lambda core: core.drop_center(name)
        else:
            self.news["center", name] = lambda core: core.set_center(self.view(name))

    def queue_changed(self, queue: Queue) -> None:
        """The same of a queue."""
        self.queues[queue.name] = queue
        self.news["queue", queue.name] = lambda core: core.set_queue(queue)

    def job_changed(self, one: Job) -> None:
        """The same of a job that waits."""
        self.waiting[one.uid] = one
        self.news["job", one.uid] = lambda core: core.set_job(one)

    def view(self, name: str) -> Center:
        """A center as its inventory shows it: without lost nodes, and what runs taken off."""
        whole = self.whole[name]
        held = [r.place for r in self.running.values() if r.place.center == name]
        left = without(whole, held)
        here = Counter[str]()
        for place in held:
            chosen = place.job.shape.alternatives[place.alternative]
            here[chosen.model] += chosen.per_worker * place.job.shape.workers
        return replace(
            left,
            buckets=tuple(b for b in left.buckets if not self.lost.intersection(b.nodes)),
            limits=tuple(replace(x, held=here[x.model]) for x in whole.limits),
        )

    @rule(
        kind=shapes,
        queue=st.sampled_from(LEAVES),
        age=st.integers(0, 5),
        priority=st.integers(0, 1),
        runtime=st.sampled_from([None, 10.0, 40.0]),
        known=st.sampled_from([(), (5.0, 10.0, 25.0, 90.0)]),
        copies=st.integers(1, 3),
    )
    def submit(
        self,
        kind: Any,
        queue: str,
        age: int,
        priority: int,
        runtime: float | None,
        known: tuple[float, ...],
        copies: int,
    ) -> None:
        """Some equal jobs join a queue."""
        for _ in range(copies):
            self.serial += 1
            self.job_changed(
                job(
                    f"j{self.serial:03d}",
                    shape=kind,
                    queue=queue,
                    submitted=self.now - age,
                    priority=priority,
                    expected_runtime=runtime,
                    runtimes=known,
                )
            )

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        """A waiting job is deleted."""
        uid = data.draw(st.sampled_from(sorted(self.waiting)))
        del self.waiting[uid]
        self.told.pop(uid, None)
        self.news["job", uid] = lambda core: forget(core, uid)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        """A running job ends well."""
        self.leave(data.draw(st.sampled_from(sorted(self.running))))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), backoff=st.sampled_from([0.0, 15.0]))
    def fail(self, data: st.DataObject, backoff: float) -> None:
        """A running job fails in its center and is to be tried elsewhere, or later."""
        uid = data.draw(st.sampled_from(sorted(self.running)))
        self.again(uid, backoff)

    def leave(self, uid: str) -> Place:
        """A job holds its nodes no longer."""
        place = self.running.pop(uid).place
        self.news["job", uid] = lambda core: core.drop_placed(uid)
        self.center_changed(place.center)
        return place

    def again(self, uid: str, backoff: float) -> None:
        """The center failed the job: it waits again."""
        place = self.leave(uid)
        avoid = Avoid(place.center, "tests", self.now + 20.0)
        self.job_changed(replace(place.job, avoid=(avoid,), not_before=self.now + backoff))

    @rule(name=st.sampled_from(CENTERS))
    def cordon(self, name: str) -> None:
        """A center is closed to new jobs, or opened again."""
        closed = "" if self.whole[name].closed else reasons.CENTER_CORDONED
        self.whole[name] = replace(self.whole[name], closed=closed)
        self.center_changed(name)

    @rule(name=st.sampled_from(CENTERS), fails=st.booleans())
    def lose_center(self, name: str, fails: bool) -> None:
        """A center is not known any more, or again; its jobs run on, or are lost."""
        if name in self.away:
            self.away.remove(name)
        else:
            self.away.add(name)
            for uid, one in list(self.running.items()):
                if fails and one.place.center == name:
                    self.again(uid, 0.0)
        self.center_changed(name)

    @rule(data=st.data())
    def lose_node(self, data: st.DataObject) -> None:
        """A node is lost with all that runs on it, or comes back."""
        nodes = sorted(n for c in self.whole.values() for b in c.buckets for n in b.nodes)
        if not nodes:
            return
        node = data.draw(st.sampled_from(nodes))
        if node in self.lost:
            self.lost.remove(node)
        else:
            self.lost.add(node)
            for uid, one in list(self.running.items()):
                if any(a.node == node for a in one.place.assignments):
                    self.again(uid, 0.0)
        self.center_changed(node.split("-")[0])

    @rule(
        name=st.sampled_from(["root", *LEAVES]),
        weight=st.integers(1, 3),
        guarantee=amounts,
        ceiling=st.sampled_from([None, None, 2000, 5000]),
        lending=st.sampled_from([None, None, 0, 1000]),
        stopped=st.sampled_from([False, False, False, True]),
    )
    def change_queue(
        self,
        name: str,
        weight: int,
        guarantee: int,
        ceiling: int | None,
        lending: int | None,
        stopped: bool,
    ) -> None:
        """An owner of a queue changes her mind."""
        parent = "root" if name in ("p", "q") else ""
        home = "east" if name == "q" else ""
        self.queue_changed(
            Queue(
                name, parent, weight, guarantee, ceiling, lending, home_center=home, stopped=stopped
            )
        )

    @rule(name=st.sampled_from(["root", "r"]))
    def drop_queue(self, name: str) -> None:
        """A queue is deleted."""
        self.queues.pop(name, None)
        self.news["queue", name] = lambda core: core.drop_queue(name)

    # --- the cycle -----------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.0, 1.0, 10.0, 40.0]))
    def cycle(self, seconds: float) -> None:
        """Time passes, the cores hear the news, each in its order, and decide."""
        self.now += seconds
        self.tell(self.core, self.news.values())
        self.tell(self.twin, reversed(list(self.news.values())))
        fresh = self.fresh() if self.remade else None
        self.news.clear()
        passes = 0
        while passes == 0 or self.core.wakes_at <= self.now:
            self.one_pass(fresh)
            passes += 1
            assert passes < 10
        self.judge_words(fresh)
        assert self.core.cycle(self.now) == Outcome()

    def one_pass(self, fresh: Core | None) -> None:
        """All cores decide the same, and nothing that must not be."""
        outcome = self.core.cycle(self.now)
        self.same(outcome, self.twin.cycle(self.now))
        if fresh is not None:
            assert fresh.cycle(self.now).placed == outcome.placed
        self.judge_places(outcome)
        for preemption in outcome.preempted:
            self.judge_victim(preemption)
        self.follow(outcome)

    @staticmethod
    def tell(core: Core, news: Iterable[Callable[[Core], None]]) -> None:
        """One core hears news."""
        for each in news:
            each(core)

    def fresh(self) -> Core:
        """A core that learns only what is."""
        made = Core(self.policy)
        for queue in self.queues.values():
            made.set_queue(queue)
        for name in CENTERS:
            if name not in self.away:
                made.set_center(self.view(name))
        for uid, one in self.running.items():
            made.set_placed(as_placed(one.place, one.since))
            assert uid == one.place.job.uid
        for waits in self.waiting.values():
            made.set_job(waits)
        return made

    @staticmethod
    def same(first: Outcome, second: Outcome) -> None:
        """The order of news decides nothing."""
        assert first.placed == second.placed
        assert first.preempted == second.preempted
        told = [{(w.job.uid, w.reason, w.message) for w in o.waiting} for o in (first, second)]
        assert told[0] == told[1]

    def follow(self, outcome: Outcome) -> None:
        """What was decided happens."""
        for place in outcome.placed:
            del self.waiting[place.job.uid]
            self.told.pop(place.job.uid, None)
            self.running[place.job.uid] = Running(place, self.now)
            # Which devices a worker got is not known to the next view.
            self.center_changed(place.center)
        for wait in outcome.waiting:
            self.told[wait.job.uid] = wait.reason

    # --- what must hold ------------------------------------------------------------------------

    def judge_places(self, outcome: Outcome) -> None:
        """No double placement; whole gangs on nodes that are there; nobody above a ceiling."""
        seen = set()
        for place in outcome.placed:
            uid, chosen = place.job.uid, place.job.shape.alternatives[place.alternative]
            assert uid in self.waiting
            assert uid not in self.running
            assert uid not in seen
            seen.add(uid)
            assert place.job.not_before <= self.now
            assert not any(a.center == place.center and a.until > self.now for a in place.job.avoid)
            assert place.center not in self.away
            view = self.view(place.center)
            assert not view.closed
            there = {n for b in view.buckets for n in b.nodes}
            assert {a.node for a in place.assignments} <= there
            assert sum(a.workers for a in place.assignments) == place.job.shape.workers
            units = chosen.per_worker * place.job.shape.workers
            assert place.gflops == units * GFLOPS[chosen.model]
        usage = self.usage((place.job.queue, place.gflops) for place in outcome.placed)
        touched = {name for place in outcome.placed for name in self.path(place.job.queue)}
        for name in touched:
            ceiling = self.queues[name].ceiling
            assert ceiling is None or usage[name] <= ceiling

    def usage(self, more: Iterable[tuple[str, int]] = ()) -> Counter[str]:
        """What each queue and all below it hold."""
        found = Counter[str]()
        held = [(r.place.job.queue, r.place.gflops) for r in self.running.values()]
        for queue, gflops in [*held, *more]:
            for name in self.path(queue):
                found[name] += gflops
        return found

    def path(self, queue: str) -> list[str]:
        """The queue and those above it, as far as they exist."""
        found = []
        while queue in self.queues:
            found.append(queue)
            queue = self.queues[queue].parent
        return found

    def judge_victim(self, preemption: Preempt) -> None:
        """Here nobody is stopped."""
        raise AssertionError(preemption)

    def judge_words(self, fresh: Core | None) -> None:
        """Every waiting job is told why, and its explanation agrees with what was decided."""
        assert set(self.told) == set(self.waiting)
        known = {name for name in CENTERS if name not in self.away}
        places = dict[str, set[int | None]]()
        for uid, one in self.waiting.items():
            told = self.core.explain(uid, self.now)
            assert told is not None
            assert fresh is None or told == fresh.explain(uid, self.now)
            assert told.reason == self.told[uid]
            assert told.message
            named = {r.center for r in told.trace.refusals}
            able = {c.center for c in told.trace.candidates}
            assert named | able == known
            for candidate in told.trace.candidates:
                assert abs(candidate.score - sum(candidate.amounts)) < 1e-6
            if told.reason not in FAULTS:
                # Room is left only to those whom a limit of their queue holds back.
                assert not able or told.reason in LIMITS
            if told.reason != reasons.BACKING_OFF:
                seen = places.setdefault(one.queue, set())
                assert told.position not in seen
                seen.add(told.position)
        for uid in self.running:
            assert self.core.explain(uid, self.now) is None

    @invariant()
    def nothing_is_given_twice(self) -> None:
        """No node ever runs more than it has, no limit is broken (`view` raises)."""
        for name, whole in self.whole.items():
            for limit in self.view(name).limits:
                assert limit.held <= limit.limit
            assert whole.name == name


class Stopping(Network):
    """The same with preemption: some run for a while yet after they were told to stop."""

    policy = Policy(patience=30.0, starving=60.0, dwell=5.0, soon=2.0)
    remade = False
    """Whom it has told to stop, and for whom, only the core that told it knows."""

    def __init__(self) -> None:
        super().__init__()
        self.stopping: set[str] = set()

    def judge_victim(self, preemption: Preempt) -> None:
        """Only one that may be stopped, that is not stopping yet, and out of no guarantee."""
        victim = preemption.victim
        uid, queue = victim.job.uid, victim.job.queue
        assert uid in self.running
        assert uid not in self.stopping
        self.stopping.add(uid)
        assert self.now - self.running[uid].since >= self.policy.dwell
        one = self.waiting.get(preemption.beneficiary)
        assert one is not None
        if preemption.ground == "priority":
            assert one.queue == queue
            assert one.priority > victim.job.priority

    def follow(self, outcome: Outcome) -> None:
        """What was decided happens; no queue is brought below its guarantee."""
        super().follow(outcome)
        if not outcome.preempted:
            return
        usage, lost = self.usage(), Counter[str]()
        for preemption in outcome.preempted:
            one = self.waiting.get(preemption.beneficiary)
            spared = self.path(one.queue) if one is not None else []
            for name in self.path(preemption.victim.job.queue):
                if name in spared:
                    break
                lost[name] += preemption.victim.gflops
        for name in lost:
            assert usage[name] - lost[name] >= self.queues[name].guarantee

    @precondition(lambda self: self.stopping)
    @rule(data=st.data())
    def stopped(self, data: st.DataObject) -> None:
        """One that was told to stop has stopped, and waits again at its old place."""
        uid = data.draw(st.sampled_from(sorted(self.stopping)))
        place = self.leave(uid)
        self.job_changed(place.job)

    def leave(self, uid: str) -> Place:
        """It is not stopping any more either."""
        self.stopping.discard(uid)
        return super().leave(uid)


def forget(core: Core, uid: str) -> None:
    """The job is no more, whether the core knew it as waiting or as placed."""
    core.drop_job(uid)
    core.drop_placed(uid)


TestNetwork = Network.TestCase
TestNetwork.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestStopping = Stopping.TestCase
TestStopping.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
