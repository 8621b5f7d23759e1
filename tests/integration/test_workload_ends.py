"""Workloads on whole clusters: how each way of ending is told, and whose fault it is said to be."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest

from huiju.api.center import NamespaceMapping, Sharing
from huiju.api.reasons import Reason
from huiju.centers.bundle import Bundle
from huiju.centers.observe import Failure, Observation, State
from huiju.centers.render import render
from huiju.centers.syncer import Syncer
from huiju.kube.client import Client
from huiju.kube.errors import Forbidden
from huiju.kube.resources import NODES, PODS, PRIORITY_CLASSES, Resource
from lab.cluster import Cluster
from lab.fates import Fate, pod_annotations
from lab.fixtures import NamespaceIn
from lab.nodes import ASCEND, add_nodes
from tests.integration.test_syncer import syncing
from tests.patience import PATIENCE
from tests.unit.centers.workloads import job, target

QUOTAS = Resource("", "v1", "resourcequotas", "ResourceQuota", True)


class Watcher:
    """Gathers what is observed of one job."""

    def __init__(self, client: Client, place: str) -> None:
        self.client = client
        self.place = place
        self.seen: list[Observation] = []
        self.syncer: Syncer

    async def start(
        self, notes: Mapping[str, str], *, workers: int = 1, cards: int = 8, **spec: Any
    ) -> Bundle:
        """Dispatch a job whose pods have this fate."""
        container = {"name": "train", "image": "registry.invalid/train:1"}
        template = {"metadata": {"annotations": dict(notes)}, "spec": {"containers": [container]}}
        accelerators = [{"model": "ascend-910b3", "perWorker": cards}]
        view = job(template, workers=workers, accelerators=accelerators, **spec)
        view.metadata.uid = str(uuid.uuid4())
        mapping = NamespaceMapping(hub="team-a", center=self.place)
        bundle = render(view, target(sharing=Sharing(namespace_mappings=[mapping])))
        await self.syncer.ensure(bundle)
        return bundle

    async def until(
        self, check: Callable[[Observation], bool], seconds: float = PATIENCE
    ) -> Observation:
        """The first observation that fits."""
        async with asyncio.timeout(seconds):
            while True:
                found = next((one for one in self.seen if check(one)), None)
                if found is not None:
                    return found
                await asyncio.sleep(0.02)

    async def state(self, state: State) -> Observation:
        return await self.until(lambda one: one.state is state)

    async def hopeless(self) -> Observation:
        return await self.until(lambda one: one.failure is not None)


@pytest.fixture
async def watcher(center: Cluster, namespace_in: NamespaceIn) -> AsyncIterator[Watcher]:
    place = await namespace_in(center)
    async with await center.client() as client:
        await add_nodes(client, "ascend-910b", 3)
        watching = Watcher(client, place)
        async with syncing(client, watching.seen.append) as syncer:
            watching.syncer = syncer
            yield watching


async def test_a_gang_runs_and_succeeds(watcher: Watcher) -> None:
    await watcher.start(pod_annotations(run_for="1s"), workers=3)
    ran = await watcher.state(State.RUNNING)
    assert (ran.ready, ran.bound) == (3, 3)
    assert ran.started_at is not None
    done = await watcher.state(State.SUCCEEDED)
    assert done.finished_at is not None
    assert done.finished_at >= ran.started_at
    states = [one.state for one in watcher.seen]
    assert states.index(State.RUNNING) < states.index(State.SUCCEEDED)
    assert State.FAILED not in states


ENDS: dict[str, tuple[dict[str, str], Failure, Reason, str]] = {
    "exit code": (
        pod_annotations(fate=Fate.FAIL, exit_code=3),
        Failure.APPLICATION,
        Reason.APPLICATION_FAILED,
        "exited with code 3",
    ),
    "eviction": (
        pod_annotations(fate=Fate.EVICT),
        Failure.INFRASTRUCTURE,
        Reason.EVICTED,
        "low on resource",
    ),
    "unhealthy device": (
        pod_annotations(fate=Fate.ADMISSION),
        Failure.INFRASTRUCTURE,
        Reason.POD_REJECTED,
        "no healthy devices",
    ),
    "one of a gang": (
        pod_annotations(fate=Fate.FAIL, exit_code=9, index=1, after="300ms"),
        Failure.APPLICATION,
        Reason.APPLICATION_FAILED,
        "Worker 1",
    ),
}


@pytest.mark.parametrize("case", ENDS)
async def test_an_end_is_told_with_whose_fault_it_is(watcher: Watcher, case: str) -> None:
    notes, failure, reason, words = ENDS[case]
    await watcher.start(notes, workers=3 if case == "one of a gang" else 1)
    seen = await watcher.state(State.FAILED)
    assert (seen.failure, seen.reason) == (failure, reason)
    assert words in seen.message


async def test_too_long_a_run_is_ended(watcher: Watcher) -> None:
    await watcher.start(pod_annotations(), maxRuntime="2s")
    seen = await watcher.state(State.FAILED)
    assert (seen.failure, seen.reason) == (Failure.APPLICATION, Reason.RUNTIME_EXCEEDED)


async def test_an_image_that_cannot_be_pulled_is_told_while_it_is_tried(watcher: Watcher) -> None:
    bundle = await watcher.start(pod_annotations(fate=Fate.IMAGE_PULL))
    seen = await watcher.hopeless()
    assert seen.state is State.PENDING
    assert (seen.failure, seen.reason) == (Failure.PLACEMENT, Reason.IMAGE_PULL_FAILED)
    await watcher.syncer.suspend(bundle.job_uid, 1, seen.reason or Reason.EVICTED, seen.message)
    stopped = await watcher.state(State.SUSPENDED)
    assert (stopped.reason, stopped.message) == (Reason.IMAGE_PULL_FAILED, seen.message)
    pods = await watcher.client.list_all(PODS, watcher.place)
    assert not pods.items


async def test_workers_that_have_nodes_and_never_run_are_told_after_their_deadline(
    watcher: Watcher,
) -> None:
    await watcher.start(pod_annotations(fate=Fate.STUCK, index=1), workers=2, readyDeadline="3s")
    seen = await watcher.hopeless()
    assert (seen.failure, seen.reason) == (Failure.PLACEMENT, Reason.PODS_NOT_READY)
    assert "1 of 2 workers that have nodes ran within 3s; Worker 1 on node" in seen.message
    assert "ContainerCreating" in seen.message


async def test_workers_that_find_no_node_are_told_after_the_deadline(watcher: Watcher) -> None:
    await watcher.start(pod_annotations(), workers=4, schedulingDeadline="3s")
    seen = await watcher.hopeless()
    assert (seen.failure, seen.reason) == (Failure.PLACEMENT, Reason.UNSCHEDULABLE)
    assert "3 of 4 workers found a node within 3s" in seen.message
    assert ASCEND in seen.message


async def test_a_quota_that_refuses_pods_is_told(watcher: Watcher) -> None:
    quota = {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    await watcher.client.create(QUOTAS, quota, watcher.place)
    async with asyncio.timeout(PATIENCE):
        while not (await watcher.client.get(QUOTAS, "none", watcher.place))["status"].get("hard"):
            await asyncio.sleep(0.1)
    await watcher.start(pod_annotations())
    seen = await watcher.hopeless()
    assert (seen.failure, seen.reason) == (Failure.PLACEMENT, Reason.QUOTA_EXCEEDED)
    assert "exceeded quota" in seen.message


async def create_once_admitted(watcher: Watcher, pod: dict[str, Any]) -> None:
    """The API server's admission sees a new priority class a moment after it was made."""
    give_up = time.monotonic() + 10.0
    while True:
        try:
            await watcher.client.create(PODS, pod, watcher.place)
            return
        except Forbidden as error:
            if "no PriorityClass" not in str(error) or time.monotonic() > give_up:
                raise
        await asyncio.sleep(0.2)


