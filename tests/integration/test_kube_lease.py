"""The election by Lease on a real API server: one leader, through pauses, partitions and ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

from huiju.kube.client import Client, ClientSettings
from huiju.kube.lease import ElectionSettings, Elector
from huiju.kube.resources import LEASES
from lab.cluster import Cluster
from lab.faultrules import Fault
from lab.fixtures import NamespaceIn
from lab.proxy import FaultProxy
from tests.patience import PATIENCE

DURATION = 3


class Candidate:
    """An elector with what it told, and when."""

    def __init__(self, cluster: Cluster, space: str, name: str, server: str | None = None) -> None:
        self.told: list[tuple[str, float]] = []
        credentials = cluster.credentials(server)
        self.elector = Elector(
            lambda: Client(credentials, name=name, settings=ClientSettings(deadline=1.0)),
            ElectionSettings(
                name="leader",
                namespace=space,
                identity=name,
                duration=DURATION,
                renew=1.8,
                retry=0.2,
            ),
            on_gained=lambda: self.told.append(("gained", time.monotonic())),
            on_lost=lambda: self.told.append(("lost", time.monotonic())),
        )

    @property
    def words(self) -> list[str]:
        return [word for word, _ in self.told]


@asynccontextmanager
async def running(*candidates: Candidate) -> AsyncIterator[None]:
    for candidate in candidates:
        candidate.elector.start()
    try:
        yield
    finally:
        for candidate in candidates:
            # Not in this loop, which also runs the proxy that the Lease is given back through.
            await asyncio.to_thread(candidate.elector.stop)


async def until(check: Callable[[], bool], seconds: float = PATIENCE) -> float:
    """Wait until it is true; returns when that was."""
    async with asyncio.timeout(seconds):
        while not check():
            await asyncio.sleep(0.01)
    return time.monotonic()


async def test_one_leads_and_gives_back(bare_cluster: Cluster, namespace_in: NamespaceIn) -> None:
    space = await namespace_in(bare_cluster)
    first, second = (Candidate(bare_cluster, space, name) for name in ("one", "two"))
    async with running(first):
        await until(lambda: first.elector.held())
        async with running(second):
            await until(lambda: first.elector.held(), 1.0)
            started = time.monotonic()
            while time.monotonic() - started < DURATION + 1:
                assert first.elector.held()
                assert not second.elector.held()
                await asyncio.sleep(0.05)
            async with await bare_cluster.client() as client:
                spec = (await client.get(LEASES, "leader", space))["spec"]
            assert spec["holderIdentity"] == "one"
            assert spec["leaseDurationSeconds"] == DURATION
            assert datetime.fromisoformat(spec["acquireTime"]) < datetime.fromisoformat(
                spec["renewTime"]
            )
            stopped = time.monotonic()
            await asyncio.to_thread(first.elector.stop)
            assert not first.elector.held()
            # Given back, so the other need not wait for the Lease to run out.
            assert await until(lambda: second.elector.held()) - stopped < DURATION
            assert first.words == ["gained", "lost"]
            async with await bare_cluster.client() as client:
                spec = (await client.get(LEASES, "leader", space))["spec"]
            assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("two", 1)


async def test_a_cut_off_leader_stops_before_another_begins(
    bare_cluster: Cluster, bare_proxy: FaultProxy, namespace_in: NamespaceIn
) -> None:
    space = await namespace_in(bare_cluster)
    first = Candidate(bare_cluster, space, "one", bare_proxy.server)
    second = Candidate(bare_cluster, space, "two")
    async with running(first):
        await until(lambda: first.elector.held())
        async with running(second):
            bare_proxy.partition()
            await until(lambda: second.elector.held())
            assert not first.elector.held()
            assert first.words == ["gained", "lost"]
            assert first.told[1][1] < second.told[0][1]
            bare_proxy.heal()
            await until(lambda: bare_proxy.passed["get", "leases"] > 3)
            assert second.elector.held()
            assert not first.elector.held()


async def test_lost_answers_and_refusals_do_not_end_a_term(
    bare_cluster: Cluster, bare_proxy: FaultProxy, namespace_in: NamespaceIn
) -> None:
    space = await namespace_in(bare_cluster)
    first = Candidate(bare_cluster, space, "one", bare_proxy.server)
    async with running(first):
        await until(lambda: first.elector.held())
        # The renewal is done though its answer is lost: the next one meets a Conflict of our own.
        lose = bare_proxy.add(Fault.LOSE, "patch", count=1)
        await until(lambda: lose.hits == 1)
        refuse = bare_proxy.add(Fault.ANSWER, "patch", code=500, count=2)
        await until(lambda: refuse.hits == 2)
        renewals = bare_proxy.passed["patch", "leases"]
        await until(lambda: bare_proxy.passed["patch", "leases"] > renewals + 1)
        assert first.elector.held()
        assert first.words == ["gained"]


async def test_a_renewal_that_is_never_answered_leaves_time_for_another(
    bare_cluster: Cluster, bare_proxy: FaultProxy, namespace_in: NamespaceIn
) -> None:
    space = await namespace_in(bare_cluster)
    first = Candidate(bare_cluster, space, "one", bare_proxy.server)
    async with running(first):
        await until(lambda: first.elector.held())
        for _ in range(3):
            silent = bare_proxy.add(Fault.HANG, "patch", count=1)
            await until(lambda silent=silent: silent.hits == 1)  # type: ignore[misc]
            renewals = bare_proxy.passed["patch", "leases"]
            await until(lambda seen=renewals: bare_proxy.passed["patch", "leases"] > seen)  # type: ignore[misc]
        assert first.words == ["gained"]


async def test_a_deleted_lease_is_made_anew(
    bare_cluster: Cluster, namespace_in: NamespaceIn
) -> None:
    space = await namespace_in(bare_cluster)
    first = Candidate(bare_cluster, space, "one")
    async with running(first):
        await until(lambda: first.elector.held())
        async with await bare_cluster.client() as client:
            old = await client.get(LEASES, "leader", space)
            await client.delete(LEASES, "leader", space)
            started = time.monotonic()
            while time.monotonic() - started < DURATION + 1:
                await asyncio.sleep(0.05)
            new = await client.get(LEASES, "leader", space)
        assert new["metadata"]["uid"] != old["metadata"]["uid"]
        assert first.elector.held()
