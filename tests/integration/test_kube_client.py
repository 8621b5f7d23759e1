"""The client's verbs against a real API server, also one that refuses, breaks and repeats."""

from __future__ import annotations

import asyncio
import os
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from huiju.kube.client import Client, ClientSettings, EventKind, PatchKind
from huiju.kube.credentials import Credentials
from huiju.kube.errors import (
    AlreadyExists,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    TooLarge,
    Transient,
    Unauthorized,
    Untrusted,
)
from huiju.kube.leading import LeaderClient, NotLeading
from huiju.kube.resources import (
    CONFIG_MAPS,
    CROSS_REGION_JOBS,
    JOBS,
    NAMESPACES,
    SERVICE_ACCOUNTS,
)
from lab.cluster import Cluster
from lab.faultrules import Fault
from lab.fixtures import NamespaceIn
from lab.proxy import FaultProxy
from tests.patience import PATIENCE


class Meta(msgspec.Struct, rename="camel"):
    name: str
    uid: str
    resource_version: str


class ConfigMap(msgspec.Struct):
    metadata: Meta
    data: dict[str, str] = {}


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": data,
    }


async def test_verbs(bare_cluster: Cluster, namespace_in: NamespaceIn) -> None:
    space = await namespace_in(bare_cluster)
    async with await bare_cluster.client() as client:
        await client.create(CONFIG_MAPS, config_map("dry"), space, dry_run=True)
        with pytest.raises(NotFound):
            await client.get(CONFIG_MAPS, "dry", space)
        made = await client.create(CONFIG_MAPS, config_map("a", x="1"), space, type=ConfigMap)
        assert made.data == {"x": "1"}
        with pytest.raises(AlreadyExists):
            await client.create(CONFIG_MAPS, config_map("a"), space)
        body = config_map("a", x="2") | {
            "metadata": {"name": "a", "resourceVersion": made.metadata.resource_version}
        }
        await client.replace(CONFIG_MAPS, "a", body, space)
        with pytest.raises(Conflict):
            await client.replace(CONFIG_MAPS, "a", body, space)
        await client.patch(
            CONFIG_MAPS,
            "a",
            [{"op": "test", "path": "/data/x", "value": "2"}],
            space,
            kind=PatchKind.JSON,
        )
        with pytest.raises(Invalid):
            await client.create(CONFIG_MAPS, config_map("Not A Name"), space)
        assert client.writes["create", "configmaps"] == 3
        await client.delete(CONFIG_MAPS, "a", space)
        with pytest.raises(NotFound):
            await client.delete(CONFIG_MAPS, "a", space)


@pytest.mark.parametrize("verb", ["create", "delete"])
async def test_a_write_that_waited_for_its_turn_while_the_lease_ran_out_is_not_sent(
    bare_cluster: Cluster, bare_proxy: FaultProxy, namespace_in: NamespaceIn, verb: str
) -> None:
    """It was looked at when it was asked for, and went out after the server's 429 all the same."""
    space = await namespace_in(bare_cluster)
    busy = bare_proxy.add(Fault.ANSWER, verb, code=429, retry_after=0, count=1)
    credentials = bare_cluster.credentials(bare_proxy.server)
    async with LeaderClient(credentials, name="leader", held=lambda: not busy.hits) as client:
        late = (
            client.create(CONFIG_MAPS, config_map("late"), space)
            if verb == "create"
            else client.delete(CONFIG_MAPS, "late", space)
        )
        with pytest.raises(NotLeading):
            await late
        assert busy.hits == 1
        assert bare_proxy.seen[verb, "configmaps"] == 1
        await client.create(CONFIG_MAPS, config_map("tried"), space, dry_run=True)


