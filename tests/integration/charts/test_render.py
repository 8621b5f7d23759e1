"""What the charts render: as agreed, as an API server takes it, as restricted pods must be."""

from __future__ import annotations

import copy
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from huiju.agent.policy import Policy, parse
from huiju.centers import admission, agentrole, role
from huiju.cli.ensure import difference
from huiju.cli.joining import account_steps
from huiju.kube.client import Client
from huiju.kube.errors import Forbidden
from huiju.kube.resources import NAMESPACES, PODS, Resource
from lab.cluster import Cluster
from tests.integration.charts.program import (
    CHARTS,
    PROFILES,
    ROOT,
    SYSTEM,
    Helm,
    HelmFailed,
    objects,
)

pytestmark = pytest.mark.lab
GOLDEN = ROOT / "tests" / "golden"
ADMISSION = {
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
}
PLURALS = ADMISSION | {
    "NetworkPolicy": "networkpolicies",
    "PriorityClass": "priorityclasses",
    "CustomResourceDefinition": "customresourcedefinitions",
}
OPERATORS = "monitoring.coreos.com/v1"
"""Kinds of the Prometheus operator, which no cluster of the lab serves: judged by golden files."""


OWNERS_WORD = {
    ("ConfigMap", agentrole.POLICY),
    *((kind, name) for name in (admission.NAME, admission.OWNERS_NAME) for kind in ADMISSION),
}
"""What the chart adds to an account: what the center's owner allows it."""


@pytest.fixture
def helm(tmp_path: Path) -> Helm:
    return Helm(tmp_path)


@pytest.mark.parametrize("profile", PROFILES)
async def test_renders_as_agreed(helm: Helm, profile: str) -> None:
    chart = PROFILES[profile]
    files = ("--set", "crds.enabled=false", "--set", "dashboards.enabled=false")
    made = await helm.render(profile, *(files if chart == "huiju" else ()))
    golden = GOLDEN / f"{profile}.yaml"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(made, encoding="utf-8")
    assert made == golden.read_text(encoding="utf-8"), (
        f"{golden} is not what the chart renders; if the change is meant, run the test again with"
        " UPDATE_GOLDEN=1 and read the difference"
    )


async def test_lint(helm: Helm) -> None:
    for profile, chart in PROFILES.items():
        values = str(CHARTS / "profiles" / f"{profile}.yaml")
        said = await helm("lint", "--strict", str(CHARTS / chart), "-f", values)
        assert "0 chart(s) failed" in said


@pytest.mark.parametrize(
    ("chart", "value", "words"),
    [
        ("huiju", "replica=3", "additional properties 'replica' not allowed"),
        ("huiju", "replicas=0", "at '/replicas'"),
        ("huiju", "image.digest=latest", "at '/image/digest'"),
        ("huiju", "log.level=loud", "at '/log/level'"),
        ("huiju", "networkPolicy.apiPorts={70000}", "at '/networkPolicy/apiPorts/0'"),
        ("huiju-center", "priorityClass.value=high", "at '/priorityClass/value'"),
        ("huiju-center", "policy.kinds={DaemonSet}", "at '/policy/kinds/0'"),
        ("huiju-center", "agent.enabled=true", "agent.center: name the ComputeCenter"),
        ("huiju-center", "agent.data.store=store", "at '/agent/data/store'"),
        ("huiju-center", "gateway.enabled=true", "set agent.data.enabled"),
    ],
)
async def test_a_wrong_value_is_refused_by_name(
    helm: Helm, chart: str, value: str, words: str
) -> None:
    with pytest.raises(HelmFailed) as refusal:
        await helm("template", "x", str(CHARTS / chart), "--set", value)
    assert words in str(refusal.value)


async def test_an_air_gapped_site_names_its_own_registry(helm: Helm) -> None:
    chart = str(CHARTS / "huiju")
    digest = f"sha256:{'0' * 64}"
    for values, image in (
        ("image.registry=mirror.site:5000/x/", "mirror.site:5000/x/huiju/huiju:0.2.0"),
        ("image.tag=v7,image.repository=own", "own:v7"),
        (f"image.registry=r.site,image.digest={digest}", f"r.site/huiju/huiju@{digest}"),
    ):
        made = objects(await helm("template", "x", chart, "-n", SYSTEM, "--set", values))
        images = {
            container["image"]
            for body in made
            for container in _pod_spec(body).get("containers", ())
        }
        assert images == {image}


