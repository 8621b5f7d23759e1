"""What a real API server makes of guarded workloads."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from huiju.api.center import NamespaceMapping, Sharing
from huiju.centers.bundle import Bundle, KubeDict
from huiju.centers.lease import PROFILES, LeaseTerms, sentinel_url
from huiju.centers.render import render
from huiju.centers.sidecars import keeps_sidecars
from huiju.centers.syncer import DispatchRefused, Syncer
from huiju.kube.client import Client
from huiju.kube.errors import Forbidden
from huiju.kube.resources import JOBS, NAMESPACES, PODS
from lab.cluster import Cluster
from tests.unit.centers.workloads import HUB, job, target

RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
SAFE = {
    "runAsNonRoot": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


@pytest.fixture
async def client(bare_cluster: Cluster) -> AsyncIterator[Client]:
    async with await bare_cluster.client() as made:
        yield made


@pytest.fixture
async def strict(client: Client) -> str:
    """A namespace that takes no pod that could do more than it must."""
    name = f"strict-{uuid.uuid4().hex[:8]}"
    await client.create(NAMESPACES, {"metadata": {"name": name, "labels": RESTRICTED}})
    return name


def guarded(namespace: str, workers: int = 1, **container: Any) -> Bundle:
    probe = {"httpGet": {"port": "web", "path": "/up"}}
    claim = {"name": "lake", "persistentVolumeClaim": {"claimName": "lake"}}
    main = {
        "name": "train",
        "image": "registry.example/pangu:910b",
        "securityContext": SAFE,
        "volumeMounts": [{"name": "lake", "mountPath": "/lake", "subPath": "team-a"}],
        "ports": [{"name": "web", "containerPort": 8080}],
        "livenessProbe": probe,
        "startupProbe": probe | {"failureThreshold": 30},
        **container,
    }
    fetch = {"name": "fetch", "image": "registry.example/fetch:1", "securityContext": SAFE}
    template = {"spec": {"containers": [main], "initContainers": [fetch], "volumes": [claim]}}
    view = job(
        template,
        failover={"policy": "Reschedule"},
        workers=workers,
        checkpoint={"period": "10m", "directory": "/lake/checkpoints"},
        output={"directory": "/lake/outputs"},
    )
    view.metadata.uid = str(uuid.uuid4())
    terms = LeaseTerms(sentinel_url("huiju-system"), PROFILES["fast"])
    mapping = NamespaceMapping(hub="team-a", center=namespace)
    return render(
        view,
        target(
            lease=terms,
            image="huiju.example/huiju:1.2",
            sharing=Sharing(namespace_mappings=[mapping]),
        ),
    )


def pod_of(workload: KubeDict) -> KubeDict:
    return {"metadata": {"name": "one"}, "spec": workload["spec"]["template"]["spec"]}


@pytest.mark.parametrize("workers", [1, 3])
async def test_guarded_pods_pass_the_strictest_pod_security(
    client: Client, strict: str, workers: int
) -> None:
    workload = guarded(strict, workers).objects[-1]
    await client.create(JOBS, workload, strict, dry_run=True)
    made = await client.create(PODS, pod_of(workload), strict, dry_run=True)
    guard, fetch, last = made["spec"]["initContainers"]
    assert (guard["name"], guard["restartPolicy"]) == ("huiju-guard", "Always")
    assert (fetch["name"], last["name"]) == ("fetch", "huiju-prepare")
    (main,) = made["spec"]["containers"]
    assert main["livenessProbe"]["httpGet"]["port"] == 29490
    loose = guarded(strict, securityContext={"allowPrivilegeEscalation": True}).objects[-1]
    with pytest.raises(Forbidden, match="restricted"):
        await client.create(PODS, pod_of(loose), strict, dry_run=True)


async def test_the_guard_takes_no_cpus_of_its_own_from_a_guaranteed_pod(
    client: Client, strict: str
) -> None:
    amounts = {"cpu": "8", "memory": "16Gi"}
    resources = {"requests": amounts, "limits": amounts}
    workload = guarded(strict, resources=resources).objects[-1]
    pod = pod_of(workload)
    pod["spec"]["initContainers"][1]["resources"] = resources
    made = await client.create(PODS, pod, strict, dry_run=True)
    assert made["status"]["qosClass"] == "Guaranteed"


async def test_a_server_that_keeps_sidecars_gets_guarded_workloads(
    client: Client, strict: str
) -> None:
    syncer = Syncer(client, HUB, lambda _: None)
    bundles = [guarded(strict) for _ in range(2)]
    for bundle in bundles:
        await syncer.ensure(bundle)
        made = await client.get(JOBS, bundle.workload, strict)
        guard = made["spec"]["template"]["spec"]["initContainers"][0]
        assert guard["restartPolicy"] == "Always"
    assert client.writes[("create", "jobs")] == 2, "the question of the first made nothing"


async def test_a_server_that_drops_sidecars_gets_no_guarded_workload(
    client: Client, strict: str
) -> None:
    """Servers of today cannot be made to: what one of yesterday echoes is sent as it echoed it."""
    bundle = guarded(strict)
    workload = bundle.objects[-1]
    del workload["spec"]["template"]["spec"]["initContainers"][0]["restartPolicy"]
    del workload["spec"]["template"]["spec"]["initContainers"][0]["startupProbe"]
    assert await keeps_sidecars(client, workload, strict) is False
    with pytest.raises(DispatchRefused, match="drops sidecars"):
        await Syncer(client, HUB, lambda _: None).ensure(bundle)
    assert not (await client.list_all(JOBS, strict)).items
