"""Two centers with agents, a bucket in one of them, and real pullers in the other.

Decides settings that make waiting short. Invariant: the bucket's key is in the owner's center, in
the store's own process, and nowhere else that a test does not name.
"""

from __future__ import annotations

import asyncio
import base64
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from huiju.agent.credentials import FileIdentity, HubIdentity
from huiju.agent.run import AgentProcess
from huiju.agent.settings import AgentSettings
from huiju.centers.mailbox import mailbox_of
from huiju.data.naming import copy_folder
from huiju.kube.client import Client
from huiju.kube.resources import (
    CENTER_COPIES,
    CENTER_SERVINGS,
    DATASET_GRANTS,
    DATASET_REPLICAS,
    DATASET_SHARES,
    JOBS,
    NAMESPACES,
    SECRETS,
)
from lab import joining, ports
from lab.objectstore import ObjectStore
from lab.pullers import Pullers, pullers
from lab.relay import Relay
from tests.integration.data.pulls import tree
from tests.integration.hub.harness import Fields, World
from tests.integration.hub.pulling import CENTER as CONSUMER
from tests.integration.hub.pulling import (
    become_pull,
    empty_mailbox,
    going,
    say_policy,
    system_namespace,
)
from tests.integration.hub.test_copies import remove_datasets
from tests.patience import PATIENCE

OWNER = "west"
KEY = "corpus-key"
FAST = AgentSettings(
    CONSUMER,
    leader_election=False,
    heartbeat=0.3,
    publish_interval=0.1,
    retry=0.3,
    data=True,
    data_store="/store",
    pull_image="registry.example/huiju:lab",
    data_interval=0.2,
)


@dataclass
class Moving:
    """What a test of transfers has."""

    world: World
    owners: str
    """Namespace of the share."""
    store: ObjectStore
    relay: Relay
    pullers: Pullers
    root: Path
    """Where the consumer's nodes have their folders."""
    data: Path
    """The bucket's folder."""
    folder: Path
    """The test's own."""
    agents: dict[str, AsyncExitStack]
    """What runs, by center."""
    gateway_port: int
    """Where consumers would reach the gateway of the data's center."""
    processes: dict[str, AgentProcess] = field(default_factory=dict)
    """The agents that run, or ran last."""

    # --- as what kills and restarts ------------------------------------------------------------

    async def start_agent(self, center: str) -> None:
        """Start the agent of a center."""
        self.agents[center] = AsyncExitStack()
        address = f"http://127.0.0.1:{self.gateway_port}"
        running = _agent(self.world, self.folder, center, address)
        self.processes[center] = await self.agents[center].enter_async_context(running)

    async def end_agent(self, center: str) -> None:
        """End it as a crash would: nothing is tidied up."""
        await self.agents.pop(center).aclose()

    # --- as people -----------------------------------------------------------------------------

    async def share(self, **spec: Any) -> Fields:
        """Make the share, with nothing published yet."""
        body = {
            "apiVersion": DATASET_SHARES.api_version,
            "kind": DATASET_SHARES.kind,
            "metadata": {"name": "corpus", "namespace": self.owners},
            "spec": {
                "license": "CC0-1.0",
                "source": {
                    "center": OWNER,
                    "s3": {
                        "endpoint": self.relay.endpoint,
                        "bucket": "corpora",
                        "prefix": "zh",
                        "secretName": KEY,
                    },
                },
                "access": {"namespaces": ["*"]},
                **spec,
            },
        }
        return await self.world.client.create(DATASET_SHARES, body, self.owners)

    async def publish(self, version: str) -> str:
        """As its owner does, where the key is."""
        key = self.store.key
        return await self.say(
            *("dataset", "publish", f"{self.owners}/corpus", "--version", version),
            *("--part-size", "1"),
            AWS_ACCESS_KEY_ID=key.access,
            AWS_SECRET_ACCESS_KEY=key.secret,
        )

    async def say(self, *words: str, **environment: str) -> str:
        """What `kubectl huiju` prints."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "huiju.cli.main"),
            *(f"--kubeconfig={self.world.hub.kubeconfig}", "-n", self.owners, *words),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=os.environ | environment,
        )
        out, _ = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0, out.decode()
        return out.decode()

    async def grant(self, decision: str | None = "Approved") -> None:
        """Ask for the use of it, and decide."""
        spec: Fields = {
            "dataset": {"namespace": self.owners, "name": "corpus"},
            "requestedBy": "li",
            "acceptedLicense": "CC0-1.0",
        }
        if decision:
            spec["decision"] = {"decision": decision, "by": "wang"}
        body = {
            "apiVersion": DATASET_GRANTS.api_version,
            "kind": DATASET_GRANTS.kind,
            "metadata": {"name": "corpus", "namespace": self.world.namespace},
            "spec": spec,
        }
        await self.world.client.create(DATASET_GRANTS, body, self.world.namespace)

    async def decide(self, decision: str) -> None:
        """Decide anew."""
        change = {"spec": {"decision": {"decision": decision, "by": "wang"}}}
        await self.world.client.patch(DATASET_GRANTS, "corpus", change, self.world.namespace)

    async def edit_share(self, **spec: Any) -> None:
        """Change fields of the share's spec."""
        await self.world.client.patch(DATASET_SHARES, "corpus", {"spec": spec}, self.owners)

    async def replicate(self) -> str:
        """Order a copy."""
        return await self.say("dataset", "replicate", "corpus", "--center", CONSUMER)

    def wanted(self, **entry: Any) -> list[Fields]:
        """`spec.data` of a job."""
        return [{"dataset": "corpus", "namespace": self.owners, "mountPath": "/data", **entry}]

    # --- as an observer ------------------------------------------------------------------------

    async def replica(self) -> Fields:
        """The one copy; {} where there is none."""
        found = (await self.world.client.list_all(DATASET_REPLICAS, self.owners)).items
        assert len(found) < 2, found
        return found[0] if found else {}

    async def until(self, check: Callable[[Fields], bool], seconds: float = PATIENCE) -> Fields:
        """Wait until the copy's object passes; fails with the last one seen."""
        end = time.monotonic() + seconds
        while True:
            found = await self.replica()
            if check(found):
                return found
            if time.monotonic() > end:
                raise AssertionError(f"after {seconds} s: {found}")
            await asyncio.sleep(0.05)

    async def until_phase(self, phase: str, seconds: float = PATIENCE) -> Fields:
        """Wait until the copy is in a phase."""
        return await self.until(lambda r: phase_of(r) == phase, seconds)

    async def until_reason(self, reason: str, seconds: float = PATIENCE) -> Fields:
        """Wait until the copy is said to be as it is for a reason."""
        return await self.until(lambda r: reason_of(r) == reason, seconds)

    def copied(self, replica: Fields) -> dict[str, bytes]:
        """The files of the copy."""
        return tree(self.place(replica))

    def place(self, replica: Fields) -> Path:
        """Where the copy lies on this machine."""
        spec = replica["spec"]
        folder = copy_folder(spec["shareUid"], spec["version"])
        return Path(f"{self.root}/store/{folder}")


