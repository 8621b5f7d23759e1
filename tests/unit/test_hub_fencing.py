"""When a center gets its lease, and when its profile changes: by what its jobs' statuses say."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, cast

import msgspec
import pytest

from huiju.api.center import ComputeCenterSpec
from huiju.centers.lease import PROFILES
from huiju.centers.observe import Observation, State
from huiju.hub.center import CenterRuntime
from huiju.hub.centerlease import CenterLease
from huiju.hub.fencing import Fencing
from huiju.hub.granter import Granter
from huiju.hub.jobcache import JobCache
from huiju.hub.objects import JobObject, JobStatus
from huiju.hub.sites import Sites
from huiju.hub.status import succeeded
from tests.unit.test_hub_lifecycle import NOW, job, placed, placement

CLUSTER = "cluster-of-south"
SECRET = {"name": "south-kubeconfig", "namespace": "huiju-system"}


class Center:
    """As much of a center as is asked here; its lease is a real one."""

    name = "south"
    identity = CLUSTER
    version = "v1.37.2"
    lost = False
    synced = True
    guard_trouble = ""

    def __init__(self, profile: str = "default", wanted: str = "default") -> None:
        status = {"lease": {"profile": profile}}
        self.lease = CenterLease(PROFILES, cast(Any, wanted), status, 0.0, NOW)
        self.spec = ComputeCenterSpec.model_validate(
            {
                "region": "south",
                "connection": {"push": {"kubeconfigSecret": SECRET}},
                "lease": {"profile": wanted},
            }
        )
        self.leaving: dict[str, str] = {}
        self.told = 0

    def job_uids(self) -> set[str]:
        return set()

    def observations_of(self, _uid: str) -> tuple[Observation, ...]:
        return ()

    def changed(self) -> None:
        self.told += 1


class Jobs(list[JobObject]):
    """The jobs that the hub knows."""

    def by_uid(self, uid: str) -> JobObject | None:
        return next((one for one in self if one.metadata.uid == uid), None)


class Nobody:
    """Asks for nothing."""

    def wants(self, _grantees: object) -> None:
        return


def looked(center: Center, *jobs: JobObject) -> list[JobObject]:
    """Look at the center a few times; the jobs that were looked at for it."""
    sites = Sites()
    sites.add(cast(CenterRuntime, center))
    found: list[JobObject] = []
    known = cast(JobCache, Jobs(jobs))
    fencing = Fencing(known, sites, cast(Granter, Nobody()), found.append, 0.0)

    async def run() -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(fencing.run(), 0.01)

    asyncio.run(run())
    return found


def there(status: JobStatus, cluster: str = CLUSTER, *, guarded: bool = False) -> JobObject:
    where = msgspec.structs.replace(placement(1), cluster=cluster, guarded=guarded)
    return job(msgspec.structs.replace(status, placement=where))


@pytest.mark.parametrize(
    ("phase", "cluster", "opens"),
    [("Unknown", CLUSTER, False), ("Unknown", "former", True), ("Dispatching", CLUSTER, True)],
)
def test_a_status_that_says_lost_is_written_once_more_before_the_lease(
    phase: str, cluster: str, opens: bool
) -> None:
    """A hub that is gone may still have a write under way that gives the job up."""
    center = Center()
    made = there(msgspec.structs.replace(placed(1), phase=phase), cluster)
    found = looked(center, made)
    assert center.lease.fence.is_open is opens
    assert bool(found) is not opens


def test_a_shorter_profile_waits_for_guarded_jobs_that_run_and_for_no_others() -> None:
    running = there(placed(1), guarded=True)
    busy = Center("default", "fast")
    looked(busy, running)
    assert busy.lease.profile == "default"
    assert running.status.placement is not None
    seen = Observation("u1", 1, State.SUCCEEDED, 1, 1)
    done = job(succeeded(running.status, seen, NOW))
    assert done.status.placement is not None, "it keeps its placement for as long as it stays"
    idle = Center("default", "fast")
    looked(idle, done)
    assert idle.lease.profile == "fast"


def test_a_longer_profile_has_the_status_written_and_waits_for_it() -> None:
    center = Center("fast", "default")
    looked(center)
    assert (center.lease.profile, center.lease.announced) == ("fast", "default")
    assert center.told
    center.lease.written({"lease": {"profile": "default"}})
    assert center.lease.profile == "default"