async def test_the_chart_makes_the_account_that_join_makes(helm: Helm) -> None:
    made = {
        (b["kind"], b["metadata"]["name"]): b for b in objects(await helm.render("center-push"))
    }
    for step in account_steps():
        if step.res.kind == "Namespace":
            continue  # Helm's --create-namespace
        found = made.pop((step.res.kind, step.name))
        assert difference(step.body, found) == {}, step
    assert set(made) == OWNERS_WORD
    assert role.PRIORITY_CLASS == "huiju-federated"


@pytest.fixture
async def server(bare_cluster: Cluster) -> AsyncIterator[Client]:
    """A real API server with Huiju's namespace, where Pod Security is enforced."""
    async with await bare_cluster.client() as client:
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        for name in (SYSTEM, "team-a"):
            body = {"metadata": {"name": name, "labels": labels}}
            await client.apply(
                NAMESPACES,
                body | {"apiVersion": "v1", "kind": "Namespace"},
                manager="huiju-lab",
            )
        yield client


@pytest.mark.parametrize("profile", PROFILES)
async def test_an_api_server_takes_every_object(helm: Helm, server: Client, profile: str) -> None:
    made = objects(await helm.render(profile))
    taken = 0
    for body in made:
        if body["apiVersion"] == OPERATORS:
            continue
        # Strict: an unknown or repeated field is an error and no warning.
        await server.raw(
            "POST",
            _resource(body).path(body["metadata"].get("namespace")),
            body=msgspec.json.encode(_unbound(body)),
            params={"dryRun": "All", "fieldValidation": "Strict"},
        )
        taken += 1
    assert taken >= 5


@pytest.mark.parametrize(("profile", "pods"), [("hub-dev", 2), ("hub-ha", 2), ("center-pull", 2)])
async def test_restricted_pod_security_takes_the_pods(
    helm: Helm, server: Client, profile: str, pods: int
) -> None:
    found = 0
    for body in objects(await helm.render(profile)):
        spec = _pod_spec(body)
        if not spec:
            continue
        pod = _unbound({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec})
        await server.create(PODS, pod, SYSTEM, dry_run=True)
        weaker = copy.deepcopy(pod)
        del weaker["spec"]["containers"][0]["securityContext"]["capabilities"]
        with pytest.raises(Forbidden):  # else nothing here is enforced
            await server.create(PODS, weaker, SYSTEM, dry_run=True)
        found += 1
    assert found == pods


def _resource(body: dict[str, Any]) -> Resource:
    group, _, version = body["apiVersion"].rpartition("/")
    kind = body["kind"]
    plural = PLURALS.get(kind, kind.lower() + "s")
    return Resource(group, version, plural, kind, "namespace" in body["metadata"])


def _pod_spec(body: dict[str, Any]) -> dict[str, Any]:
    match body["kind"]:
        case "Pod":
            return dict(body["spec"])
        case "Deployment":
            return dict(body["spec"]["template"]["spec"])
        case _:
            return {}


def _unbound(body: dict[str, Any]) -> dict[str, Any]:
    """A pod without what only a whole cluster knows: its account and its priority class."""
    if body["kind"] != "Pod":
        return body
    left_out = ("serviceAccountName", "priorityClassName")
    spec = {key: value for key, value in body["spec"].items() if key not in left_out}
    return body | {"spec": spec | {"automountServiceAccountToken": False}}


async def test_the_owners_policy_is_what_the_agent_reads(helm: Helm) -> None:
    made = objects(await helm.render("center-pull"))
    (found,) = (b for b in made if b["kind"] == "ConfigMap")
    assert parse(found["data"]) == Policy(
        namespaces=("team-*",),
        service_accounts=("default",),
        image_prefixes=("registry.guiyang.example/",),
        priority_classes=("huiju-federated",),
        host_paths=("/usr/local/Ascend/driver",),
        max_share_percent=50,
        max_units=(("huawei.com/Ascend910", 64),),
    )


