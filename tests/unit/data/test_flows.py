"""What moves on links, as the metrics count it."""

from __future__ import annotations

from typing import Any

from huiju.hub.datasets.flows import Flows, Moving
from huiju.telemetry.metrics import HubMetrics

BEGAN = 1000.0
BUDGETS = {("west", "north"): 125, ("west", "east"): 1250}


def moving(fetched: int | None = 0, begun: float = BEGAN, **more: Any) -> Moving:
    told = {} if fetched is None else {"state": "Running", "rate": 7, "fetched": fetched} | more
    return Moving("r1", 2, "west", "north", told, begun)


def shown(metrics: HubMetrics, name: str, center: str = "north", **labels: str) -> float | None:
    given = {"source": "west", "center": center, **labels}
    return metrics.registry.get_sample_value(f"huiju_{name}", given)


def test_bytes_are_counted_once_and_wasted_ones_too() -> None:
    metrics = HubMetrics()
    flows = Flows(metrics, BEGAN)
    flows.show([moving(None)], BUDGETS)
    for fetched in (0, 40, 40, 100):
        flows.show([moving(fetched)], BUDGETS)
    assert shown(metrics, "link_bytes_total") == 100
    flows.ended(moving(130), "Verified")
    flows.show([], BUDGETS)
    assert shown(metrics, "link_bytes_total") == 130
    assert shown(metrics, "transfers_ended_total", result="Verified") == 1


def test_what_came_before_this_hub_began_is_not_its_to_count() -> None:
    metrics = HubMetrics()
    flows = Flows(metrics, BEGAN)
    flows.show([moving(500, begun=BEGAN - 60)], BUDGETS)
    flows.show([moving(520, begun=BEGAN - 60)], BUDGETS)
    assert shown(metrics, "link_bytes_total") == 20


def test_an_agent_that_begins_anew_takes_nothing_back() -> None:
    metrics = HubMetrics()
    flows = Flows(metrics, BEGAN)
    for fetched in (0, 500, 0, 30):
        flows.show([moving(fetched)], BUDGETS)
    assert shown(metrics, "link_bytes_total") == 530


def test_every_link_is_shown_with_its_budget_and_what_waits_has_no_rate() -> None:
    metrics = HubMetrics()
    flows = Flows(metrics, BEGAN)
    other = Moving("r2", 1, "west", "north", {"state": "Waiting", "rate": 9}, BEGAN)
    flows.show([moving(1), other], BUDGETS)
    assert shown(metrics, "link_transfers") == 2
    assert shown(metrics, "link_rate_bytes") == 7
    assert shown(metrics, "link_budget_bytes") == 125
    assert shown(metrics, "link_transfers", "east") == 0
    flows.show([], {("west", "east"): 1250})
    assert shown(metrics, "link_transfers") is None