async def test_a_pod_that_gave_way_to_the_owners_is_no_failure_of_the_job(
    watcher: Watcher, namespace: str
) -> None:
    await watcher.start(pod_annotations(), workers=3)
    await watcher.state(State.RUNNING)
    high = {"metadata": {"name": namespace}, "value": 1000}
    await watcher.client.create(PRIORITY_CLASSES, high)
    container = {
        "name": "own",
        "image": "registry.invalid/own:1",
        "resources": {"limits": {ASCEND: "8"}},
    }
    own = {
        "metadata": {"name": "own"},
        "spec": {"priorityClassName": namespace, "containers": [container]},
    }
    await create_once_admitted(watcher, own)
    seen = await watcher.state(State.FAILED)
    await watcher.client.delete(PRIORITY_CLASSES, namespace)
    assert (seen.failure, seen.reason) == (Failure.INFRASTRUCTURE, Reason.PREEMPTED_BY_OWNER)


async def test_a_pod_deleted_by_hand_is_no_failure_of_the_job(watcher: Watcher) -> None:
    await watcher.start(pod_annotations())
    await watcher.state(State.RUNNING)
    (pod,) = (await watcher.client.list_all(PODS, watcher.place)).items
    await watcher.client.delete(PODS, pod["metadata"]["name"], watcher.place)
    seen = await watcher.state(State.FAILED)
    assert (seen.failure, seen.reason) == (Failure.INFRASTRUCTURE, Reason.EVICTED)


async def test_a_node_that_is_removed_is_a_lost_node(watcher: Watcher) -> None:
    await watcher.start(pod_annotations())
    await watcher.state(State.RUNNING)
    (pod,) = (await watcher.client.list_all(PODS, watcher.place)).items
    node = pod["spec"]["nodeName"]
    taint = {"key": "maintenance", "effect": "NoExecute"}
    await watcher.client.patch(NODES, node, {"spec": {"taints": [taint]}})
    seen = await watcher.state(State.FAILED)
    assert (seen.failure, seen.reason) == (Failure.INFRASTRUCTURE, Reason.NODE_LOST)


async def test_a_running_gang_is_stopped_and_leaves_a_tombstone(watcher: Watcher) -> None:
    bundle = await watcher.start(pod_annotations(), workers=2)
    await watcher.state(State.RUNNING)
    await watcher.syncer.suspend(bundle.job_uid, 1, Reason.PREEMPTED, "For another job.")
    seen = await watcher.state(State.SUSPENDED)
    assert (seen.reason, seen.ready, seen.bound) == (Reason.PREEMPTED, 0, 0)
    assert State.FAILED not in {one.state for one in watcher.seen}
    await watcher.syncer.remove(bundle.job_uid, 1)
    await watcher.state(State.GONE)
