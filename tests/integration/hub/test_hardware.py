"""Nodes whose hardware fails: jobs go on elsewhere and keep off them, in push and pull centers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from huiju.kube.resources import EVENTS, PODS
from lab.fates import Fate, break_devices
from tests.integration.hub.harness import Fields, World, running
from tests.integration.hub.pulling import CENTER, MODEL, agent, become_pull, empty_mailbox
from tests.integration.hub.test_moves import huiju
from tests.patience import PATIENCE

EAST: Fields = {"centers": ["east"]}
LONG = "600s"
RESOURCE = "huawei.com/Ascend910"
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


@pytest.fixture
async def pull(world: World) -> AsyncIterator[World]:
    await become_pull(world)
    yield world
    await empty_mailbox(world.client)


async def node_of(world: World, job: str, epoch: int) -> str:
    """Where the pod of one epoch went; it may be gone by now."""
    for _, pod in await world.pods(job):
        if pod["metadata"]["labels"]["huiju.dev/epoch"] == str(epoch):
            return str(pod["spec"]["nodeName"])
    raise AssertionError(f"{job} has no pod of epoch {epoch}")


async def runs_again(world: World, job: str, epoch: int = 2) -> Fields:
    return await world.until(job, lambda s: s.get("phase") == "Running" and s["epoch"] == epoch)


def sound(status: Fields) -> Fields:
    found: Fields = next(c for c in status["conditions"] if c["type"] == "Sound")
    return found


async def test_a_node_that_fails_two_jobs_is_set_aside_until_its_owner_has_mended_it(
    world: World,
) -> None:
    turned_away: Fields = {"fate": Fate.ADMISSION, "epoch": 1, "run_for": LONG}
    async with running(world.hub) as hub:
        await world.submit("first", fate=turned_away, placement=EAST)
        status = await runs_again(world, "first")
        (avoided,) = status["avoidNodes"]
        bad = avoided["node"]
        assert (avoided["center"], avoided["reason"]) == ("east", "PodRejected")
        assert not avoided.get("claimed")
        assert status["hardwareFaults"] == 1
        assert await node_of(world, "first", 2) != bad
        (pod,) = [p for _, p in await world.pods("first") if p["spec"]["nodeName"] != bad]
        (term,) = pod["spec"]["affinity"]["nodeAffinity"][REQUIRED]["nodeSelectorTerms"]
        assert term["matchFields"] == [
            {"key": "metadata.name", "operator": "NotIn", "values": [bad]}
        ]
        # The other node is taken, and nobody else keeps off the bad one yet.
        center = await world.until_center("east", lambda s: bool(s.get("faultyNodes")))
        assert sound(center)["status"] == "True"
        await world.submit("second", fate=turned_away, placement=EAST)
        status = await world.until("second", lambda s: bool(s.get("avoidNodes")))
        assert status["avoidNodes"][0]["node"] == bad
        center = await world.until_center("east", lambda s: sound(s)["status"] == "False")
        (faulty,) = center["faultyNodes"]
        assert (faulty["node"], len(faulty["faults"])) == (bad, 2)
        assert bad in sound(center)["message"]
        await world.edit("second", cancel=True)
        await world.until_phase("second", "Cancelled")
        series = {"center": "east", "state": "set-aside"}
        await world.until_center(
            "east",
            lambda _: (
                hub.metrics.registry.get_sample_value("huiju_center_faulty_nodes", series) == 1
            ),
        )
    # Another hub goes on from the center's status: a job that never failed keeps off as well.
    async with running(world.hub):
        await world.submit("third", fate={"run_for": "1s"}, placement=EAST)
        waits = await world.until("third", lambda s: "hardware faults" in s.get("message", ""))
        assert waits["reason"] == "NoNodeFits"
        told = await huiju(world, "why", "third")
        assert "keeps off 1 after hardware faults" in told.out
        events = (await world.client.list_all(EVENTS, "default")).items
        assert any(
            e["reason"] == "HardwareFault" and bad in (e.get("note") or e.get("message") or "")
            for e in events
        )
        said = await huiju(world, "repaired", "east")
        assert (said.code, bad in said.out) == (0, True)
        done = await world.until_phase("third", "Succeeded", 2 * PATIENCE)
        assert done["placement"]["nodes"] == [bad]
        center = await world.until_center("east", lambda s: not s.get("faultyNodes"))
        assert sound(center)["status"] == "True"


async def test_a_job_that_fails_where_a_device_breaks_is_not_to_blame(world: World) -> None:
    async with running(world.hub):
        await world.submit("train", fate={"run_for": LONG}, placement=EAST)
        await world.until_phase("train", "Running")
        node = await node_of(world, "train", 1)
        client = world.center_clients["east"]
        try:
            await break_devices(client, node, RESOURCE, 1)
            await world.until_center(
                "east", lambda s: any(a["allocatable"] == 15 for a in s["accelerators"])
            )
            ((_, pod),) = await world.pods("train")
            await fail(client, pod, "boom")
            status = await runs_again(world, "train")
        finally:
            await break_devices(client, node, RESOURCE, 0)
        (past,) = status["history"]
        assert past["reason"] == "HardwareFault"
        assert f"Node {node}: 1 unit of {RESOURCE} broke" in past["message"]
        assert status.get("applicationFailures", 0) == 0, "retry.maxAttempts is 1"
        assert status["avoidNodes"][0]["node"] == node
        assert await node_of(world, "train", 2) != node


async def fail(client: Any, pod: Fields, message: str) -> None:
    """End a pod's container as a crash does."""
    ended = {"exitCode": 1, "reason": "Error", "message": message}
    times = {"startedAt": pod["status"]["startTime"], "finishedAt": pod["status"]["startTime"]}
    container = {
        "name": "train",
        "image": "i",
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": {"terminated": ended | times},
    }
    meta = pod["metadata"]
    status = {"phase": "Failed", "containerStatuses": [container]}
    await client.patch_status(PODS, meta["name"], meta["namespace"], status)


async def test_what_a_program_says_of_its_machine_comes_through_the_mailbox(
    pull: World, tmp_path: Path
) -> None:
    async with running(pull.hub), agent(pull, tmp_path):
        fate: Fields = {"fate": Fate.FAIL, "exit_code": 75, "epoch": 1, "run_for": LONG}
        await pull.submit("train", model=MODEL, fate=fate, retry={"hardwareExitCodes": [75]})
        status = await runs_again(pull, "train")
        (avoided,) = status["avoidNodes"]
        assert (avoided["center"], avoided["claimed"]) == (CENTER, True)
        assert status["history"][0]["reason"] == "HardwareFault"
        assert await node_of(pull, "train", 2) != avoided["node"]
        center = await pull.until_center(CENTER, lambda s: bool(s.get("faultyNodes")))
        assert center["faultyNodes"][0]["node"] == avoided["node"]
        assert sound(center)["status"] == "True", "one program's word sets no node aside"


async def test_a_fault_is_not_forgotten_with_a_hub_that_dies_before_the_center_is_told(
    world: World,
) -> None:
    async with running(world.hub, center_status_interval=3600.0):
        fate: Fields = {"fate": Fate.ADMISSION, "epoch": 1, "run_for": LONG}
        await world.submit("train", fate=fate, placement=EAST)
        await runs_again(world, "train")
        assert not (await world.center("east")).get("status", {}).get("faultyNodes")
    async with running(world.hub):
        center = await world.until_center("east", lambda s: bool(s.get("faultyNodes")))
        (avoided,) = (await world.status("train"))["avoidNodes"]
        assert center["faultyNodes"][0]["node"] == avoided["node"]
