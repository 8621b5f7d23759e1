"""Pull centers: an agent runs what lies in its mailbox, whatever dies or is away meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from huiju.centers.mailbox import LEASE, mailbox_of
from huiju.kube.resources import (
    CENTER_INVENTORIES,
    CENTER_WORKS,
    CROSS_REGION_JOBS,
    JOBS,
    LEASES,
    SECRETS,
)
from lab import joining
from lab.faultrules import Fault
from lab.proxy import FaultProxy
from tests.integration.hub.harness import World, running
from tests.integration.hub.pulling import (
    CENTER,
    MODEL,
    agent,
    become_pull,
    empty_mailbox,
    until_empty,
    until_some,
)
from tests.patience import PATIENCE

FEDERATED = "huiju.dev/hub"


@pytest.fixture
async def pull(world: World) -> AsyncIterator[World]:
    """The world, with its NVIDIA center behind a mailbox."""
    await become_pull(world)
    yield world
    await empty_mailbox(world.client)


def is_ready(status: dict[str, Any]) -> bool:
    """Whether a center's status says Ready."""
    return any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", []))


async def give_secret(world: World) -> None:
    """A Secret that jobs of the test may carry."""
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "key", "namespace": world.namespace},
        "stringData": {"token": "not-for-the-spec"},
    }
    await world.client.create(SECRETS, body, world.namespace)


async def test_a_job_is_placed_run_and_reported_through_the_mailbox(
    pull: World, tmp_path: Path
) -> None:
    await give_secret(pull)
    async with running(pull.hub), agent(pull, tmp_path):
        ready = await pull.until_center(CENTER, is_ready)
        (row,) = ready["accelerators"]
        assert (row["model"], row["total"], row["free"]) == (MODEL, 16, 16)
        assert ready["identity"]["uid"]
        made = await pull.submit(
            "there", model=MODEL, carry={"secrets": ["key"]}, fate={"run_for": "1s"}
        )
        done = await pull.until_phase("there", "Succeeded")
        assert done["placement"]["center"] == CENTER
        assert await pull.runs("there") == {"1": 1}
        space, uid = mailbox_of(CENTER), made["metadata"]["uid"]
        work = await pull.client.get(CENTER_WORKS, uid, space)
        assert work["status"]["attempts"][0]["state"] == "succeeded"
        assert "not-for-the-spec" not in str(work)
        (carried,) = (await pull.client.list_all(SECRETS, space)).items
        assert carried["metadata"]["ownerReferences"][0]["uid"] == work["metadata"]["uid"]
        # With the job everything goes, in the center and in the mailbox.
        await pull.client.delete(CROSS_REGION_JOBS, "there", pull.namespace)
        await pull.until_gone()
        await until_empty(pull.client, CENTER_WORKS, space)
        await until_empty(pull.client, SECRETS, space)


async def test_an_agent_that_dies_loses_nothing_and_runs_nothing_twice(
    pull: World, tmp_path: Path
) -> None:
    async with running(pull.hub):
        async with agent(pull, tmp_path):
            await pull.submit("lives", model=MODEL, fate={"run_for": "2s"})
            await pull.until_phase("lives", "Running")
        async with agent(pull, tmp_path):
            done = await pull.until_phase("lives", "Succeeded")
            assert done["epoch"] == 1
            assert await pull.runs("lives") == {"1": 1}


async def test_work_goes_on_while_the_hub_is_away(pull: World, tmp_path: Path) -> None:
    async with (
        FaultProxy(pull.hub) as link,
        running(pull.hub),
        agent(pull, tmp_path, hub_server=link.server),
    ):
        await pull.submit("on", model=MODEL, fate={"run_for": "2s"})
        await pull.until_phase("on", "Running")
        link.partition()
        async with asyncio.timeout(PATIENCE):
            while await pull.runs("on") != {"1": 1}:
                await asyncio.sleep(0.1)
        await pull.until_phase("on", "Unknown")
        link.heal()
        done = await pull.until_phase("on", "Succeeded")
        assert done["epoch"] == 1
        assert await pull.runs("on") == {"1": 1}


async def test_what_the_user_stops_is_stopped_in_the_center(pull: World, tmp_path: Path) -> None:
    async with running(pull.hub), agent(pull, tmp_path):
        await pull.submit("stopped", model=MODEL, fate={"run_for": "60s"})
        await pull.until_phase("stopped", "Running")
        await pull.edit("stopped", cancel=True)
        await pull.until_phase("stopped", "Cancelled")
        async with asyncio.timeout(PATIENCE):
            while await pull.pods("stopped"):
                await asyncio.sleep(0.1)


