"""From `kubectl apply` to the end, on real control planes with fake nodes."""

from __future__ import annotations

import asyncio
from collections import Counter

from huiju.kube.resources import CROSS_REGION_JOBS, SERVICES
from lab.fates import Fate
from lab.nodes import ASCEND
from tests.integration.hub.harness import Fields, World, running
from tests.patience import PATIENCE


def condition(status: Fields, kind: str) -> Fields:
    found: Fields = next(c for c in status["conditions"] if c["type"] == kind)
    return found


async def test_a_single_job_runs_where_its_accelerator_is_and_succeeds(world: World) -> None:
    async with running(world.hub):
        await world.submit("one", model="nvidia-h100-sxm", per_worker=2)
        running_ = await world.until_phase("one", "Running")
        assert running_["placement"]["center"] == "north"
        assert running_["placement"]["resource"] == "nvidia.com/gpu"
        assert running_["epoch"] == 1
        done = await world.until_phase("one", "Succeeded")
    assert condition(done, "Complete")["status"] == "True"
    assert condition(done, "Accepted")["status"] == "True"
    assert done["startedAt"] <= done["finishedAt"]
    ((center, workload),) = await world.workloads("one")
    assert center == "north"
    container = workload["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "2"
    names = {entry["name"] for entry in container["env"]}
    assert {"HUIJU_JOB", "HUIJU_CENTER", "HUIJU_EPOCH"} <= names


async def test_a_gang_gets_all_its_workers_and_a_name_for_each(world: World) -> None:
    async with running(world.hub):
        await world.submit("gang", workers=2, per_worker=8, fate={"run_for": "4s"})
        status = await world.until_phase("gang", "Running")
        center = status["placement"]["center"]
        pods = await world.pods("gang")
        assert Counter(c for c, _ in pods) == {center: 2}
        assert len({pod["spec"]["nodeName"] for _, pod in pods}) == 2
        services = await world.center_clients[center].list_all(
            SERVICES, labels="huiju.dev/job-name=gang"
        )
        (service,) = services.items
        assert service["spec"]["publishNotReadyAddresses"] is True
        assert {pod["spec"]["subdomain"] for _, pod in pods} == {service["metadata"]["name"]}
        assert status["readyWorkers"] == 2
        await world.until_phase("gang", "Succeeded")


async def test_a_job_that_fits_nowhere_waits_with_numbers_and_runs_when_room_comes(
    world: World,
) -> None:
    async with running(world.hub):
        for number in range(2):
            await world.submit(
                f"full-{number}", model="nvidia-h100-sxm", per_worker=8, fate={"run_for": "3s"}
            )
        for number in range(2):
            await world.until_phase(f"full-{number}", "Running")
        await world.submit("late", model="nvidia-h100-sxm", per_worker=4)
        waiting = await world.until(
            "late", lambda s: s.get("phase") == "Queued" and "nvidia" in s.get("message", "")
        )
        assert waiting["reason"] in {"NoCenter", "NoNodeFits"}
        await world.until_phase("late", "Succeeded")


async def test_two_jobs_never_get_the_same_cards(world: World) -> None:
    async with running(world.hub):
        names = [f"crowd-{number:02d}" for number in range(12)]
        await asyncio.gather(
            *(world.submit(name, per_worker=4, fate={"run_for": "2s"}) for name in names)
        )
        most: Counter[tuple[str, str]] = Counter()
        while True:
            held: Counter[tuple[str, str]] = Counter()
            for center, pod in await world.all_pods():
                if pod["status"].get("phase") not in ("Succeeded", "Failed"):
                    node = pod["spec"].get("nodeName", "unbound")
                    asked = pod["spec"]["containers"][0]["resources"]["requests"]
                    held[center, node] += int(asked[ASCEND])
            most |= held
            phases = Counter([(await world.status(name)).get("phase") for name in names])
            if phases["Succeeded"] == len(names):
                break
            await asyncio.sleep(0.2)
    # Never more than there is, and never a pod for which no node had room.
    assert all(units <= 8 for units in most.values()), most


async def test_an_application_failure_counts_and_a_retry_is_a_new_epoch(world: World) -> None:
    async with running(world.hub):
        await world.submit(
            "flaky",
            fate={"fate": Fate.FAIL, "exit_code": 7, "after": "0.2s", "epoch": 1},
            retry={"maxAttempts": 2},
        )
        done = await world.until_phase("flaky", "Succeeded")
    assert done["epoch"] == 2
    assert done["applicationFailures"] == 1
    assert done["history"][0]["reason"] == "ApplicationFailed"
    assert "7" in done["history"][0]["message"]


async def test_a_retry_waits_for_no_time_that_a_clock_which_ran_ahead_wrote(world: World) -> None:
    """A hub with longer pauses writes what one would whose clock is an hour ahead."""
    async with running(world.hub, retry_base=3600.0, retry_max=3600.0):
        await world.submit(
            "ahead",
            fate={"fate": Fate.FAIL, "exit_code": 7, "after": "0.2s", "epoch": 1},
            retry={"maxAttempts": 2},
        )
        told = await world.until("ahead", lambda s: bool(s.get("retryAt")))
        assert told["phase"] == "Queued"
    async with running(world.hub):
        done = await world.until_phase("ahead", "Succeeded")
    assert done["epoch"] == 2


async def test_an_application_that_keeps_failing_ends_the_job_with_its_exit_code(
    world: World,
) -> None:
    async with running(world.hub):
        await world.submit("broken", fate={"fate": Fate.FAIL, "exit_code": 3, "after": "0.2s"})
        status = await world.until_phase("broken", "Failed")
    assert status["reason"] == "ApplicationFailed"
    assert "3" in status["message"]
    assert condition(status, "Failed")["status"] == "True"


async def test_an_image_that_cannot_be_pulled_sends_the_job_to_another_center(
    world: World,
) -> None:
    async with running(world.hub):
        await world.submit("pull", fate={"fate": Fate.IMAGE_PULL, "epoch": 1})
        done = await world.until_phase("pull", "Succeeded")
    assert done["history"][0]["reason"] == "ImagePullFailed"
    assert done["history"][0]["center"] != done["placement"]["center"]
    assert done.get("applicationFailures", 0) == 0
    assert done["epoch"] == 2


async def test_an_evicted_job_is_queued_again_and_no_failure_is_counted(world: World) -> None:
    async with running(world.hub):
        await world.submit("evicted", fate={"fate": Fate.EVICT, "after": "0.3s", "epoch": 1})
        done = await world.until_phase("evicted", "Succeeded")
    assert done["history"][0]["reason"] == "Evicted"
    assert done.get("applicationFailures", 0) == 0


async def test_suspend_stops_the_pods_and_resume_runs_a_new_epoch(world: World) -> None:
    async with running(world.hub):
        await world.submit("pause", fate={"run_for": "60s"})
        await world.until_phase("pause", "Running")
        await world.edit("pause", suspend=True)
        await world.until_phase("pause", "Suspended")
        alive = [pod for _, pod in await world.pods("pause") if pod["status"]["phase"] == "Running"]
        assert not alive
        ((_, workload),) = await world.workloads("pause")
        assert workload["spec"]["suspend"] is True
        await world.edit("pause", suspend=False)
        resumed = await world.until_phase("pause", "Running")
        assert resumed["epoch"] == 2
        await world.edit("pause", cancel=True)
        ended = await world.until_phase("pause", "Cancelled")
    assert ended["reason"] == "Cancelled"


async def test_success_is_latched_and_a_deleted_job_leaves_nothing(world: World) -> None:
    async with running(world.hub):
        await world.submit("latched")
        await world.until_phase("latched", "Succeeded")
        ((center, workload),) = await world.workloads("latched")
        meta = workload["metadata"]
        await world.center_clients[center].raw(
            "DELETE",
            f"/apis/batch/v1/namespaces/{meta['namespace']}/jobs/{meta['name']}",
        )
        await asyncio.sleep(1.0)
        assert (await world.status("latched"))["phase"] == "Succeeded"
        await world.submit("deleted", fate={"run_for": "60s"})
        await world.until_phase("deleted", "Running")
        await world.delete("deleted")
        await world.until_gone()
        async with asyncio.timeout(PATIENCE):  # the center's garbage collector removes the pods
            while await world.pods("deleted"):
                await asyncio.sleep(0.2)


async def test_a_finished_job_goes_after_its_time(world: World) -> None:
    async with running(world.hub, tombstone_seconds=3.0):
        await world.submit("short", ttlAfterFinished="1s")
        await world.until_phase("short", "Succeeded")
        async with asyncio.timeout(PATIENCE):
            while any(
                item["metadata"]["name"] == "short"
                for item in (await world.client.list_all(CROSS_REGION_JOBS)).items
            ):
                await asyncio.sleep(0.2)
        await world.until_gone()
