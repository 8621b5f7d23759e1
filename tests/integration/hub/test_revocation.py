"""A grant that is taken back while jobs run: told, stopped after its grace, the copy removed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from huiju.kube.resources import DATASET_GRANTS, DATASET_SHARES
from tests.integration.hub.harness import Fields, Leash, World, running
from tests.integration.hub.moving import OWNER, Moving, moving, phase_of
from tests.integration.hub.pulling import CENTER as CONSUMER
from tests.integration.hub.pulling import MODEL
from tests.integration.hub.test_transfers import until_nothing_is_left
from tests.patience import PATIENCE

pytestmark = [pytest.mark.lab, pytest.mark.federation]
SIZES = {"train/a.bin": 2_500_000, "README.md": 12}
LONG = "1h"
SOON = "1s"


def said(status: Fields, kind: str) -> Fields:
    """A condition of a job, empty where there is none."""
    return next((c for c in status.get("conditions") or [] if c["type"] == kind), {})


async def until_running(data: Moving, world: World, name: str = "train") -> Fields:
    """A job that runs on a verified copy; the copy."""
    placement = {"centers": [CONSUMER]}
    await world.submit(
        name, data=data.wanted(), placement=placement, model=MODEL, fate={"run_for": "1h"}
    )
    await world.until_phase(name, "Running")
    return await data.until(
        lambda r: phase_of(r) == "Verified" and r["status"].get("usedBy") == [world.namespace]
    )


async def until_withdrawn(world: World, reason: str) -> Fields:
    """The running job's status once it is told that it may not use its data any more."""
    return await world.until("train", lambda s: said(s, "DataAllowed").get("reason") == reason)


async def stopped(data: Moving, world: World, reason: str) -> None:
    """The job is stopped and told why, its pods' workload is suspended, and no byte is left."""
    status = await world.until(
        "train", lambda s: "placement" not in s and s.get("reason") == reason
    )
    assert status["phase"] == "Queued"
    assert status["history"][0]["reason"] == reason
    assert status.get("placementFailures", 0) == 0, "nothing failed"
    assert not said(status, "DataAllowed")
    ((center, workload),) = await world.workloads("train")
    assert center == CONSUMER
    assert workload["spec"]["suspend"] is True
    assert not await world.pods("train")
    await data.until(lambda r: not r)
    assert not list((data.root / "store").rglob("*.bin"))
    await until_nothing_is_left(data)


async def test_a_job_is_told_at_once_and_loses_data_when_the_grace_is_over(
    world: World, tmp_path: Path
) -> None:
    async with moving(world, tmp_path, SIZES) as data, running(world.hub):
        await data.share(revocationGrace=LONG)
        await data.publish("v1")
        await data.grant()
        replica = await until_running(data, world)
        await data.decide("Revoked")
        told = await until_withdrawn(world, "GrantRevoked")
        assert told["phase"] == "Running"
        message = said(told, "DataAllowed")["message"]
        assert "Revoked by wang" in message
        assert "The job is stopped at" in message
        replica = await data.until(lambda r: bool(r["status"].get("barredAt")))
        assert phase_of(replica) == "Verified"
        assert data.copied(replica)
        # Nothing new comes of it meanwhile.
        placement = {"centers": [CONSUMER]}
        await world.submit("late", data=data.wanted(), placement=placement, model=MODEL)
        await world.until_reason("late", "GrantRevoked")
        share = await world.client.get(DATASET_SHARES, "corpus", data.owners)
        assert not share["status"].get("grants")
        await data.edit_share(revocationGrace=SOON)
        await stopped(data, world, "GrantRevoked")
        grant = await world.client.get(DATASET_GRANTS, "corpus", world.namespace)
        assert grant["status"]["state"] == "Revoked"


async def test_who_is_allowed_again_in_time_loses_nothing(world: World, tmp_path: Path) -> None:
    async with moving(world, tmp_path, SIZES) as data, running(world.hub):
        await data.share(revocationGrace=LONG)
        await data.publish("v1")
        await data.grant()
        await until_running(data, world)
        await data.decide("Suspended")
        await until_withdrawn(world, "GrantSuspended")
        await data.until(lambda r: bool(r["status"].get("barredAt")))
        await data.decide("Approved")
        status = await world.until("train", lambda s: not said(s, "DataAllowed"))
        replica = await data.until(lambda r: not r["status"].get("barredAt"))
        assert status["phase"] == "Running"
        assert status["epoch"] == 1
        assert phase_of(replica) == "Verified"
        # What the job was allowed by is gone with its object: that takes the right away too.
        await data.edit_share(revocationGrace=SOON)
        await world.client.delete(DATASET_GRANTS, "corpus", world.namespace)
        await stopped(data, world, "NoGrant")


async def test_a_copy_that_its_owner_ordered_stays(world: World, tmp_path: Path) -> None:
    async with moving(world, tmp_path, SIZES) as data, running(world.hub):
        await data.share(revocationGrace=SOON)
        await data.publish("v1")
        await data.grant()
        await until_running(data, world)
        await data.say("dataset", "replicate", "corpus", "--center", CONSUMER)
        await data.decide("Revoked")
        await world.until("train", lambda s: "placement" not in s)
        replica = await data.until(lambda r: bool(r["status"].get("barredAt")))
        assert phase_of(replica) == "Verified", "its owner asked for it here"
        assert data.copied(replica)


async def test_hub_and_agents_may_die_at_any_step(world: World, tmp_path: Path) -> None:
    async with moving(world, tmp_path, SIZES) as data:
        async with running(world.hub):
            await data.share(revocationGrace=LONG)
            await data.publish("v1")
            await data.grant()
            await until_running(data, world)
            await data.decide("Revoked")
            before = await until_withdrawn(world, "GrantRevoked")
        await data.end_agent(CONSUMER)
        await data.end_agent(OWNER)
        await data.edit_share(revocationGrace=SOON)
        async with running(world.hub):
            # The agent is away: the job is not given up, and its copy stays, until it was seen to
            # have stopped.
            status = await world.until_phase("train", "Unknown")
            assert status["placement"]["epoch"] == 1
            since = said(before, "DataAllowed")["lastTransitionTime"]
            assert said(status, "DataAllowed")["lastTransitionTime"] == since
            assert phase_of(await data.replica()) == "Verified"
        await data.start_agent(CONSUMER)
        async with asyncio.timeout(PATIENCE):
            life = 0
            while await data.replica():
                life += 1
                await one_life(world, data, Leash(allowed=2 + life))
                if life % 3 == 0:
                    await data.end_agent(CONSUMER)
                    await data.start_agent(CONSUMER)
        assert life > 1, "one hub did it all, and nothing was interrupted"
        async with running(world.hub):
            await data.start_agent(OWNER)
            await stopped(data, world, "GrantRevoked")


async def one_life(world: World, data: Moving, leash: Leash) -> None:
    """A hub that may make so many writes, and then dies; it ends sooner if all is done."""
    async with running(world.hub, leash):
        while not leash.spent.is_set() and await data.replica():
            await asyncio.sleep(0.05)
