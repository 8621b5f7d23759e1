"""A hub that dies between any two writes: the next one finishes the work, once."""

from __future__ import annotations

import asyncio
import re
from collections import Counter

import pytest

from huiju.kube.resources import JOBS, SERVICES
from lab.fates import Fate
from tests.integration.hub.harness import Leash, World, running
from tests.patience import PATIENCE


@pytest.mark.parametrize("writes", range(5))
@pytest.mark.parametrize("workers", [1, 2], ids=["single", "gang"])
async def test_a_job_survives_a_crash_after_any_write(
    world: World, workers: int, writes: int
) -> None:
    leash = Leash(allowed=writes)
    await world.submit("job", workers=workers, per_worker=8)
    async with running(world.hub, leash):
        async with asyncio.timeout(PATIENCE):
            await leash.spent.wait()
    async with running(world.hub):
        done = await world.until_phase("job", "Succeeded")
        assert done["epoch"] == 1, "the first placement was kept"
        workloads = await world.workloads("job")
        assert len(workloads) == 1, "one workload, in one center"
        await world.delete("job")
        await world.until_gone()


@pytest.mark.parametrize("writes", [4, 5, 6, 7])
async def test_a_crash_on_the_way_to_a_second_attempt_runs_no_epoch_twice(
    world: World, writes: int
) -> None:
    leash = Leash(allowed=writes)
    await world.submit(
        "again",
        fate={"fate": Fate.FAIL, "exit_code": 1, "after": "0.1s", "epoch": 1},
        retry={"maxAttempts": 2},
    )
    async with running(world.hub, leash):
        async with asyncio.timeout(PATIENCE):
            await leash.spent.wait()
    async with running(world.hub):
        done = await world.until_phase("again", "Succeeded")
        assert done["epoch"] == 2
        assert done["applicationFailures"] == 1
        epochs = sorted(
            w["metadata"]["labels"]["huiju.dev/epoch"] for _, w in await world.workloads("again")
        )
        assert epochs == ["1", "2"]


async def test_writes_of_a_whole_life_are_four_and_one_to_clean_up(world: World) -> None:
    # A busy machine must not turn this job into one that waits, or its center into a lost one:
    # each of these is one more write, and rightly so.
    async with running(world.hub, waiting_write_delay=60.0, center_lost_after=60.0):
        # The namespace in the center is made once.
        await world.submit("first")
        first = await world.until_phase("first", "Succeeded")
        before = await world.server_writes()
        await world.submit(
            "counted",
            fate={"run_for": "2s"},
            placement={"centers": [first["placement"]["center"]]},
        )
        done = await world.until_phase("counted", "Succeeded")
        assert done["placement"]["center"] == first["placement"]["center"]
        after = await world.server_writes()
        assert after - before == Counter(
            {
                ("hub", "POST", "crossregionjobs", ""): 1,  # the user's
                ("hub", "PUT", "crossregionjobs", "status"): 3,
                ("center", "POST", "jobs", ""): 1,
            }
        )
        await world.delete("counted")
        await world.delete("first")
        await world.until_gone()
        cleaned = await world.server_writes() - after
        assert cleaned == Counter(
            {
                ("hub", "DELETE", "crossregionjobs", ""): 2,  # the user's
                ("center", "DELETE", "jobs", ""): 2,
            }
        ), "one removal for each job"


async def test_a_job_deleted_while_the_hub_was_away_is_removed_from_its_center(
    world: World,
) -> None:
    async with running(world.hub):
        await world.submit("orphan", fate={"run_for": "120s"})
        await world.until_phase("orphan", "Running")
    await world.delete("orphan")
    assert await world.workloads("orphan")
    async with running(world.hub):
        await world.until_gone()


