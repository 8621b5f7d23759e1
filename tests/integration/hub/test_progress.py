"""Work that stands still: its guard ends it, and the hub has it go on elsewhere, but not for ever.

The pods are played by real processes: guard, first step and a program that hangs. No sentinel is
needed, since the jobs run under no lease.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from huiju.kube.resources import CROSS_REGION_JOBS
from lab import runrecord
from lab.fates import PLAYED, PREFIX
from lab.kubeletprocess import KubeletProcess
from tests.integration.hub.harness import World, job_body, running
from tests.patience import PATIENCE

LIMIT = 2 * PATIENCE
IMAGE = "registry.example/huiju:lab"


@dataclass
class Played:
    """Both Ascend centers with a kubelet that plays their pods."""

    world: World
    folder: Path
    record: Path

    async def submit(self, name: str, notes: dict[str, str], **spec: Any) -> None:
        """A job that touches a file in its own pod as it gets on, and saves checkpoints."""
        body = job_body(
            self.world.namespace,
            name,
            fate={"run_for": "2200ms"},
            checkpoint={"period": "1m", "directory": "/lake/checkpoints"},
            **spec,
        )
        template = body["spec"]["template"]
        told = {PLAYED: "true", PREFIX + "save-every": "200ms", PREFIX + "progress-file": "/own/at"}
        template["metadata"]["annotations"] |= told | notes
        lake = {"name": "lake", "hostPath": {"path": str(self.folder / "lake")}}
        template["spec"]["volumes"] = [lake, {"name": "own", "emptyDir": {}}]
        template["spec"]["containers"][0]["volumeMounts"] = [
            {"name": "lake", "mountPath": "/lake"},
            {"name": "own", "mountPath": "/own"},
        ]
        await self.world.client.create(CROSS_REGION_JOBS, body, self.world.namespace)


@pytest.fixture
async def played(world: World, tmp_path: Path) -> AsyncIterator[Played]:
    record = tmp_path / "runs.jsonl"
    with ExitStack() as stack:
        for name in ("east", "west"):
            await world.edit_center(name, sharing={"hostPaths": [str(tmp_path)]})
            kubeconfig = tmp_path / f"{name}.kubeconfig"
            kubeconfig.write_text(world.centers[name].kubeconfig_text())
            stack.enter_context(KubeletProcess(kubeconfig, name, tmp_path / name, record, ""))
        yield Played(world, tmp_path, record)


async def test_a_job_that_hangs_is_ended_and_goes_on_from_its_last_checkpoint(
    played: Played,
) -> None:
    world = played.world
    async with running(world.hub, guard_image=IMAGE) as hub:
        # Each attempt works for two seconds: the second one is done before it hangs.
        await played.submit(
            "hangs",
            {PREFIX + "hang-after": "2s"},
            progress={"file": "/own/at", "deadline": "6s", "startDeadline": "2m"},
        )
        status = await world.until("hangs", lambda s: s.get("epoch") == 2, LIMIT)
        (past,) = status["history"]
        assert (past["reason"], status["stalls"]) == ("NoProgress", 1)
        assert "for 6 s" in past["message"]
        assert status.get("applicationFailures", 0) == 0, "nobody knows whose fault it was"
        done = await world.until_phase("hangs", "Succeeded", LIMIT)
        assert (done["epoch"], done["stalls"]) == (2, 1)
        first, second = runrecord.runs(played.record)
        assert first.stopped is not None
        assert first.stopped < second.started
        (log,) = played.folder.glob(f"*/{second.who.uid}/train.log")
        assert "goes on at" in log.read_text()
        told = {"center": past["center"], "reason": "NoProgress"}
        counted = hub.metrics.registry.get_sample_value("huiju_attempts_ended_total", told)
        assert counted == 1


async def test_a_job_that_hangs_again_and_again_ends(played: Played) -> None:
    world = played.world
    async with running(world.hub, guard_image=IMAGE):
        await played.submit(
            "stuck",
            {PREFIX + "hang-after": "0s"},
            progress={"file": "/own/at", "deadline": "1h", "startDeadline": "4s", "maxRestarts": 1},
        )
        ended = await world.until_phase("stuck", "Failed", LIMIT)
        assert (ended["reason"], ended["stalls"], ended["epoch"]) == ("NoProgress", 2, 2)
        assert "maxRestarts is 1" in ended["message"]
        assert len(runrecord.runs(played.record)) == 2
        assert not runrecord.overlaps(runrecord.runs(played.record))


async def test_a_hub_without_an_image_of_the_guard_says_so_before_queueing(played: Played) -> None:
    world = played.world
    async with running(world.hub):
        progress = {"file": "/own/at", "deadline": "1h"}
        await played.submit("blind", {}, progress=progress)
        status = await world.until_reason("blind", "InvalidSpec")
        assert "--guard-image" in status["message"]
        assert not runrecord.runs(played.record)
