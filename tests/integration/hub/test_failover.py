"""Jobs of lost centers: stopped there by their guards, run elsewhere, and never twice at once.

The pods are played by real processes (guard, first step, program), the link between the hub and the
center is cut; the sentinels stay with their centers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from huiju.centers.lease import LeaseProfile
from huiju.kube.resources import CROSS_REGION_JOBS, LEASES
from lab import joining, runrecord
from lab.fates import PLAYED, PREFIX
from lab.faultrules import Fault
from lab.kubeletprocess import KubeletProcess
from lab.proxy import FaultProxy
from tests.integration.hub import pulling
from tests.integration.hub.harness import World, job_body, running
from tests.integration.hub.leasing import sentinel, until
from tests.integration.hub.test_leases import leased
from tests.integration.hub.test_moves import huiju
from tests.patience import PATIENCE

LEASE = LeaseProfile(lease=9.0, ask=0.5, poll=0.3, stop=4.0, grace=4.0)
"""A word lasts about 19 s: guards are programs that start slowly on a busy machine."""
LIMIT = 2 * PATIENCE
ASCEND = [{"model": "ascend-910b3", "perWorker": 8}]


@dataclass
class Guarded:
    """East behind a link that can be cut, west beside it, both with sentinel and kubelet."""

    world: World
    link: FaultProxy
    folder: Path
    record: Path
    kubelets: dict[str, KubeletProcess]

    async def submit(self, name: str, **spec: Any) -> None:
        """A guarded job of real processes that saves checkpoints."""
        lake = {"name": "lake", "hostPath": {"path": str(self.folder / "lake")}}
        body = job_body(
            self.world.namespace,
            name,
            failover={"policy": "Reschedule"},
            checkpoint={"period": "1m", "directory": "/lake/checkpoints"},
            **spec,
        )
        template = body["spec"]["template"]
        notes = template["metadata"]["annotations"]
        notes |= {PLAYED: "true", PREFIX + "save-every": "200ms"}
        template["spec"]["volumes"] = [lake]
        template["spec"]["containers"][0]["volumeMounts"] = [{"name": "lake", "mountPath": "/lake"}]
        await self.world.client.create(CROSS_REGION_JOBS, body, self.world.namespace)

    def runs(self) -> list[runrecord.Run]:
        return runrecord.runs(self.record)


@pytest.fixture
async def guarded(world: World, tmp_path: Path) -> AsyncIterator[Guarded]:
    record = tmp_path / "runs.jsonl"
    kubelets: dict[str, KubeletProcess] = {}
    async with AsyncExitStack() as stack:
        for name in ("east", "west"):
            client, center = world.center_clients[name], world.centers[name]
            await pulling.system_namespace(client)
            await client.raw("DELETE", LEASES.path(joining.SYSTEM))
            await world.edit_center(name, sharing={"hostPaths": [str(tmp_path)]})
            asks = await stack.enter_async_context(
                sentinel(center.credentials(), longest_lease=90.0)
            )
            kubeconfig = tmp_path / f"{name}.kubeconfig"
            kubeconfig.write_text(center.kubeconfig_text())
            url = f"http://127.0.0.1:{asks.lease_port}/lease"
            kubelet = KubeletProcess(kubeconfig, name, tmp_path / name, record, url)
            kubelets[name] = stack.enter_context(kubelet)
        link = await stack.enter_async_context(FaultProxy(world.centers["east"]))
        await joining.join(world.client, world.centers["east"], server=link.server)
        yield Guarded(world, link, tmp_path, record, kubelets)


def settings(lease: LeaseProfile = LEASE) -> dict[str, Any]:
    """A hub that leases by these times."""
    profiles = {"default": lease, "fast": lease}
    return {"lease_profiles": profiles, "guard_image": "registry.example/huiju:lab"}


async def in_east(guarded: Guarded, name: str, run_for: str) -> None:
    """A job that runs in east, while west stands open."""
    world = guarded.world
    for center in ("east", "west"):
        await world.until_center(center, lambda s: leased(s) == ("True", "Leased"))
    await world.edit_center("west", cordoned=True)
    await guarded.submit(name, fate={"run_for": run_for})
    await world.until_phase(name, "Running", LIMIT)
    await world.edit_center("west", cordoned=False)


async def test_a_guarded_job_of_a_lost_center_goes_on_elsewhere(guarded: Guarded) -> None:
    world = guarded.world
    async with running(world.hub, **settings()):
        await in_east(guarded, "train", "60s")
        await until(lambda: bool(list(guarded.folder.glob("lake/checkpoints/*/e1/*/COMPLETE"))))
        guarded.link.partition()
        status = await world.until_phase("train", "Unknown")
        assert status["placement"]["center"] == "east"
        assert "the job runs elsewhere from" in status["message"]
        lost = await world.until_center("east", lambda s: bool(s.get("lease", {}).get("endsBy")))
        assert leased(lost) == ("Unknown", "CenterUnreachable")
    # Another hub goes on from what the first one wrote down.
    async with running(world.hub, **settings()):
        status = await world.until(
            "train", lambda s: s.get("epoch") == 2 and s["phase"] == "Running", LIMIT
        )
        assert status["placement"]["center"] == "west"
        assert status["history"][0]["reason"] == "CenterLost"
        assert (status["failovers"], status.get("placementFailures", 0)) == (1, 0)
        first, second = guarded.runs()
        assert (first.who.cluster, second.who.cluster) == ("east", "west")
        assert first.stopped is not None, "its guard stopped it, out of reach of the hub"
        assert first.stopped < second.started
        (log,) = guarded.folder.glob(f"west/{second.who.uid}/train.log")
        await until(lambda: "goes on at" in log.read_text())
        guarded.link.heal()
        await world.until_center("east", lambda s: leased(s) == ("True", "Leased"))
        stale = [w for c, w in await world.workloads("train") if c == "east"]
        assert [w["status"].get("active", 0) for w in stale] == [0], "a tombstone, nothing more"
        await world.edit("train", cancel=True)
        await world.until_phase("train", "Cancelled")
        assert not runrecord.overlaps(guarded.runs())
        assert len(guarded.runs()) == 2


async def test_a_center_that_returns_is_read_anew_before_its_lease_is_renewed(
    guarded: Guarded,
) -> None:
    """What was made there while nobody heard of it is an old epoch by now, and must not start."""
    world, link = guarded.world, guarded.link
    async with running(world.hub, **settings()):
        for center in ("east", "west"):
            await world.until_center(center, lambda s: leased(s) == ("True", "Leased"))
        await world.edit_center("west", cordoned=True)
        await world.submit("before", accelerators=ASCEND)  # makes the namespace there
        await world.until_phase("before", "Succeeded")
        guarded.kubelets["east"].kill()  # its image takes long
        link.add(Fault.HANG, "watch", path="/jobs")
        link.cut_all()
        real = r"/jobs(\?(?!.*dryRun)|/|$)"
        link.add(Fault.LOSE, "create", path=real, count=1)
        link.add(Fault.HANG, "create", "get", path=real)
        await guarded.submit("train", fate={"run_for": "600s"})
        async with asyncio.timeout(PATIENCE):
            while not await world.workloads("train"):
                await asyncio.sleep(0.05)
        link.partition()
        await world.edit_center("west", cordoned=False)
        await world.until("train", lambda s: s.get("epoch") == 2 and s["phase"] == "Running", LIMIT)
        assert [c for c, _ in await world.workloads("train")].count("east") == 1
        guarded.kubelets["east"].start()
        await until(lambda: bool(list(guarded.folder.glob("east/*/"))))
        link.rules.clear()
        for verb in ("list", "watch"):
            link.add(Fault.DELAY, verb, path="/jobs", seconds=20.0, count=2)
        link.cut_all()
        link.heal()
        await world.until_center("east", lambda s: leased(s) == ("True", "Leased"), LIMIT)
        await asyncio.sleep(2)
        assert [run.who.cluster for run in guarded.runs()] == ["west"]
        await world.edit("train", cancel=True)
        await world.until_phase("train", "Cancelled")


async def test_a_loss_that_was_written_and_not_acknowledged_is_one(guarded: Guarded) -> None:
    world = guarded.world
    async with (
        FaultProxy(world.hub) as own,
        running(world.hub, server=own.server, **settings()),
    ):
        await in_east(guarded, "train", "60s")
        lost = own.add(Fault.LOSE, "patch", path="/computecenters/east/status", count=1)
        guarded.link.partition()
        await world.until_phase("train", "Unknown")
        await world.until("train", lambda s: s.get("epoch") == 2 and s["phase"] == "Running", LIMIT)
        assert lost.hits == 1
        guarded.link.heal()
        await world.until_center("east", lambda s: leased(s) == ("True", "Leased"))
        await world.edit("train", cancel=True)
        await world.until_phase("train", "Cancelled")
        assert not runrecord.overlaps(guarded.runs())


async def test_a_center_that_returns_in_time_keeps_its_job(guarded: Guarded) -> None:
    world = guarded.world
    async with running(world.hub, **settings(replace(LEASE, lease=90.0))):
        await in_east(guarded, "train", "300s")
        guarded.link.partition()
        await world.until_phase("train", "Unknown")
        guarded.link.heal()
        status = await world.until(
            "train", lambda s: s["phase"] == "Running" or s.get("epoch", 0) > 1, LIMIT
        )
        assert (status["epoch"], status.get("failovers", 0)) == (1, 0)
        assert [run.stopped for run in guarded.runs()] == [None]
        await world.edit("train", cancel=True)
        await world.until_phase("train", "Cancelled")


async def test_an_unguarded_job_leaves_on_two_words_its_users_and_the_owners(
    guarded: Guarded,
) -> None:
    world = guarded.world
    async with running(world.hub, **settings()):
        await world.edit_center("west", cordoned=True)
        await world.submit("plain", fate={"run_for": "20s"}, accelerators=ASCEND)
        await world.until_phase("plain", "Running")
        await world.edit_center("west", cordoned=False)
        alive = await huiju(world, "declare-dead", "east", "--yes")
        assert (alive.code, "is not lost" in alive.err) == (1, True)
        early = await huiju(world, "failover", "plain")
        assert (early.code, "east answers" in early.err) == (1, True)
        guarded.link.partition()
        status = await world.until_phase("plain", "Unknown")
        assert "spec.failover.policy is Never" in status["message"]
        said = await huiju(world, "failover", "plain")
        assert (said.code, said.err) == (0, "")
        await world.until("plain", lambda s: "declare-dead east" in s["message"])
        gone = await world.until_center("east", lambda s: bool(s.get("lostSince")))
        unasked = await huiju(world, "declare-dead", "east")
        assert (unasked.code, "give --yes" in unasked.err) == (1, True)
        assert f"1 job(s) will run elsewhere: {world.namespace}/plain" in unasked.out
        assert (await world.status("plain"))["epoch"] == 1
        declared = await huiju(world, "declare-dead", "east", "--yes")
        assert (declared.code, declared.err) == (0, "")
        word = (await world.center("east"))["spec"]["declaredDead"]
        assert word == gone["lostSince"], "no clock but the hub's"
        status = await world.until("plain", lambda s: s.get("epoch") == 2)
        assert status["history"][0]["reason"] == "DeclaredDead"
        await world.until_phase("plain", "Running")
        guarded.link.heal()
        await world.until_center("east", lambda s: leased(s) == ("True", "Leased"))
        stale = [w for c, w in await world.workloads("plain") if c == "east"]
        assert [w["status"].get("active", 0) for w in stale] == [0]
        done = await world.until_phase("plain", "Succeeded")
        assert (done["epoch"], done["placement"]["center"]) == (2, "west")
        # The word was about that loss; the center is in use again, and a later loss needs its own.
        await world.edit_center("west", cordoned=True)
        await world.submit("later", fate={"run_for": "300s"}, accelerators=ASCEND)
        await world.until_phase("later", "Running")
        await world.edit_center("west", cordoned=False)
        guarded.link.partition()
        await world.until_phase("later", "Unknown")
        await huiju(world, "failover", "later")
        kept = await world.until("later", lambda s: "declare-dead east" in s["message"])
        assert kept["epoch"] == 1
        guarded.link.heal()
        await world.edit("later", cancel=True)
        await world.until_phase("later", "Cancelled")