async def test_what_was_made_for_a_workload_that_never_came_goes_with_the_job(
    world: World,
) -> None:
    # The decision, the Service refused for want of a namespace, the namespace, the Service.
    leash = Leash(allowed=4)
    await world.submit("early", workers=2)
    async with running(world.hub, leash, waiting_write_delay=60.0):
        async with asyncio.timeout(PATIENCE):
            await leash.spent.wait()
    center = (await world.status("early"))["placement"]["center"]
    client = world.center_clients[center]
    left = await client.list_all(SERVICES, labels="huiju.dev/job-name=early")
    assert len(left.items) == 1, "the hub died between the Service and the workload"
    await world.edit("early", cancel=True)
    async with running(world.hub):
        await world.until_phase("early", "Cancelled")
        left = await client.list_all(SERVICES, labels="huiju.dev/job-name=early")
        assert left.items == []
        assert await world.workloads("early") == []


async def services(world: World, name: str) -> list[str]:
    found = []
    for client in world.center_clients.values():
        left = await client.list_all(SERVICES, labels=f"huiju.dev/job-name={name}")
        found += [one["metadata"]["name"] for one in left.items]
    return found


async def test_a_workload_deleted_by_hand_leaves_nothing_that_was_made_for_it(
    world: World,
) -> None:
    async with running(world.hub):
        await world.submit("taken", workers=2, fate={"run_for": "120s"})
        await world.until_phase("taken", "Running")
        ((center, workload),) = await world.workloads("taken")
        meta = workload["metadata"]
        await world.center_clients[center].delete(JOBS, meta["name"], meta["namespace"])
        async with asyncio.timeout(PATIENCE):
            while (await world.status("taken")).get("epoch") != 2:
                await asyncio.sleep(0.05)
        await world.until_phase("taken", "Running")
        assert len(await services(world, "taken")) == 1, "the second attempt's"


async def test_who_deletes_a_workload_and_its_job_at_once_leaves_no_service(world: World) -> None:
    async with running(world.hub):
        await world.submit("both", workers=2, fate={"run_for": "120s"})
        await world.until_phase("both", "Running")
        ((center, workload),) = await world.workloads("both")
        meta = workload["metadata"]
        await world.delete("both")
        await world.center_clients[center].delete(JOBS, meta["name"], meta["namespace"])
        await world.until_gone()
        async with asyncio.timeout(PATIENCE):
            while await services(world, "both"):
                await asyncio.sleep(0.1)


async def test_a_past_workload_deleted_while_the_hub_was_away_leaves_nothing(
    world: World,
) -> None:
    async with running(world.hub):
        await world.submit("twice", workers=2, fate={"run_for": "300s"})
        await world.until_phase("twice", "Running")
        ((center, workload),) = await world.workloads("twice")
        await world.edit("twice", moveFromEpoch=1)
        await world.until("twice", lambda s: s.get("epoch") == 2 and s["phase"] == "Running")
    meta = workload["metadata"]
    await world.center_clients[center].delete(JOBS, meta["name"], meta["namespace"])
    async with running(world.hub):
        assert len(await services(world, "twice")) == 2, "nothing leads to the first one's"
        await world.delete("twice")
        async with asyncio.timeout(PATIENCE):
            while await services(world, "twice"):
                await asyncio.sleep(0.1)
        await world.until_gone()


async def test_a_mass_of_seeming_orphans_stops_the_removal_and_tells(world: World) -> None:
    async with running(world.hub):
        names = [f"mass-{number}" for number in range(4)]
        for name in names:
            await world.submit(
                name, model="nvidia-h100-sxm", per_worker=2, fate={"run_for": "120s"}
            )
        for name in names:
            await world.until_phase(name, "Running")
    for name in names:
        await world.delete(name)
    async with running(world.hub, orphan_mass=2):
        center = await world.until_center(
            "north", lambda s: "MassOrphans" in str(s.get("conditions"))
        )
        word = re.search(r"allow-orphan-removal=(\w{8})", str(center["conditions"]))
        assert word is not None
        assert len(await world.workloads()) == 4
        await world.annotate_center("north", "huiju.dev/allow-orphan-removal", word[1])
        await world.until_gone()
