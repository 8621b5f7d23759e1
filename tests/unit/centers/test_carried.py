"""ConfigMaps and Secrets that travel: their copies, and who refers to them."""

from __future__ import annotations

from typing import Any

import pytest

from huiju.centers.carried import (
    NOTHING,
    Carried,
    CarriedObject,
    Names,
    copies,
    refer_to_copies,
)
from huiju.centers.names import Origin

WORKLOAD = "train-3f2a9-e4"
ORIGIN = Origin("0a1b2c3d", "team-a", "train", "uid", 4)
CARRIED = Carried(
    (
        CarriedObject("ConfigMap", "conf", {"data": {"a": "1"}, "binaryData": {"b": "AA=="}}),
        CarriedObject("Secret", "token", {"data": {"t": "c2VjcmV0"}, "type": "Opaque"}),
        CarriedObject("Secret", "pull", {"data": {}, "type": "kubernetes.io/dockerconfigjson"}),
    ),
    pull_secrets=("pull",),
)
NAMES = Names(CARRIED, WORKLOAD)
CONF, TOKEN, PULL = f"{WORKLOAD}-conf", f"{WORKLOAD}-token", f"{WORKLOAD}-pull"


def refer(spec: dict[str, Any], carried: Carried = CARRIED) -> dict[str, Any]:
    refer_to_copies(spec, carried, Names(carried, WORKLOAD))
    return spec


def test_copies_carry_the_epoch_the_origin_and_the_contents() -> None:
    made = list(copies(CARRIED, NAMES, ORIGIN, "there"))
    assert [one["kind"] for one in made] == ["ConfigMap", "Secret", "Secret"]
    assert [one["metadata"]["name"] for one in made] == [CONF, TOKEN, PULL]
    for one in made:
        assert one["metadata"]["namespace"] == "there"
        assert one["metadata"]["labels"]["huiju.dev/epoch"] == "4"
        assert one["metadata"]["annotations"] == {"huiju.dev/origin": str(ORIGIN)}
        assert one["immutable"] is True
    assert made[0]["data"] == {"a": "1"}
    assert made[0]["binaryData"] == {"b": "AA=="}
    assert made[2]["type"] == "kubernetes.io/dockerconfigjson"


def test_the_contents_of_a_secret_are_in_no_repr() -> None:
    assert "c2VjcmV0" not in repr(CARRIED)


@pytest.mark.parametrize("group", ["containers", "initContainers"])
def test_environments_refer_to_the_copies(group: str) -> None:
    container: dict[str, Any] = {
        "env": [
            {"name": "PLAIN", "value": "token"},
            {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "conf", "key": "a"}}},
            {"name": "T", "valueFrom": {"secretKeyRef": {"name": "token", "key": "t"}}},
            {"name": "X", "valueFrom": {"secretKeyRef": {"name": "theirs", "key": "t"}}},
            {"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        ],
        "envFrom": [{"configMapRef": {"name": "conf"}}, {"secretRef": {"name": "token"}}],
    }
    refer({group: [container]})
    env = container["env"]
    assert env[0]["value"] == "token"
    assert env[1]["valueFrom"]["configMapKeyRef"]["name"] == CONF
    assert env[2]["valueFrom"]["secretKeyRef"]["name"] == TOKEN
    assert env[3]["valueFrom"]["secretKeyRef"]["name"] == "theirs"
    assert container["envFrom"] == [
        {"configMapRef": {"name": CONF}},
        {"secretRef": {"name": TOKEN}},
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"configMap": {"name": "conf"}}, {"configMap": {"name": CONF}}),
        ({"configMap": {"name": "token"}}, {"configMap": {"name": "token"}}),
        ({"secret": {"secretName": "token"}}, {"secret": {"secretName": TOKEN}}),
        ({"azureFile": {"secretName": "token"}}, {"azureFile": {"secretName": TOKEN}}),
        (
            {"csi": {"nodePublishSecretRef": {"name": "token"}}},
            {"csi": {"nodePublishSecretRef": {"name": TOKEN}}},
        ),
        (
            {"cephfs": {"secretRef": {"name": "token"}}},
            {"cephfs": {"secretRef": {"name": TOKEN}}},
        ),
        (
            {"projected": {"sources": [{"secret": {"name": "token"}}, {"downwardAPI": {}}]}},
            {"projected": {"sources": [{"secret": {"name": TOKEN}}, {"downwardAPI": {}}]}},
        ),
        (
            {"projected": {"sources": [{"configMap": {"name": "conf"}}]}},
            {"projected": {"sources": [{"configMap": {"name": CONF}}]}},
        ),
        (
            {"persistentVolumeClaim": {"claimName": "token"}},
            {"persistentVolumeClaim": {"claimName": "token"}},
        ),
    ],
)
def test_volumes_refer_to_the_copies(before: dict[str, Any], after: dict[str, Any]) -> None:
    spec = refer({"volumes": [{"name": "v", **before}]})
    assert spec["volumes"] == [{"name": "v", **after}]


def test_pull_secrets_are_set_on_the_pods_each_once() -> None:
    spec = refer({"imagePullSecrets": [{"name": "pull"}, {"name": "of-the-center"}]})
    assert spec["imagePullSecrets"] == [{"name": PULL}, {"name": "of-the-center"}]
    assert refer({})["imagePullSecrets"] == [{"name": PULL}]


def test_a_job_that_carries_nothing_keeps_its_references() -> None:
    spec = {"volumes": [{"secret": {"secretName": "token"}}], "imagePullSecrets": [{"name": "p"}]}
    assert refer({**spec}, NOTHING) == spec
    assert list(copies(NOTHING, Names(NOTHING, WORKLOAD), ORIGIN, "there")) == []
