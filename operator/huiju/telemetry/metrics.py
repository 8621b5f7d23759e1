"""Prometheus metrics of the hub; every name starts with `huiju_`.

Decides names, labels and buckets. Invariant: labels are bounded (queues, centers, models, reasons,
verbs), never a job's name or UID, nor a queue that only a user's job names; beyond `MOST_QUEUES`
queues the rest is shown as one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CYCLE_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
CALL_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0)
WAIT_BUCKETS = (0.1, 1.0, 10.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 43_200.0, 86_400.0)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MOST_QUEUES: Final = 500
"""Queues that are shown by name."""
OTHERS: Final = "(others)"
"""Stands for all queues that are not; no queue can have this name."""
OWN: Final = "(hub)"
"""The credential by which a process is known to the hub's API server."""
CENTER: Final = "(center)"
"""The credential by which an agent is known to its center's."""
SERVING: Final = "(view)"
"""The certificate that the view API serves; no center can have these names."""
LABELS: Final[Mapping[str, str]] = {
    "center": "a ComputeCenter",
    "code": "HTTP status; 0 is no answer",
    "credential": f"the ComputeCenter whose API server takes it; `{OWN}` is that of the hub or"
    f" agent at the hub's own, `{CENTER}` that of an agent in its center, `{SERVING}` the"
    " certificate of the view API",
    "ground": "`guarantee` or `priority`",
    "result": "`Verified`, or the reason why a transfer of a data set ended without a copy",
    "source": "the ComputeCenter that data comes from",
    "model": "accelerator model, such as `ascend-910b3`",
    "queue": f"a ComputeQueue; `{OTHERS}` stands for queues that are gone and for those beyond"
    f" {MOST_QUEUES}",
    "reason": "see [reasons](reference/reasons.md)",
    "resource": "plural of the kind, such as `pods`",
    "server": "`hub`, or the center whose API server is called",
    "state": "of jobs `queued` or `placed`; of units `allocatable` (healthy), `free` (work can"
    " start on them now) or `federated` (the network's jobs hold them)",
    "verb": "`get`, `list`, `watch`, `create`, `patch`, `replace`, `delete`, `patch_status`, …",
}
"""What stands in each label."""
STANDING: Final[Mapping[str, str]] = {
    "usage": "Dense BF16 TFLOPS that jobs of a queue and of all queues below it hold",
    "asked": "TFLOPS that waiting jobs of a queue and of all below it ask for",
    "guarantee": "TFLOPS that a queue gets whenever it asks",
    "share": "TFLOPS that fall to a queue when every queue asks for all that it may have",
    "deserved": "TFLOPS that fall to a queue now, by what it and others hold and ask for",
    "borrowed": "TFLOPS of other queues' guarantees that a queue holds",
    "lent": "TFLOPS of a queue's guarantee that other queues hold",
}
"""Figures of a queue that are shown."""
GFLOPS_PER_TFLOPS: Final = 1000


class QueueCount(Protocol):
    """Jobs and compute of one queue."""

    @property
    def queued(self) -> int:
        """Jobs that wait."""

    @property
    def running(self) -> int:
        """Jobs that hold a placement."""

    @property
    def gflops(self) -> int:
        """Normalized compute that they hold."""


class Standing(Protocol):
    """Where one queue stands, together with all queues below it; GFLOPS."""

    @property
    def queue(self) -> str:
        """The queue's name."""

    @property
    def guarantee(self) -> int:
        """What it gets whenever it asks."""

    @property
    def usage(self) -> int:
        """What placed jobs hold."""

    @property
    def asked(self) -> int:
        """What waiting jobs ask for."""

    @property
    def share(self) -> int:
        """What falls to it when every queue asks."""

    @property
    def deserved(self) -> int:
        """What falls to it now."""

    @property
    def borrowed(self) -> int:
        """What it holds of others' guarantees."""

    @property
    def lent(self) -> int:
        """What others hold of its guarantee."""


class Units(Protocol):
    """One accelerator model in one center."""

    @property
    def model(self) -> str:
        """Accelerator model."""

    @property
    def allocatable(self) -> int:
        """Healthy units."""

    @property
    def free(self) -> int:
        """Units free where work can start now."""

    @property
    def federated(self) -> int:
        """Units that federated jobs hold."""


class CenterFigures(Protocol):
    """One center, as the metrics show it."""

    @property
    def name(self) -> str:
        """The center's name."""

    @property
    def lost(self) -> bool:
        """Whether it gives no sign of life."""

    @property
    def synced(self) -> bool:
        """Whether all that it holds is known."""

    def units(self) -> Iterable[Units]:
        """Its accelerators by model."""

    def lease_left(self) -> float:
        """Seconds that its lease holds at least."""

    @property
    def faulty_nodes(self) -> Mapping[str, bool]:
        """Nodes on which hardware failed lately, each with whether it is set aside for all."""


