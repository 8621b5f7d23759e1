"""The view API behind a real API server: registration, callers, authorization, streams."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, Final, cast

import aiohttp
import pytest

from huiju.cli.joining import kubeconfig_text
from huiju.hub.people import PEOPLE, PeopleRole
from huiju.kube.client import Client
from huiju.kube.credentials import Credentials
from huiju.kube.errors import BadRequest, Forbidden, KubeError, NotFound, Transient
from huiju.kube.resources import (
    API_SERVICES,
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    NAMESPACES,
    ROLE_BINDINGS,
    SERVICE_ACCOUNTS,
    SERVICES,
)
from huiju.web.server import API_SERVICE, ViewSettings, serve_view
from huiju.web.view import MOST_STREAMS_OF_ONE
from lab.cluster import Cluster
from lab.fixtures import NamespaceIn
from tests.patience import PATIENCE

# Cluster-scoped objects of the hub are made here: no other hub may run beside these tests.
BASE = "/apis/view.huiju.dev/v1alpha1"
SYSTEM = "huiju-view-test"
RBAC = "rbac.authorization.k8s.io/v1"
BY: Final[dict[str, Any]] = {"manager": "test", "force": True}
ROLE = {role.name: role for role in PEOPLE}


class Answers:
    """A hub's side that answers from what the test put into it."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    async def why(self, namespace: str, name: str) -> dict[str, Any] | None:
        self.asked.append({"why": name})
        if name == "missing":
            return None
        if name == "busy":
            raise Transient("the hub is still reading its jobs")
        return {"job": f"{namespace}/{name}", "queue": "research", "position": 3}

    async def whatif(self, namespace: str, manifest: dict[str, Any]) -> dict[str, Any]:
        self.asked.append({"whatif": namespace})
        return {"job": f"{namespace}/whatif", "workers": manifest["spec"]["workers"]}

    async def datasets(
        self, namespace: str, search: str, labels: dict[str, str]
    ) -> list[dict[str, Any]]:
        self.asked.append({"datasets": namespace, "search": search, "labels": labels})
        return [{"namespace": "team-a", "name": "corpus"}]

    async def cordon(self, center: str) -> dict[str, Any]:
        self.asked.append({"cordon": center})
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
            async with asyncio.timeout(PATIENCE):
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


async def token_of(admin: Client, namespace: str, name: str) -> str:
    """The token of a new service account, which has no rights yet."""
    body = {"metadata": {"name": name, "namespace": namespace}}
    await admin.create(SERVICE_ACCOUNTS, body, namespace)
    path = SERVICE_ACCOUNTS.path(namespace, name, "token")
    request = (
        b'{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest",'
        b'"spec":{"expirationSeconds":3600}}'
    )
    return str(json.loads(await admin.raw("POST", path, body=request))["status"]["token"])


async def as_account(admin: Client, credentials: Credentials, namespace: str, name: str) -> Client:
    """A client that acts as a service account of its own."""
    token = await token_of(admin, namespace, name)
    plain = Credentials(server=credentials.server, ca_pem=credentials.ca_pem, token=token)
    return Client(plain, name=name)


