"""A center that shows free nodes which jobs do not find: it is passed over, honest ones are not."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import pytest

from huiju.centers.mailbox import mailbox_of
from huiju.hub.promises import Pace
from huiju.kube.resources import CENTER_INVENTORIES
from lab.faultrules import Fault
from lab.proxy import FaultProxy
from tests.integration.hub.harness import Fields, World, running
from tests.integration.hub.pulling import CENTER, MODEL, agent, become_pull, empty_mailbox
from tests.integration.hub.test_hostile_centers import doubted
from tests.integration.hub.test_moves import huiju
from tests.integration.hub.test_pull_centers import is_ready

ASCEND = "ascend-910b3"
RESOURCE = "huawei.com/Ascend910"
ONLY_NORTH: Fields = {"centers": [CENTER]}


@pytest.fixture
async def pull(world: World) -> AsyncIterator[World]:
    await become_pull(world)
    yield world
    await empty_mailbox(world.client)


def ghosts() -> Fields:
    """A piece of an inventory with sixteen nodes that are not there."""
    accelerator = {
        "model": ASCEND,
        "resource": RESOURCE,
        "unit": "device",
        "gflops": 313_000,
        "topology": "groups-of-8",
    }
    amounts = {RESOURCE: 8, "cpu": 96_000, "memory": 2**40, "pods": 110}
    units = {"accelerator": accelerator, "total": 8, "allocatable": 8, "used": 0, "free": 8}
    group = {
        "nodes": [f"ghost-{number:02}" for number in range(16)],
        "shape": {"accelerators": [accelerator], "allocatable": amounts},
        "free": amounts,
        "offered": True,
        "ready": True,
        "schedulable": True,
        "units": [units | {"federated": 0, "whole": True, "takesWork": True}],
    }
    return {
        "apiVersion": CENTER_INVENTORIES.api_version,
        "kind": CENTER_INVENTORIES.kind,
        "metadata": {"name": "ghosts"},
        "spec": {"groups": [group]},
    }


async def boast(world: World) -> None:
    """The center shows nodes that it does not have, and no other takes new jobs."""
    await world.until_center(CENTER, is_ready)
    await world.client.create(CENTER_INVENTORIES, ghosts(), mailbox_of(CENTER))
    await world.until_center(CENTER, lambda s: any(a["model"] == ASCEND for a in s["accelerators"]))
    for center in ("east", "west"):
        await world.edit_center(center, cordoned=True)


async def found_nothing(world: World, *jobs: str) -> list[float]:
    """Wait until jobs have come back from the center; returns when they did."""
    ends = []
    for job in jobs:
        status = await world.until(job, lambda s: bool(s.get("avoid")))
        (past,) = status["history"]
        assert (past["center"], past["reason"]) == (CENTER, "Unschedulable")
        ends.append(datetime.fromisoformat(past["endedAt"]).timestamp())
    return ends


async def test_cards_that_are_not_there_keep_only_those_waiting_who_want_that_center(
    pull: World, tmp_path: Path
) -> None:
    world = pull
    pace = Pace(first=600.0)
    async with running(world.hub, promises=pace) as hub, agent(world, tmp_path):
        await boast(world)
        early = [f"early-{number}" for number in range(3)]
        for name in early:
            await world.submit(name, schedulingDeadline="3s")
        await found_nothing(world, *early)
        # Who has not been there himself is told all the same, and does not go.
        await world.submit("pinned", placement=ONLY_NORTH)
        waits = await world.until("pinned", lambda s: "did not find" in s.get("message", ""))
        assert f"showed free nodes for 1 x 8 {ASCEND}" in waits["message"]
        assert "history" not in waits
        told = await huiju(world, "why", "pinned")
        assert "that jobs did not find; believed again from" in told.out
        uid = (await world.job("pinned"))["metadata"]["uid"]
        explained = hub.core.explain(uid, time.time())
        assert explained is not None
        found = {refusal.center: refusal.reason for refusal in explained.trace.refusals}
        assert found[CENTER] == "PromiseBroken"
        # Nobody else is kept waiting, and the center is believed in what it has.
        await world.edit_center("east", cordoned=False)
        await world.submit("honest")
        await world.submit("other", model=MODEL)
        for name in ("honest", "other", *early):
            await world.until_phase(name, "Succeeded")
        assert (await world.status("other"))["placement"]["center"] == CENTER


async def test_a_center_that_was_passed_over_is_tried_by_one_job_at_a_time(
    pull: World, tmp_path: Path
) -> None:
    world = pull
    pace = Pace(first=4.0, most=8.0)
    async with running(world.hub, promises=pace) as hub, agent(world, tmp_path):
        await boast(world)
        pinned: Fields = {"placement": ONLY_NORTH, "schedulingDeadline": "3s"}
        for name in ("one", "two"):
            await world.submit(name, **pinned)
        await found_nothing(world, "one", "two")
        for name in ("three", "four"):
            await world.submit(name, **pinned)
        first, second = sorted(await found_nothing(world, "three", "four"))
        assert second - first >= 3, "the later one went when the other one had come back"
        await world.until_center(CENTER, doubted("jobs did not find"))
        series = {"center": CENTER, "model": ASCEND}
        count = hub.metrics.registry.get_sample_value("huiju_promises_broken_total", series)
        assert count is not None
        assert count >= 3


async def test_an_agent_that_does_nothing_loses_the_job_once_it_has_said_that_it_is_stopped(
    pull: World, tmp_path: Path
) -> None:
    world = pull
    async with FaultProxy(world.centers[CENTER]) as link:
        account = world.centers[CENTER].credentials(link.server)
        async with running(world.hub, deadline_slack=3.0), agent(world, tmp_path, center=account):
            await world.until_center(CENTER, is_ready)
            rule = link.add(Fault.ANSWER, "create", path="/jobs", code=503)
            for center in ("east", "west"):
                await world.edit_center(center, cordoned=True)
            both = [{"model": MODEL, "perWorker": 8}, {"model": ASCEND, "perWorker": 8}]
            await world.submit("train", accelerators=both, schedulingDeadline="3s")
            status = await world.until_reason("train", "Unschedulable")
            assert rule.hits
            assert "0 of 1 workers found a node" in status["message"]
            await world.edit_center("east", cordoned=False)
            done = await world.until_phase("train", "Succeeded")
            assert (done["placement"]["center"], done["epoch"]) == ("east", 2)
            assert await world.runs("train") == {"2": 1}
