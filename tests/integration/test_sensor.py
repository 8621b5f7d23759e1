"""The sensor against a real API server: nodes, pods and devices followed by watch."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import pytest

from huiju.api.center import ComputeCenterSpec
from huiju.centers.devicereports import DeviceReportReader
from huiju.centers.sensor import Sensor
from huiju.kube.client import Client
from huiju.kube.errors import AlreadyExists, NotFound
from huiju.kube.resources import (
    CONFIG_MAPS,
    DEVICE_CLASSES,
    NODES,
    PODS,
    RESOURCE_SLICES,
    SERVICE_ACCOUNTS,
    Resource,
)
from huiju.scheduling.model import PODS as POD_SLOTS
from lab.cluster import Cluster
from lab.fixtures import NamespaceIn
from lab.nodes import ASCEND, node
from tests.inventory_worlds import GPU, bucket_of, free_on, gpu_device
from tests.patience import PATIENCE

CENTER = ComputeCenterSpec.model_validate(
    {"connection": {"push": {"kubeconfigSecret": {"name": "bare"}}}, "region": "south"}
)


class Sensed:
    """A running sensor and how often it told of changes."""

    def __init__(self, client: Client) -> None:
        self.told = 0
        self.client = client
        self.sensor = Sensor(client, CENTER, self._note)
        self.inventory = self.sensor.inventory

    def _note(self) -> None:
        self.told += 1

    async def shows(self, check: Callable[[], bool], seconds: float = PATIENCE) -> None:
        """Wait until the inventory shows something."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not check():
                    await asyncio.sleep(0.02)
        assert check(), self.inventory.summary()


async def make_node(client: Client, name: str, kind: str) -> None:
    await client.create(NODES, node(kind, name))
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    await client.patch_status(NODES, name, None, ready)


async def make_pod(client: Client, space: str, name: str, on: str, units: int) -> None:
    resources = {"limits": {ASCEND: str(units)}, "requests": {ASCEND: str(units), "cpu": "1"}}
    spec = {
        "nodeName": on,
        "containers": [{"name": "main", "image": "train", "resources": resources}],
    }
    await client.create(PODS, {"metadata": {"name": name}, "spec": spec}, space)


async def drop(client: Client, resource: Resource, name: str, namespace: str | None = None) -> None:
    with suppress(NotFound):
        await client.delete(resource, name, namespace)


@pytest.fixture
async def sensed(bare_cluster: Cluster) -> AsyncIterator[Sensed]:
    """A sensor on the bare cluster, with two Ascend nodes there."""
    async with await bare_cluster.client() as client:
        for name in ("sense-a", "sense-b"):
            await make_node(client, name, "ascend-910b")
        made = Sensed(client)
        task = asyncio.create_task(made.sensor.run())
        try:
            async with asyncio.timeout(PATIENCE):
                await made.sensor.synced.wait()
            yield made
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            for name in ("sense-a", "sense-b", "sense-c"):
                await drop(client, NODES, name)
            await drop(client, RESOURCE_SLICES, "sense-slice")
            await drop(client, DEVICE_CLASSES, "sense-gpu")


@pytest.fixture
async def space(sensed: Sensed, bare_cluster: Cluster, namespace_in: NamespaceIn) -> str:
    """A namespace in which pods can be made though no controller runs."""
    name = await namespace_in(bare_cluster)
    with suppress(AlreadyExists):
        await sensed.client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default"}}, name)
    return name


async def test_a_center_is_read_completely_before_it_is_synced(sensed: Sensed) -> None:
    inventory = sensed.inventory
    assert free_on(inventory, "sense-a", ASCEND) == 8
    assert free_on(inventory, "sense-b", ASCEND) == 8
    bucket = bucket_of(inventory, "sense-a")
    assert bucket is not None
    assert {"sense-a", "sense-b"} <= set(bucket.nodes)
    assert dict(bucket.free)[POD_SLOTS] > 0
    assert sensed.told >= 1
    assert sensed.sensor.age() < 60
    assert (await sensed.sensor.version()).git_version.startswith("v1.")


