"""Jobs with data on real control planes: staged without accelerators, mounted once verified."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from huiju.data.naming import copy_folder
from huiju.kube.resources import DATASET_GRANTS, DATASET_SHARES
from lab import joining
from tests.integration.hub.harness import World, running
from tests.integration.hub.test_copies import (
    GIGABYTE,
    linked,  # noqa: F401  (a fixture)
    ordered,
    remove_datasets,
    replicas,
    share_body,
    tell,
    until,
)

pytestmark = [pytest.mark.lab, pytest.mark.federation]
DATA = [{"dataset": "corpus", "mountPath": "/data"}]
EAST = {"centers": ["east"]}
Fields = dict[str, Any]


async def verified(world: World, replica: Fields) -> None:
    """Say that the copy is there."""
    size = replica["spec"]["bytes"]
    await tell(
        world,
        replica,
        phase="Verified",
        bytesDone=size,
        seconds=10,
        verifiedAt="2026-11-26T08:00:00Z",
    )


def pins(all: list[Fields]) -> int:
    """What keeps the only copy."""
    return len(all[0].get("status", {}).get("pinnedBy", [])) if all else 0


async def test_data_is_staged_without_accelerators_and_then_mounted(linked: World) -> None:  # noqa: F811
    await linked.client.create(DATASET_SHARES, share_body(linked.namespace), linked.namespace)
    async with running(linked.hub):
        await linked.submit("train", data=DATA, placement=EAST)
        status = await linked.until_phase("train", "Staging")
        assert status["staging"]["center"] == "east"
        assert "placement" not in status
        assert status["data"][0]["version"] == "v1"
        (replica,) = await until(
            linked, lambda all: bool(all and all[0].get("status", {}).get("pinnedBy"))
        )
        assert replica["spec"]["center"] == "east"
        assert replica["status"]["pinnedBy"] == [f"job {linked.namespace}/train"]
        assert not await linked.workloads("train")
        # Both nodes are taken by others meanwhile: nothing is held for the job that stages.
        await linked.submit("other", workers=2, placement=EAST, fate={"run_for": "3s"})
        await linked.until_phase("other", "Running")
        why = await ordered(linked, "transfers")
        assert "TransferPending" in why
        (link, bar) = (await ordered(linked, "transfers", "--bars")).splitlines()
        assert link.startswith("west -> east")
        assert f"{linked.namespace}/corpus v1" in bar
        assert "[" in bar
        await verified(linked, replica)
        await linked.until_phase("train", "Running")
        ((center, workload),) = await linked.workloads("train")
        assert center == "east"
        spec = workload["spec"]["template"]["spec"]
        (volume,) = [v for v in spec["volumes"] if v["name"].startswith("huiju-data")]
        folder = copy_folder(replica["spec"]["shareUid"], "v1")
        assert volume["hostPath"]["path"] == f"/store/{folder}"
        mounts = spec["containers"][0]["volumeMounts"]
        assert {"name": volume["name"], "mountPath": "/data", "readOnly": True} in mounts
        assert (await linked.status("train")).get("staging") is None
        await linked.until_phase("train", "Succeeded")
        (replica,) = await until(linked, lambda all: not all[0]["status"].get("pinnedBy"))
        assert replica["status"]["lastUsed"]


async def test_a_hub_that_dies_while_data_moves_goes_on(linked: World) -> None:  # noqa: F811
    await linked.client.create(DATASET_SHARES, share_body(linked.namespace), linked.namespace)
    async with running(linked.hub):
        await linked.submit("train", data=DATA, placement=EAST)
        await linked.until_phase("train", "Staging")
        (replica,) = await until(
            linked, lambda all: bool(all and all[0].get("status", {}).get("epoch"))
        )
    await verified(linked, replica)
    async with running(linked.hub):
        await linked.until_phase("train", "Succeeded")
        assert len(await replicas(linked)) == 1
        assert (await replicas(linked))[0]["status"]["epoch"] == 1


async def test_a_job_that_goes_takes_its_staging_with_it_unless_another_waits(
    linked: World,  # noqa: F811
) -> None:
    await linked.client.create(DATASET_SHARES, share_body(linked.namespace), linked.namespace)
    async with running(linked.hub):
        for name in ("one", "two"):
            await linked.submit(name, data=DATA, placement=EAST)
            await linked.until_phase(name, "Staging")
        await until(linked, lambda all: pins(all) == 2)
        await linked.delete("one")
        (left,) = await until(linked, lambda all: pins(all) == 1)
        assert left["status"]["phase"] == "Copying"
        await linked.delete("two")
        await until(linked, lambda all: not all or all[0]["status"]["phase"] == "Evicting")


async def test_without_a_grant_a_job_is_refused_and_goes_on_once_it_has_one(
    linked: World,  # noqa: F811
) -> None:
    other = f"{linked.namespace}-owner"
    await joining.namespace(linked.client, other)
    body = share_body(other, access={"namespaces": ["*"]})
    await linked.client.create(DATASET_SHARES, body, other)
    data = [{**DATA[0], "namespace": other}]
    try:
        async with running(linked.hub, refused_recheck=0.5):
            await linked.submit("train", data=data, placement=EAST)
            status = await linked.until_reason("train", "NoGrant")
            assert "dataset grant" in status["message"]
            grant = {
                "apiVersion": DATASET_GRANTS.api_version,
                "kind": DATASET_GRANTS.kind,
                "metadata": {"name": "corpus", "namespace": linked.namespace},
                "spec": {
                    "dataset": {"namespace": other, "name": "corpus"},
                    "requestedBy": "li",
                    "acceptedLicense": "CC0-1.0",
                    "decision": {"decision": "Approved", "by": "wang"},
                },
            }
            await linked.client.create(DATASET_GRANTS, grant, linked.namespace)
            await linked.until_phase("train", "Staging")
    finally:
        await remove_datasets(linked.client, other)
        await linked.client.raw("DELETE", DATASET_GRANTS.path(linked.namespace))


async def test_a_job_that_requires_a_copy_waits_for_one(linked: World) -> None:  # noqa: F811
    await linked.client.create(DATASET_SHARES, share_body(linked.namespace), linked.namespace)
    async with running(linked.hub):
        data = [{**DATA[0], "mode": "Require"}]
        await linked.submit("train", data=data)
        status = await linked.until_reason("train", "CopyRequired")
        assert "no copy here" in status["message"]
        await ordered(linked, "replicate", "corpus", "--center", "east")
        (replica,) = await until(
            linked, lambda all: bool(all and all[0].get("status", {}).get("epoch"))
        )
        await asyncio.sleep(0)
        await verified(linked, replica)
        status = await linked.until_phase("train", "Succeeded")
        assert status["placement"]["center"] == "east"
        assert replica["spec"]["bytes"] == 10 * GIGABYTE
