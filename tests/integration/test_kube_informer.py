"""The informer against a real API server that breaks, falls silent, restarts and forgets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
import pytest

from huiju.kube.client import Client, ClientSettings
from huiju.kube.errors import TooMany, Transient
from huiju.kube.informer import Backoff, Informer
from huiju.kube.resources import CONFIG_MAPS, NAMESPACES
from lab import signals
from lab.cluster import Cluster
from lab.components import launch
from lab.faultrules import Fault
from lab.fixtures import NamespaceIn
from lab.kwokctl import BARE, ClusterSpec, Component
from lab.proxy import FaultProxy
from tests.patience import PATIENCE

QUICK = Backoff(first=0.05, last=0.5)


class Meta(msgspec.Struct, rename="camel"):
    name: str
    namespace: str
    uid: str
    resource_version: str


class ConfigMap(msgspec.Struct):
    metadata: Meta
    data: dict[str, str] = {}


class Follower:
    """An informer with what it told."""

    def __init__(self, client: Client, space: str, labels: str = "") -> None:
        self.changes: list[str] = []
        self.informer = Informer(
            client,
            CONFIG_MAPS,
            ConfigMap,
            namespace=space,
            labels=labels,
            on_change=self._note,
            backoff=QUICK,
        )

    def _note(self, old: ConfigMap | None, new: ConfigMap | None) -> None:
        if old is None and new is not None:
            self.changes.append(f"+{new.metadata.name}")
        elif new is None and old is not None:
            self.changes.append(f"-{old.metadata.name}")
        elif new is not None:
            self.changes.append(f"~{new.metadata.name}")

    async def tells(self, *expected: str, seconds: float = PATIENCE) -> None:
        """Wait until exactly these changes were told; forgets them."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while len(self.changes) < len(expected):
                    await asyncio.sleep(0.01)
        assert sorted(self.changes) == sorted(expected)
        self.changes.clear()


@asynccontextmanager
async def following(client: Client, space: str, labels: str = "") -> AsyncIterator[Follower]:
    follower = Follower(client, space, labels)
    task = asyncio.create_task(follower.informer.run())
    try:
        async with asyncio.timeout(PATIENCE):
            await follower.informer.synced.wait()
        yield follower
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def config_map(name: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}}


async def test_follows_and_resumes_without_a_new_list(
    bare_cluster: Cluster, bare_proxy: FaultProxy, namespace_in: NamespaceIn
) -> None:
    space = await namespace_in(bare_cluster)
    async with (
        await bare_cluster.client() as direct,
        await bare_cluster.client(server=bare_proxy.server) as client,
    ):
        await direct.create(CONFIG_MAPS, config_map("a"), space)
        async with following(client, space) as follower:
            await follower.tells("+a")
            await direct.create(CONFIG_MAPS, config_map("b"), space)
            await direct.patch(CONFIG_MAPS, "a", {"data": {"x": "1"}}, space)
            await direct.delete(CONFIG_MAPS, "b", space)
            await follower.tells("+b", "~a", "-b")
            down = bare_proxy.add(Fault.ANSWER, "watch", code=503)
            bare_proxy.cut_all()
            await direct.create(CONFIG_MAPS, config_map("c"), space)
            await direct.delete(CONFIG_MAPS, "a", space)
            await asyncio.sleep(0.5)
            assert follower.changes == []
            assert isinstance(follower.informer.failure, Transient)
            bare_proxy.rules.remove(down)
            await follower.tells("+c", "-a")
            assert follower.informer.failure is None
            assert follower.informer.relists == 1
            assert set(follower.informer.store) == {f"{space}/c"}
            assert follower.informer.age() < 10


async def test_labels_that_no_longer_fit_are_a_delete(
    bare_cluster: Cluster, namespace_in: NamespaceIn
) -> None:
    space = await namespace_in(bare_cluster)
    async with await bare_cluster.client() as client:
        await client.create(CONFIG_MAPS, config_map("other"), space)
        async with following(client, space, "role=mine") as follower:
            await client.create(CONFIG_MAPS, config_map("a", role="mine"), space)
            await follower.tells("+a")
            unlabel = {"metadata": {"labels": {"role": None}}}
            await client.patch(CONFIG_MAPS, "a", unlabel, space)
            await follower.tells("-a")


