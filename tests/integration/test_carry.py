"""What travels with a job is read from its own namespace on the hub, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from huiju.api.reasons import Reason
from huiju.centers.carried import NOTHING
from huiju.centers.jobview import JobView
from huiju.centers.refusals import RenderRefused
from huiju.hub.carry import read_carried
from huiju.kube.client import Client
from huiju.kube.resources import CONFIG_MAPS, SECRETS
from lab.cluster import Cluster
from lab.fixtures import NamespaceIn
from tests.unit.centers.workloads import job

SECRET = "c2VjcmV0LXdvcmRz"


@pytest.fixture
async def client(bare_cluster: Cluster) -> AsyncIterator[Client]:
    async with await bare_cluster.client() as made:
        yield made


@pytest.fixture
async def place(client: Client, bare_cluster: Cluster, namespace_in: NamespaceIn) -> str:
    space = await namespace_in(bare_cluster)
    await client.create(CONFIG_MAPS, {"metadata": {"name": "conf"}, "data": {"a": "1"}}, space)
    await client.create(SECRETS, {"metadata": {"name": "token"}, "data": {"t": SECRET}}, space)
    pull = {
        "metadata": {"name": "pull"},
        "type": "kubernetes.io/dockerconfigjson",
        "data": {".dockerconfigjson": "e30="},
    }
    await client.create(SECRETS, pull, space)
    return space


def carrying(place: str, **names: Any) -> JobView:
    view = job(carry=names)
    view.metadata.namespace = place
    return view


async def test_everything_that_is_named_is_read_once(client: Client, place: str) -> None:
    view = carrying(
        place, configMaps=["conf"], secrets=["token", "pull"], imagePullSecrets=["pull"]
    )
    carried = await read_carried(client, view)
    assert [(one.kind, one.name) for one in carried.objects] == [
        ("ConfigMap", "conf"),
        ("Secret", "token"),
        ("Secret", "pull"),
    ]
    assert carried.pull_secrets == ("pull",)
    assert carried.objects[0].contents == {"data": {"a": "1"}}
    assert carried.objects[1].contents == {"data": {"t": SECRET}, "type": "Opaque"}
    assert carried.objects[2].contents["type"] == "kubernetes.io/dockerconfigjson"
    assert SECRET not in repr(carried)


async def test_a_job_that_names_nothing_reads_nothing(client: Client, place: str) -> None:
    assert await read_carried(client, carrying(place)) is NOTHING


@pytest.mark.parametrize(
    ("names", "field"),
    [
        ({"configMaps": ["conf", "missing"]}, "spec.carry.configMaps[1]"),
        ({"secrets": ["missing"]}, "spec.carry.secrets[0]"),
        ({"imagePullSecrets": ["missing"]}, "spec.carry.imagePullSecrets[0]"),
        ({"secrets": ["conf"]}, "spec.carry.secrets[0]"),
    ],
)
async def test_what_is_missing_is_told_with_its_field(
    client: Client, place: str, names: dict[str, Any], field: str
) -> None:
    with pytest.raises(RenderRefused) as caught:
        await read_carried(client, carrying(place, **names))
    assert caught.value.reason is Reason.CARRIED_OBJECT_MISSING
    assert caught.value.message.startswith(f"{field}: there is no ")
    assert place in caught.value.message


async def test_a_token_of_the_hub_stays_on_the_hub(client: Client, place: str) -> None:
    boot = {"metadata": {"name": "boot"}, "type": "bootstrap.kubernetes.io/token", "data": {}}
    await client.create(SECRETS, boot, place)
    with pytest.raises(RenderRefused, match="stays in its own cluster") as caught:
        await read_carried(client, carrying(place, secrets=["boot"]))
    assert caught.value.reason is Reason.INVALID_SPEC
