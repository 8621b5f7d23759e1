"""What the scheduler promises, seen on real clusters: shares, gangs, passing, wishes, rings.

In center `north` (two nodes of eight H100 cards) unless a test says otherwise. How jobs are stopped
for others is in `test_preemption.py`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from huiju.hub.clock import seconds
from huiju.hub.hub import Hub
from huiju.hub.view import View
from huiju.kube.client import Client
from huiju.kube.resources import COMPUTE_QUEUES, PODS
from huiju.scheduling.policy import Policy
from lab import joining
from lab.nodes import add_nodes, remove_nodes
from tests.integration.hub.harness import Fields, World, running
from tests.patience import PATIENCE

H100 = "nvidia-h100-sxm"
NODE = 8 * 989
"""TFLOPS of one node in north."""
LONG: Fields = {"run_for": "300s"}


async def why(hub: Hub, world: World, name: str, check: Callable[[Fields], bool]) -> Fields:
    """What `kubectl huiju why` shows of the job, once it passes; fails with the last answer."""
    answer: Fields | None = None
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        answer = await View(hub).why(world.namespace, name)
        if answer is not None and check(answer):
            return answer
        await asyncio.sleep(0.05)
    raise AssertionError(f"{name}: {answer}")


def said(answer: Fields, center: str) -> Fields:
    """What one center says to the job."""
    return next((row for row in answer["centers"] if row["center"] == center), {})


async def until_queue(world: World, name: str, **figures: Any) -> None:
    """Wait until the queue's status shows these figures; fails with those seen last."""
    seen: Fields = {}
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        status = (await world.client.get(COMPUTE_QUEUES, name)).get("status") or {}
        seen = {figure: status.get(figure) for figure in figures}
        if seen == figures:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"queue {name} shows {seen}, not {figures}")


@asynccontextmanager
async def opened(world: World, **changes: Any) -> AsyncIterator[Hub]:
    """A hub that knows what all three centers have, so that none is left out of what it weighs."""
    async with running(world.hub, **changes) as hub:
        for name in world.centers:
            await world.until_center(name, lambda status: bool(status.get("accelerators")))
        yield hub


async def a_second_after(job: Fields) -> None:
    """Wait until what is submitted now comes after the job: API servers tell whole seconds."""
    while time.time() < seconds(job["metadata"]["creationTimestamp"]) + 1:
        await asyncio.sleep(0.05)


async def only_north(world: World, *, closed: bool = False) -> None:
    """Compute of the other centers is no part of anybody's share; `closed`: nor is north open."""
    await asyncio.gather(
        *(world.edit_center(name, cordoned=True) for name in ("east", "west")),
        world.edit_center("north", cordoned=closed),
    )


