"""Tenants of the hub who reach for what is another's, or for more than their part."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from huiju.centers import names
from huiju.kube.errors import NotFound
from huiju.kube.resources import CROSS_REGION_JOBS, JOBS, PODS, SECRETS, SERVICES
from lab import joining
from lab.fates import pod_annotations
from tests.integration.hub.harness import Fields, World, hub_id_of, job_body, running

FLOOD = 600
ROOT = {"name": "i", "image": "i", "securityContext": {"privileged": True}}
MODEL = "nvidia-h100-sxm"


@pytest.fixture
async def victim(world: World) -> AsyncIterator[World]:
    """The same network as another tenant, who has a Secret, sees it."""
    space = f"{world.namespace}-victim"
    other = World(world.hub, world.centers, world.client, world.center_clients, space)
    await joining.namespace(world.client, space)
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token"}}
    await world.client.create(SECRETS, {**secret, "stringData": {"k": "of-the-victim"}}, space)
    yield other
    await world.client.raw("DELETE", CROSS_REGION_JOBS.path(space))


async def space_of(world: World) -> str:
    """Where the tenant's jobs run in a center."""
    return names.own_namespace(await hub_id_of(world.client), world.namespace)


def pod(**spec: Any) -> Fields:
    container = {"name": "train", "image": "registry.example/train:1"}
    notes = pod_annotations(run_for="1s")
    return {"metadata": {"annotations": notes}, "spec": {"containers": [container], **spec}}


async def test_what_a_tenant_names_of_anothers_is_out_of_reach(world: World, victim: World) -> None:
    north = world.center_clients["north"]
    async with running(world.hub):
        await victim.submit(
            "holder", model=MODEL, carry={"secrets": ["token"]}, fate={"run_for": "300s"}
        )
        await victim.until_phase("holder", "Running")
        theirs, own = await space_of(victim), await space_of(world)
        (copy,) = (await north.list_all(SECRETS, theirs)).items
        # By its name on the hub: only what lies in the job's own namespace travels.
        await world.submit("by-name", model=MODEL, carry={"secrets": ["token"]})
        refused = await world.until_reason("by-name", "CarriedObjectMissing")
        assert world.namespace in refused["message"] or "spec.carry.secrets" in refused["message"]
        # By its name in the center, from a pod that asks to be in the other's namespace.
        name = copy["metadata"]["name"]
        template = pod(volumes=[{"name": "v", "secret": {"secretName": name}}])
        template["metadata"] |= {"namespace": theirs, "name": "holder"}
        await world.submit("by-copy", model=MODEL, template=template)
        await world.until("by-copy", lambda s: bool(s.get("placement")))
        async with asyncio.timeout(30):
            while not (found := await world.workloads("by-copy")):
                await asyncio.sleep(0.1)
        assert {(c, w["metadata"]["namespace"]) for c, w in found} == {("north", own)}
        assert not (await north.list_all(SECRETS, own)).items
        with pytest.raises(NotFound):
            await north.get(SECRETS, name, own)
        assert (await victim.status("holder"))["phase"] == "Running"


@pytest.mark.parametrize(
    ("spec", "word"),
    [
        ({"nodeName": "north-node-0"}, "nodeName"),
        ({"priorityClassName": "system-node-critical"}, "priorityClassName"),
        ({"priority": 2_000_001_000}, "priority"),
        ({"hostNetwork": True}, "hostNetwork"),
        ({"hostPID": True}, "hostPID"),
        (
            {
                "initContainers": [
                    {"name": "i", "image": "i", "securityContext": {"privileged": True}}
                ]
            },
            "privileged",
        ),
    ],
)
async def test_what_reaches_around_a_container_is_refused_by_its_field(
    world: World, spec: Fields, word: str
) -> None:
    """In a center that was joined by command nothing but this stood against it."""
    async with running(world.hub):
        await world.submit("reach", model=MODEL, template=pod(**spec))
        status = await world.until_reason("reach", "InvalidTemplate")
        assert word in status["message"]
        assert not await world.workloads("reach")


async def test_folders_of_nodes_are_the_owners_to_lend(world: World) -> None:
    driver = pod(volumes=[{"name": "d", "hostPath": {"path": "/usr/local/Ascend/driver"}}])
    root = pod(volumes=[{"name": "d", "hostPath": {"path": "/"}}])
    async with running(world.hub, avoid_seconds=2.0):
        await world.submit("driver", template=driver)
        status = await world.until("driver", lambda s: "hostPaths" in str(s))
        assert status.get("placement") is None
        for center in ("east", "west"):
            await world.edit_center(center, sharing={"hostPaths": ["/usr/local/Ascend"]})
        await world.submit("root", template=root)
        await world.until_phase("driver", "Succeeded")
        assert (await world.status("root")).get("placement") is None
        assert not await world.workloads("root")


