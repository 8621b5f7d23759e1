"""How an agent is let in, what it may do then, and how it is shut out, against real API servers."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from huiju.centers import agentrole
from huiju.centers.agentrole import BOOTSTRAP, CREDENTIAL
from huiju.centers.bundle import Bundle
from huiju.centers.mailbox import mailbox_of
from huiju.cli.joining import kubeconfig_text
from huiju.cli.pulling import MOST, QUOTA
from huiju.hub.mailbox import Mailbox
from huiju.kube.client import Client, EventKind
from huiju.kube.errors import Forbidden, NotFound, Unauthorized
from huiju.kube.kubeconfig import from_secret_bytes
from huiju.kube.resources import (
    CENTER_INVENTORIES,
    CENTER_WORKS,
    CLUSTER_ROLE_BINDINGS,
    COMPUTE_CENTERS,
    CONFIG_MAPS,
    CROSS_REGION_JOBS,
    LEASES,
    NAMESPACES,
    RESOURCE_QUOTAS,
    ROLE_BINDINGS,
    SECRETS,
    SERVICE_ACCOUNTS,
    Resource,
)
from lab import joining, ports
from lab.hubprocess import HubProcess
from tests.integration.charts.program import CHARTS, Helm
from tests.integration.hub.harness import World, running
from tests.integration.hub.pulling import (
    CENTER,
    MODEL,
    empty_mailbox,
    own_agent,
    system_namespace,
    until_empty,
    until_some,
)
from tests.integration.test_people import command
from tests.patience import PATIENCE

SPACE = mailbox_of(CENTER)
OTHER = mailbox_of("other")
REFUSED = (Forbidden, Unauthorized)


@pytest.fixture
async def fresh(world: World) -> AsyncIterator[World]:
    """The world without its NVIDIA center, whose cluster is yet to join."""
    await world.client.delete(COMPUTE_CENTERS, CENTER)
    yield world
    await empty_mailbox(world.client)
    for res in (SECRETS, CENTER_WORKS):
        await world.client.raw("DELETE", res.path(OTHER))
    for client, space in ((world.client, SPACE), (world.center_clients[CENTER], joining.SYSTEM)):
        for res in (SERVICE_ACCOUNTS, ROLE_BINDINGS, SECRETS):
            await client.raw("DELETE", res.path(space))
    wide = f"huiju-center-{CENTER}"
    try:
        await world.client.delete(CLUSTER_ROLE_BINDINGS, wide)
    except NotFound:
        return


async def huiju(world: World, *words: str) -> str:
    """Run `kubectl huiju` and expect it to work."""
    code, told = await command(world.hub, world.namespace, *words)
    assert code == 0, told
    return told


async def join(world: World, folder: Path, *words: str) -> Path:
    """Join the cluster; returns the file that its owner gets."""
    file = folder / "bootstrap.kubeconfig"
    told = await huiju(
        world,
        *("join", CENTER, "--pull", "--region", CENTER, "--bootstrap-file", str(file)),
        *words,
    )
    assert file.stat().st_mode & 0o777 == 0o600
    token = from_secret_bytes(file.read_bytes()).token
    assert token
    assert token not in told
    return file


async def credential(world: World) -> str:
    """The kubeconfig that the agent keeps in its center."""
    secret = await world.center_clients[CENTER].get(SECRETS, CREDENTIAL, joining.SYSTEM)
    return base64.b64decode(secret["data"]["kubeconfig"]).decode()


async def until_refused(deed: Callable[[], Awaitable[Any]], seconds: float = 15.0) -> None:
    """Wait until a deed is refused; what is promised within 15 s must be so by then."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                await deed()
            except REFUSED:
                return
            await asyncio.sleep(0.2)


async def test_an_agent_is_let_in_by_a_person_and_keeps_its_credential_alive(
    fresh: World, tmp_path: Path
) -> None:
    file = await join(fresh, tmp_path)
    code, told = await command(fresh.hub, fresh.namespace, "approve", CENTER)
    assert code != 0
    assert "no agent has asked" in told
    async with running(fresh.hub), own_agent(fresh, file) as (process, _):
        await until_some(fresh.client, LEASES, SPACE)
        await fresh.until_center(CENTER, lambda s: "AgentNotApproved" in str(s.get("conditions")))
        code, told = await command(
            fresh.hub, fresh.namespace, "approve", CENTER, "--cluster", "another"
        )
        assert code != 0
        assert "another cluster asks" in told
        assert process.agent is not None
        assert "not allowed" in process.agent.trouble
        uid = (await fresh.center_clients[CENTER].get(NAMESPACES, "kube-system"))["metadata"]["uid"]
        assert "approved" in await huiju(fresh, "approve", CENTER, "--cluster", uid)
        await fresh.submit("let-in", model=MODEL)
        await fresh.until_phase("let-in", "Succeeded")
        # The token that came by file is worth nothing by now, whoever has a copy.
        with pytest.raises(NotFound):
            await fresh.client.get(SERVICE_ACCOUNTS, BOOTSTRAP, SPACE)
    before = await credential(fresh)
    # Neither a restart without the file nor a renewal needs anybody's help.
    async with running(fresh.hub), own_agent(fresh, None, credential_share=1e-5) as (_, known):
        async with asyncio.timeout(PATIENCE):
            while not known or known[0].renewals < 3:
                await asyncio.sleep(0.1)
        assert await credential(fresh) != before
        await fresh.submit("renewed", model=MODEL)
        await fresh.until_phase("renewed", "Succeeded")