async def test_queues_share_by_weight_borrow_what_is_idle_and_give_it_back(world: World) -> None:
    await only_north(world, closed=True)
    await world.client.delete(COMPUTE_QUEUES, "research")
    for name, spec in (
        ("heavy", {"weight": 3}),
        ("light", {"weight": 1}),
        ("owner", {"guarantee": NODE}),
    ):
        await joining.queue(world.client, name, **spec)
    for number in range(4):
        for queue in ("light", "heavy"):
            await world.submit(
                f"{queue}-{number}", model=H100, per_worker=4, fate=LONG, queue=queue
            )
    async with running(world.hub, policy=Policy(dwell=0.0, soon=0.0)):
        # All of them wait before there is anything to share.
        await until_queue(world, "light", queued=4)
        await until_queue(world, "heavy", queued=4)
        await world.edit_center("north", cordoned=False)
        # Of sixteen cards three quarters go to three times the weight. Nothing is left for the
        # owner, who asks for nothing yet: half of it all is his, and is lent.
        await until_queue(world, "heavy", running=3, queued=1, usage=NODE * 3 // 2)
        await until_queue(world, "light", running=1, queued=3, usage=NODE // 2)
        await until_queue(world, "owner", lent=NODE, usage=0, share=NODE, deserved=0)
        await until_queue(world, "heavy", borrowed=NODE * 3 // 4, share=NODE * 3 // 4)

        await world.submit("mine", model=H100, fate=LONG, queue="owner")
        status = await world.until_phase("mine", "Running")
        assert status["epoch"] == 1
        await until_queue(world, "owner", lent=0, usage=NODE, running=1)
        # Room for the owner was made by as few as would do, and nobody is in debt any more.
        await until_queue(world, "heavy", borrowed=0)
        statuses = {
            f"{queue}-{number}": await world.status(f"{queue}-{number}")
            for queue in ("heavy", "light")
            for number in range(4)
        }
        stopped = [name for name, status in statuses.items() if status.get("history")]
        assert len(stopped) == 2, stopped
        assert all("placement" not in statuses[name] for name in stopped)
        assert {statuses[name]["history"][0]["reason"] for name in stopped} == {"Preempted"}

        await world.edit("mine", cancel=True)
        # What was taken back is lent again, to whoever is furthest below its weight.
        await until_queue(world, "heavy", running=3)
        await until_queue(world, "light", running=1)


async def test_a_hub_that_starts_anew_does_not_show_a_queue_as_empty(world: World) -> None:
    async with opened(world):
        await world.submit("first", model=H100, fate=LONG)
        await world.until_phase("first", "Running")
        await until_queue(world, "research", running=1, usage=NODE)
    seen: set[int] = set()
    async with running(world.hub):
        await world.submit("second", model=H100, fate=LONG)
        async with asyncio.timeout(PATIENCE):
            while 2 * NODE not in seen:
                queue = await world.client.get(COMPUTE_QUEUES, "research")
                seen.add(queue["status"]["usage"])
    assert seen <= {NODE, 2 * NODE}


async def test_two_gangs_of_which_only_one_fits_never_hold_half_each(world: World) -> None:
    for name in ("one", "two"):
        await world.submit(name, model=H100, workers=2, fate={"run_for": "2s"})
    seen: set[frozenset[str]] = set()
    async with running(world.hub):
        ended = 0
        async with asyncio.timeout(PATIENCE):
            while ended < 2:
                pods = await world.center_clients["north"].list_all(PODS, labels="huiju.dev/hub")
                alive = [p for p in pods.items if p["status"].get("phase") != "Succeeded"]
                seen.add(frozenset(p["metadata"]["labels"]["huiju.dev/job-name"] for p in alive))
                statuses = [await world.status(name) for name in ("one", "two")]
                ended = sum(status.get("phase") == "Succeeded" for status in statuses)
        assert [status["epoch"] for status in statuses] == [1, 1]
        assert all(not status.get("history") for status in statuses)
    assert seen - {frozenset()} == {frozenset({"one"}), frozenset({"two"})}


async def test_a_short_job_passes_a_blocked_gang_that_starts_no_later_for_it(world: World) -> None:
    async with opened(world) as hub:
        await world.submit("now", model=H100, fate=LONG, expectedRuntime="2m")
        await world.until_phase("now", "Running")
        gang = await world.submit("gang", model=H100, workers=2, fate=LONG)
        before = await why(hub, world, "gang", lambda a: "predictedStart" in a)
        assert "expected ends of 1 job(s) in north" in before["basis"]

        await a_second_after(gang)
        # It would still hold a node when the gang may start.
        await world.submit("endless", model=H100, fate=LONG)
        held = await world.until_reason("endless", "ReservedForOther")
        assert held.get("placement") is None
        refused = await why(hub, world, "endless", lambda a: bool(a["centers"]))
        assert "kept for 1 job(s) that waited longer" in said(refused, "north")["message"]
        # It ends well before, by its own limit.
        await world.submit("short", model=H100, maxRuntime="30s")
        await world.until_phase("short", "Succeeded")
        after = await why(hub, world, "gang", lambda a: "predictedStart" in a)
        assert after["predictedStart"] == before["predictedStart"]
        assert after["position"] == 1

        await world.edit("now", cancel=True)
        await world.until_phase("gang", "Running")
        assert (await world.status("endless")).get("placement") is None
        await world.edit("gang", cancel=True)
        await world.until_phase("endless", "Running")


async def test_residency_and_regions_are_never_relaxed(world: World) -> None:
    async with opened(world) as hub:
        await world.submit(
            "stays", model=H100, placement={"residency": "domestic", "regions": ["north"]}
        )
        answer = await why(hub, world, "stays", lambda a: len(a["centers"]) == 3)
        assert said(answer, "north")["reason"] == "ResidencyNotSatisfied"
        assert said(answer, "north")["message"] == (
            "the job's data must stay in domestic, the center grants none"
        )
        assert said(answer, "east")["reason"] == "RegionNotAllowed"
        # Long after the patience of every other rule it waits still, beside free nodes.
        later = hub.core.explain((await world.job("stays"))["metadata"]["uid"], time.time() + 1e6)
        assert later is not None
        assert (later.trace.candidates, later.predicted_start) == ((), None)
        assert (await world.status("stays")).get("placement") is None
        await world.edit_center("north", residency=["export", "domestic"])
        done = await world.until_phase("stays", "Succeeded")
        assert done["placement"]["center"] == "north"


async def test_a_job_takes_the_best_alternative_that_is_free_whole(world: World) -> None:
    alternatives = [
        {"model": H100, "perWorker": 8, "image": "registry.example/train:cuda"},
        {"model": "ascend-910b3", "perWorker": 4, "image": "registry.example/train:cann"},
    ]
    async with opened(world) as hub:
        await world.submit("first", accelerators=alternatives, workers=2, fate=LONG)
        first = await world.until_phase("first", "Running")
        assert (first["placement"]["model"], first["placement"]["alternative"]) == (H100, 0)
        await world.submit("second", accelerators=alternatives, workers=2, fate=LONG)
        second = await world.until_phase("second", "Running")
        assert (second["placement"]["model"], second["placement"]["alternative"]) == (
            "ascend-910b3",
            1,
        )
        found = {}
        for name in ("first", "second"):
            for center, pod in await world.pods(name):
                (container,) = pod["spec"]["containers"]
                limits = container["resources"]["limits"]
                found[name] = (center, container["image"], limits)
        assert found["first"][:2] == ("north", "registry.example/train:cuda")
        assert found["first"][2]["nvidia.com/gpu"] == "8"
        assert found["second"][0] == second["placement"]["center"] != "north"
        assert found["second"][1] == "registry.example/train:cann"
        assert found["second"][2]["huawei.com/Ascend910"] == "4"
        # Where it could go is weighed for each alternative, and refused for each with its number.
        told = await View(hub).whatif(
            world.namespace,
            {"spec": (await world.job("first"))["spec"] | {"placement": {"centers": ["north"]}}},
        )
        rows = [row for row in told["centers"] if row["center"] == "north"]
        assert [(row["alternative"], row["reason"]) for row in rows] == [
            (0, "NoNodeFits"),
            (1, "NoSuchAccelerator"),
        ]


async def test_what_ended_jobs_ran_is_expected_of_others_by_the_next_hub_too(world: World) -> None:
    await world.submit("before", model=H100, per_worker=1, fate={"run_for": "3s"})
    async with opened(world) as hub:
        done = await world.until_phase("before", "Succeeded")
        spec = (await world.job("before"))["spec"]
        assert "expectedRuntime" not in spec
        ran = seconds(done["finishedAt"]) - seconds(done["startedAt"])
        assert await run_in_north(hub, world, spec) == max(1.0, float(f"{ran:.2g}"))
    async with opened(world) as hub:
        assert await run_in_north(hub, world, spec) == max(1.0, float(f"{ran:.2g}"))
        unlike = await run_in_north(hub, world, spec | {"workers": 2})
        assert unlike == Policy().default_runtime


async def run_in_north(hub: Hub, world: World, spec: Fields) -> float:
    """Seconds that such a job is expected to run there, once there is room for it."""
    end = time.monotonic() + PATIENCE
    told: Fields = {}
    while time.monotonic() < end:
        told = said(await View(hub).whatif(world.namespace, {"spec": spec}), "north")
        if "terms" in told:
            return float(next(t["seconds"] for t in told["terms"] if t["name"] == "run"))
        await asyncio.sleep(0.05)
    raise AssertionError(f"no room in north: {told}")


async def test_cards_of_two_rings_do_not_make_one(world: World) -> None:
    """Four cards of an Atlas 800 are free; whether four workers' worth is in one ring decides."""
    north = world.center_clients["north"]
    names = await add_nodes(north, "ascend-910a", 1)
    try:
        async with opened(world) as hub:
            for name in ("a", "b"):
                await world.submit(name, model="ascend-910a", per_worker=2, fate=LONG)
                await world.until_phase(name, "Running")
            await world.submit("ring", model="ascend-910a", per_worker=4)
            answer = await why(hub, world, "ring", lambda a: len(a["centers"]) == 3)
            assert said(answer, "north") == {
                "center": "north",
                "verdict": "Refused",
                "reason": "NoNodeFits",
                "alternative": 0,
                "message": "needs a node with 4 free ascend-910a, has none; largest free block 4;"
                " of 1 nodes with 4 free not all have a legal position for it"
                " (on 1 it is not known which are free, so the worst case counts)",
            }
            assert said(answer, "east")["message"] == "has no ascend-910a, only ascend-910b3"
            # Once the device plugin tells that both others sit in one ring, the other one is free.
            await _took(world, north, "a", 0, 1)
            await _took(world, north, "b", 2, 3)
            done = await world.until_phase("ring", "Succeeded")
            assert done["placement"]["nodes"] == names
    finally:
        await remove_nodes(north, names)


async def _took(world: World, north: Client, job: str, *devices: int) -> None:
    """The device plugin says which devices it gave to the job's pod."""
    ((_, pod),) = await world.pods(job)
    meta = pod["metadata"]
    told = {"huawei.com/AscendReal": ",".join(f"Ascend910-{number}" for number in devices)}
    body = {"metadata": {"annotations": told}}
    await north.patch(PODS, meta["name"], body, meta["namespace"])
