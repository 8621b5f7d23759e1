"""What the hub learns of run times from jobs that have ended."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from huiju.centers.catalogue.data import catalogue
from huiju.hub.experience import Experience
from huiju.hub.intake import job_of, placed_of
from huiju.hub.objects import JobObject
from huiju.scheduling.learning import NOTHING

START = "2027-01-15T08:00:00Z"
SLOW, FAST = "ascend-910b3", "nvidia-h100-sxm"


def job(name: str = "train", namespace: str = "team-a", **spec: Any) -> JobObject:
    body = {
        "metadata": {"name": name, "namespace": namespace, "uid": name},
        "spec": {
            "queue": "research",
            "accelerators": [{"model": SLOW, "perWorker": 8}, {"model": FAST, "perWorker": 8}],
            "template": {"spec": {"containers": [{"name": "main", "image": "i"}]}},
            "workers": 2,
            **spec,
        },
    }
    return msgspec.json.decode(msgspec.json.encode(body), type=JobObject)


def ended(one: JobObject, minutes: int, alternative: int = 0, **more: Any) -> JobObject:
    """The same job once it has run for so long and ended well."""
    placement = {
        "center": "south",
        "epoch": 1,
        "alternative": alternative,
        "model": one.spec.accelerators[alternative].model,
        "resource": "x/y",
        "namespace": "ns",
        "workload": "w",
        "placedAt": START,
    }
    done = {
        "type": "Complete",
        "status": "True",
        "reason": "Succeeded",
        "lastTransitionTime": START,
    }
    status = {
        "phase": "Succeeded",
        "placement": placement,
        "conditions": [done],
        "startedAt": START,
        "finishedAt": f"2027-01-15T08:{minutes:02d}:00Z",
        **more,
    }
    body = msgspec.to_builtins(one.status) | status
    made = msgspec.convert(body, type=type(one.status))
    return msgspec.structs.replace(one, status=made)


def test_jobs_alike_are_expected_to_run_as_long() -> None:
    known = Experience()
    for at, minutes in enumerate((10, 20, 50)):
        known.saw(None, ended(job(f"j{at}"), minutes))
    told = known.of(job())
    assert (told.expected, told.quantiles) == (1200.0, (600.0, 1200.0, 3000.0))
    for other in (
        job(namespace="team-b"),
        job(queue="other"),
        job(workers=3),
        job(accelerators=[{"model": SLOW, "perWorker": 8}]),
    ):
        assert known.of(other) is NOTHING


def test_a_job_is_learned_from_once() -> None:
    known, runs = Experience(), job()
    done = ended(runs, 10)
    known.saw(None, runs)
    assert known.of(runs) is NOTHING
    known.saw(runs, done)
    known.saw(done, ended(job(), 50))
    known.saw(done, None)
    assert known.of(runs).quantiles == (600.0,)


@pytest.mark.parametrize(
    "status",
    [
        {"phase": "Failed"},
        {"phase": "Cancelled"},
        {"placement": None},
        {"startedAt": ""},
        {"history": [{"center": "a", "epoch": 1, "reason": "Preempted", "endedAt": START}]},
    ],
    ids=str,
)
def test_nothing_is_learned_from_those_that_did_not_run_through(status: dict[str, Any]) -> None:
    known = Experience()
    known.saw(None, ended(job(), 10, **status))
    assert known.of(job()) is NOTHING


def test_times_are_those_of_the_first_alternative() -> None:
    known = Experience()
    known.saw(None, ended(job(), 10, alternative=1))
    models = catalogue().models
    faster = models[FAST].gflops / models[SLOW].gflops
    assert known.of(job()).expected == pytest.approx(600 * faster, rel=0.05)
    told = [{"model": SLOW, "perWorker": 8}, {"model": FAST, "perWorker": 8, "relativeSpeed": "2"}]
    asks = job(accelerators=told, queue="own")
    known.saw(None, ended(asks, 10, alternative=1))
    assert known.of(asks).expected == 1200.0


def test_what_the_user_expects_goes_before_what_was_learned() -> None:
    known = Experience()
    known.saw(None, ended(job(), 10))
    told = known.of(job())
    silent, says = job_of(job(), learned=told), job_of(job(expectedRuntime="2h"), learned=told)
    assert (silent.expected_runtime, silent.runtimes) == (600.0, (600.0,))
    assert (says.expected_runtime, says.runtimes) == (7200.0, (600.0,))
    assert (silent.alike, says.alike) == (1, 0)
    running = msgspec.structs.replace(
        job(), status=msgspec.structs.replace(ended(job(), 10).status, phase="Running")
    )
    placed = placed_of(running, 1000, told)
    assert placed is not None
    assert (placed.job.expected_runtime, placed.job.runtimes) == (600.0, (600.0,))
