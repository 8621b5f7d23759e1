"""Guarded pods with real processes: the gate, the end of a lease, checkpoints, a lost node."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from huiju.api.center import NamespaceMapping, Sharing
from huiju.api.reasons import Reason
from huiju.centers.bundle import Bundle
from huiju.centers.lease import LeaseProfile, LeaseTerms, sentinel_url
from huiju.centers.observe import Failure, Observation, State
from huiju.centers.render import render
from huiju.centers.syncer import Syncer
from lab import runrecord
from lab.cluster import Cluster
from lab.fates import PLAYED, PREFIX
from lab.fixtures import NamespaceIn
from lab.kubeletprocess import KubeletProcess
from lab.nodes import add_nodes
from lab.proxy import FaultProxy
from tests.integration.test_syncer import syncing
from tests.patience import PATIENCE
from tests.sentinels import Sentinel
from tests.unit.centers.workloads import job, target

SHORT = LeaseProfile(lease=10.0, ask=1.0, poll=0.3, stop=4.0, grace=10.0)


@dataclass
class Stage:
    """A center whose guarded pods are real processes, and a sentinel that the test is."""

    syncer: Syncer
    sentinel: Sentinel
    kubelet: KubeletProcess
    proxy: FaultProxy
    place: str
    folder: Path
    uid: str = field(default_factory=lambda: str(uuid.uuid4()))
    seen: list[Observation] = field(default_factory=list)

    async def dispatch(
        self, notes: dict[str, str], *, epoch: int = 1, guarded: bool, **more: Any
    ) -> Bundle:
        lake = {"name": "lake", "hostPath": {"path": str(self.folder / "lake")}}
        main = {
            "name": "train",
            "image": "registry.invalid/train:1",
            "volumeMounts": [{"name": "lake", "mountPath": "/lake"}],
        }
        template = {
            "metadata": {"annotations": {PLAYED: "true", **notes}},
            "spec": {"containers": [main], "volumes": [lake]},
        }
        view = job(
            template,
            accelerators=[{"model": "ascend-910b3", "perWorker": 8}],
            failover={"policy": "Reschedule" if guarded else "Never"},
            checkpoint={"period": "1m", "directory": "/lake/checkpoints"},
            output={"directory": "/lake/results"},
            **more,
        )
        view.metadata.uid = self.uid
        mapping = NamespaceMapping(hub="team-a", center=self.place)
        bundle = render(
            view,
            target(
                epoch=epoch,
                image="huiju:lab",
                sharing=Sharing(namespace_mappings=[mapping]),
                host_paths=(str(self.folder),),
                lease=LeaseTerms(sentinel_url("huiju-system"), SHORT) if guarded else None,
            ),
        )
        await self.syncer.ensure(bundle)
        return bundle

    def events(self, kind: str, container: str = "train") -> list[dict[str, Any]]:
        found = [one for one in runrecord.events(self.kubelet.record) if one["event"] == kind]
        return [one for one in found if one.get("container", container) == container]

    async def until(self, check: Any) -> Any:
        async with asyncio.timeout(PATIENCE):
            while not (found := check()):
                await asyncio.sleep(0.02)
            return found

    async def observed(self, state: State, epoch: int = 1) -> Observation:
        def fits() -> Observation | None:
            mine = (one for one in self.seen if (one.state, one.epoch) == (state, epoch))
            return next(mine, None)

        found: Observation = await self.until(fits)
        return found

    def checkpoints(self, epoch: int) -> list[Path]:
        return sorted(self.folder.glob(f"lake/checkpoints/train-*/e{epoch}/*/COMPLETE"))


@pytest.fixture
def ends() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
async def stage(
    center: Cluster, namespace_in: NamespaceIn, tmp_path: Path, ends: ExitStack
) -> AsyncIterator[Stage]:
    place = await namespace_in(center)
    sentinel = Sentinel()
    ends.callback(sentinel.close)
    sentinel.center = "south"
    seen: list[Observation] = []
    async with FaultProxy(center, seed=1) as proxy, await center.client() as client:
        await add_nodes(client, "ascend-910b", 1)
        kubeconfig = tmp_path / "kubelet.kubeconfig"
        kubeconfig.write_text(center.kubeconfig_text(proxy.server))
        kubelet = KubeletProcess(
            kubeconfig, center.name, tmp_path / "pods", tmp_path / "runs.jsonl", sentinel.url
        )
        with kubelet:
            async with syncing(client, seen.append) as syncer:
                yield Stage(syncer, sentinel, kubelet, proxy, place, tmp_path, seen=seen)


@pytest.mark.parametrize("code", ["143", "0"])
async def test_the_end_of_the_lease_stops_a_pod_without_an_api_server(
    stage: Stage, code: str
) -> None:
    """A program that heeds its TERM may well exit with 0; it is not done for that."""
    await stage.dispatch({PREFIX + "term-code": code}, guarded=True)
    await stage.until(lambda: stage.sentinel.asked >= 3)
    assert not stage.events(runrecord.START), "the gate is shut until a lease is seen"
    stage.sentinel.steady = 3.0
    await stage.observed(State.RUNNING)
    stage.proxy.partition()
    stage.sentinel.status = 500
    await stage.until(lambda: stage.events(runrecord.STOP))
    refused = [one["failures"] for one in stage.events(runrecord.REFUSED)]
    assert refused == [1, 2], "told to stop by the second probe"
    assert all("LeaseEnded" in one["why"] for one in stage.events(runrecord.REFUSED))
    assert [one["codes"] for one in stage.events(runrecord.STOP)] == [[int(code)]]
    assert len(stage.events(runrecord.TERM)) == 1
    assert not stage.events(runrecord.KILL), "it had its grace period"
    assert stage.checkpoints(1), "and saved a last checkpoint in it"
    stage.proxy.heal()
    ended = await stage.observed(State.FAILED)
    assert (ended.reason, ended.failure) == (Reason.LEASE_ENDED, Failure.INFRASTRUCTURE)


async def test_an_attempt_goes_on_from_the_last_complete_checkpoint(stage: Stage) -> None:
    await stage.dispatch({PREFIX + "save-every": "100ms"}, guarded=False)
    await stage.until(lambda: stage.checkpoints(1))
    await stage.syncer.suspend(stage.uid, 1, Reason.MOVED, "Moved.")
    await stage.observed(State.SUSPENDED)
    last = stage.checkpoints(1)[-1].parent
    (last.parent / "at-9999999").mkdir()  # cut off before its marker was written
    done = float((last / "done").read_text())
    await stage.dispatch({PREFIX + "run-for": f"{done + 0.5:.3f}s"}, epoch=2, guarded=False)
    await stage.observed(State.SUCCEEDED, epoch=2)
    (result,) = stage.folder.glob("lake/results/train-*/e2/result")
    assert float(result.read_text()) >= done
    first, second = runrecord.runs(stage.kubelet.record)
    (log,) = stage.folder.glob(f"pods/{second.who.uid}/train.log")
    assert f"goes on at {done:.2f}" in log.read_text()
    assert not runrecord.overlaps([first, second])


async def test_a_program_that_hangs_is_ended_by_its_guard(stage: Stage) -> None:
    notes = {PREFIX + "hang-after": "2s", PREFIX + "progress-file": "/lake/beat"}
    progress = {"file": "/lake/beat", "deadline": "8s"}
    await stage.dispatch(notes, guarded=False, progress=progress)
    ended = await stage.observed(State.FAILED)
    assert (ended.reason, ended.failure) == (Reason.NO_PROGRESS, Failure.INFRASTRUCTURE)
    assert "for 8 s" in ended.message
    (run,) = runrecord.runs(stage.kubelet.record)
    assert stage.events(runrecord.REFUSED)[0]["at"] - run.started > 8, "it got on for a while"


async def test_what_a_dead_kubelet_ran_is_dead_and_its_node_is_to_blame(stage: Stage) -> None:
    stage.sentinel.steady = 1000.0
    await stage.dispatch({}, guarded=True)
    await stage.observed(State.RUNNING)
    stage.kubelet.kill()
    stage.kubelet.start()
    ended = await stage.observed(State.FAILED)
    assert (ended.reason, ended.failure) == (Reason.NODE_LOST, Failure.INFRASTRUCTURE)