async def test_delete_only_the_one_that_was_meant(
    bare_cluster: Cluster, namespace_in: NamespaceIn
) -> None:
    space = await namespace_in(bare_cluster)
    async with await bare_cluster.client() as client:
        first = await client.create(CONFIG_MAPS, config_map("a"), space, type=ConfigMap)
        await client.delete(CONFIG_MAPS, "a", space, uid=first.metadata.uid)
        second = await client.create(CONFIG_MAPS, config_map("a"), space, type=ConfigMap)
        with pytest.raises(Conflict):
            await client.delete(CONFIG_MAPS, "a", space, uid=first.metadata.uid)
        changed = await client.patch(CONFIG_MAPS, "a", {"data": {"x": "1"}}, space, type=ConfigMap)
        with pytest.raises(Conflict):
            await client.delete(
                CONFIG_MAPS,
                "a",
                space,
                uid=second.metadata.uid,
                resource_version=second.metadata.resource_version,
            )
        await client.delete(
            CONFIG_MAPS, "a", space, resource_version=changed.metadata.resource_version
        )


async def test_server_side_apply_and_owners(
    bare_cluster: Cluster, namespace_in: NamespaceIn
) -> None:
    space = await namespace_in(bare_cluster)

    def wanted(**data: str) -> dict[str, Any]:
        return config_map("a", **data) | {"metadata": {"name": "a", "namespace": space}}

    async with await bare_cluster.client() as client:
        await client.apply(CONFIG_MAPS, wanted(x="1"), manager="one")
        await client.apply(CONFIG_MAPS, wanted(y="2"), manager="two")
        with pytest.raises(Conflict):
            await client.apply(CONFIG_MAPS, wanted(x="3"), manager="two")
        await client.apply(CONFIG_MAPS, wanted(x="3"), manager="two", force=True)
        found = await client.get(CONFIG_MAPS, "a", space, type=ConfigMap)
        assert found.data == {"x": "3"}  # y was two's own and is no longer in its wish


async def test_status_patch_has_its_precondition(hub: Cluster, namespace_in: NamespaceIn) -> None:
    space = await namespace_in(hub)
    container = {"name": "train", "image": "registry.invalid/train:1"}
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "a"},
        "spec": {
            "suspend": True,
            "template": {"spec": {"restartPolicy": "Never", "containers": [container]}},
        },
    }
    async with await hub.client() as client:
        made = await client.create(JOBS, job, space)
        meta = made["metadata"]
        await client.patch(JOBS, "a", {"metadata": {"labels": {"x": "y"}}}, space)
        with pytest.raises(Conflict):
            await client.patch_status(
                JOBS, "a", space, {"active": 0}, resource_version=meta["resourceVersion"]
            )
        with pytest.raises(Conflict):
            await client.patch_status(JOBS, "a", space, {"active": 0}, uid="another")
        await client.patch_status(JOBS, "a", space, {"active": 0}, uid=meta["uid"])
        assert (await client.list_all(CROSS_REGION_JOBS, space)).items == []


async def test_list_in_pages_and_a_token_that_expires(
    bare_cluster: Cluster, bare_proxy: FaultProxy, namespace_in: NamespaceIn
) -> None:
    space = await namespace_in(bare_cluster)
    names = [f"item-{number:02}" for number in range(25)]
    async with await bare_cluster.client(server=bare_proxy.server) as client:
        for name in names:
            await client.create(CONFIG_MAPS, config_map(name), space)
        firsts = []
        found: list[str] = []
        async with aclosing(
            cast(Any, client.list(CONFIG_MAPS, space, type=ConfigMap, limit=10))
        ) as pages:
            async for page in pages:
                firsts.append(page.first)
                found += [item.metadata.name for item in page.items]
        assert firsts == [True, False, False]
        assert found == names
        bare_proxy.add(Fault.ANSWER, "list", path="continue=", code=410, skip=1, count=1)
        firsts.clear()
        async with aclosing(cast(Any, client.list(CONFIG_MAPS, space, limit=10))) as pages:
            async for page in pages:
                firsts.append(page.first)
        assert firsts == [True, False, True]
        assert len(page.items) == len(names)


