"""A hub whose store came back from a backup: it goes on from what runs, and runs nothing twice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from huiju.kube.resources import COMPUTE_CENTERS, CROSS_REGION_JOBS
from lab import backups, joining
from lab.cluster import Cluster
from lab.federation import Lab, join
from lab.fixtures import in_thread, install_crds
from lab.kwokctl import HUB, ClusterSpec
from lab.proxy import FaultProxy
from tests.integration.hub.conftest import empty
from tests.integration.hub.harness import Fields, World, running
from tests.integration.hub.pulling import agent, become_pull

LONG = {"run_for": "300s"}


@pytest.fixture(scope="module")
def own_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A hub of this module's own: nobody else's store may be put back."""
    name = f"restored-{tmp_path_factory.getbasetemp().name}".replace("_", "-")[:40].lower()
    lab: Lab = in_thread(join(name, [ClusterSpec("hub", HUB)], seconds=80))
    try:
        in_thread(install_crds(lab["hub"]))
        yield lab["hub"]
    finally:
        lab.leave()


@pytest.fixture
async def restorable(
    own_hub: Cluster, equipped: tuple[Cluster, tuple[Cluster, ...]], namespace: str
) -> AsyncIterator[World]:
    """The centers of the other tests under a hub that can be put back."""
    _, centers = equipped
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(await own_hub.client())
        clients = {
            center.name: await stack.enter_async_context(await center.client())
            for center in centers
        }
        await joining.namespace(client, joining.SYSTEM)
        await joining.namespace(client, namespace)
        await joining.queue(client, "research")
        for center in centers:
            await joining.join(client, center)
        world = World(own_hub, {c.name: c for c in centers}, client, clients, namespace)
        yield world
        await client.raw("DELETE", CROSS_REGION_JOBS.path(namespace))
        await client.raw("DELETE", COMPUTE_CENTERS.path())
        await empty(world)


async def cordon(world: World, *, cordoned: bool) -> None:
    for name in world.centers:
        await world.edit_center(name, cordoned=cordoned)


async def pods_of(world: World, job: str) -> set[tuple[str, str]]:
    """Center and UID of the job's pods that are to go on."""
    found = await world.pods(job)
    return {
        (center, pod["metadata"]["uid"])
        for center, pod in found
        if not pod["metadata"].get("deletionTimestamp")
    }


def condition(status: Fields, name: str) -> Fields:
    return next((c for c in status.get("conditions") or () if c["type"] == name), {})


def is_ready(status: Fields) -> bool:
    return condition(status, "Ready").get("status") == "True"


async def test_what_was_placed_after_the_backup_runs_on(restorable: World, tmp_path: Path) -> None:
    """The hub placed such jobs anew, beside what ran; only then it told the old run to stop."""
    world = restorable
    async with running(world.hub):
        await world.submit("moved", fate=LONG, workers=1)
        first = await world.until_phase("moved", "Running")
        await cordon(world, cordoned=True)
        await world.submit("later", fate=LONG)
        await world.submit("ended", fate={"run_for": "1s"})
        await world.until_phase("later", "Queued")
    await backups.save(world.hub, tmp_path / "backup")
    async with running(world.hub):
        await cordon(world, cordoned=False)
        await world.edit("moved", moveFromEpoch=1)
        second = await world.until(
            "moved", lambda s: s.get("epoch") == 2 and s.get("phase") == "Running"
        )
        await world.until_phase("later", "Running")
        await world.until_phase("ended", "Succeeded")
        assert first["placement"]["center"] != second["placement"]["center"]
    ran = {job: await pods_of(world, job) for job in ("moved", "later")}
    await backups.put_back(world.hub, tmp_path / "backup")
    assert (await world.status("moved"))["epoch"] == 1
    async with running(world.hub):
        await cordon(world, cordoned=False)
        now = await world.until(
            "moved", lambda s: s.get("epoch") == 2 and s.get("phase") == "Running"
        )
        assert now["placement"]["center"] == second["placement"]["center"]
        assert [past["epoch"] for past in now["history"]] == [1]
        assert (await world.until_phase("later", "Running"))["epoch"] == 1
        assert (await world.until_phase("ended", "Succeeded"))["epoch"] == 1
        # It is a hub like any other from then on.
        await world.submit("new")
        await world.until_phase("new", "Succeeded")
        assert {job: await pods_of(world, job) for job in ("moved", "later")} == ran


async def test_nothing_is_placed_before_every_center_was_read(
    restorable: World, tmp_path: Path
) -> None:
    world = restorable
    async with FaultProxy(world.centers["west"]) as proxy:
        await joining.join(world.client, world.centers["west"], server=proxy.server)
        async with running(world.hub):
            for name in world.centers:
                await world.until_center(name, is_ready)
            await cordon(world, cordoned=True)
            for name in ("here", "there"):
                await world.submit(name, fate=LONG)
                await world.until_phase(name, "Queued")
        await backups.save(world.hub, tmp_path / "backup")
        async with running(world.hub):
            await world.edit("there", suspend=True)
            await world.until_phase("there", "Suspended")
            await world.edit_center("east", cordoned=False)
            await world.until_phase("here", "Running")
            await world.edit_center("east", cordoned=True)
            await world.edit_center("west", cordoned=False)
            await world.edit("there", suspend=False)
            there = await world.until_phase("there", "Running")
            assert there["placement"]["center"] == "west"
        ran = await pods_of(world, "there")
        await backups.put_back(world.hub, tmp_path / "backup")
        proxy.partition()
        proxy.cut_all()
        for _ in range(2):  # the second hub knows it from the first
            async with running(world.hub):
                await cordon(world, cordoned=False)
                assert (await world.until_phase("here", "Running"))["epoch"] == 1
                status = await world.until_center(
                    "west", lambda s: condition(s, "Recalled").get("status") == "False"
                )
                assert condition(status, "Recalled")["reason"] == "HubRestored"
                waits = await world.until_reason("there", "HubRestored")
                assert "west" in waits["message"]
                assert waits.get("placement") is None
        async with running(world.hub):
            proxy.heal()
            now = await world.until_phase("there", "Running")
            assert (now["epoch"], now["placement"]["center"]) == (1, "west")
            assert await pods_of(world, "there") == ran
            await world.until_center("west", lambda s: not condition(s, "Recalled"))
            await world.submit("new")
            await world.until_phase("new", "Succeeded")


async def test_an_agent_tells_a_restored_hub_what_it_runs(
    restorable: World, tmp_path: Path
) -> None:
    world = restorable
    await become_pull(world)
    model = {"model": "nvidia-h100-sxm", "fate": LONG}
    async with running(world.hub), agent(world, tmp_path):
        await world.until_center("north", is_ready)
        await cordon(world, cordoned=True)
        await world.submit("later", **model)
        await world.until_phase("later", "Queued")
    await backups.save(world.hub, tmp_path / "backup")
    async with running(world.hub), agent(world, tmp_path):
        await cordon(world, cordoned=False)
        await world.until_phase("later", "Running")
    ran = await pods_of(world, "later")
    await backups.put_back(world.hub, tmp_path / "backup")
    async with running(world.hub), agent(world, tmp_path):
        await cordon(world, cordoned=False)
        now = await world.until_phase("later", "Running")
        assert (now["epoch"], now["placement"]["center"]) == (1, "north")
        assert await pods_of(world, "later") == ran
        await world.edit("later", cancel=True)
        await world.until_phase("later", "Cancelled")
