"""Jobs, targets, workloads and pods for the tests of a center's workloads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from huiju.api.center import Sharing
from huiju.centers.carried import NOTHING
from huiju.centers.jobview import JobView
from huiju.centers.objects import Pod, Workload
from huiju.centers.render import Target

UID = "3f2a9c01-7d4e-4b6a-9c55-0123456789ab"
HUB = "0a1b2c3d"
RESOURCE = "huawei.com/Ascend910"
T0 = 1_800_000_000.0
"""2027-01-15T08:00:00Z."""


def stamp(seconds: float) -> str:
    """So many seconds after T0, as Kubernetes writes it."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"2027-01-15T{8 + hours:02}:{minutes:02}:{rest:02}Z"


def job(template: Mapping[str, Any] | None = None, **spec: Any) -> JobView:
    """A job of one container, with these fields of its spec changed."""
    container = {"name": "train", "image": "registry.example/pangu:910b"}
    body = {
        "metadata": {
            "name": "train",
            "namespace": "team-a",
            "uid": UID,
            "resourceVersion": "7",
            "generation": 1,
        },
        "spec": {
            "queue": "research",
            "accelerators": [{"model": "ascend-910b3", "perWorker": 8}],
            "template": template or {"spec": {"containers": [container]}},
            **spec,
        },
    }
    return msgspec.convert(body, JobView)


def pod_spec(**fields: Any) -> dict[str, Any]:
    """A template whose pod spec has these fields besides one container."""
    container = {"name": "train", "image": "registry.example/pangu:910b"}
    return {"spec": {"containers": [container], **fields}}


def target(**fields: Any) -> Target:
    """A placement in a center that lends everything."""
    given: dict[str, Any] = {
        "center": "south",
        "hub_id": HUB,
        "epoch": 1,
        "alternative": 0,
        "resource": RESOURCE,
        "model_labels": {},
        "nodes": (),
        "sharing": Sharing(),
        "mirrors": (),
        "carried": NOTHING,
        **fields,
    }
    return Target(**given)


def condition(kind: str, reason: str = "", message: str = "", at: float = 0) -> dict[str, str]:
    """A condition that holds since `at` seconds after T0."""
    return {
        "type": kind,
        "status": "True",
        "reason": reason,
        "message": message,
        "lastTransitionTime": stamp(at),
    }


def workload(
    *conditions: Mapping[str, str],
    workers: int = 1,
    suspend: bool = False,
    annotations: Mapping[str, str] | None = None,
    limit: int | None = None,
    labels: Mapping[str, str] | None = None,
    **status: Any,
) -> Workload:
    """A batch Job that was made at T0."""
    body = {
        "metadata": {
            "name": "train-3f2a9-e1",
            "namespace": "huiju-0a1b2c3d-team-a",
            "uid": "job-uid",
            "resourceVersion": "11",
            "creationTimestamp": stamp(0),
            "labels": dict(labels or {}),
            "annotations": {
                "huiju.dev/origin": f"{HUB}/team-a/train/{UID}/1",
                **(annotations or {}),
            },
        },
        "spec": {"completions": workers, "suspend": suspend, "activeDeadlineSeconds": limit},
        "status": {"conditions": list(conditions), **status},
    }
    return msgspec.convert(body, Workload)


def pod(
    phase: str = "Running",
    *,
    index: int = 0,
    node: str = "n1",
    deleted: float | None = None,
    containers: list[Mapping[str, Any]] | None = None,
    conditions: list[Mapping[str, Any]] | None = None,
    reason: str = "",
    message: str = "",
    guard: Mapping[str, Any] | None = None,
) -> Pod:
    """One worker's pod; `containers` are their states, by default as the phase says, and `guard`
    the state of its guard."""
    by_phase: dict[str, list[Mapping[str, Any]]] = {
        "Running": [running(at=10 + index)],
        "Succeeded": [exited(0)],
        "Failed": [],
        "Pending": [],
    }
    states = by_phase[phase] if containers is None else containers
    body = {
        "metadata": {
            "name": f"train-3f2a9-e1-{index}-abcde",
            "namespace": "huiju-0a1b2c3d-team-a",
            "uid": f"pod-{index}",
            "labels": {"huiju.dev/job-uid": UID, "huiju.dev/epoch": "1"},
            "annotations": {"batch.kubernetes.io/job-completion-index": str(index)},
            "deletionTimestamp": None if deleted is None else stamp(deleted),
        },
        "spec": {"nodeName": node},
        "status": {
            "phase": phase,
            "reason": reason,
            "message": message,
            "conditions": conditions or [],
            "containerStatuses": [
                {"name": "train", "image": "pangu:910b", "state": state} for state in states
            ],
            "initContainerStatuses": [{"name": "huiju-guard", "state": guard}] if guard else [],
        },
    }
    return msgspec.convert(body, Pod)


def running(at: float = 10) -> dict[str, Any]:
    """The state of a container that runs."""
    return {"running": {"startedAt": stamp(at)}}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    """The state of a container that does not run yet."""
    return {"waiting": {"reason": reason, "message": message}}


def exited(
    code: int, *, reason: str = "Error", message: str = "", at: float = 60
) -> dict[str, Any]:
    """The state of a container that ended."""
    return {
        "terminated": {
            "exitCode": code,
            "reason": reason,
            "message": message,
            "startedAt": stamp(10),
            "finishedAt": stamp(at),
        }
    }
