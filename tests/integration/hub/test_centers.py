"""Centers that are lost, return, are not who they were, or have owners with work of their own."""

from __future__ import annotations

import asyncio
import base64

import yaml

from huiju.kube.resources import (
    COMPUTE_CENTERS,
    JOBS,
    NAMESPACES,
    PODS,
    PRIORITY_CLASSES,
    SECRETS,
)
from lab import joining, signals
from lab.kwokctl import Component
from lab.nodes import ASCEND
from tests.integration.hub.harness import World, running
from tests.patience import PATIENCE


async def test_a_center_shows_what_it_has_and_can_run(world: World) -> None:
    async with running(world.hub):
        status = await world.until_center("east", lambda s: bool(s.get("accelerators")))
        (row,) = status["accelerators"]
        assert (row["model"], row["resource"]) == ("ascend-910b3", ASCEND)
        assert (row["total"], row["free"], row["wholeFreeNodes"]) == (16, 16, 2)
        assert row["normalizedCompute"] > 0
        assert status["nodes"] == {"total": 2, "ready": 2, "schedulable": 2}
        assert status["kubernetesVersion"].startswith("v1.")
        ready = {c["type"]: c["status"] for c in status["conditions"]}
        assert ready == dict.fromkeys(
            ("Ready", "Reachable", "InventoryFresh", "Schedulable", "Credible", "Sound"), "True"
        ) | {"Leased": "False"}
        written = (await world.center("east"))["metadata"]["resourceVersion"]
        await asyncio.sleep(2.0)
        assert (await world.center("east"))["metadata"]["resourceVersion"] == written, (
            "nothing changed, so nothing is written"
        )


async def test_jobs_of_a_lost_center_are_unknown_and_stay_where_they_are(world: World) -> None:
    cluster = world.centers["north"]
    async with running(world.hub):
        await world.submit("stays", model="nvidia-h100-sxm", fate={"run_for": "15s"})
        await world.until_phase("stays", "Running")
        signals.pause(cluster, Component.APISERVER)
        try:
            unknown = await world.until_phase("stays", "Unknown")
            assert unknown["placement"]["center"] == "north"
            lost = await world.until_center("north", lambda s: bool(s.get("lostSince")))
            reachable = next(c for c in lost["conditions"] if c["type"] == "Reachable")
            assert reachable["status"] == "Unknown"
            # Another center's jobs are not delayed by it.
            await world.submit("elsewhere")
            await world.until_phase("elsewhere", "Succeeded")
        finally:
            signals.resume(cluster, Component.APISERVER)
        done = await world.until_phase("stays", "Succeeded", 60)
        assert done["epoch"] == 1


async def test_44_a_credential_that_leads_to_another_cluster_is_refused(world: World) -> None:
    async with running(world.hub):
        await world.until_center("north", lambda s: bool(s.get("identity")))
    # The Secret of north now holds the kubeconfig of west.
    text = world.centers["west"].kubeconfig_text()
    data = {"data": {"kubeconfig": base64.b64encode(text.encode()).decode()}}
    await world.client.patch(SECRETS, "north-kubeconfig", data, joining.SYSTEM)
    async with running(world.hub):
        await world.submit("careful", model="nvidia-h100-sxm")
        status = await world.until_center(
            "north", lambda s: "IdentityChanged" in str(s.get("conditions"))
        )
        assert "restore the credential" in str(status["conditions"])
        assert (await world.status("careful")).get("placement") is None


async def test_a_kubeconfig_that_would_start_a_program_is_refused(world: World) -> None:
    config = yaml.safe_load(world.centers["north"].kubeconfig_text())
    config["users"][0]["user"] = {
        "exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/true"}
    }
    text = base64.b64encode(yaml.safe_dump(config).encode()).decode()
    await world.client.patch(
        SECRETS, "north-kubeconfig", {"data": {"kubeconfig": text}}, joining.SYSTEM
    )
    async with running(world.hub):
        status = await world.until_center(
            "north", lambda s: "CredentialRefused" in str(s.get("conditions"))
        )
        assert "exec" in str(status["conditions"])