async def test_pods_come_and_go(sensed: Sensed, space: str) -> None:
    inventory, client = sensed.inventory, sensed.client
    await make_pod(client, space, "p", "sense-a", 6)
    await sensed.shows(lambda: free_on(inventory, "sense-a", ASCEND) == 2)
    await client.patch_status(PODS, "p", space, {"phase": "Failed"})
    await sensed.shows(lambda: free_on(inventory, "sense-a", ASCEND) == 8)
    await make_pod(client, space, "q", "sense-b", 8)
    await sensed.shows(lambda: free_on(inventory, "sense-b", ASCEND) == 0)
    await client.delete(PODS, "q", space, grace=0)
    await sensed.shows(lambda: free_on(inventory, "sense-b", ASCEND) == 8)


async def test_nodes_come_change_and_go(sensed: Sensed) -> None:
    inventory, client = sensed.inventory, sensed.client
    await make_node(client, "sense-c", "nvidia-h100")
    await sensed.shows(lambda: free_on(inventory, "sense-c", GPU) == 8)
    await client.patch(NODES, "sense-c", {"spec": {"unschedulable": True}})
    await sensed.shows(lambda: bucket_of(inventory, "sense-c") is None)
    assert inventory.resource_of("nvidia-h100-sxm") == GPU
    await client.delete(NODES, "sense-c")
    await sensed.shows(lambda: inventory.resource_of("nvidia-h100-sxm") is None)


async def test_devices_of_claims_are_sensed(sensed: Sensed) -> None:
    inventory, client = sensed.inventory, sensed.client
    device = gpu_device("gpu-0")
    spec: dict[str, Any] = {
        "driver": "gpu.nvidia.com",
        "nodeName": "sense-a",
        "pool": {"name": "sense-a", "generation": 1, "resourceSliceCount": 1},
        "devices": [device],
    }
    await client.create(RESOURCE_SLICES, {"metadata": {"name": "sense-slice"}, "spec": spec})
    await sensed.shows(lambda: inventory.resource_of("nvidia-h100-sxm") == "gpu.nvidia.com")
    selector = {"cel": {"expression": "device.driver == 'gpu.nvidia.com'"}}
    made = await client.create(
        DEVICE_CLASSES,
        {
            "metadata": {"name": "sense-gpu"},
            "spec": {"selectors": [selector], "extendedResourceName": GPU},
        },
    )
    assert "extendedResourceName" in made["spec"]
    await sensed.shows(lambda: free_on(inventory, "sense-a", GPU) == 1)
    await client.delete(DEVICE_CLASSES, "sense-gpu")
    await sensed.shows(lambda: free_on(inventory, "sense-a", GPU) == 0)


async def test_reports_of_the_device_plugin_are_read(sensed: Sensed) -> None:
    inventory, client = sensed.inventory, sensed.client
    assert inventory.reporting_nodes() == ["sense-a", "sense-b"]
    reader = DeviceReportReader(client, inventory.reporting_nodes, inventory.set_reports)
    name = "mindx-dl-deviceinfo-sense-a"
    try:
        for unlinked, free in (("Ascend910-1,Ascend910-5", 6), ("", 8), ("Ascend910-7", 7)):
            told = {f"{ASCEND}-NetworkUnhealthy": unlinked}
            report = {
                "metadata": {"name": name},
                "data": {"DeviceInfoCfg": json.dumps({"DeviceInfo": {"DeviceList": told}})},
            }
            await drop(client, CONFIG_MAPS, name, "kube-system")
            await client.create(CONFIG_MAPS, report, "kube-system")
            await reader.read_all(again=False)
            assert free_on(inventory, "sense-a", ASCEND) == free
            assert free_on(inventory, "sense-b", ASCEND) == 8
    finally:
        await drop(client, CONFIG_MAPS, name, "kube-system")
    await reader.read_all(again=False)
    assert free_on(inventory, "sense-a", ASCEND) == 8
