"""The syncer against a real API server: what it makes, what it leaves alone, what it removes."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from huiju.api.center import NamespaceMapping, Sharing
from huiju.api.reasons import Reason
from huiju.centers.bundle import Bundle
from huiju.centers.carried import Carried, CarriedObject
from huiju.centers.names import ORIGIN
from huiju.centers.observe import Observation, State
from huiju.centers.refusals import RenderRefused
from huiju.centers.render import render
from huiju.centers.syncer import DispatchRefused, Syncer
from huiju.kube.client import Client
from huiju.kube.errors import NotFound
from huiju.kube.resources import CONFIG_MAPS, JOBS, NAMESPACES, SECRETS, SERVICES, Resource
from lab.cluster import Cluster
from lab.fixtures import NamespaceIn
from tests.patience import PATIENCE
from tests.unit.centers.workloads import HUB, job, pod_spec, target

QUOTAS = Resource("", "v1", "resourcequotas", "ResourceQuota", True)
SECRET = "c2VjcmV0LXdvcmRz"
CARRIED = Carried(
    (
        CarriedObject("ConfigMap", "conf", {"data": {"a": "1"}}),
        CarriedObject("Secret", "token", {"data": {"t": SECRET}, "type": "Opaque"}),
    )
)


def bundle_in(namespace: str | None, *, epoch: int = 1, **more: Any) -> Bundle:
    """A fresh job's bundle, mapped to `namespace`, or to the one that Huiju makes."""
    view = job(**more.pop("spec", {}))
    view.metadata.uid = more.pop("uid", str(uuid.uuid4()))
    view.metadata.namespace = more.pop("hub_namespace", "team-a")
    mappings = []
    if namespace is not None:
        mappings = [NamespaceMapping(hub=view.metadata.namespace, center=namespace)]
    sharing = Sharing(namespace_mappings=mappings)
    return render(view, target(epoch=epoch, sharing=sharing, **more))


@asynccontextmanager
async def syncing(
    client: Client, on_observed: Callable[[Observation], None] = lambda _: None
) -> AsyncIterator[Syncer]:
    """A syncer that has read everything."""
    syncer = Syncer(client, HUB, on_observed)
    task = asyncio.create_task(syncer.run())
    try:
        async with asyncio.timeout(PATIENCE):
            await syncer.synced.wait()
        yield syncer
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(check: Callable[[], Any], seconds: float = PATIENCE) -> None:
    async with asyncio.timeout(seconds):
        while not check():
            await asyncio.sleep(0.02)


async def gone(client: Client, res: Resource, name: str, namespace: str) -> bool:
    try:
        await client.get(res, name, namespace)
    except NotFound:
        return True
    return False


@pytest.fixture
async def client(bare_cluster: Cluster) -> AsyncIterator[Client]:
    async with await bare_cluster.client() as made:
        yield made


@pytest.fixture
async def place(bare_cluster: Cluster, namespace_in: NamespaceIn) -> str:
    return await namespace_in(bare_cluster)


# --- making ---


async def test_a_single_pod_job_costs_one_write_and_only_once(client: Client, place: str) -> None:
    bundle = bundle_in(place)
    async with syncing(client) as syncer:
        await syncer.ensure(bundle)
        assert client.writes == {("create", "jobs"): 1}
        (seen,) = syncer.observations_of(bundle.job_uid)
        assert seen.state is State.PENDING
        await syncer.ensure(bundle)
        assert client.writes == {("create", "jobs"): 1}


async def test_a_gang_and_what_it_carries_are_made_in_order(client: Client, place: str) -> None:
    bundle = bundle_in(place, spec={"workers": 2}, carried=CARRIED)
    async with syncing(client) as syncer:
        await syncer.ensure(bundle)
    for res in (CONFIG_MAPS, SECRETS, SERVICES, JOBS):
        made = (await client.list_all(res, place, labels="huiju.dev/epoch=1")).items
        assert len(made) == 1, res.plural
        assert made[0]["metadata"]["annotations"][ORIGIN].endswith(f"/{bundle.job_uid}/1")
    assert made[0]["spec"]["completionMode"] == "Indexed"


