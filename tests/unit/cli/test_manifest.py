from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from huiju.api.job import CrossRegionJob
from huiju.cli.failures import UsageError
from huiju.cli.main import build_parser
from huiju.cli.manifest import accelerator, from_files, from_flags, variable


def flags(*words: str) -> argparse.Namespace:
    return build_parser(["submit"]).parse_args(["submit", *words])


def job(*words: str, command: tuple[str, ...] = ()) -> dict[str, Any]:
    return from_flags(flags(*words), command)


LEAST = ("--name", "x", "--queue", "q", "--accelerator", "ascend-910b3:8", "--image", "img")


def test_the_least_job() -> None:
    made = job(*LEAST, command=("python", "train.py", "--lr", "1"))
    assert made["metadata"] == {"name": "x"}
    assert made["spec"] == {
        "queue": "q",
        "accelerators": [{"model": "ascend-910b3", "perWorker": 8}],
        "template": {
            "spec": {
                "containers": [
                    {"name": "main", "image": "img", "command": ["python", "train.py", "--lr", "1"]}
                ]
            }
        },
    }


def test_every_flag_makes_a_job_that_the_model_takes() -> None:
    made = job(
        *LEAST,
        *("--accelerator", "nvidia-a100-80g:8@registry.example:5000/x:cuda"),
        *("--workers", "4", "--framework", "torchrun", "--cpu", "32", "--memory", "256Gi"),
        *("--env", "A=1", "--env", "B=x=y", "--priority", "-5", "--max-runtime", "6h"),
        *("--expected-runtime", "90m", "--region", "south", "--center", "guiyang"),
        *("--failover", "Reschedule", "--attempts", "3"),
    )
    taken = CrossRegionJob.model_validate(made).spec
    assert taken.accelerators[1].image == "registry.example:5000/x:cuda"
    assert taken.priority == -5
    assert taken.retry.max_attempts == 3
    assert taken.placement.regions == ["south"]
    container = taken.template["spec"]["containers"][0]
    assert container["env"] == [{"name": "A", "value": "1"}, {"name": "B", "value": "x=y"}]
    assert container["resources"] == {"requests": {"cpu": "32", "memory": "256Gi"}}


@pytest.mark.parametrize("given", ["ascend-910b3", ":8", "x:", "x:0", "x:-1", "x:eight", "@img"])
def test_accelerators_that_are_none(given: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="MODEL:UNITS"):
        accelerator(given)


def test_variables() -> None:
    assert variable("A=") == {"name": "A", "value": ""}
    with pytest.raises(argparse.ArgumentTypeError, match="NAME=VALUE"):
        variable("A")


@pytest.mark.parametrize(
    ("left_out", "told"),
    [("--name", "--name"), ("--queue", "--queue"), ("--accelerator", "--accelerator")],
)
def test_what_is_missing_is_named(left_out: str, told: str) -> None:
    at = LEAST.index(left_out)
    with pytest.raises(UsageError, match=told):
        job(*LEAST[:at], *LEAST[at + 2 :])


def test_an_image_for_each_alternative_is_enough() -> None:
    assert "image" not in str(job(*LEAST[:4], "--accelerator", "m:8@i")["spec"]["template"])
    with pytest.raises(UsageError, match="--image"):
        job(*LEAST[:6])


JOB = """\
apiVersion: huiju.dev/v1alpha1
kind: CrossRegionJob
metadata: {name: a}
spec: {queue: q}
"""


def test_files_may_hold_several_jobs(tmp_path: Path) -> None:
    file = tmp_path / "jobs.yaml"
    file.write_text(
        f"---\n{JOB}---\n# nothing\n---\n{JOB.replace('name: a', 'name: b, namespace: n')}"
    )
    made = from_files([str(file)])
    assert [(j["metadata"]["name"], j["metadata"].get("namespace")) for j in made] == [
        ("a", None),
        ("b", "n"),
    ]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "no CrossRegionJob"),
        ("- a", "not an object"),
        ("a: [", "line"),
        ("kind: Job\napiVersion: batch/v1", "kubectl apply"),
        (JOB.replace("v1alpha1", "v2"), "apiVersion must be"),
        (JOB.replace("{name: a}", "{}"), "metadata.name"),
        (JOB.replace("{name: a}", "[]"), "metadata.name"),
        (JOB.replace("{queue: q}", "{queue: q, queue: r}"), "line 4.*'queue' is given twice"),
    ],
)
def test_files_that_are_no_jobs(tmp_path: Path, content: str, told: str) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(content)
    with pytest.raises(UsageError, match=told):
        from_files([str(file)])


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        from_files([str(tmp_path / "none.yaml")])
