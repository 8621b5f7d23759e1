"""The lease between hub and center: asked, answered, withheld, and what runs out with it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from huiju.centers.lease import SENTINEL
from huiju.centers.names import FAILOVER, STOP_REASON, UNGUARDED
from huiju.centers.role import cluster_role
from huiju.kube.client import Client
from huiju.kube.errors import Forbidden
from huiju.kube.kubeconfig import from_secret_bytes
from huiju.kube.resources import CROSS_REGION_JOBS, JOBS, LEASES
from lab import joining, ports
from lab.faultrules import Fault
from lab.hubprocess import HubProcess
from lab.proxy import FaultProxy
from tests.integration.hub import pulling
from tests.integration.hub.harness import World, running
from tests.integration.hub.leasing import (
    PROFILES,
    SHORT,
    asked,
    sentinel,
    sentinel_account,
    until,
)
from tests.patience import PATIENCE

EAST_ONLY = {"centers": ["east"]}


@pytest.fixture
async def leasing(world: World) -> World:
    """The world, with Huiju's namespace in each center and no ask of an earlier test."""
    for client in world.center_clients.values():
        await pulling.system_namespace(client)
        await client.raw("DELETE", LEASES.path(joining.SYSTEM))
    return world


def leased(status: dict[str, Any]) -> tuple[str, str]:
    """Status and reason of a center's condition."""
    found = [c for c in status.get("conditions") or [] if c["type"] == "Leased"]
    return (found[0]["status"], found[0]["reason"]) if found else ("", "")


async def test_a_push_center_is_leased_while_hub_and_sentinel_are_there(leasing: World) -> None:
    world, center = leasing, leasing.centers["east"]
    client = world.center_clients["east"]
    text = await joining.account(client, center, "huiju-hub", cluster_role())
    await joining.join(world.client, center, kubeconfig=text)
    account = from_secret_bytes((await sentinel_account(client, center)).encode())
    async with sentinel(account) as guarding:
        before = await asked(guarding)
        assert (before.center, before.remaining_seconds) == ("", 0)
        async with running(world.hub, lease_profiles=PROFILES) as hub:
            await until(lambda: guarding.asker.remaining() > 0)
            answer = await asked(guarding)
            assert answer.center == "east"
            assert 0 < answer.remaining_seconds <= answer.lease_seconds == SHORT.lease
            await world.until_center("east", lambda s: leased(s) == ("True", "Leased"))
            await world.until_center("west", lambda s: leased(s) == ("False", "NoSentinel"))
            east, west = hub.sites.get("east"), hub.sites.get("west")
            assert east is not None
            assert west is not None
            assert (east.has_sentinel, west.has_sentinel) == (True, False)
            await asyncio.sleep(SHORT.lease + 1)
            assert guarding.asker.remaining() > 0, "renewed in time, again and again"
            assert guarding.unready() == ""
        await until(lambda: guarding.asker.remaining() == 0)
        gone = await asked(guarding)
        assert (gone.remaining_seconds, gone.lease_seconds) == (0, SHORT.lease)
    async with Client(from_secret_bytes(text.encode()), name="hub") as hubs:
        await hubs.list_all(LEASES, joining.SYSTEM, fields=f"metadata.name={SENTINEL}")
        with pytest.raises(Forbidden):
            await hubs.list_all(LEASES, joining.SYSTEM)


async def test_a_guarded_job_waits_for_the_first_ask_and_no_longer(leasing: World) -> None:
    world = leasing
    image = "registry.example/huiju:lab"
    async with running(world.hub, lease_profiles=PROFILES, guard_image=image):
        job = {"failover": {"policy": "Reschedule"}, "placement": EAST_ONLY}
        await world.submit("train", fate={"run_for": "20s"}, **job)
        await world.until("train", lambda s: "no sentinel asks" in s.get("message", ""))
        async with sentinel(world.centers["east"].credentials()):
            status = await world.until("train", lambda s: "placement" in s)
            assert (status["placement"]["center"], status["placement"]["guarded"]) == ("east", True)