async def test_watch_tells_changes_in_order(
    bare_cluster: Cluster, namespace_in: NamespaceIn
) -> None:
    space = await namespace_in(bare_cluster)
    async with await bare_cluster.client() as client:
        start = (await client.list_all(CONFIG_MAPS, space)).resource_version
        events = client.watch(CONFIG_MAPS, space, resource_version=start, type=ConfigMap)
        async with aclosing(cast(Any, events)), asyncio.timeout(PATIENCE):
            assert (await anext(events)).kind is EventKind.OPENED
            await client.create(CONFIG_MAPS, config_map("a"), space)
            await client.patch(CONFIG_MAPS, "a", {"data": {"x": "1"}}, space)
            await client.delete(CONFIG_MAPS, "a", space)
            kinds = [(await anext(events)).kind for _ in range(3)]
        assert kinds == [EventKind.ADDED, EventKind.MODIFIED, EventKind.DELETED]


async def test_too_many_requests_are_tried_again(
    bare_cluster: Cluster, bare_proxy: FaultProxy, namespace_in: NamespaceIn
) -> None:
    space = await namespace_in(bare_cluster)
    async with await bare_cluster.client(server=bare_proxy.server) as client:
        bare_proxy.add(Fault.ANSWER, "create", code=429, count=2)
        await client.create(CONFIG_MAPS, config_map("a"), space)
        assert bare_proxy.seen["create", "configmaps"] == 3
        assert bare_proxy.passed["create", "configmaps"] == 1
        bare_proxy.add(Fault.ANSWER, "get", code=429, retry_after=60)
        with pytest.raises(Transient) as refused:
            await client.get(CONFIG_MAPS, "a", space)
        assert refused.value.retry_after == 60
        assert bare_proxy.seen["get", "configmaps"] == 1, "nobody waits here for a minute"


async def test_a_write_whose_answer_is_lost_is_not_repeated(
    bare_cluster: Cluster, bare_proxy: FaultProxy, namespace_in: NamespaceIn
) -> None:
    space = await namespace_in(bare_cluster)
    async with await bare_cluster.client(server=bare_proxy.server) as client:
        bare_proxy.add(Fault.LOSE, "create", "patch", "delete")
        with pytest.raises(Transient):
            await client.create(CONFIG_MAPS, config_map("a"), space)
        with pytest.raises(Transient):
            await client.patch(CONFIG_MAPS, "a", {"data": {"x": "1"}}, space)
        with pytest.raises(Transient):
            await client.delete(CONFIG_MAPS, "a", space)
    assert bare_proxy.writes == 3


async def test_one_hanging_call_holds_up_no_other(
    bare_cluster: Cluster, bare_proxy: FaultProxy
) -> None:
    settings = ClientSettings(deadline=PATIENCE)
    async with await bare_cluster.client(server=bare_proxy.server, settings=settings) as client:
        bare_proxy.add(Fault.HANG, "get", path="/kube-public$")
        stuck = asyncio.create_task(client.get(NAMESPACES, "kube-public"))
        await asyncio.gather(*(client.get(NAMESPACES, "default") for _ in range(100)))
        assert not stuck.done()
        bare_proxy.cut_all()
        with pytest.raises(Transient):
            await stuck


async def test_calls_under_way_fail_in_order_when_the_client_is_closed(
    bare_cluster: Cluster, bare_proxy: FaultProxy
) -> None:
    settings = ClientSettings(deadline=PATIENCE)
    async with await bare_cluster.client(server=bare_proxy.server, settings=settings) as client:
        bare_proxy.add(Fault.HANG, "get")
        stuck = asyncio.create_task(client.get(NAMESPACES, "kube-public"))
        async with asyncio.timeout(PATIENCE):
            while not bare_proxy.seen["get", "namespaces"]:
                await asyncio.sleep(0.01)
    with pytest.raises(Transient):
        await stuck


async def test_a_call_that_was_given_up_leaves_no_connection(
    bare_cluster: Cluster, bare_proxy: FaultProxy
) -> None:
    settings = ClientSettings(deadline=2.0)
    async with await bare_cluster.client(server=bare_proxy.server, settings=settings) as client:
        await client.get(NAMESPACES, "default")
        assert _connections(bare_proxy.server) == 1
        bare_proxy.partition()
        with pytest.raises(Transient):
            await client.get(NAMESPACES, "default")
        await asyncio.sleep(0)
        assert _connections(bare_proxy.server) == 0
        bare_proxy.heal()


