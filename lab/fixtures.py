"""pytest fixtures: real clusters, shared by the tests of a run, each test in its own namespace.

Decides what is shared and what is cleaned. Invariant: a test finds no node and no namespace of
another test in the centers, and a run leaves nothing behind, however it ends.

Workers of pytest-xdist share the hub and the bare cluster. Each has centers of its own, since tests
of the centers count nodes.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from typing import Any, Final, TypeVar

import pytest

from huiju.kube.client import Client
from huiju.kube.errors import ApiStatus, NotFound
from huiju.kube.resources import JOBS, NAMESPACES, NODES, PODS, SERVICE_ACCOUNTS
from lab import federation, joining
from lab.cluster import Cluster
from lab.federation import Lab
from lab.kwokctl import BARE, HUB, ClusterSpec, Component
from lab.progress import Progress
from lab.proxy import FaultProxy

CENTERS: Final = ("east", "west", "north")
_TEST: Final = "lab.huiju.dev/test"
_NAMED_BY_SYSTEM: Final = frozenset({"default", "kube-system", "kube-public", "kube-node-lease"})
_SECONDS: Final = 60.0
_START_SECONDS: Final = 80.0
"""Less than a test may take, so that a cluster that fails says why."""
R = TypeVar("R")

NamespaceIn = Callable[[Cluster], Awaitable[str]]
"""Makes this test's namespace in a cluster and returns its name."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs the lab; what uses the one hub follows each other in one worker."""
    needs = {"hub_lab", "centers_lab", "bare_lab", "lab_cluster", "namespace_in"}
    for item in items:
        names = set(getattr(item, "fixturenames", ()))
        if names & needs:
            item.add_marker("lab")
            # Real schedulers and kubelets on a busy machine are late now and then; said by -ra.
            item.add_marker(pytest.mark.flaky(reruns=2))
        if "centers_lab" in names:
            item.add_marker("federation")
        if "hub_lab" in names:
            item.add_marker(pytest.mark.xdist_group("hub"))


# --- shared clusters --------------------------------------------------------------------------


@pytest.fixture(scope="session")
def hub_lab() -> Iterator[Cluster]:
    """The run's hub, with Huiju's CRDs."""
    with _Shared("hub", [ClusterSpec("hub", HUB)]) as lab:
        in_thread(install_crds(lab["hub"]))
        yield lab["hub"]


@pytest.fixture(scope="session")
def centers_lab() -> Iterator[tuple[Cluster, ...]]:
    """The run's three centers."""
    with _Shared(f"centers-{_worker()}", [ClusterSpec(name) for name in CENTERS]) as lab:
        yield tuple(lab[name] for name in CENTERS)


@pytest.fixture(scope="session")
def bare_lab() -> Iterator[Cluster]:
    """The run's etcd and kube-apiserver."""
    with _Shared("bare", [ClusterSpec("bare", BARE)]) as lab:
        yield lab["bare"]


@pytest.fixture
def hub(hub_lab: Cluster) -> Cluster:
    """A cluster with Huiju's CRDs whose garbage collector works but where no pod runs."""
    return hub_lab


@pytest.fixture
def bare_cluster(bare_lab: Cluster) -> Cluster:
    """Only etcd and kube-apiserver: the cheapest real API server."""
    return bare_lab


@pytest.fixture
async def centers(centers_lab: tuple[Cluster, ...]) -> AsyncIterator[tuple[Cluster, ...]]:
    """Three whole clusters without nodes; what the test leaves in them is removed."""
    yield centers_lab
    async with asyncio.TaskGroup() as group:
        for cluster in centers_lab:
            group.create_task(clean(cluster))


@pytest.fixture
def center(centers: tuple[Cluster, ...]) -> Cluster:
    """The first of the centers, where one is enough."""
    return centers[0]


@pytest.fixture
def lab_cluster(
    request: pytest.FixtureRequest,
) -> Iterator[Callable[[ClusterSpec], Awaitable[Cluster]]]:
    """Makes clusters of this test's own, for tests that kill processes or need special flags."""
    made: list[Lab] = []

    async def make(spec: ClusterSpec) -> Cluster:
        name = f"t-{os.getpid()}-{_short(request.node.nodeid)}-{len(made)}"
        lab = await federation.join(
            name, [spec], progress=Progress(_TERMINAL), seconds=_START_SECONDS
        )
        made.append(lab)
        return lab[spec.name]

    yield make
    for lab in made:
        lab.leave()


# --- isolation --------------------------------------------------------------------------------


@pytest.fixture
def namespace(request: pytest.FixtureRequest) -> str:
    """A namespace name that no other test uses; `namespace_in` makes it."""
    return f"t-{_short(request.node.nodeid)}-{uuid.uuid4().hex[:10]}"