async def test_a_hub_that_is_busy_for_longer_than_a_lease_renews_it(
    leasing: World, tmp_path: Path
) -> None:
    file = tmp_path / "east.kubeconfig"
    file.write_text(leasing.centers["east"].kubeconfig_text(), encoding="utf-8")
    health, lease = ports.reserve(2, tmp_path)
    process = HubProcess(
        file,
        tmp_path / "sentinel.log",
        health,
        [f"--lease-port={lease}"],
        words=("sentinel", "--kubeconfig"),
    )
    async with process, running(leasing.hub, lease_profiles=PROFILES):
        await leasing.until_center("east", lambda s: leased(s) == ("True", "Leased"))
        busy_until = time.monotonic() + SHORT.lease + 2
        while time.monotonic() < busy_until:
            sum(range(1000))  # what a long scheduling cycle is to the loop and to Python
        page = await _metrics(process)
        left = next(line for line in page if line.startswith("huiju_sentinel_lease_seconds "))
        assert float(left.split()[1]) > 0


async def test_a_credential_that_is_over_is_read_again_before_the_lease_is(leasing: World) -> None:
    center = leasing.centers["east"]
    async with FaultProxy(center) as link, sentinel(center.credentials()) as guarding:
        await joining.join(leasing.client, center, server=link.server)
        async with running(leasing.hub, lease_profiles=PROFILES):
            await until(lambda: guarding.asker.remaining() > 0)
            # The watch of the Lease stays open, as one does whose token runs out meanwhile.
            over = link.add(Fault.ANSWER, "patch", "update", path="/leases", code=401)
            await joining.join(leasing.client, center)
            await until(lambda: over.hits > 0)
            await asyncio.sleep(SHORT.lease + 1)
            assert guarding.asker.remaining() > 0


async def test_jobs_of_a_cluster_that_left_its_name_to_another_keep_no_lease_back(
    leasing: World,
) -> None:
    """They stay Unknown, and bound to what is gone, until their users cancel them."""
    world, model = leasing, "ascend-910b3"
    former = {
        "center": "east",
        "cluster": "former",
        "epoch": 1,
        "alternative": 0,
        "model": model,
        "resource": "huawei.com/Ascend910",
        "namespace": "gone",
        "workload": "bereft-e1",
        "guarded": True,
        "placedAt": "2026-01-01T00:00:00Z",
    }
    await world.submit("bereft", failover={"policy": "Reschedule"})
    status = {"phase": "Unknown", "epoch": 1, "placement": former}
    await world.client.patch_status(CROSS_REGION_JOBS, "bereft", world.namespace, status)
    async with (
        sentinel(world.centers["east"].credentials()) as guarding,
        running(world.hub, lease_profiles=PROFILES),
    ):
        await until(lambda: guarding.asker.remaining() > 0)
        await world.until_reason("bereft", "CenterDeleted")


async def _metrics(process: HubProcess) -> list[str]:
    import aiohttp

    async with aiohttp.ClientSession() as session, session.get(f"{process.url}/metrics") as page:
        return (await page.text()).splitlines()


async def test_a_pull_center_is_leased_through_its_mailbox(world: World, tmp_path: Path) -> None:
    await pulling.become_pull(world)
    center = world.centers[pulling.CENTER]
    await world.center_clients[pulling.CENTER].raw("DELETE", LEASES.path(joining.SYSTEM))
    account = await pulling.center_account(world)
    async with (
        running(world.hub, lease_profiles=PROFILES),
        sentinel(center.credentials()) as guarding,
    ):
        async with pulling.agent(world, tmp_path, center=account):
            await until(lambda: guarding.asker.remaining() > 0)
            assert (await asked(guarding)).center == pulling.CENTER
            await world.until_center(pulling.CENTER, lambda s: leased(s) == ("True", "Leased"))
            await asyncio.sleep(SHORT.lease + 1)
            assert guarding.asker.remaining() > 0
        # Nobody brings answers any more, and the sentinel counts on by itself.
        await until(lambda: guarding.asker.remaining() == 0)
        async with pulling.agent(world, tmp_path, center=account):
            await until(lambda: guarding.asker.remaining() > 0)
    await pulling.empty_mailbox(world.client)