async def grant(admin: Client, role: PeopleRole, namespace: str, name: str, where: str) -> None:
    """Bind one of the chart's roles to an account: in a namespace, or everywhere (no `where`)."""
    rules = [rule.manifest() for rule in role.rules]
    body = {"metadata": {"name": role.name}, "rules": rules}
    await admin.apply(CLUSTER_ROLES, body | {"apiVersion": RBAC, "kind": "ClusterRole"}, **BY)
    binding: dict[str, Any] = {
        "apiVersion": RBAC,
        "kind": "RoleBinding" if where else "ClusterRoleBinding",
        "metadata": {"name": f"{role.name}-{namespace}"},
        "roleRef": {"apiGroup": RBAC.split("/")[0], "kind": "ClusterRole", "name": role.name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
    }
    kind = ROLE_BINDINGS if where else CLUSTER_ROLE_BINDINGS
    await admin.create(kind, binding, where or None)


async def test_discovery_and_answers(hub: Cluster, port: int, answers: Answers) -> None:
    async with await hub.client() as client:
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
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    assert await anext(client.stream(path)) == b"first\n"
                    return
                except Transient:  # all places are taken still
                    await asyncio.sleep(0.2)


def questions(namespace: str) -> dict[str, tuple[str, str, bytes]]:
    """Everything that can be asked, by the words of RBAC for it."""
    job = f"{BASE}/namespaces/{namespace}/crossregionjobs/j"
    return {
        'get resource "crossregionjobs/why"': ("GET", f"{job}/why", b""),
        'get resource "crossregionjobs/log"': ("GET", f"{job}/log", b""),
        'create resource "whatif"': (
            "POST",
            f"{BASE}/namespaces/{namespace}/whatif",
            b'{"spec":{"workers":1}}',
        ),
        'get resource "computecenters/cordon"': ("GET", f"{BASE}/computecenters/c/cordon", b""),
    }


async def answered(user: Client, namespace: str) -> set[str]:
    """What of all that can be asked is answered; every other question is refused in plain words."""
    refusals: dict[str, Forbidden] = {}
    asked = questions(namespace)
    for words, (method, path, body) in asked.items():
        try:
            await user.raw(method, path, body=body or None)
        except Forbidden as error:
            refusals[words] = error
    for words, refused in refusals.items():
        assert f'cannot {words} in API group "view.huiju.dev"' in refused.message
    return {words.split('"')[1] for words in asked.keys() - refusals.keys()}


async def until_answered(user: Client, namespace: str, expected: set[str]) -> None:
    """Rights are seen by API server and hub a moment after they are given."""
    found: set[str] = set()
    try:
        async with asyncio.timeout(PATIENCE):
            while (found := await answered(user, namespace)) != expected:
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"answered: {found}, not {expected}") from None


async def test_what_the_roles_for_people_let_them_ask(
    hub: Cluster, port: int, answers: Answers, namespace_in: NamespaceIn
) -> None:
    namespace = await namespace_in(hub)
    async with await hub.client() as admin:
        user = await as_account(admin, hub.credentials(), namespace, "person")
        async with user:
            assert await answered(user, namespace) == set()
            assert answers.asked == [], "the hub is not even asked"

            await grant(admin, ROLE["huiju-jobs-view"], namespace, "person", namespace)
            seen = {"crossregionjobs/why", "crossregionjobs/log"}
            await until_answered(user, namespace, seen)
            await grant(admin, ROLE["huiju-jobs-edit"], namespace, "person", namespace)
            await until_answered(user, namespace, seen | {"whatif"})
            assert await answered(user, "default") == set(), "only in a namespace of theirs"
            try:
                await grant(admin, ROLE["huiju-federation-edit"], namespace, "person", "")
                await until_answered(user, namespace, seen | {"whatif", "computecenters/cordon"})
            finally:
                name = f"huiju-federation-edit-{namespace}"
                await admin.delete(CLUSTER_ROLE_BINDINGS, name)


@pytest.mark.parametrize(
    ("words", "denied"),
    [
        (("why", "j"), 'cannot get resource "crossregionjobs/why"'),
        (("logs", "j"), 'cannot get resource "crossregionjobs/log"'),
        (
            ("whatif", "--queue", "q", "--accelerator", "ascend-910b3:8", "--image", "i"),
            'cannot create resource "whatif"',
        ),
        (("whatif", "--cordon", "c"), 'cannot get resource "computecenters/cordon"'),
    ],
)
async def test_a_command_without_the_right_says_which_and_whom_to_ask(
    hub: Cluster,
    namespace_in: NamespaceIn,
    tmp_path: Path,
    words: tuple[str, ...],
    denied: str,
) -> None:
    namespace = await namespace_in(hub)
    async with await hub.client() as admin:
        token = await token_of(admin, namespace, "nobody")
    config = tmp_path / "kubeconfig"
    config.write_text(kubeconfig_text("hub", hub.credentials(), None, token))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "huiju.cli.main", f"--kubeconfig={config}", "-n", namespace),
        *words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ,
    )
    out, told = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert (process.returncode, out) == (1, b"")
    text = told.decode()
    assert f"system:serviceaccount:{namespace}:nobody" in text
    assert denied in text
    assert "ask a platform engineer for this permission" in text
    assert token not in text
    assert "Traceback" not in text


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