def _connections(server: str) -> int:
    """This process's connections to a server."""
    port = int(server.rpartition(":")[2])
    lines = Path("/proc/self/net/tcp").read_text().splitlines()[1:]
    established = "01"
    return sum(
        fields[2].endswith(f":{port:04X}") and fields[3] == established
        for fields in map(str.split, lines)
    )


async def test_an_answer_cut_short_is_an_error(
    bare_cluster: Cluster, bare_proxy: FaultProxy
) -> None:
    async with await bare_cluster.client(server=bare_proxy.server) as client:
        bare_proxy.add(Fault.CUT, "list", size=50)
        with pytest.raises(Transient):
            await client.list_all(NAMESPACES)


async def test_no_answer_fills_the_memory_of_who_asked(
    bare_cluster: Cluster, namespace_in: NamespaceIn
) -> None:
    """A page that is too large comes in smaller ones; an object that is too large, not at all."""
    space = await namespace_in(bare_cluster)
    bounds = ClientSettings(largest=20_000, largest_page=60_000)
    async with await bare_cluster.client() as admin:
        for number in range(40):
            data = {"data": {"k": os.urandom(4000).hex()}}  # nothing that packs well
            await admin.create(CONFIG_MAPS, {"metadata": {"name": f"c-{number}"}, **data}, space)
        large = {"metadata": {"name": "large"}, "data": {"k": "x" * 30_000}}
        await admin.create(CONFIG_MAPS, large, space)
    async with Client(bare_cluster.credentials(), name="bare", settings=bounds) as client:
        page = await client.list_all(CONFIG_MAPS, space)
        found = {item["metadata"]["name"] for item in page.items}
        assert {"large", *(f"c-{number}" for number in range(40))} <= found
        assert (await client.get(CONFIG_MAPS, "c-1", space))["data"]
        with pytest.raises(TooLarge):
            await client.get(CONFIG_MAPS, "large", space)


async def _token(cluster: Cluster, space: str, name: str) -> str:
    async with await cluster.client() as admin:
        await admin.create(SERVICE_ACCOUNTS, {"metadata": {"name": name}}, space)
        answer = await admin.raw(
            "POST",
            SERVICE_ACCOUNTS.path(space, name, "token"),
            body=b'{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{}}',
        )
    return str(msgspec.json.decode(answer)["status"]["token"])


async def test_24_credentials_are_read_again_after_401(
    bare_cluster: Cluster, namespace_in: NamespaceIn
) -> None:
    space = await namespace_in(bare_cluster)
    token = await _token(bare_cluster, space, "robot")
    plain = replace(bare_cluster.credentials(), client_cert_pem=None, client_key_pem=None)
    given = ["expired", token]
    reads = 0

    async def source() -> Credentials:
        nonlocal reads
        reads += 1
        return replace(plain, token=given.pop(0) if given else token)

    async with Client(source, name="bare") as client:
        # Known again, but allowed nothing: authorization answers where authentication did before.
        with pytest.raises(Forbidden):
            await client.get(CONFIG_MAPS, "a", space)
        assert reads == 2
    async with Client(replace(plain, token="wrong"), name="bare") as client:
        with pytest.raises(Unauthorized):
            await client.get(CONFIG_MAPS, "a", space)


async def test_a_server_with_another_authority_is_not_trusted(bare_cluster: Cluster) -> None:
    foreign = replace(bare_cluster.credentials(), ca_pem=None)
    async with Client(foreign, name="bare") as client:
        with pytest.raises(Untrusted):
            await client.get(NAMESPACES, "default")
    misnamed = replace(bare_cluster.credentials(), tls_server_name="elsewhere.example")
    async with Client(misnamed, name="bare") as client:
        with pytest.raises(Untrusted):
            await client.get(NAMESPACES, "default")