async def test_nobody_gets_into_a_center_that_is_not_lent_to_them(world: World) -> None:
    """By naming the center, its nodes' labels, and tolerating everything."""
    await world.edit_center("north", sharing={"namespaces": ["somebody-else"]})
    async with running(world.hub):
        await world.until_center("north", lambda s: bool(s.get("accelerators")))
        template = pod(
            tolerations=[{"operator": "Exists"}],
            nodeSelector={"nvidia.com/gpu.present": "true"},
        )
        placement = {"centers": ["north"], "regions": ["north"]}
        await world.submit("intruder", model=MODEL, template=template, placement=placement)
        await world.submit("resident")
        await world.until_phase("resident", "Succeeded")
        await world.until("intruder", lambda s: "north" in s.get("message", ""))
        assert (await world.status("intruder")).get("placement") is None
        assert not await world.workloads("intruder")


async def test_forged_labels_and_annotations_speak_for_nobody(world: World, victim: World) -> None:
    hub = await hub_id_of(world.client)
    async with running(world.hub):
        made = await victim.submit("gang", workers=2, fate={"run_for": "12s"})
        await victim.until_phase("gang", "Running")
        uid = made["metadata"]["uid"]
        origin = names.Origin(hub, victim.namespace, "gang", uid, 1)
        forged = pod()
        forged["metadata"]["labels"] = {**origin.labels(), names.FAILOVER: names.UNGUARDED}
        forged["metadata"]["annotations"] |= {
            names.ORIGIN: str(origin),
            names.STOP_REASON: "Cancelled",
            names.DEPENDENTS: "secrets/theirs",
        }
        body = await world.submit("forger", model="ascend-910b3", template=forged)
        await world.until_phase("forger", "Succeeded")
        pods = await world.pods("forger")
        assert {p["metadata"]["labels"][names.LABEL_JOB_UID] for _, p in pods} == {
            body["metadata"]["uid"]
        }
        # The Service by which the gang's workers meet leads to these and to nobody else.
        ((center, workload),) = await victim.workloads("gang")
        client, space = world.center_clients[center], workload["metadata"]["namespace"]
        service = await client.get(SERVICES, workload["metadata"]["name"], space)
        chosen = ",".join(f"{k}={v}" for k, v in service["spec"]["selector"].items())
        assert len((await client.list_all(PODS, labels=chosen)).items) == 2
        done = await victim.until_phase("gang", "Succeeded")
        assert done["epoch"] == 1


async def test_jobs_of_two_namespaces_with_one_name_share_nothing(
    world: World, victim: World
) -> None:
    async with running(world.hub):
        for tenant in (world, victim):
            await tenant.submit("same", model=MODEL, fate={"run_for": "5s"})
        for tenant in (world, victim):
            await tenant.until_phase("same", "Succeeded")
        spaces = {w["metadata"]["namespace"] for _, w in await world.workloads("same")}
        assert spaces == {await space_of(world), await space_of(victim)}


async def test_a_flood_of_one_tenant_keeps_nobody_waiting(world: World, victim: World) -> None:
    """Many jobs at once, some of a mebibyte: the others' are looked at in turn, and get cards."""
    await joining.queue(world.client, "flood")
    large = pod()
    large["spec"]["containers"][0]["args"] = ["x" * (1 << 20)]
    many = [job_body(world.namespace, f"flood-{number}", queue="flood") for number in range(FLOOD)]
    many += [job_body(world.namespace, f"large-{number}", queue="flood") for number in range(4)]
    for body in many[FLOOD:]:
        body["spec"]["template"] = large
    gate = asyncio.Semaphore(16)

    async def create(body: Fields) -> None:
        async with gate:
            await world.client.create(CROSS_REGION_JOBS, body, world.namespace)

    async with running(world.hub):
        await asyncio.gather(*map(create, many))
        await victim.submit("patient")
        await victim.until_phase("patient", "Succeeded", 90)
        jobs = (await world.client.list_all(CROSS_REGION_JOBS, world.namespace)).items
        waiting = [j for j in jobs if not (j.get("status") or {}).get("finishedAt")]
        assert len(waiting) > FLOOD // 4, "the flood was not yet over when the other was served"
        status = await world.until_reason("large-0", "InvalidTemplate")
        assert "spec.carry" in status["message"]
        assert not await world.workloads("large-0")
    for client in world.center_clients.values():
        await client.raw("DELETE", JOBS.path(await space_of(world)))
