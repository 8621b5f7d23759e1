"""A federation for storms: a hub, two push centers and a pull center, with a proxy on every link.

Each center has its sentinel, and a lab kubelet that plays the pods of guarded jobs. Decides who
reaches what through which proxy and with which rights: those of the charts. Invariants: no program
of Huiju's reaches an API server but through its proxy; leaving the context ends everything.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from huiju.centers import agentrole, role
from huiju.centers.lease import LEASE_PATH
from huiju.centers.mailbox import mailbox_of
from huiju.centers.role import RoleRule
from huiju.hub import role as hubrole
from huiju.kube.client import Client, ClientSettings
from huiju.kube.resources import (
    CLUSTER_ROLES,
    COMPUTE_CENTERS,
    CONFIG_MAPS,
    PRIORITY_CLASSES,
    SECRETS,
)
from lab import federation, joining, ports
from lab.cluster import Cluster
from lab.hubprocess import HubProcess
from lab.kubeletprocess import KubeletProcess
from lab.kwokctl import HOST, HUB, ClusterSpec
from lab.nodes import add_nodes
from lab.proxy import FaultProxy
from tests.chaos.load import CONFIG, QUEUES, SECRET, WORD
from tests.chaos.plan import CENTERS, LINKS, PULL, PUSH
from tests.integration.hub import leasing

NAMESPACE: Final = "storm"
NODES: Final = 2
CARDS: Final = 8
_KIND: Final = "ascend-910b"
_PATIENT: Final = ClientSettings(deadline=5.0)


@dataclass(frozen=True, slots=True)
class Federation:
    """The parts of one storm."""

    folder: Path
    clusters: dict[str, Cluster]
    clients: dict[str, Client]
    """The administrator's, past the proxies."""
    proxies: dict[str, FaultProxy]
    programs: dict[str, HubProcess]
    held_down: set[str]
    """Programs that a blow has ended and will start again."""

    @property
    def lake(self) -> Path:
        """The folder that all centers reach, for checkpoints."""
        return self.folder / "lake"

    @property
    def runs(self) -> Path:
        """What the lab kubelets ran, for `lab/runrecord.py`."""
        return self.folder / "runs.jsonl"

    @property
    def user(self) -> Client:
        """The administrator of the hub, as its users."""
        return self.clients["hub"]

    async def start(self, program: str) -> None:
        """Start a program again, if it does not run, and wait for nothing."""
        process = self.programs[program]
        if not process.alive:
            process.launch()

    async def supervise(self) -> None:
        """Start again what ends by itself, as a kubelet does, until cancelled."""
        while True:
            await asyncio.sleep(1.0)
            for name in set(self.programs) - self.held_down:
                await self.start(name)

    async def join(self, center: str, leading_to: str = "") -> None:
        """Join a push center; its kubeconfig may lead to another one."""
        await _join(self, center, leading_to or center)

    async def equip(self, center: str) -> None:
        """Give a center what its owner gives it: nodes, a priority class, an account."""
        client = self.clients[center]
        await add_nodes(client, _KIND, NODES, prefix=f"{center}-")
        await client.apply(PRIORITY_CLASSES, role.priority_class(), manager="owner", force=True)
        text = await leasing.sentinel_account(client, self.clusters[center])
        proxied = _through(text, self.proxies[f"sentinel-{center}"])
        _private(self.sentinel_file(center), proxied)

    def sentinel_file(self, center: str) -> Path:
        """The kubeconfig of a center's sentinel."""
        return self.folder / f"sentinel-{center}.kubeconfig"


@asynccontextmanager
async def raised(name: str, folder: Path, seed: int) -> AsyncIterator[Federation]:
    """A federation that works: all centers Ready."""
    specs = [ClusterSpec("hub", HUB), *(ClusterSpec(center) for center in CENTERS)]
    lab = await federation.join(name, specs)
    try:
        async with _parts(lab.clusters, folder, seed) as made:
            yield made
    finally:
        lab.leave()


@asynccontextmanager
async def _parts(
    clusters: dict[str, Cluster], folder: Path, seed: int
) -> AsyncIterator[Federation]:
    async with AsyncExitStack() as stack:
        clients = {
            name: await stack.enter_async_context(await one.client(settings=_PATIENT))
            for name, one in clusters.items()
        }
        ends = {link: clusters[_end(link)] for link in LINKS}
        proxies = {
            link: await stack.enter_async_context(FaultProxy(end, seed=seed))
            for link, end in ends.items()
        }
        hub_port, agent_port, *more_ports = ports.reserve(2 + 2 * len(CENTERS), folder)
        made = Federation(folder, clusters, clients, proxies, {}, set())
        await _install(made)
        hub_file = await _hub_account(made)
        agent_files = await _agent_accounts(made)
        made.programs["hub"] = _program(folder, "hub", hub_port, hub_file)
        made.programs["agent"] = _program(
            folder,
            "agent",
            agent_port,
            agent_files[0],
            f"--center-kubeconfig={agent_files[1]}",
            f"--center={PULL}",
        )
        for center in CENTERS:
            _guard(stack, made, center, more_ports.pop(), more_ports.pop())
        try:
            for center in PUSH:
                await made.join(center)
            await asyncio.gather(*(one.start() for one in made.programs.values()))
            await _until_ready(made)
            yield made
        finally:
            for process in made.programs.values():
                process.send(signal.SIGCONT)
                process.kill()


