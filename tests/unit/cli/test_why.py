from __future__ import annotations

from huiju.cli.wait import ended, refused
from huiju.cli.why import lines, of_status

WAITING = {
    "job": "team-a/pretrain",
    "queue": "research",
    "phase": "Queued",
    "reason": "NoNodeFits",
    "message": "No center can take it now.",
    "position": 3,
    "ahead": 2,
    "predictedStart": "1970-01-01T01:00:00Z",
    "basis": "the ends that running jobs have announced",
    "centers": [
        {
            "center": "guiyang",
            "verdict": "Fits",
            "alternative": 0,
            "score": 12.5,
            "terms": [{"name": "wait", "seconds": 12.5}, {"name": "cost", "seconds": 0}],
        },
        {
            "center": "beijing",
            "verdict": "Refused",
            "reason": "NoNodeFits",
            "message": "needs 8 units on each of 4 nodes; 3 nodes have them",
            "alternative": 1,
        },
    ],
}


def test_a_waiting_job() -> None:
    assert lines(WAITING, 0.0) == [
        "Job       team-a/pretrain",
        "Queue     research",
        "Phase     Queued: NoNodeFits",
        "Position  3 in queue research (2 ahead)",
        "Start     expected in 1h (the ends that running jobs have announced)",
        "Message   No center can take it now.",
        "",
        "CENTER    VERDICT   REASON       DETAILS",
        "guiyang   fits      -            alternative 1: score 12.5 s: wait +12.5 s",
        "beijing   refused   NoNodeFits   alternative 2: needs 8 units on each of 4 nodes;"
        " 3 nodes have them",
    ]


def test_what_run_time_is_expected_and_on_what_ground() -> None:
    known = {"expectedRuntime": 5400.0, "expectedRuntimeBasis": "as the job tells"}
    assert lines(WAITING | known, 0.0)[5] == "Run time  expected 1h30m (as the job tells)"
    unknown = {"expectedRuntimeBasis": "nobody tells"}
    assert lines(WAITING | unknown, 0.0)[5] == "Run time  not known (nobody tells)"


def test_what_a_later_start_is_expected_to_cost() -> None:
    terms = [{"name": "until it can start", "seconds": 3600}, {"name": "run", "seconds": 600.5}]
    later = {"center": "guiyang", "alternative": 0, "score": 4200.5, "terms": terms}
    told = lines(WAITING | {"centers": [], "expected": later}, 0.0)
    assert told[5] == (
        "Expected  guiyang, score 4200.5 s: until it can start +3600 s, run +600.5 s"
    )
    second = lines(WAITING | {"centers": [], "expected": later | {"alternative": 1}}, 0.0)
    assert second[5].startswith("Expected  guiyang, alternative 2: score 4200.5 s")


def test_the_next_job_and_a_running_one() -> None:
    assert "(next)" in "\n".join(lines(WAITING | {"ahead": 0, "position": 1}, 0.0))
    running = {
        "job": "a/b",
        "queue": "q",
        "phase": "Running",
        "reason": "Running",
        "placement": {"center": "guiyang", "epoch": 2, "model": "ascend-910b3"},
        "centers": [],
    }
    assert lines(running, 0.0) == [
        "Job       a/b",
        "Queue     q",
        "Phase     Running",
        "Placed    guiyang, on ascend-910b3 (epoch 2)",
    ]


def test_what_the_status_alone_tells() -> None:
    job = {"metadata": {"namespace": "a", "name": "b"}, "spec": {"queue": "q"}}
    assert lines(of_status(job), 0.0) == ["Job       a/b", "Queue     q", "Phase     Queued"]


def test_the_end_is_a_condition() -> None:
    def job(kind: str, status: str) -> dict[str, object]:
        return {"status": {"conditions": [{"type": kind, "status": status}]}}

    assert ended(job("Complete", "True")) is True
    assert ended(job("Failed", "True")) is False
    assert ended(job("Complete", "False")) is None
    assert ended({}) is None
    assert refused(job("Accepted", "False"))
    assert not refused(job("Accepted", "True"))


def test_a_job_that_is_to_lose_its_data_says_when_it_stops() -> None:
    message = "owners/corpus v1: grant b/corpus: Revoked by wang. The job is stopped at 12:00Z."
    job = {
        "metadata": {"namespace": "b", "name": "train"},
        "spec": {"queue": "research"},
        "status": {
            "phase": "Running",
            "reason": "Running",
            "conditions": [{"type": "DataAllowed", "status": "False", "message": message}],
        },
    }
    assert f"Stops     {message}" in lines(of_status(job), 0.0)
    job["status"]["conditions"] = [{"type": "Running", "status": "True"}]  # type: ignore[index]
    assert not any(line.startswith("Stops") for line in lines(of_status(job), 0.0))
