"""Effective requests, against the rule of the kube-scheduler."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from huiju.centers.objects import PodSpec
from huiju.centers.requests import spec_requests


def asks(cpu: str | None = None, **more: Any) -> dict[str, Any]:
    return {"resources": {"requests": {"cpu": cpu} if cpu else {}}, **more}


def requested(**spec: Any) -> dict[str, int]:
    return spec_requests(msgspec.convert(spec, PodSpec))


def test_containers_add_up_and_a_pod_takes_a_slot() -> None:
    assert requested(containers=[asks("1"), asks("250m")]) == {"cpu": 1250, "pods": 1}


def test_a_limit_stands_in_for_a_missing_request() -> None:
    resources = {"requests": {"cpu": "1"}, "limits": {"cpu": "2", "nvidia.com/gpu": "8"}}
    assert requested(containers=[{"resources": resources}]) == {
        "cpu": 1000,
        "nvidia.com/gpu": 8,
        "pods": 1,
    }


def test_init_containers_run_one_after_the_other() -> None:
    spec = {"containers": [asks("1")], "initContainers": [asks("3"), asks("2")]}
    assert requested(**spec)["cpu"] == 3000


def test_a_sidecar_runs_on_and_counts_with_what_starts_after_it() -> None:
    sidecar = asks("1", restartPolicy="Always")
    before = {"containers": [asks("1")], "initContainers": [asks("3"), sidecar]}
    after = {"containers": [asks("1")], "initContainers": [sidecar, asks("3")]}
    assert requested(**before)["cpu"] == 3000
    assert requested(**after)["cpu"] == 4000


def test_sidecars_before_each_other_add_up() -> None:
    sidecar = asks("1", restartPolicy="Always")
    spec = {"containers": [asks("500m")], "initContainers": [sidecar, asks("2"), sidecar]}
    assert requested(**spec)["cpu"] == 3000


def test_overhead_comes_on_top() -> None:
    assert requested(containers=[asks("1")], overhead={"cpu": "250m"})["cpu"] == 1250


def test_a_request_of_the_whole_pod_replaces_the_sum() -> None:
    spec = {
        "containers": [{"resources": {"requests": {"cpu": "1", "nvidia.com/gpu": "2"}}}],
        "resources": {"requests": {"cpu": "8"}},
        "overhead": {"cpu": "1"},
    }
    assert requested(**spec) == {"cpu": 9000, "nvidia.com/gpu": 2, "pods": 1}


def test_an_empty_pod_takes_only_its_slot() -> None:
    assert requested() == {"pods": 1}


def test_what_is_no_quantity_is_refused() -> None:
    with pytest.raises(ValueError, match="not a quantity"):
        requested(containers=[asks("lots")])
