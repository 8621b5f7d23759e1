"""The owner's policy as text, and what it lets in."""

from __future__ import annotations

from typing import Any

import pytest

from huiju.agent.policy import Policy, PolicyRefused, check, parse, wanted_units
from huiju.centers.bundle import Bundle
from huiju.centers.names import own_namespace
from huiju.centers.refusals import DispatchRefused

HUB = "abcd1234"


def bundle(namespace: str = "team-a", where: str = "", **pod: Any) -> Bundle:
    requests = {"requests": {"nvidia.com/gpu": "8", "cpu": "2"}}
    spec = {"containers": [{"name": "c", "image": "reg.example/a:1", "resources": requests}], **pod}
    job = {"kind": "Job", "spec": {"completions": 2, "parallelism": 2, "template": {"spec": spec}}}
    target = where or own_namespace(HUB, namespace)
    return Bundle("uid", namespace, "job", 1, "north", target, "w", ({"kind": "Secret"}, job))


def refusal(texts: dict[str, str], given: Bundle) -> str:
    """What is said against a bundle, empty if nothing is."""
    try:
        check(parse(texts), given, HUB)
    except DispatchRefused as refused:
        return refused.message
    return ""


@pytest.mark.parametrize(
    ("texts", "given", "key"),
    [
        ({}, bundle(), ""),
        ({"namespaces": "team-*, other"}, bundle(), ""),
        ({"namespaces": "lab-*"}, bundle(), "namespaces"),
        ({}, bundle(where="kube-system"), "centerNamespaces"),
        ({"centerNamespaces": "mapped"}, bundle(where="mapped"), ""),
        ({"kinds": "Job Service"}, bundle(), "kinds"),
        ({"kinds": "Job\nSecret\n"}, bundle(), ""),
        ({"serviceAccounts": "default"}, bundle(), ""),
        ({"serviceAccounts": "default"}, bundle(serviceAccountName="admin"), "serviceAccounts"),
        ({"imagePrefixes": "reg.example/,"}, bundle(), ""),
        ({"imagePrefixes": "reg.other/,"}, bundle(), "imagePrefixes"),
        (
            {"imagePrefixes": "reg.example/"},
            bundle(initContainers=[{"name": "i", "image": "evil/x"}]),
            "imagePrefixes",
        ),
        ({"priorityClasses": "low"}, bundle(), "priorityClasses"),
        ({"priorityClasses": "low"}, bundle(priorityClassName="low"), ""),
        ({"priorityClasses": "low"}, bundle(priorityClassName="system-node-critical"), "priority"),
        ({}, bundle(hostNetwork=True), "hostNetwork"),
        ({}, bundle(securityContext={"windowsOptions": {"hostProcess": True}}), "hostProcess"),
        ({}, bundle(hostPID=True), "hostPID"),
        ({}, bundle(nodeName="n1"), "nodeName"),
        ({}, bundle(volumes=[{"hostPath": {"path": "/"}}]), "hostPaths"),
        ({"hostPaths": "/data"}, bundle(volumes=[{"hostPath": {"path": "/data/x"}}]), ""),
        ({"hostPaths": "/data"}, bundle(volumes=[{"hostPath": {"path": "/data2"}}]), "hostPaths"),
        ({"hostPaths": "/data"}, bundle(volumes=[{"hostPath": {"path": "/data/../e"}}]), "host"),
        ({}, bundle(initContainers=[{"securityContext": {"privileged": True}}]), "privileged"),
    ],
)
def test_a_bundle_is_let_in_or_refused_by_the_key_that_says_so(
    texts: dict[str, str], given: Bundle, key: str
) -> None:
    said = refusal(texts, given)
    assert bool(said) == bool(key)
    assert key in said


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        ({"imagePrefix": "x"}, "imagePrefix: there is no such key"),
        ({"maxSharePercent": "half"}, "maxSharePercent"),
        ({"maxSharePercent": "101"}, "from 0 to 100"),
        ({"maxUnits": "gpu=8"}, "nvidia.com/gpu=16"),
        ({"kinds": "Job DaemonSet"}, "DaemonSet"),
    ],
)
def test_a_policy_that_makes_no_sense_says_where(texts: dict[str, str], told: str) -> None:
    with pytest.raises(PolicyRefused, match=told):
        parse(texts)


def test_the_smallest_limit_holds() -> None:
    policy = parse({"maxSharePercent": "50", "maxUnits": "nvidia.com/gpu=10, huawei.com/npu=1"})
    assert policy.most_of("nvidia.com/gpu", 16) == 8
    assert policy.most_of("nvidia.com/gpu", 100) == 10
    assert policy.most_of("huawei.com/npu", 100) == 1
    assert not Policy().limits_units


def test_units_are_counted_worker_by_worker() -> None:
    assert wanted_units(bundle()) == (2, {"nvidia.com/gpu": 8})
    wrong = bundle(containers=[{"resources": {"requests": {"nvidia.com/gpu": "many"}}}])
    with pytest.raises(DispatchRefused, match="make no sense"):
        wanted_units(wrong)
