"""Checkpoints and outputs by epoch: what a pod is told, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from huiju.api.reasons import Reason
from huiju.centers.lease import PROFILES, LeaseTerms, sentinel_url
from huiju.centers.render import RenderRefused, render
from huiju.guard.terms import read_prepare_terms
from tests.unit.centers.workloads import job, target

LEASE = LeaseTerms(sentinel_url("huiju-system"), PROFILES["default"])
SAVED = {"period": "10m", "directory": "/lake/checkpoints"}
CLAIM = {"name": "lake", "persistentVolumeClaim": {"claimName": "lake"}}
MOUNT = {"name": "lake", "mountPath": "/lake", "subPath": "team-a"}


def template(
    mounts: Any = (MOUNT,), volumes: Any = (CLAIM,), main: Any = None, **spec: Any
) -> dict[str, Any]:
    container = {"name": "train", "image": "i", "volumeMounts": list(mounts), **(main or {})}
    return {"spec": {"containers": [container], "volumes": list(volumes), **spec}}


def rendered(body: Any = None, *, epoch: int = 3, lease: Any = None, **spec: Any) -> dict[str, Any]:
    view = job(body or template(), **spec)
    bundle = render(view, target(epoch=epoch, image="huiju:1", lease=lease))
    found: dict[str, Any] = bundle.objects[-1]["spec"]["template"]["spec"]
    return found


def variables(container: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one.get("value", "") for one in container["env"]}


def test_each_attempt_has_folders_of_its_own() -> None:
    output = {"directory": "/lake/out"}
    told = [
        variables(rendered(epoch=n, checkpoint=SAVED, output=output)["containers"][0])
        for n in (1, 2)
    ]
    for name, base in (
        ("HUIJU_CHECKPOINT_DIR", "/lake/checkpoints/train-"),
        ("HUIJU_OUTPUT_DIR", "/lake/out/train-"),
    ):
        first, second = told[0][name], told[1][name]
        assert first.startswith(base)
        assert (first[-3:], second[-3:]) == ("/e1", "/e2")
        assert first[:-3] == second[:-3]
    assert told[0]["HUIJU_RESUME_FROM"] == "/huiju/resume"


def test_jobs_of_one_name_that_follow_each_other_share_no_folder() -> None:
    first, second = job(template(), checkpoint=SAVED), job(template(), checkpoint=SAVED)
    second.metadata.uid = "11111111-2222-3333-4444-555555555555"
    places = {
        variables(
            render(one, target(image="huiju:1")).objects[-1]["spec"]["template"]["spec"][
                "containers"
            ][0]
        )["HUIJU_CHECKPOINT_DIR"]
        for one in (first, second)
    }
    assert len(places) == 2


def test_the_step_sees_the_checkpoints_and_writes_only_its_link() -> None:
    spec = rendered(checkpoint=SAVED)
    (step,) = spec["initContainers"]
    assert (step["name"], step["args"], step["image"]) == ("huiju-prepare", ["prepare"], "huiju:1")
    lake, link = step["volumeMounts"]
    assert lake == {**MOUNT, "readOnly": True}
    assert link == {"name": "huiju-attempt", "mountPath": "/huiju"}
    main = spec["containers"][0]
    assert {**link, "readOnly": True} in main["volumeMounts"]
    assert MOUNT in main["volumeMounts"], "the job itself writes there"
    read = read_prepare_terms(variables(step))
    assert read.attempts == variables(main)["HUIJU_CHECKPOINT_DIR"].removesuffix("/e3")
    assert (read.epoch, read.marker, read.resume, read.gate) == (
        3,
        "COMPLETE",
        "/huiju/resume",
        None,
    )


def test_the_step_is_the_user_that_the_checkpoints_belong_to() -> None:
    def security(body: dict[str, Any]) -> dict[str, Any]:
        (step,) = rendered(body, checkpoint=SAVED)["initContainers"]
        found: dict[str, Any] = step["securityContext"]
        assert found["capabilities"] == {"drop": ["ALL"]}
        assert found["allowPrivilegeEscalation"] is False
        return found

    assert security(template())["runAsUser"] == 65532
    own = security(template(securityContext={"runAsUser": 1000, "runAsGroup": 100}))
    assert (own["runAsUser"], own["runAsGroup"], own["runAsNonRoot"]) == (1000, 100, True)
    root = security(template(main={"securityContext": {"runAsUser": 0}}))
    assert (root["runAsUser"], root["runAsNonRoot"]) == (0, False)


def test_a_guarded_pod_with_steps_of_its_own_looks_at_the_lease_again() -> None:
    fetch = {"name": "fetch", "image": "f"}
    names = [
        [one["name"] for one in rendered(template(**more), lease=LEASE)["initContainers"]]
        for more in ({}, {"initContainers": [fetch]})
    ]
    assert names == [["huiju-guard"], ["huiju-guard", "fetch", "huiju-prepare"]]
    step = rendered(template(initContainers=[fetch]), lease=LEASE)["initContainers"][2]
    gate = variables(step)["HUIJU_PREPARE_GATE"].replace("$(HUIJU_POD_IP)", "10.0.0.1")
    read = read_prepare_terms({"HUIJU_PREPARE_GATE": gate})
    assert read.gate == ("10.0.0.1", 29490, "/started")
    assert "volumeMounts" not in step


def test_without_a_directory_nothing_is_added() -> None:
    spec = rendered(checkpoint={"period": "10m"})
    assert "initContainers" not in spec
    assert not {name for name in variables(spec["containers"][0]) if "CHECKPOINT" in name}


@pytest.mark.parametrize(
    ("body", "cure"),
    [
        (template(mounts=()), "mount one"),
        (template(mounts=[{"name": "lake", "mountPath": "/lakes"}]), "mount one"),
        (template(mounts=[{**MOUNT, "readOnly": True}]), "take readOnly out"),
        (
            template(mounts=[{"name": "lake", "mountPath": "/lake", "subPathExpr": "$(X)"}]),
            "subPath",
        ),
        (template(volumes=[{"name": "lake", "emptyDir": {}}]), "emptyDir"),
        (
            template(
                mounts=[MOUNT, {"name": "tmp", "mountPath": "/lake/checkpoints"}],
                volumes=[CLAIM, {"name": "tmp", "emptyDir": {}}],
            ),
            "emptyDir",
        ),
    ],
)
@pytest.mark.parametrize("field", ["checkpoint", "output"])
def test_what_would_go_with_the_pod_is_refused(body: Any, cure: str, field: str) -> None:
    view = job(body, **{field: SAVED})
    with pytest.raises(RenderRefused) as refusal:
        render(view, target(image="huiju:1"))
    assert refusal.value.reason is Reason.INVALID_SPEC
    assert refusal.value.message.startswith(f"spec.{field}.directory: /lake/checkpoints lies in")
    assert cure in refusal.value.message


def test_a_hub_that_knows_no_image_says_so() -> None:
    with pytest.raises(RenderRefused, match="--guard-image"):
        render(job(template(), checkpoint=SAVED), target())


def test_a_path_is_taken_as_it_stands() -> None:
    mount = {"name": "lake", "mountPath": "/$(HOME)"}
    spec = rendered(template(mounts=[mount]), checkpoint={"period": "1m", "directory": "/$(HOME)"})
    assert variables(spec["containers"][0])["HUIJU_CHECKPOINT_DIR"].startswith("/$$(HOME)/")