async def test_what_its_owner_removes_before_it_is_reported_is_not_made_again(
    pull: World, tmp_path: Path
) -> None:
    center = pull.center_clients[CENTER]
    async with (
        FaultProxy(pull.hub) as link,
        running(pull.hub),
        agent(pull, tmp_path, hub_server=link.server),
    ):
        link.add(Fault.ANSWER, "patch", path="/centerworks/[^/]+/status", code=503)
        await pull.submit("gone", model=MODEL, fate={"run_for": "60s"})
        (workload,) = await until_some(center, JOBS, None, labels=FEDERATED)
        meta = workload["metadata"]
        await center.delete(JOBS, meta["name"], meta["namespace"])
        await until_empty(center, JOBS, meta["namespace"])
        link.rules.clear()
        # The hub learns that it is gone and decides; the same epoch never comes again.
        await pull.until("gone", lambda status: status.get("epoch", 0) == 2)
        names = {w["metadata"]["name"] for _, w in await pull.workloads("gone")}
        assert meta["name"] not in names


async def test_a_secret_of_a_workload_that_never_came_goes_with_its_job(
    pull: World, tmp_path: Path
) -> None:
    await give_secret(pull)
    center = pull.center_clients[CENTER]
    async with running(pull.hub):
        async with FaultProxy(pull.centers[CENTER]) as link:
            link.add(Fault.DROP, "create", path="/jobs$")
            through = pull.centers[CENTER].credentials(link.server)
            async with agent(pull, tmp_path, center=through):
                await pull.submit("half", model=MODEL, carry={"secrets": ["key"]})
                await until_some(center, SECRETS, None, labels=FEDERATED)
        await pull.client.delete(CROSS_REGION_JOBS, "half", pull.namespace)
        async with agent(pull, tmp_path):
            await until_empty(center, SECRETS, None, labels=FEDERATED)
            await until_empty(pull.client, CENTER_WORKS, mailbox_of(CENTER))


async def test_the_agent_follows_what_the_hub_says_of_its_accelerators(
    pull: World, tmp_path: Path
) -> None:
    async with running(pull.hub), agent(pull, tmp_path, look_again=0.5):
        await pull.until_center(CENTER, is_ready)
        override = {"nodeSelector": {}, "resource": "nvidia.com/gpu", "model": "nvidia-h200-sxm"}
        await pull.edit_center(CENTER, accelerators=[override])
        told = await pull.until_center(
            CENTER,
            lambda s: [a["model"] for a in s.get("accelerators", [])] == ["nvidia-h200-sxm"],
        )
        assert told["accelerators"][0]["free"] == 16
        # A piece that somebody removed by hand is written again.
        space = mailbox_of(CENTER)
        await pull.client.raw("DELETE", CENTER_INVENTORIES.path(space))
        await until_some(pull.client, CENTER_INVENTORIES, space)
        await pull.until_center(
            CENTER, lambda s: [a["free"] for a in s.get("accelerators", [])] == [16]
        )


async def test_a_second_agent_waits_and_takes_over(pull: World, tmp_path: Path) -> None:
    async with running(pull.hub):
        async with agent(pull, tmp_path, leader_election=True) as first:
            await asyncio.wait_for(first.gained.wait(), PATIENCE)
            async with agent(pull, tmp_path, leader_election=True) as second:
                await pull.until_center(CENTER, is_ready)
                lease = await pull.center_clients[CENTER].get(LEASES, LEASE, joining.SYSTEM)
                assert lease["spec"]["holderIdentity"] == first.identity
                assert not second.held()
                assert second.agent is None
        async with agent(pull, tmp_path, leader_election=True) as next_one:
            await asyncio.wait_for(next_one.gained.wait(), PATIENCE)
            await pull.submit("after", model=MODEL)
            await pull.until_phase("after", "Succeeded")


async def test_an_unapproved_agent_gets_no_work(pull: World, tmp_path: Path) -> None:
    await pull.edit_center(CENTER, connection={"pull": {"approved": "Pending"}})
    async with running(pull.hub), agent(pull, tmp_path):
        await pull.submit("none", model=MODEL)
        await pull.until_center(CENTER, lambda s: "AgentNotApproved" in str(s.get("conditions")))
        assert (await pull.status("none")).get("placement") is None
        assert not (await pull.client.list_all(CENTER_WORKS, mailbox_of(CENTER))).items
