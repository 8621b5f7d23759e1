"""The view API behind a real API server: registration, callers, authorization, streams."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from typing import Any, cast

import aiohttp
import pytest

from huiju.kube.client import Client
from huiju.kube.credentials import Credentials
from huiju.kube.errors import BadRequest, Forbidden, KubeError, NotFound, Transient
from huiju.kube.resources import (
    API_SERVICES,
    NAMESPACES,
    ROLE_BINDINGS,
    ROLES,
    SERVICE_ACCOUNTS,
    SERVICES,
)
from huiju.web.server import API_SERVICE, ViewSettings, serve_view
from huiju.web.view import MOST_STREAMS_OF_ONE
from lab.cluster import Cluster
from lab.fixtures import NamespaceIn

# Cluster-scoped objects of the hub are made here: no other hub may run beside these tests.
BASE = "/apis/view.huiju.dev/v1alpha1"
SYSTEM = "huiju-view-test"


class Answers:
    """A hub's side that answers from what the test put into it."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    async def why(self, namespace: str, name: str) -> dict[str, Any] | None:
        if name == "missing":
            return None
        if name == "busy":
            raise Transient("the hub is still reading its jobs")
        return {"job": f"{namespace}/{name}", "queue": "research", "position": 3}

    async def whatif(self, namespace: str, manifest: dict[str, Any]) -> dict[str, Any]:
        return {"job": f"{namespace}/whatif", "workers": manifest["spec"]["workers"]}

    async def cordon(self, center: str) -> dict[str, Any]:
        return {"center": center, "running": [], "waiting": []}

    async def logs(
        self, namespace: str, name: str, *, worker: int, follow: bool, tail: int | None
    ) -> AsyncIterator[bytes]:
        self.asked.append({"worker": worker, "follow": follow, "tail": tail})
        if name == "missing":
            raise NotFound(404, "NotFound", "no pod", {"name": "worker 0"})
        if name == "waiting":
            raise BadRequest(400, "BadRequest", "container is waiting to start", {})
        yield b"first\n"
        while follow:
            await asyncio.sleep(0.2)
            yield b"more\n"
        if name == "large":
            for _ in range(256):
                yield b"x" * 4096


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
async def answers() -> Answers:
    return Answers()


@pytest.fixture
async def port(hub: Cluster, answers: Answers) -> AsyncIterator[int]:
    """The view API, served and registered; the port that it listens on."""
    async with await hub.client() as client:
        with suppress(KubeError):
            await client.create(NAMESPACES, {"metadata": {"name": SYSTEM}})
        settings = ViewSettings(port=free_port(), namespace=SYSTEM, refresh=0.5)
        task = asyncio.create_task(serve_view(answers, client, settings))
        try:
            async with asyncio.timeout(30):
                while not await available(client):
                    assert not task.done(), task.exception()
                    await asyncio.sleep(0.1)
            yield settings.port
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await client.delete(API_SERVICES, API_SERVICE)
            await client.delete(SERVICES, settings.service, SYSTEM)


async def available(client: Client) -> bool:
    try:
        found = await client.get(API_SERVICES, API_SERVICE)
        await client.raw("GET", BASE)
    except (NotFound, Transient):
        return False
    conditions = found.get("status", {}).get("conditions", [])
    return any(c["type"] == "Available" and c["status"] == "True" for c in conditions)


async def as_account(admin: Client, credentials: Credentials, namespace: str, name: str) -> Client:
    """A client that acts as a service account of its own, which has no rights yet."""
    body = {"metadata": {"name": name, "namespace": namespace}}
    await admin.create(SERVICE_ACCOUNTS, body, namespace)
    path = SERVICE_ACCOUNTS.path(namespace, name, "token")
    request = (
        b'{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest",'
        b'"spec":{"expirationSeconds":3600}}'
    )
    import json

    token = json.loads(await admin.raw("POST", path, body=request))["status"]["token"]
    plain = Credentials(server=credentials.server, ca_pem=credentials.ca_pem, token=token)
    return Client(plain, name=name)


async def test_discovery_and_answers(hub: Cluster, port: int, answers: Answers) -> None:
    async with await hub.client() as client:
        import json

        listed = json.loads(await client.raw("GET", BASE))
        assert {r["name"] for r in listed["resources"]} >= {
            "crossregionjobs/why",
            "crossregionjobs/log",
            "whatif",
        }
        told = json.loads(await client.raw("GET", f"{BASE}/namespaces/a/crossregionjobs/j/why"))
        assert told["job"] == "a/j"
        assert told["position"] == 3
        asked = json.loads(
            await client.raw("POST", f"{BASE}/namespaces/a/whatif", body=b'{"spec":{"workers":2}}')
        )
        assert asked["workers"] == 2
        with pytest.raises(NotFound, match="missing"):
            await client.raw("GET", f"{BASE}/namespaces/a/crossregionjobs/missing/why")
        with pytest.raises(Transient, match="still reading"):
            await client.raw("GET", f"{BASE}/namespaces/a/crossregionjobs/busy/why")
        with pytest.raises(BadRequest, match="not a CrossRegionJob"):
            await client.raw("POST", f"{BASE}/namespaces/a/whatif", body=b"[]")


