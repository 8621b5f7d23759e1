"""Jobs that are told to leave their center: stopped there, seen stopped, run elsewhere, once."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from dataclasses import dataclass

import pytest

from tests.integration.hub.harness import Fields, Leash, World, running
from tests.patience import PATIENCE

LONG: Fields = {"run_for": "60s"}


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


async def huiju(world: World, *words: str) -> Done:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "huiju.cli.main", f"--kubeconfig={world.hub.kubeconfig}"),
        *("-n", world.namespace, *words),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
    return Done(process.returncode or 0, out.decode(), err.decode())


async def alive(world: World, job: str) -> list[str]:
    """Centers in which a pod of the job may run now."""
    pods = await world.pods(job)
    return [center for center, pod in pods if pod["status"]["phase"] in ("Pending", "Running")]


async def test_a_moved_job_runs_elsewhere_and_nothing_is_counted(world: World) -> None:
    async with running(world.hub):
        await world.submit("move", fate=LONG)
        first = (await world.until_phase("move", "Running"))["placement"]["center"]
        moved = await huiju(world, "move", "move")
        assert (moved.code, moved.out) == (0, f"job {world.namespace}/move leaves {first}\n")
        status = await world.until(
            "move", lambda s: s.get("epoch") == 2 and s["phase"] == "Running"
        )
        second = status["placement"]["center"]
        assert {first, second} == {"east", "west"}
        assert await alive(world, "move") == [second]
        assert status["history"][0]["reason"] == "Moved"
        assert not status.get("applicationFailures")
        assert not status.get("placementFailures")
        await world.edit("move", suspend=True)
        await world.until_phase("move", "Suspended")
        nothing = await huiju(world, "move", "move")
        assert nothing.code == 1
        assert "is in no center" in nothing.err


@pytest.mark.parametrize("writes", [3, 4, 5, 6])
async def test_a_hub_that_dies_on_the_way_of_a_move_runs_no_epoch_twice(
    world: World, writes: int
) -> None:
    leash = Leash(allowed=writes)
    async with running(world.hub, leash):
        await world.submit("move", fate={"run_for": "3s"})
        async with asyncio.timeout(PATIENCE):
            while (await world.status("move")).get("placement") is None:
                await asyncio.sleep(0.02)
            await world.edit("move", moveFromEpoch=1)
            await leash.spent.wait()
    async with running(world.hub):
        done = await world.until_phase("move", "Succeeded")
        runs = await world.runs("move")
        assert set(runs.values()) == {1}
        assert runs == Counter({str(done["epoch"]): 1})


async def test_a_drained_center_is_empty_and_its_jobs_run_elsewhere(world: World) -> None:
    async with running(world.hub):
        await world.submit("free", fate=LONG)
        center = (await world.until_phase("free", "Running"))["placement"]["center"]
        await world.submit("bound", fate=LONG, preemptible=False, placement={"centers": [center]})
        await world.until_phase("bound", "Running")

        wrong = await huiju(world, "drain", "nowhere")
        assert wrong.code == 1
        assert "nowhere" in wrong.err
        stopped = await huiju(world, "drain", center)
        assert stopped.code == 1
        assert f"{world.namespace}/bound; nothing was done" in stopped.err
        assert not (await world.center(center))["spec"].get("cordoned")
        tried = await huiju(world, "drain", center, "--dry-run", "--force")
        assert tried.code == 0
        assert "leaves (server dry run)" in tried.out
        assert not (await world.center(center))["spec"].get("cordoned")

        late = await huiju(world, "drain", center, "--leave", "--timeout", "1s")
        assert late.code == 1
        assert "have not left in time" in late.err
        moved = await world.until("free", lambda s: s.get("epoch") == 2)
        assert moved["placement"]["center"] != center
        drained = await huiju(world, "drain", center, "--force")
        assert drained.code == 0, drained.err
        assert drained.out.endswith(f"center {center} drained\n")
        waiting = await world.until_phase("bound", "Queued")
        assert waiting.get("placement") is None
        assert await alive(world, "bound") == []
        again = await huiju(world, "drain", center)
        assert again.code == 0
        assert (await huiju(world, "uncordon", center)).code == 0