def _program(folder: Path, name: str, port: int, file: Path, *more: str) -> HubProcess:
    program = name.partition("-")[0]
    flag = "--center-kubeconfig" if program == "sentinel" else "--kubeconfig"
    return HubProcess(
        file,
        folder / f"{name}.log",
        port,
        more,
        words=(program, flag),
        module="tests.chaos.program",
    )


def _guard(
    stack: AsyncExitStack, made: Federation, center: str, port: int, lease_port: int
) -> None:
    """A center's sentinel, and the kubelet whose guards ask it."""
    folder, name = made.folder, f"sentinel-{center}"
    made.programs[name] = _program(
        folder, name, port, made.sentinel_file(center), f"--lease-port={lease_port}"
    )
    file = _private(folder / f"{center}.kubeconfig", made.clusters[center].kubeconfig_text())
    url = f"http://{HOST}:{lease_port}{LEASE_PATH}"
    stack.enter_context(KubeletProcess(file, center, folder / center, made.runs, url))


def _end(link: str) -> str:
    """The cluster that a link leads to."""
    return "hub" if link == "agent" else link.removeprefix("sentinel-")


# --- what is installed ----------------------------------------------------------------------------


async def _install(made: Federation) -> None:
    user = made.user
    await joining.install(user)
    await joining.namespace(user, NAMESPACE)
    await joining.namespace(user, mailbox_of(PULL))
    for number, queue in enumerate(QUEUES):
        await joining.queue(user, queue, weight=number + 1)
    word = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}}
    await user.create(SECRETS, word | {"stringData": {"WORD": WORD}}, NAMESPACE)
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CONFIG}}
    await user.create(CONFIG_MAPS, config | {"data": {"A": "b"}}, NAMESPACE)
    for center in CENTERS:
        await made.equip(center)
    pull = made.clients[PULL]
    await joining.namespace(pull, joining.SYSTEM)
    policy = {"apiVersion": "v1", "kind": "ConfigMap"}
    meta = {"metadata": {"name": agentrole.POLICY, "namespace": joining.SYSTEM}}
    data = {"data": {"hostPaths": str(made.lake)}}
    await pull.apply(CONFIG_MAPS, policy | meta | data, manager="owner", force=True)
    joined = {
        "apiVersion": COMPUTE_CENTERS.api_version,
        "kind": COMPUTE_CENTERS.kind,
        "metadata": {"name": PULL},
        "spec": {"connection": {"pull": {"approved": "Approved"}}, "region": PULL},
    }
    await user.create(COMPUTE_CENTERS, joined)


def _rules(name: str, rules: Iterable[RoleRule]) -> dict[str, Any]:
    return {
        "apiVersion": CLUSTER_ROLES.api_version,
        "kind": CLUSTER_ROLES.kind,
        "metadata": {"name": name},
        "rules": [rule.manifest() for rule in rules],
    }


async def _account(
    made: Federation, cluster: str, link: str, name: str, rules: Iterable[RoleRule]
) -> str:
    """A kubeconfig of an account with these rights, through the proxy of a link."""
    text = await joining.account(
        made.clients[cluster], made.clusters[cluster], name, _rules(name, rules)
    )
    return _through(text, made.proxies[link])


def _through(kubeconfig: str, proxy: FaultProxy) -> str:
    config = yaml.safe_load(kubeconfig)
    config["clusters"][0]["cluster"]["server"] = proxy.server
    return yaml.safe_dump(config)


async def _hub_account(made: Federation) -> Path:
    rules = (*hubrole.CLUSTER, *hubrole.OWN, *hubrole.CARRY, *agentrole.HUB_IN_MAILBOX)
    text = await _account(made, "hub", "hub", hubrole.ACCOUNT, rules)
    return _private(made.folder / "hub.kubeconfig", text)


async def _agent_accounts(made: Federation) -> tuple[Path, Path]:
    there = (*agentrole.ASKING, *agentrole.MAILBOX, *agentrole.HUB_WIDE)
    on_hub = await _account(
        made, "hub", "agent", agentrole.ACCOUNT, (*there, agentrole.own_center(PULL))
    )
    here = (*agentrole.CENTER_LOOKING, *agentrole.CENTER_WORKING, *agentrole.CENTER_OWN)
    at_home = await _account(made, PULL, PULL, agentrole.ACCOUNT, here)
    return (
        _private(made.folder / "agent-hub.kubeconfig", on_hub),
        _private(made.folder / "agent-center.kubeconfig", at_home),
    )


async def _join(made: Federation, center: str, leading_to: str) -> None:
    text = await _account(made, leading_to, leading_to, role.ACCOUNT, role.RULES)
    spec = {"sharing": {"hostPaths": [str(made.lake)]}}
    await joining.join(made.user, made.clusters[center], name=center, kubeconfig=text, spec=spec)


def _private(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return path


async def _until_ready(made: Federation) -> None:
    async with asyncio.timeout(60):
        while not all([await ready(made, center) for center in CENTERS]):
            await asyncio.sleep(0.2)


async def ready(made: Federation, center: str) -> bool:
    """Whether the hub finds a center Ready."""
    found = await made.user.get(COMPUTE_CENTERS, center)
    conditions = (found.get("status") or {}).get("conditions") or []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