async def test_an_agents_credential_reaches_its_own_mailbox_and_nothing_else(
    fresh: World, tmp_path: Path
) -> None:
    file = await join(fresh, tmp_path, "--approve")
    await joining.namespace(fresh.client, OTHER)
    secret = {"metadata": {"name": "carried"}, "stringData": {"a": "b"}}
    for space in (SPACE, OTHER, fresh.namespace):
        await fresh.client.create(SECRETS, {"apiVersion": "v1", "kind": "Secret", **secret}, space)
    job = await fresh.submit("someones", model=MODEL)
    work = {
        "apiVersion": CENTER_WORKS.api_version,
        "kind": CENTER_WORKS.kind,
        "metadata": {"name": "some-uid"},
        "spec": {"job": {"namespace": "a", "name": "b"}},
    }
    inventory = {
        "apiVersion": CENTER_INVENTORIES.api_version,
        "kind": CENTER_INVENTORIES.kind,
        "metadata": {"name": "lie"},
        "spec": {},
    }
    await fresh.client.create(CENTER_WORKS, work, OTHER)
    async with own_agent(fresh, file):
        await until_some(fresh.client, CENTER_INVENTORIES, SPACE)
    stolen = from_secret_bytes((await credential(fresh)).encode())
    async with Client(stolen, name="thief") as thief:
        assert (await thief.get(SECRETS, "carried", SPACE))["metadata"]["name"] == "carried"
        own = await thief.list_all(COMPUTE_CENTERS, fields=f"metadata.name={CENTER}")
        assert [found["metadata"]["name"] for found in own.items] == [CENTER]
        done: dict[str, Any] = {"status": {"attempts": []}}
        attempts: list[Awaitable[Any]] = [
            thief.get(CENTER_WORKS, "some-uid", OTHER),
            thief.list_all(CENTER_WORKS, OTHER),
            thief.list_all(CENTER_WORKS),
            thief.patch(CENTER_WORKS, "some-uid", done, OTHER, subresource="status"),
            thief.create(CENTER_INVENTORIES, inventory, OTHER),
            thief.list_all(CENTER_INVENTORIES, OTHER),
            thief.get(SECRETS, "carried", OTHER),
            thief.get(SECRETS, "carried", fresh.namespace),
            thief.list_all(SECRETS, SPACE),
            thief.create(CONFIG_MAPS, {"metadata": {"name": "x"}}, SPACE),
            thief.create(CENTER_WORKS, work, SPACE),
            thief.patch(CENTER_WORKS, "some-uid", {"spec": {}}, SPACE),
            thief.get(LEASES, "huiju-hub", joining.SYSTEM),
            thief.get(CROSS_REGION_JOBS, "someones", fresh.namespace),
            thief.list_all(CROSS_REGION_JOBS),
            thief.create(CROSS_REGION_JOBS, job, fresh.namespace),
            thief.get(COMPUTE_CENTERS, "east"),
            thief.list_all(COMPUTE_CENTERS),
            thief.patch(COMPUTE_CENTERS, CENTER, {"spec": {"cordoned": True}}),
            thief.patch_status(COMPUTE_CENTERS, CENTER, None, {"lostSince": None}),
            thief.list_all(NAMESPACES),
            thief.get(NAMESPACES, "default"),
            thief.raw("POST", SERVICE_ACCOUNTS.path(joining.SYSTEM, "huiju-hub", "token")),
            thief.create(ROLE_BINDINGS, {"metadata": {"name": "more"}}, SPACE),
        ]
        allowed = [
            number
            for number, attempt in enumerate(
                await asyncio.gather(*attempts, return_exceptions=True)
            )
            if not isinstance(attempt, Forbidden)
        ]
        assert not allowed


