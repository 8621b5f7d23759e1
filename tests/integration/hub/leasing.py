"""A sentinel in this process, times that make waiting short, and links that can be cut.

Invariant: leaving a `sentinel` context ends all of it, as a crash would.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp

from huiju.centers import sentinelrole
from huiju.centers.lease import LeaseAnswer, LeaseProfile, parse_answer
from huiju.centers.role import RoleRule
from huiju.kube.client import Client
from huiju.kube.credentials import Credentials
from huiju.kube.resources import CLUSTER_ROLES, ROLE_BINDINGS, ROLES
from huiju.sentinel.run import Sentinel
from huiju.sentinel.settings import SentinelSettings
from lab import joining
from lab.cluster import Cluster
from tests.patience import PATIENCE

SHORT = LeaseProfile(lease=6.0, ask=0.4, poll=0.3, stop=1.0, grace=1.0)
"""A word lasts about 9 s: long enough for a busy machine to renew it in time."""
PROFILES = {"default": SHORT, "fast": SHORT}
FAST = SentinelSettings(
    lease_port=0, health_port=0, first_ask=0.3, longest_lease=SHORT.lease, retry=0.2
)


@asynccontextmanager
async def sentinel(account: Credentials, **changes: Any) -> AsyncIterator[Sentinel]:
    """A center's sentinel until the context ends; raises what ended it, if anything did."""
    async with Client(account, name="sentinel") as client:
        process = Sentinel(client, replace(FAST, **changes))
        task = asyncio.create_task(process.run())
        try:
            await until(lambda: bool(process.lease_port) or task.done())
            yield process
            if task.done():
                task.result()
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def sentinel_account(client: Client, center: Cluster) -> str:
    """Kubeconfig of an account with the rights of the chart and no others."""
    await joining.namespace(client, joining.SYSTEM)
    name = sentinelrole.ACCOUNT
    wide = _role(CLUSTER_ROLES.kind, name, sentinelrole.CENTER)
    text = await joining.account(client, center, name, wide)
    own = _role(ROLES.kind, name, sentinelrole.OWN)
    own["metadata"]["namespace"] = joining.SYSTEM
    binding = {
        "apiVersion": ROLE_BINDINGS.api_version,
        "kind": ROLE_BINDINGS.kind,
        "metadata": {"name": name, "namespace": joining.SYSTEM},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "kube-system"}],
    }
    await client.apply(ROLES, own, manager="test", force=True)
    await client.apply(ROLE_BINDINGS, binding, manager="test", force=True)
    return text


def _role(kind: str, name: str, rules: Iterable[RoleRule]) -> dict[str, Any]:
    return {
        "apiVersion": ROLES.api_version,
        "kind": kind,
        "metadata": {"name": name},
        "rules": [rule.manifest() for rule in rules],
    }


async def asked(process: Sentinel) -> LeaseAnswer:
    """What a guard hears."""
    url = f"http://127.0.0.1:{process.lease_port}/lease"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        assert response.status == 200
        return parse_answer(await response.read())


async def until(check: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(seconds):
        while not check():
            await asyncio.sleep(0.05)