async def test_410_lists_again_and_tells_the_missed_deletes(
    bare_cluster: Cluster, bare_proxy: FaultProxy, namespace_in: NamespaceIn
) -> None:
    space = await namespace_in(bare_cluster)
    async with (
        await bare_cluster.client() as direct,
        await bare_cluster.client(server=bare_proxy.server) as client,
    ):
        for name in ("gone", "anew", "same"):
            await direct.create(CONFIG_MAPS, config_map(name), space)
        async with following(client, space) as follower:
            await follower.tells("+gone", "+anew", "+same")
            down = bare_proxy.add(Fault.ANSWER, "watch", code=503)
            bare_proxy.cut_all()
            await direct.delete(CONFIG_MAPS, "gone", space)
            await direct.delete(CONFIG_MAPS, "anew", space)
            await direct.create(CONFIG_MAPS, config_map("anew"), space)
            bare_proxy.add(Fault.ANSWER, "watch", code=410, count=1)
            bare_proxy.rules.remove(down)
            await follower.tells("-gone", "-anew", "+anew")
            assert follower.informer.relists == 2


async def test_a_silent_stream_is_given_up(
    bare_cluster: Cluster, bare_proxy: FaultProxy, namespace_in: NamespaceIn
) -> None:
    space = await namespace_in(bare_cluster)
    settings = ClientSettings(silence_seconds=1.0)
    async with (
        await bare_cluster.client() as direct,
        await bare_cluster.client(server=bare_proxy.server, settings=settings) as client,
    ):
        stall = bare_proxy.add(Fault.STALL, "watch", count=1)
        async with following(client, space) as follower:
            await asyncio.sleep(0.3)
            assert stall.hits == 1
            await direct.create(CONFIG_MAPS, config_map("a"), space)
            await follower.tells("+a", seconds=10.0)
            assert follower.informer.relists == 1


async def test_a_partition_ages_the_copy(
    bare_cluster: Cluster, bare_proxy: FaultProxy, namespace_in: NamespaceIn
) -> None:
    space = await namespace_in(bare_cluster)
    settings = ClientSettings(silence_seconds=0.5, deadline=0.5)
    async with (
        await bare_cluster.client() as direct,
        await bare_cluster.client(server=bare_proxy.server, settings=settings) as client,
        following(client, space) as follower,
    ):
        bare_proxy.partition()
        await direct.create(CONFIG_MAPS, config_map("a"), space)
        await asyncio.sleep(2.5)
        assert follower.informer.age() > 1.5
        assert follower.informer.failure is not None
        assert follower.changes == []
        bare_proxy.heal()
        await follower.tells("+a")
        assert follower.informer.age() < 1.5


async def test_a_stream_cut_within_an_event(
    bare_cluster: Cluster, bare_proxy: FaultProxy, namespace_in: NamespaceIn
) -> None:
    space = await namespace_in(bare_cluster)
    async with (
        await bare_cluster.client() as direct,
        await bare_cluster.client(server=bare_proxy.server) as client,
    ):
        for size in (100, 300, 500):
            bare_proxy.add(Fault.CUT, "watch", size=size, count=1)
        async with following(client, space) as follower:
            names = [f"item-{number}" for number in range(10)]
            for name in names:
                await direct.create(CONFIG_MAPS, config_map(name), space)
            await follower.tells(*(f"+{name}" for name in names))


