from __future__ import annotations

from typing import Any

import pytest

from huiju.cli.main import main
from huiju.cli.whatif import cordon_lines, job_lines


def test_a_job_that_would_wait_says_what_for() -> None:
    answer: dict[str, Any] = {
        "job": "a/whatif",
        "queue": "q",
        "reason": "NoNodeFits",
        "position": 1,
        "ahead": 0,
        "basis": "2 job(s) in guiyang end at times nobody told",
        "centers": [{"center": "guiyang", "verdict": "Refused", "reason": "NoNodeFits"}],
    }
    assert job_lines(answer, 0.0) == [
        "Job       a/whatif",
        "Queue     q",
        "Reason    NoNodeFits",
        "Position  1 in queue q (next)",
        "Start     not known (2 job(s) in guiyang end at times nobody told)",
        "",
        "CENTER    VERDICT   REASON       DETAILS",
        "guiyang   refused   NoNodeFits   -",
    ]


def test_what_a_cordon_would_do() -> None:
    running = {"job": "a/r", "equal": 1, "center": "", "basis": "nowhere", "before": _at(3600)}
    waiting = {"job": "a/w", "equal": 3, "center": "beijing", "basis": "fits", "at": _at(0)}
    answer = {"center": "guiyang", "closed": "", "running": [running], "waiting": [waiting]}
    assert cordon_lines(answer, 0.0) == [
        "Center    guiyang",
        "Running   1 job(s) there run on",
        "",
        "JOB   ENDS    IF IT HAD TO LEAVE   START     BASIS",
        "a/r   in 1h   -                    unknown   nowhere",
        "",
        "Waiting   3 job(s) would have started there",
        "",
        "JOB                 STARTS    INSTEAD IN   START   BASIS",
        "a/w (and 2 alike)   unknown   beijing      now     fits",
    ]


def _at(seconds: int) -> str:
    return f"1970-01-01T{seconds // 3600:02}:00:00Z"


def test_one_question_at_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["whatif", "--cordon", "east", "--queue", "q"]) == 2
    assert "one of them" in capsys.readouterr().err
    assert main(["whatif"]) == 2
    assert "missing" in capsys.readouterr().err
