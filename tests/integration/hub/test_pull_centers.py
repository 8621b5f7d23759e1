"""Pull centers: an agent runs what lies in its mailbox, whatever dies or is away meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from huiju.agent.run import AgentProcess
from huiju.agent.settings import AgentSettings
from huiju.centers.mailbox import LEASE, mailbox_of
from huiju.kube.resources import (
    CENTER_INVENTORIES,
    CENTER_WORKS,
    COMPUTE_CENTERS,
    CROSS_REGION_JOBS,
    LEASES,
    SECRETS,
    Resource,
)
from lab import joining
from tests.integration.hub.harness import World, running

CENTER = "north"
MODEL = "nvidia-h100-sxm"


@pytest.fixture
async def pull(world: World) -> AsyncIterator[World]:
    """The world, with its NVIDIA center behind a mailbox."""
    space = mailbox_of(CENTER)
    await world.client.delete(COMPUTE_CENTERS, CENTER)
    await joining.namespace(world.client, space)
    await joining.namespace(world.center_clients[CENTER], joining.SYSTEM)
    body: dict[str, Any] = {
        "apiVersion": COMPUTE_CENTERS.api_version,
        "kind": COMPUTE_CENTERS.kind,
        "metadata": {"name": CENTER},
        "spec": {"connection": {"pull": {"approved": "Approved"}}, "region": CENTER},
    }
    await world.client.create(COMPUTE_CENTERS, body)
    yield world
    for res in (CENTER_WORKS, CENTER_INVENTORIES, LEASES, SECRETS):
        await world.client.raw("DELETE", res.path(space))


@asynccontextmanager
async def agent(world: World, *, election: bool = False) -> AsyncIterator[AgentProcess]:
    """An agent until the context ends, as a crash would end it."""
    process = AgentProcess(
        world.hub.credentials(),
        world.centers[CENTER].credentials(),
        AgentSettings(
            CENTER, leader_election=election, heartbeat=0.3, publish_interval=0.1, retry=0.3
        ),
    )
    task = asyncio.create_task(process.run())
    try:
        yield process
        if task.done():
            task.result()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until_empty(world: World, res: Resource, seconds: float = 30.0) -> None:
    """Wait until the mailbox holds no object of a kind."""
    end = time.monotonic() + seconds
    while found := (await world.client.list_all(res, mailbox_of(CENTER))).items:
        if time.monotonic() > end:
            raise AssertionError(f"left in the mailbox after {seconds} s: {found}")
        await asyncio.sleep(0.1)


async def test_a_job_is_placed_run_and_reported_through_the_mailbox(pull: World) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "key", "namespace": pull.namespace},
        "stringData": {"token": "not-for-the-spec"},
    }
    await pull.client.create(SECRETS, secret, pull.namespace)
    async with running(pull.hub), agent(pull):
        ready = await pull.until_center(
            CENTER,
            lambda s: any(
                c["type"] == "Ready" and c["status"] == "True" for c in s.get("conditions", [])
            ),
        )
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
        await until_empty(pull, CENTER_WORKS)
        await until_empty(pull, SECRETS)


async def test_an_agent_that_dies_loses_nothing_and_runs_nothing_twice(pull: World) -> None:
    async with running(pull.hub):
        async with agent(pull):
            await pull.submit("lives", model=MODEL, fate={"run_for": "4s"})
            await pull.until_phase("lives", "Running")
        await pull.until_phase("lives", "Unknown")
        async with agent(pull):
            done = await pull.until_phase("lives", "Succeeded")
            assert done["epoch"] == 1
            assert await pull.runs("lives") == {"1": 1}


async def test_work_goes_on_while_the_hub_is_away(pull: World) -> None:
    async with agent(pull):
        async with running(pull.hub):
            await pull.submit("on", model=MODEL, fate={"run_for": "2s"})
            await pull.until_phase("on", "Running")
        async with asyncio.timeout(30):
            while await pull.runs("on") != {"1": 1}:
                await asyncio.sleep(0.1)
        async with running(pull.hub):
            done = await pull.until_phase("on", "Succeeded")
            assert done["epoch"] == 1


async def test_what_the_user_stops_is_stopped_in_the_center(pull: World) -> None:
    async with running(pull.hub), agent(pull):
        await pull.submit("stopped", model=MODEL, fate={"run_for": "60s"})
        await pull.until_phase("stopped", "Running")
        await pull.edit("stopped", cancel=True)
        await pull.until_phase("stopped", "Cancelled")
        assert await pull.pods("stopped") == []


async def test_a_second_agent_waits(pull: World) -> None:
    async with agent(pull, election=True) as first:
        await asyncio.wait_for(first.gained.wait(), 30)
        async with agent(pull, election=True) as second:
            lease = await pull.center_clients[CENTER].get(LEASES, LEASE, joining.SYSTEM)
            assert lease["spec"]["holderIdentity"] == first.identity
            assert not second.held()
            assert second.agent is None


async def test_an_unapproved_agent_gets_no_work(pull: World) -> None:
    await pull.edit_center(CENTER, connection={"pull": {"approved": "Pending"}})
    async with running(pull.hub), agent(pull):
        await pull.submit("none", model=MODEL)
        await pull.until_center(CENTER, lambda s: "AgentNotApproved" in str(s.get("conditions")))
        assert (await pull.status("none")).get("placement") is None
        assert not (await pull.client.list_all(CENTER_WORKS, mailbox_of(CENTER))).items
