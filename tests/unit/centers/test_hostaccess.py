"""No pod of a tenant's reaches around its container, in whatever center it would run."""

from __future__ import annotations

from typing import Any

import pytest

from huiju.api.reasons import Reason
from huiju.centers.hostaccess import below
from huiju.centers.render import DispatchRefused, RenderRefused, render
from tests.unit.centers.workloads import job, pod_spec, target


def container(**fields: Any) -> dict[str, Any]:
    return {"name": "side", "image": "i", **fields}


def context(**fields: Any) -> dict[str, Any]:
    return container(securityContext=fields)


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"hostNetwork": True}, "hostNetwork"),
        ({"hostPID": True}, "hostPID"),
        ({"hostIPC": True}, "hostIPC"),
        ({"initContainers": [context(privileged=True)]}, "privileged"),
        ({"initContainers": [context(procMount="Unmasked")]}, "procMount"),
        ({"initContainers": [context(capabilities={"add": ["SYS_ADMIN"]})]}, "SYS_ADMIN"),
        ({"initContainers": [context(capabilities={"add": ["ALL"]})]}, "ALL"),
        ({"initContainers": [context(windowsOptions={"hostProcess": True})]}, "hostProcess"),
        ({"securityContext": {"windowsOptions": {"hostProcess": True}}}, "hostProcess"),
        ({"initContainers": [container(ports=[{"hostPort": 80}])]}, "hostPort"),
    ],
)
@pytest.mark.parametrize("host_paths", [(), None])
def test_what_reaches_for_the_node_is_refused_by_name(
    spec: dict[str, Any], field: str, host_paths: tuple[str, ...] | None
) -> None:
    """A push center that was joined by command alone let all of it in."""
    with pytest.raises(RenderRefused) as caught:
        render(job(pod_spec(**spec)), target(host_paths=host_paths))
    assert caught.value.reason is Reason.INVALID_TEMPLATE
    assert field in caught.value.message


def test_what_training_needs_is_let_in() -> None:
    needs = context(capabilities={"add": ["IPC_LOCK"], "drop": ["ALL"]}, privileged=False)
    more = container(ports=[{"containerPort": 80}])
    render(job(pod_spec(initContainers=[needs, more], hostNetwork=False)), target())


def test_a_folder_of_the_node_is_the_owners_to_allow() -> None:
    view = job(pod_spec(volumes=[{"name": "v", "hostPath": {"path": "/usr/local/Ascend/driver"}}]))
    with pytest.raises(DispatchRefused) as caught:
        render(view, target())
    assert "sharing.hostPaths" in caught.value.message
    render(view, target(host_paths=("/usr/local/Ascend",)))
    render(view, target(host_paths=None))  # the agent of a pull center knows what its owner allows


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("/a", True),
        ("/a/", True),
        ("/a/b", True),
        ("/ab", False),
        ("/", False),
        ("/a/../etc", False),
        ("a/b", False),
    ],
)
def test_below(path: str, inside: bool) -> None:
    assert below(path, ("/a",)) is inside
