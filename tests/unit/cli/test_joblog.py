"""The queue log: what stands in each column, and that it is read back as a trace."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from huiju.cli.joblog import COLUMNS, homes_of, row, text
from huiju.simulation.traces import read_jobs

NOW = 10_000.0


def job(name: str = "a", created: str = "1970-01-01T00:10:00Z", **status: Any) -> dict[str, Any]:
    accelerators = [
        {"model": "ascend-910b3", "perWorker": 8},
        {"model": "nvidia-a100-80g", "perWorker": 4},
    ]
    return {
        "metadata": {"name": name, "namespace": "team", "creationTimestamp": created},
        "spec": {"queue": "research", "workers": 3, "accelerators": accelerators},
        "status": status,
    }


PLACED = {"center": "north", "alternative": 1, "model": "nvidia-a100-80g"}
STARTED = "1970-01-01T01:00:00Z"  # 3600
ENDED = "1970-01-01T01:30:00.5Z"  # 5400.5


def test_a_job_that_ended_is_measured() -> None:
    done = job(placement=PLACED, startedAt=STARTED, finishedAt=ENDED, phase="Succeeded", epoch=2)
    found = row(done, {"research": "home"}, NOW)
    assert found == {
        "job": "a",
        "namespace": "team",
        "queue": "research",
        "cluster": "home",
        "submit_s": "600",
        "start_s": "3600",
        "end_s": "5400.5",
        "duration_s": "1800.5",
        "duration_basis": "measured",
        "gpus": 12,
        "workers": 3,
        "model": "nvidia-a100-80g",
        "center": "north",
        "status": "Succeeded",
        "reason": "",
        "priority": 0,
        "attempts": 2,
        "user": "team",
        "vc": "research",
    }
    assert set(found) == set(COLUMNS)


@pytest.mark.parametrize(
    ("spec", "status", "duration", "basis"),
    [
        ({}, {}, "", "none"),
        ({}, {"finishedAt": ENDED}, "", "none"),
        ({"expectedRuntime": "2h", "maxRuntime": "3h"}, {}, "7200", "expected"),
        ({"maxRuntime": "3h"}, {}, "10800", "limit"),
        ({}, {"startedAt": STARTED}, "6400", "elapsed"),
        ({"expectedRuntime": "1h", "maxRuntime": "3h"}, {"startedAt": STARTED}, "10800", "limit"),
        ({"expectedRuntime": "1h"}, {"startedAt": STARTED}, "6400", "elapsed"),
        ({"expectedRuntime": "2h"}, {"startedAt": STARTED}, "7200", "expected"),
    ],
)
def test_how_long_a_job_runs_says_what_it_rests_on(
    spec: dict[str, Any], status: dict[str, Any], duration: str, basis: str
) -> None:
    asked = job(**status)
    asked["spec"] |= spec
    found = row(asked, {}, NOW)
    assert (found["duration_s"], found["duration_basis"]) == (duration, basis)
    assert found["gpus"] == 24, "the first alternative, as none is chosen"
    assert found["cluster"] == ""


def test_the_log_is_a_trace_in_the_order_of_submission(tmp_path: Path) -> None:
    late = job("late", "2001-09-09T01:46:40Z", placement=PLACED, startedAt=STARTED)
    early = job("early", "2001-09-09T01:46:39Z", placement=PLACED, phase="Running")
    early["spec"]["expectedRuntime"] = "5m"
    log = tmp_path / "log.csv"
    log.write_text(text([late, early], {"research": "east"}, 1e9))
    first, second = read_jobs(log, {"east"}.__contains__)
    assert (first.submit, first.duration, first.gpus) == (999_999_999.0, 300.0, 12)
    assert (first.cluster, first.user, first.vc) == ("east", "team", "research")
    assert (first.status, second.status) == ("Running", "Queued")
    assert second.submit == 1_000_000_000.0
    assert [line["job"] for line in csv.DictReader(io.StringIO(log.read_text()))] == [
        "early",
        "late",
    ]


def test_no_job_gives_the_titles_alone() -> None:
    assert text([], {}, NOW) == ",".join(COLUMNS) + "\n"


def test_home_centers_come_from_the_nearest_queue_above() -> None:
    def queue(name: str, **spec: Any) -> dict[str, Any]:
        return {"metadata": {"name": name}, "spec": spec}

    queues = [
        queue("lab", homeCenter="east"),
        queue("vision", parent="lab"),
        queue("speech", parent="lab", homeCenter="west"),
        queue("asr", parent="speech"),
        queue("open"),
        queue("lost", parent="gone"),
        queue("ring", parent="ring-2"),
        queue("ring-2", parent="ring"),
    ]
    assert homes_of(queues) == {
        "lab": "east",
        "vision": "east",
        "speech": "west",
        "asr": "west",
    }
