"""What ran when, and what must not have run at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from huiju.guard import terms
from lab.played import environment
from lab.runrecord import START, STOP, Record, Run, Who, overlaps, runs

ONE = Who("east", "team-a", "train-0", "pod-1", "n1", "job-1", 1)
TWO = replace(ONE, cluster="west", pod="train-1", uid="pod-2", epoch=2)


@pytest.mark.parametrize(
    ("first", "second", "meet"),
    [
        ((0.0, 10.0), (10.0, 20.0), False),
        ((0.0, 10.1), (10.0, 20.0), True),
        ((0.0, None), (10.0, 20.0), True),
        ((15.0, None), (10.0, 12.0), False),
        ((0.0, 10.0), (2.0, 3.0), True),
        ((0.0, None), (10.0, None), True),
    ],
)
def test_two_epochs_of_a_job_must_not_meet(
    first: tuple[float, float | None], second: tuple[float, float | None], meet: bool
) -> None:
    found = [Run(ONE, *first), Run(TWO, *second)]
    assert bool(overlaps(found)) is meet
    assert not overlaps([found[0], Run(replace(TWO, epoch=1), *second)]), "workers of one gang"
    assert not overlaps([found[0], Run(replace(TWO, job_uid="other"), *second)])


def test_what_was_noted_is_read_back_and_a_half_line_is_not(tmp_path: Path) -> None:
    path = tmp_path / "runs"
    record = Record(path)
    record.note(START, ONE)
    record.note(START, TWO)
    record.note(STOP, ONE, codes=[0])
    with path.open("ab") as file:
        file.write(b'{"event":"st')
    first, second = runs(path)
    assert (first.who, second.who) == (ONE, TWO)
    assert first.stopped is not None
    assert first.started <= first.stopped
    assert second.stopped is None
    assert runs(tmp_path / "none") == []


def test_variables_are_made_as_a_kubelet_makes_them() -> None:
    pod = {
        "metadata": {
            "name": "p",
            "namespace": "n",
            "uid": "u",
            "annotations": {"batch.kubernetes.io/job-completion-index": "3"},
        },
        "spec": {"nodeName": "n1"},
    }
    index = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    env = [
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "URL", "value": "http://$(IP):1/$(LATER)"},
        {"name": "LATER", "value": "$$(IP) costs 1$"},
        {"name": "RANK", "valueFrom": {"fieldRef": {"fieldPath": index}}},
        {"name": "DIR", "value": "/lake/a"},
        {"name": "OTHER", "value": "/lakes/a"},
        {"name": terms.PROGRESS, "value": '{"file":"/lake/beat"}'},
    ]
    found = environment({"env": env}, pod, "127.0.0.9", {"/lake": Path("/tmp/x")})
    assert found == {
        "IP": "127.0.0.9",
        "URL": "http://127.0.0.9:1/$(LATER)",
        "LATER": "$(IP) costs 1$",
        "RANK": "3",
        "DIR": "/tmp/x/a",
        "OTHER": "/lakes/a",
        terms.PROGRESS: '{"file": "/tmp/x/beat"}',
    }