async def test_a_foreign_object_of_our_name_is_left_alone(world: World) -> None:
    submitted = await world.submit("taken", model="nvidia-h100-sxm")
    client = world.center_clients["north"]
    name, space = await world.workload_name(submitted)
    await client.create(
        NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}}
    )
    container = {"name": "theirs", "image": "theirs:1"}
    theirs = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": space},
        "spec": {
            "suspend": True,
            "template": {"spec": {"restartPolicy": "Never", "containers": [container]}},
        },
    }
    before = await client.create(JOBS, theirs, space)
    async with running(world.hub):
        status = await world.until("taken", lambda s: bool(s.get("history")))
        assert status["history"][0]["reason"] == "ForeignObject"
        after = (await client.get(JOBS, name, space))["metadata"]
        # The center's own controller writes the status; nobody else wrote anything.
        assert after["generation"] == before["metadata"]["generation"]
        assert "huiju.dev/job-uid" not in after.get("labels", {})
        writers = {entry["manager"] for entry in after["managedFields"]}
        assert not any("huiju" in writer and "hub" in writer for writer in writers)


async def test_the_owners_pods_preempt_and_the_job_keeps_its_place(world: World) -> None:
    client = world.center_clients["north"]
    for name, value in (("owner", 1000), ("guest", -10)):
        body = {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": name},
            "value": value,
        }
        await client.apply(PRIORITY_CLASSES, body, manager="test", force=True)
    await world.edit_center("north", sharing={"priorityClassName": "guest"})
    async with running(world.hub):
        for number in range(2):
            await world.submit(f"guest-{number}", model="nvidia-h100-sxm", fate={"run_for": "60s"})
        for number in range(2):
            await world.until_phase(f"guest-{number}", "Running")
        resources = {"limits": {"nvidia.com/gpu": "8"}}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "mine", "namespace": "default"},
            "spec": {
                "priorityClassName": "owner",
                "containers": [{"name": "c", "image": "i", "resources": resources}],
            },
        }
        await client.create(PODS, pod, "default")
        found: list[str] = []
        async with asyncio.timeout(PATIENCE):
            while not found:
                for number in range(2):
                    status = await world.status(f"guest-{number}")
                    found += [past["reason"] for past in status.get("history", [])]
                await asyncio.sleep(0.1)
        assert found == ["PreemptedByOwner"]
        counted = [await world.status(f"guest-{number}") for number in range(2)]
        assert all(status.get("applicationFailures", 0) == 0 for status in counted)


async def test_44_a_job_of_a_deleted_center_is_followed_again_or_given_up_but_never_moved(
    world: World,
) -> None:
    async with running(world.hub):
        for name in ("kept", "dropped"):
            await world.submit(name, model="nvidia-h100-sxm", fate={"run_for": "20s"})
        for name in ("kept", "dropped"):
            await world.until_phase(name, "Running")
        await world.client.delete(COMPUTE_CENTERS, "north")
        for name in ("kept", "dropped"):
            status = await world.until_reason(name, "CenterDeleted")
            assert (status["phase"], status["placement"]["center"]) == ("Unknown", "north")
        await world.edit("dropped", cancel=True)
        await world.until_phase("dropped", "Cancelled")
        # Another cluster under the old name never had the jobs, and must not get them.
        await joining.join(world.client, world.centers["west"], name="north")
        await world.until_center("north", lambda s: bool(s.get("accelerators")))
        assert (await world.status("kept"))["reason"] == "CenterDeleted"
        assert {center for center, _ in await world.workloads()} == {"north"}
        await world.client.delete(COMPUTE_CENTERS, "north")
        await joining.join(world.client, world.centers["north"])
        done = await world.until_phase("kept", "Succeeded")
        assert done["epoch"] == 1
        ((_, workload),) = await world.workloads("dropped")
        assert workload["spec"]["suspend"] is True
