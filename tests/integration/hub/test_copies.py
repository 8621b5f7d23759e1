"""Copies on real control planes: rules make replicas, hubs race for one, people order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from huiju.hub.datasets.catalog import Catalog
from huiju.hub.datasets.copier import Copier
from huiju.hub.datasets.replicawriter import ReplicaWriter
from huiju.kube.client import Client
from huiju.kube.resources import DATASET_REPLICAS, DATASET_SHARES, MODEL_SHARES
from tests.integration.hub.harness import Fields, World, running
from tests.patience import PATIENCE

pytestmark = [pytest.mark.lab, pytest.mark.federation]
GIGABYTE = 10**9
STORE = {"path": "/store", "capacity": "100G"}


def share_body(
    namespace: str, name: str = "corpus", sizes: tuple[int, ...] = (10,), **spec: Any
) -> Fields:
    versions = [
        {
            "name": f"v{number}",
            "manifestDigest": "sha256:" + f"{number:x}".zfill(64),
            "bytes": size * GIGABYTE,
            "files": 1,
            "createdAt": "2026-01-01T00:00:00Z",
        }
        for number, size in enumerate(sizes, 1)
    ]
    return {
        "apiVersion": DATASET_SHARES.api_version,
        "kind": DATASET_SHARES.kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "license": "CC0-1.0",
            "source": {"center": "west", "files": {"path": "/exports"}},
            "versions": versions,
            **spec,
        },
    }


@pytest.fixture
async def linked(world: World) -> AsyncIterator[World]:
    """The federation with stores everywhere, and links from west."""
    links = [{"to": name, "bandwidth": "10G"} for name in ("east", "north")]
    for name in world.centers:
        more: Fields = {"links": links} if name == "west" else {}
        await world.edit_center(name, dataStore=STORE, **more)
    yield world
    await remove_datasets(world.client, world.namespace)


async def remove_datasets(client: Client, namespace: str) -> None:
    """Remove shares and replicas; no hub is there to let those go that have bytes."""
    for replica in (await client.list_all(DATASET_REPLICAS, namespace)).items:
        if "finalizers" in replica["metadata"]:
            free = {"metadata": {"finalizers": None}}
            await client.patch(DATASET_REPLICAS, replica["metadata"]["name"], free, namespace)
    for res in (DATASET_SHARES, DATASET_REPLICAS):
        await client.raw("DELETE", res.path(namespace))


async def replicas(world: World) -> list[Fields]:
    return (await world.client.list_all(DATASET_REPLICAS, world.namespace)).items


async def until(
    world: World, check: Callable[[list[Fields]], bool], seconds: float = PATIENCE
) -> list[Fields]:
    end = time.monotonic() + seconds
    while True:
        found = await replicas(world)
        if check(found):
            return found
        assert time.monotonic() < end, found
        await asyncio.sleep(0.1)


def told(replica: Fields) -> tuple[str, str]:
    """Center and reason."""
    conditions = replica.get("status", {}).get("conditions") or [{"reason": ""}]
    return replica["spec"]["center"], conditions[0]["reason"]


async def tell(world: World, replica: Fields, **status: Any) -> None:
    """Say of a transfer what its center would."""
    meta = replica["metadata"]
    await world.client.patch_status(DATASET_REPLICAS, meta["name"], meta["namespace"], status)


async def test_a_rule_makes_copies_and_tells_what_it_lacks(linked: World) -> None:
    rules = [{"name": "near", "copies": 2, "regions": ["east", "north"]}]
    await linked.client.create(
        DATASET_SHARES, share_body(linked.namespace, copies=rules), linked.namespace
    )
    async with running(linked.hub):
        # What keeps a copy is written after what is due for it.
        found = await until(
            linked,
            lambda all: len([r for r in all if (r.get("status") or {}).get("pinnedBy")]) == 2,
        )
        assert {told(replica) for replica in found} == {
            ("east", "TransferPending"),
            ("north", "TransferPending"),
        }
        assert {r["status"]["epoch"] for r in found} == {1}
        assert {r["status"]["source"] for r in found} == {"west"}
        assert {tuple(r["status"]["pinnedBy"]) for r in found} == {("rule near",)}

        async def met() -> str:
            share = await linked.client.get(DATASET_SHARES, "corpus", linked.namespace)
            conditions = share.get("status", {}).get("conditions") or []
            return next((c["reason"] for c in conditions if c["type"] == "CopiesMet"), "")

        assert await met() == "Copying"
        for replica in found:
            await tell(linked, replica, phase="Verified", bytesDone=10 * GIGABYTE)
        async with asyncio.timeout(PATIENCE):
            while await met() != "CopiesMet":
                await asyncio.sleep(0.1)


async def test_room_is_reserved_before_a_copy_begins(linked: World) -> None:
    for number in range(1, 6):
        body = share_body(
            linked.namespace,
            f"corpus-{number}",
            (60,),
            copies=[{"name": "one", "copies": 1, "regions": ["east"]}],
        )
        await linked.client.create(DATASET_SHARES, body, linked.namespace)
    async with running(linked.hub):
        found = await until(
            linked, lambda all: len([r for r in all if r.get("status", {}).get("phase")]) == 5
        )
        reasons = sorted(told(replica)[1] for replica in found)
        assert reasons == ["QuotaExceeded"] * 4 + ["TransferPending"]


async def test_of_two_hubs_one_begins_a_transfer(
    linked: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "huiju.hub.datasets.copier")
    async with running(linked.hub, data_pause=3600.0) as hub:  # its own loop looks but once
        async with asyncio.timeout(PATIENCE):
            while len([site for site in hub.sites if site.standing.reachable]) < 3:
                await asyncio.sleep(0.1)
        await linked.client.create(DATASET_SHARES, share_body(linked.namespace), linked.namespace)
        async with asyncio.timeout(PATIENCE):
            while hub.catalog.share(f"{linked.namespace}/corpus") is None:
                await asyncio.sleep(0.05)
        async with second(linked.client, hub.catalog) as other:
            rivals = [
                Copier(linked.client, c, hub.sites, tuple, ReplicaWriter(linked.client, c))
                for c in (hub.catalog, other)
            ]
            done = await ordered(linked, "replicate", "corpus", "--center", "east")
            assert "ordered" in done
            async with asyncio.timeout(PATIENCE):
                while not list(other.replicas()) or not list(hub.catalog.replicas()):
                    await asyncio.sleep(0.02)
            now = time.time()
            plans = [rival.look(now) for rival in rivals]
            assert [len(due.start) for due in plans] == [1, 1]
            await asyncio.gather(
                *(rival.carry_out(due, now) for rival, due in zip(rivals, plans, strict=True))
            )
        (replica,) = await until(linked, lambda all: bool(all and all[0].get("status")))
        assert replica["status"]["epoch"] == 1
        begun = [record for record in caplog.records if record.message == "transfer begun"]
        assert len(begun) == 1


@contextlib.asynccontextmanager
async def second(client: Client, like: Catalog) -> AsyncIterator[Catalog]:
    """What another hub knows: the same shares, and replicas by its own watch."""
    other = Catalog(client, lambda _: None)
    for known in like.shares():
        meta = {
            "namespace": known.share.namespace,
            "name": known.share.name,
            "uid": known.share.uid,
        }
        spec = known.share.spec.model_dump(by_alias=True, exclude_none=True)
        other.upsert({"metadata": meta, "spec": spec})
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(informer.run()) for informer in other.informers]
        yield other
        for task in tasks:
            task.cancel()


async def ordered(world: World, *words: str) -> str:
    """What `kubectl huiju dataset` prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "huiju.cli.main",
        f"--kubeconfig={world.hub.kubeconfig}",
        "-n",
        world.namespace,
        *(words if words[0] == "transfers" else ("dataset", *words)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
    return out.decode()


async def test_people_order_see_verify_and_remove_copies(linked: World) -> None:
    await linked.client.create(
        DATASET_SHARES, share_body(linked.namespace, sizes=(10, 20)), linked.namespace
    )
    assert "no place for copies" in await ordered(
        linked, "replicate", "corpus", "--center", await bare(linked)
    )
    assert "needs --center" in await ordered(linked, "replicate", "corpus")
    assert "corpus v2 in east ordered" in await ordered(
        linked, "replicate", "corpus", "--center", "east"
    )
    assert "there already" in await ordered(linked, "replicate", "corpus", "--center", "east")
    async with running(linked.hub):
        await until(linked, lambda all: bool(all[0].get("status")))
        shown = await ordered(linked, "transfers", "-o", "wide")
        assert "TransferPending" in shown
        assert "20.0 GB" in shown
        assert "asked for" in shown
    assert "v2 in east is verified again" in await ordered(linked, "verify", "corpus")
    assert (await replicas(linked))[0]["spec"]["verify"] == 1
    assert "v2 in east is given up" in await ordered(linked, "rm", "corpus", "--center", "east")
    async with running(linked.hub):
        (replica,) = await until(linked, lambda all: all[0]["status"]["phase"] == "Evicting")
        await tell(linked, replica, phase="Gone")  # its bytes, which the object waits for
        await until(linked, lambda all: not all)
    assert "no copy of" in await ordered(linked, "rm", "corpus", "--center", "east")


async def bare(world: World) -> str:
    """A center without a store."""
    await world.edit_center("north", dataStore=None)
    return "north"


async def test_the_card_of_a_model_says_what_its_weights_mean(linked: World) -> None:
    space = linked.namespace
    digest = "sha256:" + "1".zfill(64)
    card = {
        "apiVersion": MODEL_SHARES.api_version,
        "kind": MODEL_SHARES.kind,
        "metadata": {"name": "chat", "namespace": space},
        "spec": {
            "weights": {"dataset": "corpus"},
            "format": "safetensors",
            "base": {"name": "chat-base", "digest": digest},
        },
    }
    await linked.client.create(MODEL_SHARES, card, space)

    async def until_said(published: str, base: str) -> Fields:
        async with asyncio.timeout(PATIENCE):
            while True:
                found = await linked.client.get(MODEL_SHARES, "chat", space)
                status = found.get("status") or {}
                said = {c["type"]: c["status"] for c in status.get("conditions") or []}
                if said == {"Published": published, "BaseKnown": base}:
                    return dict(status)
                await asyncio.sleep(0.05)

    async with running(linked.hub):
        status = await until_said("False", "False")
        assert status["conditions"][0]["reason"] == "UnknownDataset"
        assert status["conditions"][1]["reason"] == "BaseMissing"
        await linked.client.create(DATASET_SHARES, share_body(space, sizes=(10, 20)), space)
        status = await until_said("True", "True")
        assert (status["version"], status["bytes"], status["license"]) == (
            "v2",
            20 * GIGABYTE,
            "CC0-1.0",
        )
        assert status["centers"] == ["west"]
    await linked.client.delete(MODEL_SHARES, "chat", space)