async def test_an_agents_credential_cannot_fill_the_hubs_store(
    fresh: World, tmp_path: Path
) -> None:
    file = await join(fresh, tmp_path, "--approve")
    async with own_agent(fresh, file):
        await until_some(fresh.client, CENTER_INVENTORIES, SPACE)
    stolen = from_secret_bytes((await credential(fresh)).encode())
    async with Client(stolen, name="thief") as thief:
        for res in (CENTER_INVENTORIES, LEASES):
            most = MOST[f"count/{res.plural}.{res.group}"]
            with pytest.raises(Forbidden, match="exceeded quota"):
                await _fill(thief, res, most + 1)
            assert len((await fresh.client.list_all(res, SPACE)).items) <= most
    quota = await fresh.client.get(RESOURCE_QUOTAS, QUOTA, SPACE)
    raised = {"spec": {"hard": {"count/centerinventories.huiju.dev": "500"}}}
    await fresh.client.patch(RESOURCE_QUOTAS, QUOTA, raised, SPACE)
    await huiju(fresh, "join", CENTER, "--pull", "--bootstrap-file", str(tmp_path / "again"))
    kept = await fresh.client.get(RESOURCE_QUOTAS, QUOTA, SPACE)
    assert kept["spec"]["hard"] == quota["spec"]["hard"] | raised["spec"]["hard"]


async def test_a_revoked_agent_is_refused_and_learns_nothing_more(
    fresh: World, tmp_path: Path
) -> None:
    file = await join(fresh, tmp_path, "--approve")
    async with running(fresh.hub), own_agent(fresh, file) as (process, _):
        await fresh.submit("before", model=MODEL, fate={"run_for": "300s"})
        await fresh.until_phase("before", "Running")
        stolen = from_secret_bytes((await credential(fresh)).encode())
        async with Client(stolen, name="thief") as thief:
            page = await thief.list_all(CENTER_WORKS, SPACE)
            seen: list[tuple[EventKind, Any]] = []
            assert len(page.items) == 1
            old_watch = asyncio.create_task(_watch(thief, str(page.resource_version), seen))
            await huiju(fresh, "revoke", CENTER)
            lie = {"status": {"summary": "lie"}}
            name = page.items[0]["metadata"]["name"]
            await until_refused(
                lambda: thief.patch(CENTER_WORKS, name, lie, SPACE, subresource="status")
            )
            await until_refused(lambda: thief.get(SECRETS, "any", SPACE))
            await until_refused(lambda: thief.list_all(CENTER_WORKS, SPACE))
            for res in (CENTER_WORKS, CENTER_INVENTORIES, SECRETS, LEASES):
                await until_empty(fresh.client, res, SPACE)
            await fresh.submit("after", model=MODEL)
            await fresh.until_phase("before", "Unknown")
            assert (await fresh.status("after")).get("placement") is None
            assert not (await fresh.client.list_all(CENTER_WORKS, SPACE)).items
            old_watch.cancel()
            await asyncio.gather(old_watch, return_exceptions=True)
            # It told that what it had shown before is gone, and not a word more.
            assert EventKind.DELETED in {kind for kind, _ in seen}
            assert all(spec == page.items[0]["spec"] for _, spec in seen)
        assert process.agent is not None
        assert process.agent.trouble
        # What runs in the center is its owner's to stop.
        assert await fresh.pods("before")
    for words in (("approve", CENTER), ("join", CENTER, "--pull")):
        code, told = await command(fresh.hub, fresh.namespace, *words)
        assert code != 0
        assert "revoked" in told


async def _fill(client: Client, res: Resource, count: int) -> None:
    for number in range(count):
        body = {"metadata": {"name": f"more-{number}"}, "spec": {}}
        kind = {"apiVersion": res.api_version, "kind": res.kind}
        await client.create(res, {**kind, **body}, SPACE)


async def _watch(client: Client, version: str, seen: list[tuple[EventKind, Any]]) -> None:
    """Note what a watch shows for as long as it lasts."""
    events = cast(Any, client.watch(CENTER_WORKS, SPACE, resource_version=version))
    async with aclosing(events):
        async for event in events:
            if event.object is not None:
                seen.append((event.kind, event.object["spec"]))  # noqa: PERF401


