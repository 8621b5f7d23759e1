"""The hub's chart on a real cluster: its life as a release, and a hub under its rights."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from huiju.cli.joining import kubeconfig_text
from huiju.hub.role import ACCOUNT
from huiju.kube.client import Client
from huiju.kube.errors import Forbidden, NotFound
from huiju.kube.resources import (
    API_SERVICES,
    COMPUTE_QUEUES,
    CRDS,
    ENDPOINT_SLICES,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
)
from huiju.web.endpoint import Address, lead_to
from lab import joining, ports
from lab.cluster import Cluster
from lab.hubprocess import HubProcess
from lab.kwokctl import HUB, ClusterSpec
from tests.integration.charts.program import CHARTS, SYSTEM, Helm
from tests.patience import PATIENCE

VIEW = "v1alpha1.view.huiju.dev"


async def as_account(client: Client, cluster: Cluster, folder: Path) -> Path:
    """A kubeconfig of the chart's own account."""
    path = SERVICE_ACCOUNTS.path(SYSTEM, ACCOUNT, "token")
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    answer = msgspec.json.decode(
        await client.raw("POST", path, body=msgspec.json.encode(request)), type=dict[str, Any]
    )
    token = answer["status"]["token"]
    file = folder / "account.kubeconfig"
    file.write_text(kubeconfig_text("hub", cluster.credentials(), None, token))
    return file


async def test_the_life_of_a_release(
    lab_cluster: Callable[[ClusterSpec], Awaitable[Cluster]], tmp_path: Path
) -> None:
    cluster = await lab_cluster(ClusterSpec("hub", HUB))
    helm = Helm(tmp_path)
    chart = str(CHARTS / "huiju")
    where = ("huiju", chart, "-n", SYSTEM)
    async with await cluster.client() as client:
        await helm("install", *where, "--create-namespace", kubeconfig=cluster.kubeconfig)
        await joining.queue(client, "default")

        # The hub works with the rights of the chart, and is refused nothing.
        account = await as_account(client, cluster, tmp_path)
        (health,) = ports.reserve(1, tmp_path)
        async with HubProcess(account, tmp_path / "hub.log", health) as hub:
            async with asyncio.timeout(PATIENCE):
                while not (await client.get(COMPUTE_QUEUES, "default")).get("status"):
                    await asyncio.sleep(0.2)
        assert "orbidden" not in hub.tail(1000)
        async with Client(_of(account), name="account") as own:
            await lead_to(own, "huiju-view", SYSTEM, Address("10.1.2.3", 8443))
            await lead_to(own, "huiju-view", SYSTEM, Address("10.1.2.4", 8443))
            with pytest.raises(Forbidden):
                await own.get(SECRETS, "any", "kube-system")
            await own.patch(API_SERVICES, VIEW, {"spec": {"caBundle": "Y2E="}})
        found = await client.get(ENDPOINT_SLICES, "huiju-view", SYSTEM)
        assert found["endpoints"][0]["addresses"] == ["10.1.2.4"]

        # An upgrade leaves alone what the hub wrote, and the objects of users.
        values = ("--set", "replicas=3")
        await helm("upgrade", *where, *values, kubeconfig=cluster.kubeconfig)
        assert (await client.get(API_SERVICES, VIEW))["spec"]["caBundle"] == "Y2E="
        await client.get(COMPUTE_QUEUES, "default")

        # Uninstalled, only the kinds stay; and they are taken over again.
        await helm("uninstall", "huiju", "-n", SYSTEM, kubeconfig=cluster.kubeconfig)
        for kind, name, space in (
            (API_SERVICES, VIEW, None),
            (SERVICES, "huiju-view", SYSTEM),
            (SERVICE_ACCOUNTS, ACCOUNT, SYSTEM),
        ):
            with pytest.raises(NotFound):
                await client.get(kind, name, space)
        async with asyncio.timeout(PATIENCE):
            while await _there(client):
                await asyncio.sleep(0.2)
        await client.get(CRDS, "crossregionjobs.huiju.dev")
        await client.get(COMPUTE_QUEUES, "default")
        await helm("install", *where, kubeconfig=cluster.kubeconfig)


async def _there(client: Client) -> bool:
    """Whether the slice is still there: it goes with its Service, by the garbage collector."""
    try:
        await client.get(ENDPOINT_SLICES, "huiju-view", SYSTEM)
    except NotFound:
        return False
    return True


def _of(kubeconfig: Path) -> Any:
    from huiju.kube.kubeconfig import from_kubeconfig

    return from_kubeconfig(kubeconfig)
