"""The environment that workers get, per framework."""

from __future__ import annotations

from typing import Any

import pytest

from huiju.centers.launch import (
    Gang,
    Identity,
    add_environment,
    identity_environment,
    launch_environment,
)

INDEX = "metadata.annotations['batch.kubernetes.io/job-completion-index']"


def gang(framework: str = "plain", workers: int = 4, **fields: Any) -> Gang:
    given: dict[str, Any] = {
        "framework": framework,
        "workers": workers,
        "per_worker": 8,
        "processes": None,
        "port": 29500,
        "model": "nvidia-a100-80g",
        "workload": "train-3f2a9-e1",
        **fields,
    }
    return Gang(**given)


def values(variables: list[dict[str, Any]]) -> dict[str, str]:
    return {
        one["name"]: one.get("value") or one["valueFrom"]["fieldRef"]["fieldPath"]
        for one in variables
    }


MASTER = "train-3f2a9-e1-0.train-3f2a9-e1"


@pytest.mark.parametrize(
    ("framework", "expected"),
    [
        ("plain", {"NNODES": "4", "NPROC_PER_NODE": "8", "NODE_RANK": INDEX}),
        ("plain", {"HUIJU_MASTER_ADDR": MASTER, "HUIJU_MASTER_PORT": "29500"}),
        ("torchrun", {"MASTER_ADDR": MASTER, "MASTER_PORT": "29500"}),
        ("torchrun", {"PET_NNODES": "4", "PET_NPROC_PER_NODE": "8", "PET_NODE_RANK": INDEX}),
        ("torchrun", {"PET_MASTER_ADDR": MASTER, "PET_MASTER_PORT": "29500", "NNODES": "4"}),
        ("mindspore", {"MS_SCHED_HOST": MASTER, "MS_SCHED_PORT": "29500", "MS_SERVER_NUM": "0"}),
        ("mindspore", {"MS_WORKER_NUM": "32", "MS_LOCAL_WORKER": "8", "MS_NODE_RANK": INDEX}),
    ],
)
def test_each_framework_gets_what_it_reads(framework: str, expected: dict[str, str]) -> None:
    assert expected.items() <= values(launch_environment(gang(framework))).items()


@pytest.mark.parametrize("framework", ["plain", "torchrun", "mindspore"])
def test_variables_that_mean_different_things_are_never_set(framework: str) -> None:
    names = values(launch_environment(gang(framework)))
    assert not {"RANK", "WORLD_SIZE", "LOCAL_RANK"} & names.keys()
    assert len(names) == len(launch_environment(gang(framework)))


def test_one_worker_needs_no_service() -> None:
    made = values(launch_environment(gang("torchrun", workers=1)))
    assert made["MASTER_ADDR"] == "127.0.0.1"
    assert made["PET_NODE_RANK"] == "0"
    assert made["PET_NNODES"] == "1"


def test_the_number_of_processes_is_the_users_where_given() -> None:
    made = values(launch_environment(gang("mindspore", processes=2)))
    assert made["MS_WORKER_NUM"] == "8"
    assert made["NPROC_PER_NODE"] == "2"


@pytest.mark.parametrize(
    ("model", "workers", "longer"),
    [("ascend-910b3", 4, True), ("ascend-910b3", 1, False), ("nvidia-a100-80g", 4, False)],
)
def test_only_an_ascend_gang_waits_longer_for_its_workers(
    model: str, workers: int, longer: bool
) -> None:
    made = values(launch_environment(gang(workers=workers, model=model)))
    assert ("HCCL_CONNECT_TIMEOUT" in made) == longer


IDENTITY = identity_environment(Identity("train", "team-a", "uid", "south", 3, "ascend-910b3"))


def test_the_identity_names_job_center_and_epoch() -> None:
    assert values(IDENTITY) == {
        "HUIJU_JOB": "train",
        "HUIJU_NAMESPACE": "team-a",
        "HUIJU_JOB_UID": "uid",
        "HUIJU_CENTER": "south",
        "HUIJU_EPOCH": "3",
        "HUIJU_ACCELERATOR": "ascend-910b3",
    }


def test_the_users_own_variables_win_but_for_the_identity() -> None:
    container = {
        "env": [
            {"name": "NODE_RANK", "value": "7"},
            {"name": "HUIJU_EPOCH", "value": "99"},
            {"name": "ARGS", "value": "--nodes=$(NNODES)"},
        ]
    }
    add_environment(container, IDENTITY, launch_environment(gang()))
    names = [one["name"] for one in container["env"]]
    assert len(names) == len(set(names))
    made = values(container["env"])
    assert made["NODE_RANK"] == "7"
    assert made["HUIJU_EPOCH"] == "3"
    assert names.index("NNODES") < names.index("ARGS")