async def test_logs_stream_and_refuse(hub: Cluster, port: int, answers: Answers) -> None:
    async with await hub.client() as client:
        log = f"{BASE}/namespaces/a/crossregionjobs/{{}}/log"
        whole = [c async for c in client.stream(log.format("j"), {"worker": "2", "tail": "5"})]
        assert b"".join(whole) == b"first\n"
        assert answers.asked[-1] == {"worker": 2, "follow": False, "tail": 5}
        large = [len(c) async for c in client.stream(log.format("large"))]
        assert sum(large) == len(b"first\n") + (1 << 20)
        with pytest.raises(NotFound, match="no pod"):
            await anext(client.stream(log.format("missing")))
        with pytest.raises(BadRequest, match="waiting to start"):
            await anext(client.stream(log.format("waiting")))
        with pytest.raises(BadRequest, match="worker must be a number"):
            await anext(client.stream(log.format("j"), {"worker": "-1"}))
        followed = client.stream(log.format("j"), {"follow": "true"})
        seen = b""
        async with aclosing(cast(Any, followed)):
            async for chunk in followed:
                seen += chunk
                if seen.count(b"\n") >= 3:
                    break
        assert seen.startswith(b"first\nmore\n")


async def test_streams_of_readers_that_left_are_given_back(
    hub: Cluster, port: int, answers: Answers
) -> None:
    async with await hub.client() as client:
        path = f"{BASE}/namespaces/a/crossregionjobs/j/log"
        for _ in range(MOST_STREAMS_OF_ONE):
            followed = client.stream(path, {"follow": "true"})
            async with aclosing(cast(Any, followed)):
                assert await anext(followed) == b"first\n"
        async with asyncio.timeout(20):
            while True:
                try:
                    assert await anext(client.stream(path)) == b"first\n"
                    return
                except Transient:  # all places are taken still
                    await asyncio.sleep(0.2)


async def test_only_who_may_is_answered(hub: Cluster, port: int, namespace_in: NamespaceIn) -> None:
    namespace = await namespace_in(hub)
    async with await hub.client() as admin:
        user = await as_account(admin, hub.credentials(), namespace, "reader")
        async with user:
            path = f"{BASE}/namespaces/{namespace}/crossregionjobs/j/why"
            with pytest.raises(Forbidden):
                await user.raw("GET", path)
            rules = [
                {
                    "apiGroups": ["view.huiju.dev"],
                    "resources": ["crossregionjobs/why"],
                    "verbs": ["get"],
                }
            ]
            await admin.create(ROLES, {"metadata": {"name": "reader"}, "rules": rules}, namespace)
            binding = {
                "metadata": {"name": "reader"},
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "Role",
                    "name": "reader",
                },
                "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": namespace}],
            }
            await admin.create(ROLE_BINDINGS, binding, namespace)
            async with asyncio.timeout(15):
                while True:
                    try:
                        assert b"research" in await user.raw("GET", path)
                        break
                    except Forbidden:
                        await asyncio.sleep(0.2)
            with pytest.raises(Forbidden):
                await anext(user.stream(path.replace("/why", "/log")))
            with pytest.raises(Forbidden):
                await user.raw("GET", path.replace(namespace, "default"))


async def test_nobody_speaks_for_users_without_the_proxy_certificate(
    hub: Cluster, port: int
) -> None:
    # The server's own certificate is no matter here: what is tried is who the caller is.
    anyone = ssl.create_default_context()
    anyone.check_hostname = False
    anyone.verify_mode = ssl.CERT_NONE
    forged = {"X-Remote-User": "kubernetes-admin", "X-Remote-Group": "system:masters"}
    url = f"https://127.0.0.1:{port}{BASE}"
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{url}/namespaces/a/crossregionjobs/j/why", ssl=anyone) as answer:
            assert answer.status == 401
        async with session.get(
            f"{url}/namespaces/a/crossregionjobs/j/why", ssl=anyone, headers=forged
        ) as answer:
            assert answer.status == 401
            assert (await answer.json())["kind"] == "Status"
        async with session.get(url, ssl=anyone) as answer:
            assert answer.status == 200


async def test_the_certificate_stays(hub: Cluster, port: int) -> None:
    async with await hub.client() as client:
        from huiju.kube.resources import SECRETS
        from huiju.web.serving import load_or_issue

        names = ViewSettings(namespace=SYSTEM).names
        first = await load_or_issue(client, SYSTEM, "huiju-view-serving", names)
        again = await load_or_issue(client, SYSTEM, "huiju-view-serving", names)
        assert first == again
        more = (*names, "other.example")
        renewed = await load_or_issue(client, SYSTEM, "huiju-view-serving", more)
        assert renewed != first
        assert first.ca_pem.strip() in renewed.ca_pem
        await client.delete(SECRETS, "huiju-view-serving", SYSTEM)
