"""What of a placement's plan a restarted hub reads back from the status."""

from __future__ import annotations

from typing import Any

import msgspec

from huiju.hub.intake import job_of, planned, worker_request
from huiju.hub.objects import JobObject, PlacementStatus
from huiju.scheduling.model import CPU, Assignment


def job(workers: int, **spec: Any) -> JobObject:
    body = {
        "metadata": {"name": "train", "namespace": "team-a", "uid": "u1"},
        "spec": {
            "queue": "research",
            "accelerators": [{"model": "ascend-910b3", "perWorker": 1}],
            "template": {"spec": {"containers": [{"name": "main", "image": "i"}]}},
            "workers": workers,
            **spec,
        },
    }
    return msgspec.json.decode(msgspec.json.encode(body), type=JobObject)


def placement(nodes: int, workers: tuple[int, ...] = ()) -> PlacementStatus:
    return PlacementStatus(
        center="south",
        epoch=1,
        alternative=0,
        model="ascend-910b3",
        resource="huawei.com/Ascend910",
        namespace="huiju-x-team-a",
        workload="train-u1-1",
        placed_at="2027-01-15T08:00:00Z",
        nodes=tuple(f"n{number}" for number in range(nodes)),
        node_workers=workers,
    )


def test_every_node_of_a_large_gang_is_kept() -> None:
    plan = planned(job(300), placement(300))
    assert plan == tuple(Assignment(f"n{number}", 1) for number in range(300))


def test_nodes_that_take_unequal_numbers_are_kept_as_planned() -> None:
    assert planned(job(5), placement(3, (1, 3, 1))) == (
        Assignment("n0", 1),
        Assignment("n1", 3),
        Assignment("n2", 1),
    )


def test_numbers_that_do_not_add_up_are_not_believed() -> None:
    plan = planned(job(4), placement(2, (4, 4)))
    assert sum(assignment.workers for assignment in plan) == 4


def test_a_job_with_automatic_failover_needs_centers_that_guard_and_room_for_the_guard() -> None:
    asked = job(1, failover={"policy": "Reschedule"})
    shape = job_of(asked).shape
    assert shape.guarded
    assert dict(shape.request)[CPU] == dict(worker_request(asked, 0, "x/y"))[CPU] == 200, (
        "the guard, and the step that runs beside it"
    )
    for policy in ("Never", "Ask"):
        other = job_of(job(1, failover={"policy": policy})).shape
        assert not other.guarded
        assert CPU not in dict(other.request)


def test_a_job_that_is_looked_after_needs_centers_that_take_the_guard_and_no_sentinel() -> None:
    asked = job(1, progress={"file": "/scratch/beat", "deadline": "10m"})
    shape = job_of(asked).shape
    assert (shape.watched, shape.guarded) == (True, False)
    assert dict(shape.request)[CPU] == 200
    assert not job_of(job(1)).shape.watched