async def test_what_was_made_before_a_crash_is_found_and_completed(
    client: Client, place: str
) -> None:
    bundle = bundle_in(place, spec={"workers": 2}, carried=CARRIED)
    await client.create(CONFIG_MAPS, bundle.objects[0], place)
    await client.create(SECRETS, bundle.objects[1], place)
    async with syncing(client) as syncer:
        await syncer.ensure(bundle)
        await until(lambda: syncer.observations_of(bundle.job_uid))
    # Another process that has not seen the workload yet finds all of it.
    late = Syncer(client, HUB, lambda _: None)
    await late.ensure(bundle)
    assert len((await client.list_all(JOBS, place)).items) == 1


async def test_the_namespace_comes_with_the_first_job(
    bare_cluster: Cluster, client: Client, namespace: str
) -> None:
    spaces = [bundle_in(None, hub_namespace=namespace) for _ in range(8)]
    where = spaces[0].center_namespace
    async with syncing(client) as syncer:
        await asyncio.gather(*(syncer.ensure(bundle) for bundle in spaces))
    assert client.writes["create", "namespaces"] == 1
    made = await client.get(NAMESPACES, where)
    assert made["metadata"]["labels"]["huiju.dev/hub"] == HUB
    assert made["metadata"]["labels"]["huiju.dev/job-namespace"] == namespace
    assert len((await client.list_all(JOBS, where)).items) == 8
    await client.delete(NAMESPACES, where)


async def test_a_mapped_namespace_is_the_owners_to_make(client: Client) -> None:
    async with syncing(client) as syncer:
        with pytest.raises(DispatchRefused, match="namespaceMappings") as caught:
            await syncer.ensure(bundle_in("not-there"))
    assert caught.value.reason is Reason.DISPATCH_REFUSED


@pytest.mark.parametrize("index", [0, 1, 2, 3])
async def test_an_object_of_somebody_else_is_refused_and_left_alone(
    client: Client, place: str, index: int
) -> None:
    bundle = bundle_in(place, spec={"workers": 2}, carried=CARRIED)
    theirs = {**bundle.objects[index], "metadata": {**bundle.objects[index]["metadata"]}}
    theirs["metadata"]["annotations"] = {ORIGIN: "ffffffff/other/job/uid/1"}
    theirs["metadata"]["labels"] = {"mine": "true"}
    res = (CONFIG_MAPS, SECRETS, SERVICES, JOBS)[index]
    before = await client.create(res, theirs, place)
    async with syncing(client) as syncer:
        with pytest.raises(DispatchRefused, match="ffffffff/other/job/uid/1") as caught:
            await syncer.ensure(bundle)
        assert caught.value.reason is Reason.FOREIGN_OBJECT
        assert bundle.job_uid not in {one.job_uid for one in syncer.held()}
    after = await client.get(res, before["metadata"]["name"], place)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["metadata"]["labels"] == {"mine": "true"}
    # What was made before the refusal did not stay.
    for other, obj in zip((CONFIG_MAPS, SECRETS, SERVICES), bundle.objects, strict=False):
        if other is not res:
            assert await gone(client, other, obj["metadata"]["name"], place)


async def test_a_quota_of_the_center_is_told_as_such(client: Client, place: str) -> None:
    hard = {"count/jobs.batch": "0"}
    await client.create(QUOTAS, {"metadata": {"name": "none"}, "spec": {"hard": hard}}, place)
    status = {"hard": hard, "used": {"count/jobs.batch": "0"}}
    await client.patch_status(QUOTAS, "none", place, status)
    bundle = bundle_in(place, carried=CARRIED)
    async with syncing(client) as syncer:
        with pytest.raises(DispatchRefused, match="exceeded quota") as caught:
            await syncer.ensure(bundle)
        assert caught.value.reason is Reason.QUOTA_EXCEEDED
        assert bundle.job_uid not in {one.job_uid for one in syncer.held()}
    assert await gone(client, SECRETS, bundle.objects[1]["metadata"]["name"], place)