@pytest.fixture
async def namespace_in(namespace: str) -> AsyncIterator[NamespaceIn]:
    """Makes this test's namespace where asked, and removes it afterwards."""
    made: dict[str, Cluster] = {}

    async def make(cluster: Cluster) -> str:
        if cluster.server not in made:
            made[cluster.server] = cluster
            await make_namespace(cluster, namespace)
        return namespace

    yield make
    for cluster in made.values():
        async with await cluster.client() as client:
            await _gone_ok(client.delete(NAMESPACES, namespace))


@pytest.fixture
async def bare_proxy(bare_cluster: Cluster) -> AsyncIterator[FaultProxy]:
    """A fault proxy before the bare cluster."""
    async with FaultProxy(bare_cluster) as proxy:
        yield proxy


async def make_namespace(cluster: Cluster, name: str) -> None:
    """Create a namespace and wait until pods can be made in it."""
    async with await cluster.client() as client:
        body = {"metadata": {"name": name, "labels": {_TEST: "true"}}}
        await client.create(NAMESPACES, body)
        if Component.CONTROLLER_MANAGER in cluster.spec.components:
            await _until(lambda: _exists(client, name))


async def install_crds(cluster: Cluster) -> None:
    """Apply Huiju's CRDs and wait until they are served."""
    async with await cluster.client() as client:
        await joining.install_crds(client)


async def clean(cluster: Cluster) -> None:
    """Remove nodes, jobs, pods and namespaces that are not the system's.

    Returns when all but the empty namespaces are gone; those end by themselves a few seconds later.
    """
    async with await cluster.client() as client:
        for job in (await client.list_all(JOBS)).items:
            meta = job["metadata"]
            await _gone_ok(client.delete(JOBS, meta["name"], meta["namespace"]))
        for space in (await client.list_all(NAMESPACES)).items:
            if space["metadata"]["name"] not in _NAMED_BY_SYSTEM:
                await _gone_ok(client.delete(NAMESPACES, space["metadata"]["name"]))
        for node in (await client.list_all(NODES)).items:
            await _gone_ok(client.delete(NODES, node["metadata"]["name"]))
        await _until(lambda: _empty(client))


# --- helpers ----------------------------------------------------------------------------------


class _Shared:
    """A lab that the workers of one run share; the last to leave ends it."""

    def __init__(self, part: str, specs: list[ClusterSpec]) -> None:
        self._name = f"t-{_run_name()}-{part}"
        self._specs = specs
        self._lab: Lab | None = None

    def __enter__(self) -> Lab:
        self._lab = in_thread(
            federation.join(
                self._name,
                self._specs,
                progress=Progress(_TERMINAL),
                seconds=_START_SECONDS,
            )
        )
        return self._lab

    def __exit__(self, *_: object) -> None:
        if self._lab is not None:
            self._lab.leave()


def in_thread(work: Coroutine[Any, Any, R]) -> R:
    """Run a coroutine in a loop of its own, whatever loops this thread has."""
    found: list[R] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            found.append(asyncio.run(work))
        except BaseException as error:  # handed to the caller
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return found[0]


_TERMINAL: Final = os.fdopen(os.dup(2), "w")
"""Standard error as it was before pytest captured it: building programs takes minutes."""


def _run_name() -> str:
    """One name for all workers of a run."""
    return (os.environ.get("PYTEST_XDIST_TESTRUNUID") or f"{os.getpid()}")[:16]


def _worker() -> str:
    """Which worker of the run this is: centers are never shared, since their nodes are counted."""
    return os.environ.get("PYTEST_XDIST_WORKER", "only")


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:10]


async def _until(check: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(_SECONDS):
        while not await check():
            await asyncio.sleep(0.05)


async def _exists(client: Client, namespace: str) -> bool:
    try:
        await client.get(SERVICE_ACCOUNTS, "default", namespace)
    except NotFound:
        return False
    return True


async def _empty(client: Client) -> bool:
    """Whether no node, job and pod is left; pods that nothing would end are ended."""
    pods = (await client.list_all(PODS)).items
    for pod in pods:
        meta = pod["metadata"]
        await _gone_ok(client.delete(PODS, meta["name"], meta["namespace"], grace=0))
    left = [await client.list_all(kind) for kind in (NODES, JOBS)]
    return not pods and not any(page.items for page in left)


async def _gone_ok(work: Awaitable[None]) -> None:
    try:
        await work
    except NotFound:
        return
    except ApiStatus as error:
        if error.code != 409:  # a namespace that is going already says so
            raise
