"""The network under a simple rule instead of the scheduling core.

Decides what the rule says: one line over all centers, one for each, or all nodes as one center.
Jobs of one line never wait for room in a center that the rule does not let them use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from random import Random

from huiju.simulation.engine import POOL, Grant, Room, SimJob
from huiju.simulation.rules import Choice, Line, Order, Pool, Taken, fifo
from huiju.simulation.traces import Cluster, TraceJob

_SEPARATOR = "\n"
"""Between center, model and node size in the name of a pool; in no name of a center."""


Prefer = Callable[[Sequence[str], Mapping[str, int], Random], list[str]]
"""Sorts centers, from their names and free accelerators."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A simple policy."""

    order: Order = fifo
    strict: bool = False
    pooled: bool = False
    """All nodes are one center."""
    apart: bool = False
    """Every center has its own line of its own jobs."""
    prefer: Prefer | None = None
    """Order of the centers with room; home first, then by name, without one."""


def most_free(centers: Sequence[str], free: Mapping[str, int], random: Random) -> list[str]:
    """The center with the most free accelerators first."""
    return sorted(centers, key=lambda name: (-free[name], name))


def race(centers: Sequence[str], free: Mapping[str, int], random: Random) -> list[str]:
    """Every center tries, and whichever answers first has the job."""
    found = list(centers)
    random.shuffle(found)
    return found


class Ruled:
    """Centers under a rule."""

    def __init__(
        self, jobs: Sequence[TraceJob], clusters: Sequence[Cluster], rule: Rule, seed: int = 0
    ) -> None:
        self.units: dict[str, int] = {}
        self._rule, self._random = rule, Random(seed)  # noqa: S311 - a simulation
        self._jobs = {uid_of(job): job for job in jobs}
        self._pools: dict[str, Pool] = {}
        self._of_center: dict[str, list[str]] = {}
        self._model: dict[str, str] = {}
        self._node = largest_nodes(clusters)
        for cluster in clusters:
            self._add(cluster, POOL if rule.pooled else cluster.name)
        self._centers = sorted(self._of_center)
        scopes = self._centers if rule.apart else [""]
        self._lines = {
            scope: Line(self._pools, rule.order, self._choice(), strict=rule.strict)
            for scope in scopes
        }
        self._taken: dict[str, tuple[str, Taken]] = {}
        self._changed: dict[str, None] = {}

    def _add(self, cluster: Cluster, center: str) -> None:
        name = _SEPARATOR.join((center, cluster.model, str(cluster.gpus_per_node)))
        before = self._pools.get(name)
        nodes = cluster.nodes + (before.nodes if before else 0)
        self._pools[name] = Pool(nodes, cluster.gpus_per_node)
        self._model[name] = cluster.model
        if before is None:
            self._of_center.setdefault(center, []).append(name)
        units = cluster.nodes * cluster.gpus_per_node
        self.units[center] = self.units.get(center, 0) + units

    @property
    def wakes_at(self) -> float:
        """Rules never ask for a time."""
        return inf

    # --- where jobs may go ---------------------------------------------------------------------

    def _choice(self) -> Choice:
        def choice(job: TraceJob, pools: Mapping[str, Pool]) -> Iterator[str]:
            for center in self._order(job):
                yield from self._within(job, center)

        return choice

    def _within(self, job: TraceJob, center: str) -> Iterator[str]:
        """The center's pools that the job may use, the model that it likes best first.

        Its workers are those that Huiju would see; none is split over nodes.
        """
        worker = worker_of(job.gpus, self._node.get(job.cluster, 8))
        names = [n for n in self._of_center.get(center, ()) if self._pools[n].size >= worker]
        if not job.models:
            yield from names
            return
        for model in job.models:
            yield from (name for name in names if self._model[name] == model)

    def _order(self, job: TraceJob) -> list[str]:
        rule = self._rule
        if rule.pooled:
            return [POOL]
        if rule.apart:
            return [job.cluster]
        if rule.prefer is None:
            return sorted(self._centers, key=lambda name: (name != job.cluster, name))
        free = {center: self.room(center).free for center in self._centers}
        return rule.prefer(self._centers, free, self._random)

    # --- what happens --------------------------------------------------------------------------

    def arrive(self, one: SimJob, now: float) -> None:
        """A job waits, unless no center could ever take it: then it stands in nobody's way."""
        job = self._jobs[one.job.uid]
        if not any(
            self._pools[name].ever(job.gpus)
            for center in self._order(job)
            for name in self._within(job, center)
        ):
            return
        scope = job.cluster if self._rule.apart else ""
        self._lines[scope].join(job)
        self._changed[scope] = None

    def finish(self, one: SimJob) -> None:
        """A job has ended."""
        name, taken = self._taken.pop(one.job.uid)
        self._pools[name].give(taken)
        self._changed[name.partition(_SEPARATOR)[0] if self._rule.apart else ""] = None

    def stop(self, one: SimJob) -> None:
        """Rules stop nobody."""
        raise AssertionError("a rule stopped a job")

    def settle(self) -> None:
        """Rules see at once what comes free."""

    def decide(self, now: float) -> tuple[Sequence[Grant], Sequence[str]]:
        """Serve the lines in which something changed."""
        granted: list[Grant] = []
        for scope in self._changed:
            for start in self._lines[scope].serve():
                uid = uid_of(start.job)
                self._taken[uid] = (start.pool, start.taken)
                center = start.pool.partition(_SEPARATOR)[0]
                granted.append(Grant(uid, center, start.job.gpus))
        self._changed.clear()
        return granted, ()

    def copied(self, dataset: str, centers: frozenset[str]) -> None:
        """Rules do not ask where data is."""

    def room(self, center: str) -> Room:
        """What is free in a center."""
        pools = [self._pools[name] for name in self._of_center[center]]
        return Room(sum(p.free for p in pools), sum(p.whole() for p in pools))

    def reason(self, uid: str, now: float) -> str:
        """Why a job still waits."""
        return "NoNodeFits"


def largest_nodes(clusters: Sequence[Cluster]) -> dict[str, int]:
    """Accelerators of the largest node by cluster."""
    found: dict[str, int] = {}
    for part in clusters:
        found[part.name] = max(found.get(part.name, 1), part.gpus_per_node)
    return found


def worker_of(units: int, node: int) -> int:
    """Accelerators of each worker: as few equal workers as nodes of this size allow."""
    return -(-units // -(-units // node))


def uid_of(job: TraceJob) -> str:
    """The uid under which a recorded job is simulated."""
    return f"{job.index:07d}"
