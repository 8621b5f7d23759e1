"""Prometheus metrics of a center's sentinel; every name starts with `huiju_sentinel_`.

Decides names. Invariant: no labels, so their number never grows.
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from huiju.telemetry.metrics import Family


class SentinelMetrics:
    """All metrics of one sentinel, in a registry of their own; `remaining` tells the lease."""

    def __init__(self, remaining: Callable[[], float]) -> None:
        self.registry = CollectorRegistry()
        self.families: list[Family] = []
        text = "Seconds that the center's lease holds; 0 when it ran out."
        self.families.append(Family("huiju_sentinel_lease_seconds", "gauge", text))
        Gauge("huiju_sentinel_lease_seconds", text, registry=self.registry).set_function(remaining)
        self._asks = self._counter("asks", "Asks for the lease that were written.")
        self._grants = self._counter("grants", "Answers that prolonged the lease or confirmed it.")
        self._stops = self._counter(
            "stops", "Unguarded workloads with failover suspended since the lease ran out."
        )

    def _counter(self, name: str, text: str) -> Counter:
        full = f"huiju_sentinel_{name}_total"
        self.families.append(Family(full, "counter", text))
        return Counter(full, text, registry=self.registry)

    def asked(self) -> None:
        """An ask was written."""
        self._asks.inc()

    def granted(self) -> None:
        """An answer was heard."""
        self._grants.inc()

    def stopped(self) -> None:
        """A workload was suspended."""
        self._stops.inc()

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)
