"""Alerts and dashboards ask for what the hub really exports, and every alert has its cure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml

from helm.asked import FILES, expressions, series
from helm.generate import ROOT
from huiju.kube.life import Life
from huiju.scheduling.standing import Standing
from huiju.telemetry.metrics import HubMetrics

GROUPED = re.compile(r"\bby \(([^)]*)\)")


@dataclass(frozen=True)
class Count:
    queued: int = 1
    running: int = 1
    gflops: int = 1


@dataclass(frozen=True)
class Units:
    model: str = "ascend-910b3"
    allocatable: int = 8
    free: int = 4
    federated: int = 2


@dataclass(frozen=True)
class Flow:
    source: str = "west"
    center: str = "east"
    transfers: int = 1
    rate: int = 7
    budget: int = 8


@dataclass(frozen=True)
class Figures:
    name: str = "east"
    lost: bool = False
    synced: bool = True
    faulty_nodes: Mapping[str, bool] = field(default_factory=lambda: {"n1": True})

    def units(self) -> Iterator[Units]:
        yield Units()

    def lease_left(self) -> float:
        return 290.0


def exported() -> dict[str, set[str]]:
    """The labels of every series that a working hub exports."""
    metrics = HubMetrics()
    metrics.cycle(0.01, 1)
    metrics.refused("NoNodeFits")
    metrics.preempted("guarantee")
    metrics.waited("default", 1.0)
    metrics.observer("hub")("list", "nodes", 200, 0.01)
    metrics.queues([Standing("default", 1, 1, 1, 1, 1, 1, 1)])
    metrics.population({"default": Count()}, [Figures()])
    metrics.credentials({"east": Life(1.0, 2.0)})
    metrics.links([Flow()])
    metrics.link_carried("west", "east", 1)
    metrics.transfer_ended("west", "east", "Verified")
    found: dict[str, set[str]] = {}
    for family in metrics.registry.collect():
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_every_expression_names_what_is_exported(where: str, expression: str) -> None:
    known = exported()
    named = series(expression)
    assert named, where
    labels: set[str] = set()
    for name, asked in named:
        assert name in known, f"{where}: the hub exports no {name}"
        labels |= known[name]
        wrong = asked - known[name]
        assert not wrong, f"{where}: {name} has no label {wrong}"
    for group in GROUPED.findall(expression):
        wrong = {label.strip() for label in group.split(",")} - labels
        assert not wrong, f"{where}: groups by {wrong}"
    assert expression.count("(") == expression.count(")")
    assert expression.count("{") == expression.count("}")


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((FILES / "alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


@pytest.mark.parametrize("alert", alerts(), ids=lambda rule: str(rule["alert"]))
def test_every_alert_says_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in ("warning", "critical")
    notes = alert["annotations"]
    assert notes["summary"]
    assert notes["description"].endswith(".")
    page, _, anchor = notes["runbook"].partition("#")
    headings = [
        line.lstrip("# ").strip().lower()
        for line in (ROOT / page).read_text(encoding="utf-8").splitlines()
        if line.startswith("#")
    ]
    assert anchor in headings
    assert anchor == alert["alert"].lower()
    # Whatever the summary is filled in with must be a label of the result.
    by = {label.strip() for group in GROUPED.findall(alert["expr"]) for label in group.split(",")}
    asked = set(re.findall(r"\$labels\.(\w+)", notes["summary"] + notes["description"]))
    assert asked <= by


def test_dashboards_are_told_apart() -> None:
    boards = [json.loads(p.read_text()) for p in sorted((FILES / "dashboards").glob("*.json"))]
    assert len({board["uid"] for board in boards}) == len(boards) == 2
    for board in boards:
        ids = [panel["id"] for panel in board["panels"]]
        assert len(set(ids)) == len(ids)
        assert all(panel["datasource"]["uid"] == "${datasource}" for panel in board["panels"])
