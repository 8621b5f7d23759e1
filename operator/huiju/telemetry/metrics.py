"""Prometheus metrics of the hub; every name starts with `huiju_`.

Decides names, labels and buckets. Invariant: labels are bounded (queues, centers, models, reasons,
verbs), never a job's name or UID.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CYCLE_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
CALL_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0)
WAIT_BUCKETS = (0.1, 1.0, 10.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 43_200.0, 86_400.0)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


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


class HubMetrics:
    """All metrics of one hub process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._cycle = Histogram(
            "huiju_cycle_seconds",
            "Duration of a scheduling cycle.",
            buckets=CYCLE_BUCKETS,
            registry=self.registry,
        )
        self._wait = Histogram(
            "huiju_wait_seconds",
            "Seconds from submission to the decision that placed a job, by queue.",
            ("queue",),
            buckets=WAIT_BUCKETS,
            registry=self.registry,
        )
        self._placed = self._counter("placements", "Placements decided.")
        self._failed = self._counter("cycle_failures", "Cycles that ended in an internal error.")
        self._waits = self._counter("waits", "Times that a job began to wait, by reason.", "reason")
        self._preempted = self._counter(
            "preemptions",
            "Jobs told to stop for another, by ground (guarantee, priority).",
            "ground",
        )
        self._dropped = self._counter("events_dropped", "Events not sent because of too many.")
        self._jobs = self._gauge("jobs", "Jobs by queue and state.", "queue", "state")
        self._usage = self._gauge("queue_tflops", "Dense BF16 TFLOPS held, by queue.", "queue")
        self._reachable = self._gauge(
            "center_reachable", "1 if the center answers and is read, 0 if not.", "center"
        )
        self._units = self._gauge(
            "center_units", "Accelerator units by center.", "center", "model", "state"
        )
        self._calls = Histogram(
            "huiju_api_call_seconds",
            "Calls to API servers; code 0 is no answer.",
            ("server", "verb", "resource", "code"),
            buckets=CALL_BUCKETS,
            registry=self.registry,
        )

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"huiju_{name}_total", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"huiju_{name}", text, labels, registry=self.registry)

    def cycle(self, seconds: float, placed: int) -> None:
        """A cycle took `seconds` and placed so many jobs."""
        self._cycle.observe(seconds)
        if placed:
            self._placed.inc(placed)

    def waited(self, queue: str, seconds: float) -> None:
        """A job of the queue was placed so long after it was submitted."""
        self._wait.labels(queue).observe(max(0.0, seconds))

    def cycle_failed(self) -> None:
        """A cycle raised."""
        self._failed.inc()

    def refused(self, reason: str) -> None:
        """A job began to wait for this reason."""
        self._waits.labels(reason).inc()

    def preempted(self, ground: str) -> None:
        """A job was told to stop for another on this ground."""
        self._preempted.labels(ground).inc()

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

    def population(
        self, queues: Mapping[str, QueueCount], centers: Iterable[CenterFigures]
    ) -> None:
        """Show these queues and centers, and none that is gone."""
        for gauge in (self._jobs, self._usage, self._reachable, self._units):
            gauge.clear()
        for name, count in queues.items():
            self._jobs.labels(name, "queued").set(count.queued)
            self._jobs.labels(name, "placed").set(count.running)
            self._usage.labels(name).set(count.gflops / 1000)
        for center in centers:
            self._reachable.labels(center.name).set(int(center.synced and not center.lost))
            self._center(center)

    def _center(self, center: CenterFigures) -> None:
        for units in center.units():
            for state, amount in (
                ("allocatable", units.allocatable),
                ("free", units.free),
                ("federated", units.federated),
            ):
                gauge = self._units.labels(center.name, units.model, state)
                gauge.inc(amount)  # one model may stand under two resource names

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)