async def test_server_restarted_compacted_and_reset(
    lab_cluster: Callable[[ClusterSpec], Awaitable[Cluster]],
) -> None:
    cluster = await lab_cluster(ClusterSpec("forgetful", BARE))
    settings = ClientSettings(silence_seconds=2.0, deadline=2.0)
    space = "watched"
    async with await cluster.client() as direct:
        await direct.create(NAMESPACES, {"metadata": {"name": space}})
        for name in ("a", "b"):
            await direct.create(CONFIG_MAPS, config_map(name), space)
        async with (
            FaultProxy(cluster) as proxy,
            await cluster.client(server=proxy.server, settings=settings) as client,
            following(client, space) as follower,
        ):
            await follower.tells("+a", "+b")
            await signals.restart(cluster, Component.APISERVER)
            await direct.create(CONFIG_MAPS, config_map("c"), space)
            await follower.tells("+c", seconds=30.0)
            # While it cannot look, the history that it would need is forgotten.
            down = proxy.add(Fault.ANSWER, "watch", "list", code=503)
            proxy.cut_all()
            await direct.delete(CONFIG_MAPS, "a", space)
            for number in range(5):
                await direct.patch(CONFIG_MAPS, "b", {"data": {"x": str(number)}}, space)
            signals.kill(cluster, Component.APISERVER)
            await cluster.compact()
            await signals.start(cluster, Component.APISERVER)
            relists = follower.informer.relists
            proxy.rules.remove(down)
            await follower.tells("-a", "~b", seconds=30.0)
            assert follower.informer.relists == relists + 1
            # Restored from nothing: versions begin anew, far below what the informer has seen.
            for number in range(300):
                await direct.patch(CONFIG_MAPS, "b", {"data": {"y": str(number)}}, space)
            async with asyncio.timeout(PATIENCE):
                while follower.informer.store[f"{space}/b"].data.get("y") != "299":
                    await asyncio.sleep(0.05)
            follower.changes.clear()
            await reset(cluster)
            await direct.create(NAMESPACES, {"metadata": {"name": space}})
            await direct.create(CONFIG_MAPS, config_map("b"), space)
            await follower.tells("-b", "-c", "+b", seconds=30.0)


async def reset(cluster: Cluster) -> None:
    """Bring the cluster back with an empty etcd, as after a disaster without a backup."""
    signals.kill(cluster, Component.APISERVER)
    signals.kill(cluster, Component.ETCD)
    cluster.forget()
    launch(cluster.folder, Component.ETCD)
    await signals.start(cluster, Component.APISERVER)


@pytest.mark.parametrize("component", [Component.APISERVER, Component.ETCD])
async def test_a_paused_server(
    lab_cluster: Callable[[ClusterSpec], Awaitable[Cluster]], component: Component
) -> None:
    cluster = await lab_cluster(ClusterSpec("paused", BARE))
    settings = ClientSettings(silence_seconds=1.0, deadline=1.0)
    async with (
        await cluster.client() as direct,
        await cluster.client(settings=settings) as client,
        following(client, "default") as follower,
    ):
        signals.pause(cluster, component)
        await asyncio.sleep(3.0)
        with pytest.raises(Transient):
            await client.get(CONFIG_MAPS, "x", "default")
        if component is Component.APISERVER:
            assert follower.informer.age() > 1.0
        signals.resume(cluster, component)
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    await direct.create(CONFIG_MAPS, config_map("a"), "default")
                    break
                except Transient:
                    await asyncio.sleep(0.2)
        await follower.tells("+a")


@pytest.mark.parametrize("late", [False, True])
async def test_a_server_cannot_fill_the_memory_of_who_follows_it(
    center: Cluster, namespace_in: NamespaceIn, late: bool
) -> None:
    space = await namespace_in(center)
    bounds = ClientSettings(most={"configmaps": 3, "": 1})
    async with (
        await center.client() as owner,
        Client(center.credentials(), name="bounded", settings=bounds) as client,
    ):
        informer = Follower(client, space, labels="flood=true").informer
        if not late:
            await _flood(owner, space)
        task = asyncio.create_task(informer.run())
        async with asyncio.timeout(PATIENCE):
            if late:
                await informer.synced.wait()
                await _flood(owner, space)
            with pytest.raises(TooMany, match="more than 3 configmaps"):
                await task
        assert len(informer.store) <= 3


async def _flood(client: Client, space: str) -> None:
    for number in range(4):
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"flood-{number}", "labels": {"flood": "true"}},
        }
        await client.create(CONFIG_MAPS, body, space)