async def test_an_agent_can_be_kept_to_namespaces_by_rights_alone(helm: Helm) -> None:
    words = ("--set", "agent.clusterWide=false,policy.centerNamespaces={a,b}")
    made = objects(await helm.render("center-pull", *words))
    bound = {
        (b["kind"], b["metadata"].get("namespace"))
        for b in made
        if b["kind"].endswith("Binding") and b.get("roleRef", {}).get("name") == "huiju-agent-work"
    }
    assert bound == {("RoleBinding", "a"), ("RoleBinding", "b")}


async def test_an_agent_that_moves_data_gets_its_flags_and_its_rights(helm: Helm) -> None:
    plain = objects(await helm.render("center-pull"))
    words = ("--set", "agent.data.enabled=true,agent.data.store=nas:/export/huiju")
    made = objects(await helm.render("center-pull", *words))
    new = {(b["kind"], b["metadata"]["name"]) for b in made} - {
        (b["kind"], b["metadata"]["name"]) for b in plain
    }
    assert new == {("Role", agentrole.DATA_ROLE), ("RoleBinding", agentrole.DATA_ROLE)}
    (rules,) = (b["rules"] for b in made if (b["kind"], b["metadata"]["name"]) == sorted(new)[0])
    assert rules == [rule.manifest() for rule in agentrole.CENTER_DATA]
    (spec,) = (
        _pod_spec(b) for b in made if b["metadata"]["name"] == "huiju-agent" and _pod_spec(b)
    )
    arguments = spec["containers"][0]["args"]
    assert {"--data", "--data-store=nas:/export/huiju"} <= set(arguments)
    assert any(word.startswith("--pull-image=") for word in arguments)
    only = objects(await helm.render("center-pull", *words, "--set", "agent.data.only=true"))
    (spec,) = (
        _pod_spec(b) for b in only if b["metadata"]["name"] == "huiju-agent" and _pod_spec(b)
    )
    assert "--data-only" in spec["containers"][0]["args"]


GATEWAY = (
    "--set",
    "agent.data.enabled=true,gateway.enabled=true,gateway.tlsSecret=gateway-tls,"
    "agent.data.folders[0].path=/corpora,agent.data.folders[0].claim=corpora",
)


async def test_a_gateway_has_the_folders_of_the_agent_and_no_account(
    helm: Helm, server: Client
) -> None:
    made = objects(await helm.render("center-pull", *GATEWAY))
    mounts = {}
    for body in made:
        spec = _pod_spec(body)
        if body["metadata"]["name"] not in ("huiju-agent", "huiju-gateway") or not spec:
            continue
        mounts[body["metadata"]["name"]] = [
            each for each in spec["containers"][0]["volumeMounts"] if each["name"] == "data-0"
        ]
        (volume,) = [each for each in spec["volumes"] if each["name"] == "data-0"]
        assert volume["persistentVolumeClaim"] == {"claimName": "corpora", "readOnly": True}
    seen = [{"name": "data-0", "mountPath": "/corpora", "readOnly": True}]
    assert mounts == {"huiju-agent": seen, "huiju-gateway": seen}
    ours = [b for b in made if b["metadata"]["name"] == "huiju-gateway"]
    assert {b["kind"] for b in ours} == {"Deployment", "Service", "NetworkPolicy"}
    (spec,) = filter(None, map(_pod_spec, ours))
    assert spec["automountServiceAccountToken"] is False
    assert "serviceAccountName" not in spec
    for body in ours:
        await server.raw(
            "POST",
            _resource(body).path(SYSTEM),
            body=msgspec.json.encode(body),
            params={"dryRun": "All", "fieldValidation": "Strict"},
        )
    pod = _unbound({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec})
    await server.create(PODS, pod, SYSTEM, dry_run=True)  # as restricted pods must be


async def test_the_page_of_values_is_whole(helm: Helm) -> None:
    for chart in set(PROFILES.values()):
        shown = await helm("show", "readme", str(CHARTS / chart))
        assert "| value | default | meaning |" in shown