async def test_no_refusal_quotes_a_secret(client: Client, place: str) -> None:
    bad = Carried((CarriedObject("Secret", "token", {"data": {"bad key": SECRET}}),))
    async with syncing(client) as syncer:
        with pytest.raises(DispatchRefused) as caught:
            await syncer.ensure(bundle_in(place, carried=bad))
    assert SECRET not in caught.value.message
    assert "secret-words" not in caught.value.message


# --- dry runs ---

WRONG = {
    "unknown field": (pod_spec(tolerationz=[]), "tolerationz"),
    "bad image volume": (pod_spec(volumes=[{"name": "A B"}]), "spec.template.spec.volumes[0].name"),
    "bad type": (pod_spec(terminationGracePeriodSeconds="long"), "terminationGracePeriodSeconds"),
    "requests over limits": (
        {
            "spec": {
                "containers": [
                    {
                        "name": "a",
                        "image": "i",
                        "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}},
                    }
                ]
            }
        },
        "spec.template.spec.containers[0].resources.requests",
    ),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("there", [True, False])
async def test_a_wrong_template_is_told_in_the_servers_words(
    client: Client, place: str, case: str, there: bool
) -> None:
    template, words = WRONG[case]
    bundle = bundle_in(place if there else None, spec={"template": template})
    with pytest.raises(RenderRefused) as caught:
        await Syncer(client, HUB, lambda _: None).dry_run(bundle)
    assert caught.value.reason is Reason.INVALID_TEMPLATE
    assert words in caught.value.message


@pytest.mark.parametrize("there", [True, False])
async def test_a_dry_run_makes_nothing(client: Client, place: str, there: bool) -> None:
    bundle = bundle_in(place if there else None, spec={"workers": 4}, carried=CARRIED)
    await Syncer(client, HUB, lambda _: None).dry_run(bundle)
    assert not client.writes
    assert await gone(client, JOBS, bundle.workload, bundle.center_namespace)


# --- stopping, removing, starting again ---


async def test_a_stopped_workload_stays_as_a_tombstone(client: Client, place: str) -> None:
    bundle = bundle_in(place)
    async with syncing(client) as syncer:
        await syncer.ensure(bundle)
        await syncer.suspend(bundle.job_uid, 1, Reason.PREEMPTED, "For another job.")
        writes = dict(client.writes)
        (seen,) = syncer.observations_of(bundle.job_uid)
        assert (seen.reason, seen.message) == (Reason.PREEMPTED, "For another job.")
        await syncer.suspend(bundle.job_uid, 1, Reason.CANCELLED, "Again.")
        await syncer.ensure(bundle)
        assert dict(client.writes) == writes
    # Neither a late create of another process starts it again.
    await Syncer(client, HUB, lambda _: None).ensure(bundle)
    found = await client.get(JOBS, bundle.workload, place)
    assert found["spec"]["suspend"] is True
    assert found["metadata"]["annotations"]["huiju.dev/stop-reason"] == "Preempted"


async def test_stopping_and_removing_what_is_not_there_is_no_error(client: Client) -> None:
    async with syncing(client) as syncer:
        await syncer.suspend("nobody", 1, Reason.CANCELLED, "")
        await syncer.remove("nobody", 1)
    assert not client.writes


async def test_an_object_under_the_same_name_is_neither_stopped_nor_removed(
    client: Client, place: str
) -> None:
    bundle = bundle_in(place)
    async with syncing(client) as syncer:
        await syncer.ensure(bundle)
        known = syncer._tracker.entry(bundle.job_uid, 1)
        assert known is not None
        old = known.workload
        await client.delete(JOBS, bundle.workload, place)
        await until(lambda: syncer.held_epoch(bundle.job_uid) == 0)
        async with asyncio.timeout(PATIENCE):
            while not await gone(client, JOBS, bundle.workload, place):
                await asyncio.sleep(0.05)
        theirs = {**bundle.objects[-1], "metadata": {"name": bundle.workload}}
        await client.create(JOBS, theirs, place)
        # As if the news had not come yet.
        assert old is not None
        syncer._tracker.note(old)
        await syncer.suspend(bundle.job_uid, 1, Reason.CANCELLED, "")
        syncer._tracker.note(old)
        await syncer.remove(bundle.job_uid, 1)
    found = await client.get(JOBS, bundle.workload, place)
    assert not found["spec"].get("suspend")


async def test_removing_takes_everything_that_was_made(client: Client, place: str) -> None:
    bundle = bundle_in(place, spec={"workers": 2}, carried=CARRIED)
    other = bundle_in(place, carried=CARRIED)
    async with syncing(client) as before:
        await before.ensure(bundle)
        await before.ensure(other)
    seen: list[Observation] = []
    # A process that did not make it removes it all the same.
    async with syncing(client, seen.append) as syncer:
        held = {(one.job_uid, one.epoch) for one in syncer.held()}
        assert {(bundle.job_uid, 1), (other.job_uid, 1)} <= held
        await syncer.remove(bundle.job_uid, 1)
        assert (bundle.job_uid, 1) not in {(one.job_uid, one.epoch) for one in syncer.held()}
        assert [one.state for one in seen if one.job_uid == bundle.job_uid][-1] is State.GONE
    for res, obj in zip((CONFIG_MAPS, SECRETS, SERVICES, JOBS), bundle.objects, strict=True):
        assert await gone(client, res, obj["metadata"]["name"], place)
    for res, obj in zip((CONFIG_MAPS, SECRETS, JOBS), other.objects, strict=True):
        assert not await gone(client, res, obj["metadata"]["name"], place)


async def test_a_single_pod_job_costs_one_write_to_remove(client: Client, place: str) -> None:
    bundle = bundle_in(place)
    async with syncing(client) as syncer:
        await syncer.ensure(bundle)
        client.writes.clear()
        await syncer.remove(bundle.job_uid, 1)
        await syncer.remove(bundle.job_uid, 1)
    assert client.writes == {("delete", "jobs"): 1}


async def test_a_restarted_hub_knows_the_epochs_that_the_center_holds(
    client: Client, place: str
) -> None:
    uid = str(uuid.uuid4())
    async with syncing(client) as before:
        for epoch in (3, 7, 5):
            await before.ensure(bundle_in(place, uid=uid, epoch=epoch))
    seen: list[Observation] = []
    async with syncing(client, seen.append) as syncer:
        assert syncer.held_epoch(uid) == 7
        assert {one.epoch for one in syncer.observations_of(uid)} == {3, 5, 7}
        assert {one.epoch for one in seen if one.job_uid == uid} == {3, 5, 7}
        await syncer.remove(uid, 7)
        assert syncer.held_epoch(uid) == 5


async def test_a_workload_removed_by_hand_is_gone(client: Client, place: str) -> None:
    bundle = bundle_in(place)
    seen: list[Observation] = []
    async with syncing(client, seen.append) as syncer:
        await syncer.ensure(bundle)
        await client.delete(JOBS, bundle.workload, place)
        await until(lambda: seen and seen[-1].state is State.GONE)
        assert syncer.observations_of(bundle.job_uid) == ()


async def test_another_hubs_workloads_are_not_seen(client: Client, place: str) -> None:
    bundle = bundle_in(place, hub_id="99999999")
    await client.create(JOBS, bundle.objects[-1], place)
    async with syncing(client) as syncer:
        assert syncer.held_epoch(bundle.job_uid) == 0
        assert bundle.job_uid not in {one.job_uid for one in syncer.held()}
