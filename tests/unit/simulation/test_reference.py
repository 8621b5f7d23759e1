"""The simple rules against the published Helios simulator and an independent one, row by row."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

import pytest

from huiju.simulation.clusters import read_clusters
from huiju.simulation.report import Waits, waits_of
from huiju.simulation.rules import fifo, sjf, waits
from huiju.simulation.traces import TraceJob, read_jobs
from tests.simulation_traces import ITP, TRACES, VENUS

Row = dict[str, str]
Figures = tuple[Waits, float]
"""Waits, and the mean run time in seconds."""

_ORDERS = {"fifo": fifo, "sjf": sjf}


def _rows(*origins: str) -> list[Row]:
    with (TRACES / "reference_results.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["origin"] in origins]


@cache
def _read(path: Path) -> tuple[TraceJob, ...]:
    return tuple(read_jobs(path))


@cache
def _jobs(trace: str, scope: str) -> tuple[TraceJob, ...]:
    jobs = _read(ITP if trace.startswith("itp") else VENUS)
    if scope in ("one-pool", "whole cluster"):
        return jobs
    return tuple(job for job in jobs if scope in (job.cluster, job.vc))


@cache
def _waits(trace: str, scope: str, nodes: int, policy: str, mode: str) -> tuple[float, ...]:
    jobs = _jobs(trace, scope)
    return tuple(waits(jobs, nodes, 8, _ORDERS[policy], strict=mode == "strict").values())


def _isolated(row: Row) -> tuple[float, ...]:
    clusters = read_clusters(TRACES / "clusters.csv", "itp", row["trace"].removeprefix("itp-"))
    assert sum(cluster.nodes for cluster in clusters) == int(row["nodes"])
    return tuple(
        wait
        for cluster in clusters
        for wait in _waits(row["trace"], cluster.name, cluster.nodes, row["policy"], row["mode"])
    )


def _figures(row: Row) -> Figures:
    scope = row["scope"]
    if scope == "all-isolated":
        found, scope = _isolated(row), "one-pool"
    else:
        found = _waits(row["trace"], scope, int(row["nodes"]), row["policy"], row["mode"])
    jobs = _jobs(row["trace"], scope)
    return waits_of(found), sum(job.duration for job in jobs) / len(jobs)


def _name(row: Row) -> str:
    return "-".join(row[key] for key in ("trace", "scope", "nodes", "policy", "mode"))


def test_no_row_is_missing() -> None:
    assert (len(_rows("both")), len(_rows("twin"))) == (18, 96)


@pytest.mark.parametrize("row", _rows("both", "twin"), ids=_name)
def test_rules_equal_the_reference(row: Row) -> None:
    found, runtime = _figures(row)
    assert found.jobs == int(row["jobs"])
    assert found.waited == int(row["queued_jobs"])
    assert found.mean == pytest.approx(float(row["mean_queue_s"]), abs=0.001)
    assert found.mean + runtime == pytest.approx(float(row["mean_jct_s"]), abs=0.002)
    assert found.p99 == float(row["p99_queue_s"])
    assert found.longest == float(row["max_queue_s"])