async def test_the_hub_writes_into_a_mailbox_with_the_rights_that_joining_gives_it(
    fresh: World, tmp_path: Path
) -> None:
    await join(fresh, tmp_path, "--approve")
    name = {"name": "huiju-hub", "namespace": joining.SYSTEM}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": name}
    await fresh.client.apply(SERVICE_ACCOUNTS, account, manager="test")
    path = SERVICE_ACCOUNTS.path(joining.SYSTEM, "huiju-hub", "token")
    answer = await fresh.client.raw("POST", path, body=b'{"spec": {}}')
    token = msgspec.json.decode(answer)["status"]["token"]
    credentials = replace(
        fresh.hub.credentials(), token=token, client_cert_pem=None, client_key_pem=None
    )
    async with Client(credentials, name="hub") as hub:
        mailbox = Mailbox(hub, CENTER, "hub", lambda: None, lambda _: None)
        task = asyncio.create_task(mailbox.run())
        await asyncio.wait_for(mailbox.synced.wait(), PATIENCE)
        needed = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {}}
        objects = (
            needed,
            {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "w", "annotations": {}}},
        )
        await mailbox.ensure(Bundle("uid-1", "team", "job", 1, CENTER, "there", "w", objects))
        await mailbox.remove("uid-1", 1)
        status = {"observedGeneration": 99}
        await fresh.client.patch_status(CENTER_WORKS, "uid-1", SPACE, status)
        async with asyncio.timeout(PATIENCE):
            while list(mailbox.held()):
                await mailbox.remove("uid-1", 1)
                await asyncio.sleep(0.1)
        await until_empty(fresh.client, SECRETS, SPACE)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_program_works_with_the_rights_and_under_the_policy_of_the_chart(
    fresh: World, tmp_path: Path
) -> None:
    file = await join(fresh, tmp_path, "--approve")
    cluster, center = fresh.centers[CENTER], fresh.center_clients[CENTER]
    await system_namespace(center)
    helm = Helm(tmp_path)
    values = ("agent.enabled=true", f"agent.center={CENTER}", "push.enabled=false")
    where = ("huiju-center", "-n", joining.SYSTEM)
    await helm(
        # Other tests have made some of it under other names of managers.
        *(
            "install",
            "--take-ownership",
            "--force-conflicts",
            *where[:1],
            str(CHARTS / "huiju-center"),
            *where[1:],
        ),
        *("--set", ",".join(values)),
        kubeconfig=cluster.kubeconfig,
    )
    path = SERVICE_ACCOUNTS.path(joining.SYSTEM, agentrole.ACCOUNT, "token")
    answer = await center.raw("POST", path, body=b'{"spec": {}}')
    token = msgspec.json.decode(answer)["status"]["token"]
    account = tmp_path / "account.kubeconfig"
    account.write_text(kubeconfig_text("center", cluster.credentials(), None, token))
    (health,) = ports.reserve(1, tmp_path)
    program = HubProcess(
        account,
        tmp_path / "agent.log",
        health,
        [f"--center={CENTER}", f"--bootstrap-kubeconfig={file}"],
        words=("agent", "--center-kubeconfig"),
    )
    try:
        async with running(fresh.hub), program:
            sharing = {"priorityClassName": "huiju-federated"}
            await fresh.edit_center(CENTER, sharing=sharing)
            await fresh.submit("by-chart", model=MODEL)
            await fresh.until_phase("by-chart", "Succeeded")
        log = program.tail(1000)
        assert "orbidden" not in log
        assert "eyJ" not in log, "no token is logged"
    finally:
        await helm("uninstall", *where, kubeconfig=cluster.kubeconfig)


async def test_a_push_center_gets_an_agent_for_its_data_alone(world: World, tmp_path: Path) -> None:
    push = world.center_clients[CENTER]
    file = tmp_path / "bootstrap.kubeconfig"
    words = ("join", CENTER, "--data-agent", "--bootstrap-file", str(file))
    async with running(world.hub):
        uid = (await push.get(NAMESPACES, "kube-system"))["metadata"]["uid"]
        await world.until_center(CENTER, lambda s: (s.get("identity") or {}).get("uid") == uid)
        assert "agent.data.only=true" in await huiju(world, *words)
        quota = await world.client.get(RESOURCE_QUOTAS, QUOTA, SPACE)
        assert {"count/centercopies.huiju.dev", "count/centerservings.huiju.dev"} <= set(
            quota["spec"]["hard"]
        )
        code, told = await command(world.hub, world.namespace, "approve", CENTER)
        assert code != 0
        assert "--data-agent" in told
        async with own_agent(world, file, data_only=True, data=True) as (process, _):
            await until_some(world.client, LEASES, SPACE)
            told = await huiju(world, "approve", CENTER, "--serves-data")
            assert uid in told
            async with asyncio.timeout(PATIENCE):
                while process.agent is None or process.agent.trouble:
                    await asyncio.sleep(0.1)
            # Its jobs are the hub's own to push, as before.
            await world.submit("pushed", model=MODEL)
            await world.until_phase("pushed", "Succeeded")
            assert not (await world.client.list_all(CENTER_WORKS, SPACE)).items
        assert "data agent is refused" in await huiju(world, "revoke", CENTER)
        center = await world.center(CENTER)
        assert "push" in center["spec"]["connection"]
