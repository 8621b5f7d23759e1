"""Kopf in its thread, on a real server, as an image runs it."""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import Mapping
from typing import Any

import pytest

from huiju.hub.shell import Shell
from huiju.kube.resources import COMPUTE_QUEUES
from lab.cluster import Cluster
from tests.patience import PATIENCE


async def test_kopf_runs_as_a_user_without_a_name(
    hub: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 65532")

    monkeypatch.setattr(getpass, "getuser", nameless)
    seen: set[str] = set()

    def handler(_plural: str, _type: str | None, body: Mapping[str, Any]) -> None:
        seen.add(str(body["metadata"]["name"]))

    queue = {
        "apiVersion": COMPUTE_QUEUES.api_version,
        "kind": COMPUTE_QUEUES.kind,
        "metadata": {"name": namespace},
        "spec": {},
    }
    task = asyncio.create_task(Shell(hub.credentials, handler).run())
    try:
        async with await hub.client() as client:
            await client.create(COMPUTE_QUEUES, queue)
            try:
                async with asyncio.timeout(PATIENCE):
                    while namespace not in seen:
                        await asyncio.sleep(0.1)
            finally:
                await client.delete(COMPUTE_QUEUES, namespace)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