async def test_a_center_that_runs_an_old_epoch_loses_it_before_it_gets_its_lease(
    leasing: World,
) -> None:
    world = leasing
    async with running(world.hub, lease_profiles=PROFILES):
        await world.submit("moved", fate={"run_for": "300s"}, placement=EAST_ONLY)
        await world.until_phase("moved", "Running")
    # As if it had been given up meanwhile: its epoch counts no more, and nothing calls for it.
    await world.edit("moved", suspend=True)
    gone = {"placement": None, "phase": "Queued", "startedAt": None}
    await world.client.patch_status(CROSS_REGION_JOBS, "moved", world.namespace, gone)
    async with FaultProxy(world.centers["east"]) as proxy:
        await joining.join(world.client, world.centers["east"], server=proxy.server)
        proxy.add(Fault.ANSWER, "patch", path="/jobs/", code=503)
        async with (
            sentinel(world.centers["east"].credentials()) as guarding,
            running(world.hub, lease_profiles=PROFILES),
        ):
            await world.until_center("east", lambda s: leased(s)[1] == "LeaseWithheld")
            await until(lambda: proxy.seen["patch", "jobs"] > 1)
            assert guarding.asker.remaining() == 0
            proxy.rules.clear()
            await until(lambda: guarding.asker.remaining() > 0)
            ((_, workload),) = await world.workloads("moved")
            assert workload["spec"]["suspend"] is True
            await world.until_center("east", lambda s: leased(s) == ("True", "Leased"))


async def test_unguarded_workloads_with_failover_are_suspended_when_the_lease_is_out(
    leasing: World,
) -> None:
    world = leasing
    async with running(world.hub, lease_profiles=PROFILES):
        for name in ("kept", "stopped"):
            await world.submit(name, fate={"run_for": "20s"}, placement=EAST_ONLY)
            await world.until_phase(name, "Running")
        # As a hub leaves it that cannot guard the pods of a job with failover.
        ((_, workload),) = await world.workloads("stopped")
        meta = workload["metadata"]
        mark = {"metadata": {"labels": {FAILOVER: UNGUARDED}}}
        client = world.center_clients["east"]
        await client.patch(JOBS, meta["name"], mark, meta["namespace"])
    async with sentinel(world.centers["east"].credentials()) as guarding:
        # It was never granted anything, so nobody counts on its lease, however long that takes.
        await asyncio.sleep(SHORT.lease + 1)
        assert not guarding.asker.ran_out()
        async with running(world.hub, lease_profiles=PROFILES):
            await until(lambda: guarding.asker.remaining() > 0)
        await until(lambda: guarding.asker.ran_out())
        async with asyncio.timeout(PATIENCE):
            while not (found := await world.workloads("stopped"))[0][1]["spec"].get("suspend"):
                await asyncio.sleep(0.1)
        assert found[0][1]["metadata"]["annotations"][STOP_REASON] == "LeaseEnded"
        ((_, other),) = await world.workloads("kept")
        assert not other["spec"].get("suspend"), "a job without failover is never stopped so"
        async with running(world.hub, lease_profiles=PROFILES):
            done = await world.until_phase("stopped", "Succeeded", 90)
            assert done["epoch"] == 2
            assert done["history"][0]["reason"] == "LeaseEnded"
            assert done.get("applicationFailures", 0) == 0
            await world.until_phase("kept", "Succeeded", 90)