def phase_of(replica: Fields) -> str:
    """How far a copy is, empty where there is none."""
    return str((replica.get("status") or {}).get("phase", "Pending")) if replica else ""


def reason_of(replica: Fields) -> str:
    """Why it is not Verified, or that it is."""
    conditions = (replica.get("status") or {}).get("conditions") or [{}]
    return str(conditions[0].get("reason", ""))


@asynccontextmanager
async def moving(world: World, folder: Path, sizes: dict[str, int]) -> AsyncIterator[Moving]:
    """The consumer's and the owner's agents, a bucket with files of these sizes, and pullers."""
    owners = f"{world.namespace}-owners"
    await become_pull(world)
    owner = world.center_clients[OWNER]
    await system_namespace(owner)
    await offer(owner, f"{owners}/*=s3:{KEY}/corpora/zh")
    for name in (mailbox_of(OWNER), owners):
        await joining.namespace(world.client, name)
    await say_policy(world.center_clients[CONSUMER], joining.SYSTEM, hostPaths="/store/huiju-data")
    await world.edit_center(CONSUMER, dataStore={"path": "/store", "capacity": "100G"})
    await world.edit_center(OWNER, links=[{"to": CONSUMER, "bandwidth": "10G"}])
    data = folder / "buckets" / "corpora" / "zh"
    for path, size in sizes.items():
        (data / path).parent.mkdir(parents=True, exist_ok=True)
        (data / path).write_bytes(os.urandom(size))
    async with AsyncExitStack() as stack:
        store = stack.enter_context(ObjectStore(folder / "buckets"))
        relay = await stack.enter_async_context(Relay(store.port))
        await _keep_key(owner, store)
        root = folder / "nodes"
        (root / "store").mkdir(parents=True)
        played = await stack.enter_async_context(
            pullers(world.centers[CONSUMER], folder / "pods", root)
        )
        (port,) = ports.reserve(1, folder)
        made = Moving(world, owners, store, relay, played, root, data, folder, {}, port)
        try:
            for center in (CONSUMER, OWNER):
                await made.start_agent(center)
            yield made
        finally:
            for center in tuple(made.agents):
                await made.end_agent(center)
            await _clean(world, owners)


async def offer(owner: Client, *words: str) -> None:
    """Say as the owner of the data's center what shares may be served from."""
    await say_policy(owner, joining.SYSTEM, dataSources=", ".join(words))


async def _keep_key(owner: Client, store: ObjectStore) -> None:
    given = {"accessKeyId": store.key.access, "secretAccessKey": store.key.secret}
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": KEY, "namespace": joining.SYSTEM},
        "data": {name: base64.b64encode(text.encode()).decode() for name, text in given.items()},
    }
    await owner.apply(SECRETS, body, manager="owner", force=True)


@asynccontextmanager
async def _agent(
    world: World, folder: Path, center: str, gateway: str
) -> AsyncIterator[AgentProcess]:
    file = folder / f"{center}-hub.kubeconfig"
    file.write_text(world.hub.kubeconfig_text(), encoding="utf-8")

    def identity(_center: Client) -> HubIdentity:
        return FileIdentity(file)

    settings = replace(
        FAST,
        center=center,
        data_only=center == OWNER,
        data_folder=folder / f"{center}-manifests",
        gateway_url=gateway,
    )
    process = AgentProcess(identity, world.centers[center].credentials(), settings)
    async with going(process):
        yield process


async def _clean(world: World, owners: str) -> None:
    """Remove what the test left; what waits for a hub to let it go waits no longer."""
    client = world.client
    await remove_datasets(client, owners)
    await client.raw("DELETE", DATASET_GRANTS.path(world.namespace))
    for center in (CONSUMER, OWNER):
        for res in (CENTER_COPIES, CENTER_SERVINGS):
            await client.raw("DELETE", res.path(mailbox_of(center)))
    await empty_mailbox(client)
    await client.delete(NAMESPACES, owners)
    consumer = world.center_clients[CONSUMER]
    await consumer.raw("DELETE", JOBS.path(joining.SYSTEM) + "?propagationPolicy=Background")