class LinkFigures(Protocol):
    """A directed link, or the way within a center."""

    @property
    def source(self) -> str:
        """Where the data comes from."""

    @property
    def center(self) -> str:
        """Where it goes to."""

    @property
    def transfers(self) -> int:
        """Transfers that are under way."""

    @property
    def rate(self) -> int:
        """Bytes per second that they report together."""

    @property
    def budget(self) -> int:
        """Bytes per second that the link is declared with; 0 is without limit."""


class Life(Protocol):
    """From when to when a credential is good; seconds since the epoch."""

    @property
    def begins(self) -> float:
        """When it was issued."""

    @property
    def ends(self) -> float:
        """When it ends."""


@dataclass(frozen=True, slots=True)
class Family:
    """One metric, as its page tells it."""

    name: str
    kind: str
    text: str
    labels: Sequence[str] = ()
    buckets: Sequence[float] = ()


class HubMetrics:
    """All metrics of one hub process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.families: list[Family] = []
        self._named: set[str] = set()
        """Queues that are shown by name."""
        self._timed: set[str] = set()
        """Queues for which there is a series of waits."""
        self._cycle = self._histogram(
            "cycle_seconds", "Duration of a scheduling cycle.", CYCLE_BUCKETS
        )
        self._wait = self._histogram(
            "wait_seconds",
            "Seconds from submission to the decision that placed a job, by queue.",
            WAIT_BUCKETS,
            "queue",
        )
        self._placed = self._counter("placements", "Placements decided.")
        self._failed = self._counter("cycle_failures", "Cycles that ended in an internal error.")
        self._waits = self._counter("waits", "Times that a job began to wait, by reason.", "reason")
        self._failovers = self._counter(
            "failovers", "Jobs that left a lost center to run elsewhere.", "center"
        )
        self._attempts = self._counter(
            "attempts_ended", "Placements that ended, by center and reason.", "center", "reason"
        )
        self._promises = self._counter(
            "promises_broken",
            "Times that a center showed free nodes which jobs sent there did not find.",
            *("center", "model"),
        )
        self._preempted = self._counter(
            "preemptions",
            "Jobs told to stop for another, by ground (guarantee, priority).",
            "ground",
        )
        self._dropped = self._counter("events_dropped", "Events not sent because of too many.")
        self._jobs = self._gauge("jobs", "Jobs by queue and state.", "queue", "state")
        self._held = self._gauge(
            "queue_tflops", "Dense BF16 TFLOPS that a queue's own jobs hold; these add up.", "queue"
        )
        self._standing = {
            figure: self._gauge(f"queue_{figure}_tflops", f"{text}.", "queue")
            for figure, text in STANDING.items()
        }
        self._reachable = self._gauge(
            "center_reachable", "1 if the center answers and is read, 0 if not.", "center"
        )
        self._lease = self._gauge(
            "center_lease_seconds",
            "Seconds that a center's lease holds at least; 0 without a sentinel, or out of reach.",
            "center",
        )
        self._units = self._gauge(
            "center_units", "Accelerator units by center.", "center", "model", "state"
        )
        self._faulty = self._gauge(
            "center_faulty_nodes",
            "Nodes on which hardware failed under jobs lately: suspect (the jobs that failed there"
            " keep off) or set-aside (all jobs do).",
            *("center", "state"),
        )
        self._issued = self._gauge(
            "credential_issued_timestamp_seconds",
            "When a credential in use became good; none where it has no end.",
            "credential",
        )
        self._expiry = self._gauge(
            "credential_expiry_timestamp_seconds",
            "When a credential in use ends; none where it has no end.",
            "credential",
        )
        self._link_bytes = self._counter(
            "link_bytes", "Bytes of data sets that came over a link.", "source", "center"
        )
        self._transfers_ended = self._counter(
            "transfers_ended", "Transfers of data sets that ended.", "source", "center", "result"
        )
        self._links = {
            figure: self._gauge(f"link_{name}", f"{text}.", "source", "center")
            for figure, name, text in (
                ("transfers", "transfers", "Transfers of data sets that are under way on a link"),
                ("rate", "rate_bytes", "Bytes per second that they report together"),
                ("budget", "budget_bytes", "Bytes per second that a link is declared with"),
            )
        }
        self._serving: Life | None = None
        self._calls = self._histogram(
            "api_call_seconds",
            "Calls to API servers; code 0 is no answer.",
            CALL_BUCKETS,
            *("server", "verb", "resource", "code"),
        )

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        full = f"huiju_{name}_total"
        self.families.append(Family(full, "counter", text, labels))
        return Counter(full, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        full = f"huiju_{name}"
        self.families.append(Family(full, "gauge", text, labels))
        return Gauge(full, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: Sequence[float], *labels: str) -> Histogram:
        full = f"huiju_{name}"
        self.families.append(Family(full, "histogram", text, labels, buckets))
        return Histogram(full, text, labels, buckets=buckets, registry=self.registry)

    def cycle(self, seconds: float, placed: int) -> None:
        """A cycle took `seconds` and placed so many jobs."""
        self._cycle.observe(seconds)
        if placed:
            self._placed.inc(placed)

    def waited(self, queue: str, seconds: float) -> None:
        """A job was placed so long after it was submitted; so there is its queue."""
        if len(self._named) < MOST_QUEUES:
            self._named.add(queue)
        name = self._shown(queue)
        self._timed.add(name)
        self._wait.labels(name).observe(max(0.0, seconds))

    def _shown(self, queue: str) -> str:
        return queue if queue in self._named else OTHERS

    def cycle_failed(self) -> None:
        """A cycle raised."""
        self._failed.inc()

    def refused(self, reason: str) -> None:
        """A job began to wait for this reason."""
        self._waits.labels(reason).inc()

    def preempted(self, ground: str) -> None:
        """A job was told to stop for another on this ground."""
        self._preempted.labels(ground).inc()

    def failed_over(self, center: str) -> None:
        """A job left this lost center."""
        self._failovers.labels(center).inc()

    def attempt_ended(self, center: str, reason: str) -> None:
        """A placement in this center is over, well or not."""
        self._attempts.labels(center, reason).inc()

    def promise_broken(self, center: str, model: str) -> None:
        """Jobs did not find the free nodes of this model that the center showed."""
        self._promises.labels(center, model).inc()

    def event_dropped(self) -> None:
        """An event was not sent."""
        self._dropped.inc()

    def observer(self, server: str) -> Callable[[str, str, int, float], None]:
        """What a client calls after each call to `server`."""
        children: dict[tuple[str, str, int], Callable[[float], None]] = {}

        def observe(verb: str, plural: str, code: int, seconds: float) -> None:
            key = (verb, plural, code)
            child = children.get(key)
            if child is None:
                child = self._calls.labels(server, verb, plural, str(code)).observe
                children[key] = child
            child(seconds)

        return observe

    def queues(self, standings: Iterable[Standing]) -> None:
        """Show where these queues stand, and none that is gone."""
        rows = sorted(standings, key=lambda row: row.queue)
        self._named = {row.queue for row in rows[:MOST_QUEUES]}
        for gone in self._timed - self._named - {OTHERS}:
            self._wait.remove(gone)
        self._timed &= self._named | {OTHERS}
        for gauge in self._standing.values():
            gauge.clear()
        for row in rows:
            name = self._shown(row.queue)
            for figure, gauge in self._standing.items():
                gauge.labels(name).inc(getattr(row, figure) / GFLOPS_PER_TFLOPS)

    def population(
        self, queues: Mapping[str, QueueCount], centers: Iterable[CenterFigures]
    ) -> None:
        """Show the jobs of these queues and these centers, and none that is gone."""
        shown = (self._jobs, self._held, self._reachable, self._lease, self._units, self._faulty)
        for gauge in shown:
            gauge.clear()
        for queue, count in queues.items():
            name = self._shown(queue)
            self._jobs.labels(name, "queued").inc(count.queued)
            self._jobs.labels(name, "placed").inc(count.running)
            self._held.labels(name).inc(count.gflops / GFLOPS_PER_TFLOPS)
        for center in centers:
            self._reachable.labels(center.name).set(int(center.synced and not center.lost))
            self._lease.labels(center.name).set(round(center.lease_left(), 1))
            self._center(center)
            aside = list(center.faulty_nodes.values())
            self._faulty.labels(center.name, "suspect").set(aside.count(False))
            self._faulty.labels(center.name, "set-aside").set(aside.count(True))

    def credentials(self, lives: Mapping[str, Life | None]) -> None:
        """Show how long these are good for, by whose API server takes them, and none besides."""
        shown = {name: life for name, life in (*lives.items(), (SERVING, self._serving)) if life}
        for gauge in (self._issued, self._expiry):
            gauge.clear()
        for name, life in shown.items():
            self._issued.labels(name).set(life.begins)
            self._expiry.labels(name).set(life.ends)

    def serving(self, life: Life | None) -> None:
        """The view API serves a certificate that is good for so long; shown with the others."""
        self._serving = life

    def _center(self, center: CenterFigures) -> None:
        for units in center.units():
            for state, amount in (
                ("allocatable", units.allocatable),
                ("free", units.free),
                ("federated", units.federated),
            ):
                gauge = self._units.labels(center.name, units.model, state)
                gauge.inc(amount)  # one model may stand under two resource names

    def links(self, rows: Iterable[LinkFigures]) -> None:
        """Show these links, and none that is gone."""
        for gauge in self._links.values():
            gauge.clear()
        for row in rows:
            for figure, gauge in self._links.items():
                gauge.labels(row.source, row.center).set(getattr(row, figure))

    def link_carried(self, source: str, center: str, size: int) -> None:
        """So many more bytes came over a link."""
        self._link_bytes.labels(source, center).inc(size)

    def transfer_ended(self, source: str, center: str, result: str) -> None:
        """A transfer ended, well or not."""
        self._transfers_ended.labels(source, center, result).inc()

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)
