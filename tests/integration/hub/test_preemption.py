"""Jobs that stop for others: told in time, seen stopped, queued at their old place, never counted.

All of it in center `north`, whose two nodes of eight cards one gang of two fills.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from huiju.kube.resources import EVENTS, PODS
from huiju.scheduling.policy import Policy
from lab.fates import Fate
from tests.integration.hub.harness import Fields, Leash, World, running
from tests.patience import PATIENCE

AT_ONCE = Policy(dwell=0.0, soon=0.0)
"""Jobs may be stopped however briefly they have run."""
GRACE = 45
ALL_OF_NORTH: Fields = {"model": "nvidia-h100-sxm", "workers": 2}


def conditions(status: Fields) -> dict[str, Fields]:
    return {found["type"]: found for found in status["conditions"]}


async def fill(world: World, fate: Fields, **pod: Any) -> None:
    """A gang of low priority that holds the whole center."""
    await world.submit("low", fate=fate, **ALL_OF_NORTH)
    if pod:
        template = (await world.job("low"))["spec"]["template"]
        await world.delete("low")
        template["spec"] |= pod
        await world.submit("low", template=template, **ALL_OF_NORTH)
    await world.until_phase("low", "Running")


async def stopped(world: World, name: str) -> Fields:
    """The job's workload, once it is suspended."""
    async with asyncio.timeout(PATIENCE):
        while True:
            for _, workload in await world.workloads(name):
                if workload["spec"].get("suspend"):
                    return workload
            await asyncio.sleep(0.1)


async def test_a_job_that_must_stop_has_its_grace_period_and_starts_again_after_it(
    world: World,
) -> None:
    fate = {"fate": Fate.ZOMBIE, "epoch": 1, "run_for": "120s"}
    async with running(world.hub, policy=AT_ONCE):
        await fill(world, fate, terminationGracePeriodSeconds=GRACE)
        await world.submit("high", priority=5, fate={"run_for": "120s"}, **ALL_OF_NORTH)
        await stopped(world, "low")
        async with asyncio.timeout(PATIENCE):
            while not all(
                p["metadata"].get("deletionTimestamp") for _, p in await world.pods("low")
            ):
                await asyncio.sleep(0.1)
        assert {
            pod["metadata"]["deletionGracePeriodSeconds"] for _, pod in await world.pods("low")
        } == {GRACE}
    async with running(world.hub, policy=AT_ONCE) as hub:  # the first one died meanwhile
        uid = (await world.job("high"))["metadata"]["uid"]
        async with asyncio.timeout(PATIENCE):
            while hub.waits.get(uid) is None:  # a cycle has looked at it
                await asyncio.sleep(0.1)
        low, high = await world.status("low"), await world.status("high")
        assert low["placement"]["epoch"] == 1, "its pods may still write a checkpoint"
        assert "placement" not in high
        for center, pod in await world.pods("low"):
            meta = pod["metadata"]
            path = PODS.path(meta["namespace"], meta["name"]) + "?gracePeriodSeconds=0"
            await world.center_clients[center].raw("DELETE", path)
        await world.until_phase("high", "Running")
        low = await world.until("low", lambda s: "placement" not in s)
        assert low["history"][0]["reason"] == "Preempted"
        told = conditions(low)["Placed"]
        assert (told["status"], told["reason"]) == ("False", "Preempted")
        assert f"Makes room in north for {world.namespace}/high" in told["message"]
        assert "priority 5 goes before 0 in queue 'research'" in told["message"]
        assert "accelerator-seconds" in told["message"]
        for counter in ("applicationFailures", "placementFailures", "retryAt"):
            assert not low.get(counter), counter
        async with asyncio.timeout(PATIENCE):
            while not await _events(world, "low", "Preempted"):
                await asyncio.sleep(0.1)
        await world.edit("high", cancel=True)
        again = await world.until_phase("low", "Running")
        assert again["placement"]["epoch"] == 2


async def _events(world: World, name: str, reason: str) -> list[Fields]:
    items = (await world.client.list_all(EVENTS, world.namespace)).items
    return [e for e in items if e["regarding"]["name"] == name and e["reason"] == reason]


@pytest.mark.parametrize("writes", range(4))
async def test_a_hub_that_dies_on_the_way_stops_one_job_once(world: World, writes: int) -> None:
    async with running(world.hub):
        await fill(world, {"run_for": "120s"})
    await world.submit("high", priority=5, fate={"run_for": "120s"}, **ALL_OF_NORTH)
    leash = Leash(allowed=writes)
    async with running(world.hub, leash, policy=AT_ONCE, waiting_write_delay=60.0):
        async with asyncio.timeout(PATIENCE):
            await leash.spent.wait()
    async with running(world.hub, policy=AT_ONCE):
        high = await world.until_phase("high", "Running")
        low = await world.until("low", lambda s: "placement" not in s)
    assert high["epoch"] == 1
    assert [past["reason"] for past in low["history"]] == ["Preempted"]
    assert low["epoch"] == 1
    assert len(await world.workloads()) == 2
