"""Follows a center's nodes, pods and devices, and keeps its inventory.

Decides what is watched and when the inventory is complete; what the objects mean is decided by the
inventory. Invariants: `synced` is set only once everything that counts was read; the listener is
told once however many changes came together.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from huiju.api.center import ComputeCenterSpec
from huiju.centers.ailments import Ailments
from huiju.centers.catalogue import Resolver
from huiju.centers.deviceobjects import DeviceClass, ResourceClaim, ResourceSlice
from huiju.centers.devicereports import DeviceReportReader
from huiju.centers.inventory import CenterInventory
from huiju.centers.nodestate import Reports
from huiju.centers.objects import Node
from huiju.centers.podusage import SensedPod
from huiju.kube.client import Client
from huiju.kube.clock import boottime
from huiju.kube.errors import ApiStatus, KubeError, NotFound
from huiju.kube.informer import Informer
from huiju.kube.resources import DEVICE_CLASSES, NODES, PODS, RESOURCE_CLAIMS, RESOURCE_SLICES

log = logging.getLogger(__name__)

SETTLE_PERIOD: Final = 5.0
"""Seconds between looks at vanished devices."""
DISCOVERY_PERIOD: Final = 600.0
"""Seconds between looks for dynamic resource allocation where it is not served."""
DEVICES_PATIENCE: Final = 0.2
"""Seconds between looks whether the devices were read."""
LIVING_PODS: Final = "status.phase!=Failed"


@dataclass(frozen=True, slots=True)
class ServerVersion:
    """The version of a center's API server."""

    git_version: str


class Sensor:
    """Senses one center; one task runs `run()`."""

    def __init__(
        self, client: Client, spec: ComputeCenterSpec, on_change: Callable[[], None]
    ) -> None:
        self.inventory = CenterInventory(Resolver(spec.accelerators))
        self.synced = asyncio.Event()
        """Set once nodes, pods and, where they are served, devices have all been read."""
        self._ailments = Ailments()
        self._client = client
        self._on_change = on_change
        self._told = 0
        self._telling = False
        self._nodes = Informer(client, NODES, Node, on_change=self._node)
        self._pods = Informer(client, PODS, SensedPod, fields=LIVING_PODS, on_change=self._pod)
        self._devices: tuple[Informer[Any], ...] = ()
        self._reports = DeviceReportReader(client, self.inventory.reporting_nodes, self._report)

    async def run(self) -> NoReturn:
        """Follow the center until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._nodes.run(), name="nodes")
            group.create_task(self._pods.run(), name="pods")
            group.create_task(self._settle(), name="vanished devices")
            group.create_task(self._follow_devices(group), name="devices")
            group.create_task(self._read_reports(), name="device reports")
        raise AssertionError("the tasks of a sensor never end")

    async def version(self) -> ServerVersion:
        """The version of the center's API server.

        Raises:
            Transient: the server cannot be reached now.
        """
        return ServerVersion(str((await self._client.version()).get("gitVersion", "")))

    def age(self) -> float:
        """Seconds since the server last proved that nodes and pods are as they are here."""
        return max(self._nodes.age(), self._pods.age())

    def ailing(self, node: str) -> str:
        """What went wrong with a node's hardware lately, in words; empty if nothing did."""
        return self._ailments.of(node, boottime())

    # --- devices of dynamic resource allocation ----------------------------------------------

    async def _follow_devices(self, group: asyncio.TaskGroup) -> None:
        """Follow slices, claims and classes once they are served."""
        served = await self._serves_devices()
        if served:
            self._start_devices(group)
        await self._nodes.synced.wait()
        await self._pods.synced.wait()
        # An account that may not read devices still senses all that device plugins advertise.
        while any(  # noqa: ASYNC110  a failure has no event to wait for
            not informer.synced.is_set() and informer.failure is None for informer in self._devices
        ):
            await asyncio.sleep(DEVICES_PATIENCE)
        self.synced.set()
        self._changed()
        while not served:
            await asyncio.sleep(DISCOVERY_PERIOD)
            served = await self._serves_devices()
            if served:
                self._start_devices(group)

    async def _serves_devices(self) -> bool:
        path = f"/apis/{RESOURCE_SLICES.group}/{RESOURCE_SLICES.version}"
        while True:
            try:
                await self._client.raw("GET", path)
                return True
            except NotFound:
                return False
            except ApiStatus as error:
                log.warning(
                    "devices are not sensed: %s", error, extra={"center": self._client.name}
                )
                return False
            except KubeError:
                await asyncio.sleep(SETTLE_PERIOD)

    def _start_devices(self, group: asyncio.TaskGroup) -> None:
        self._devices = (
            Informer(self._client, RESOURCE_SLICES, ResourceSlice, on_change=self._slice),
            Informer(self._client, RESOURCE_CLAIMS, ResourceClaim, on_change=self._claim),
            Informer(self._client, DEVICE_CLASSES, DeviceClass, on_change=self._class),
        )
        for informer in self._devices:
            group.create_task(informer.run(), name=informer.resource.plural)

    # --- changes -----------------------------------------------------------------------------

    def _node(self, old: Node | None, new: Node | None) -> None:
        if new is not None:
            self.inventory.set_node(new, boottime())
            self._examine(new.metadata.name)
        elif old is not None:
            self.inventory.drop_node(old.metadata.name)
            self._examine(old.metadata.name)
        self._changed()

    def _examine(self, node: str) -> None:
        self._ailments.note(node, self.inventory.health(node), boottime())

    def _pod(self, old: SensedPod | None, new: SensedPod | None) -> None:
        if new is not None:
            self.inventory.set_pod(new)
        elif old is not None:
            self.inventory.drop_pod(old.metadata.uid)
        self._changed()

    def _slice(self, old: ResourceSlice | None, new: ResourceSlice | None) -> None:
        if new is not None:
            self.inventory.set_slice(new)
        elif old is not None:
            self.inventory.drop_slice(old.metadata.name)
        self._changed()

    def _claim(self, old: ResourceClaim | None, new: ResourceClaim | None) -> None:
        if new is not None:
            self.inventory.set_claim(new)
        elif old is not None:
            self.inventory.drop_claim(old.metadata.uid)
        self._changed()

    def _class(self, old: DeviceClass | None, new: DeviceClass | None) -> None:
        if new is not None:
            self.inventory.set_class(new)
        elif old is not None:
            self.inventory.drop_class(old.metadata.name)
        self._changed()

    def _report(self, node: str, reports: Reports) -> None:
        self.inventory.set_reports(node, reports)
        self._examine(node)
        self._changed()

    async def _read_reports(self) -> NoReturn:
        await self._nodes.synced.wait()
        await self._reports.run()

    async def _settle(self) -> NoReturn:
        while True:
            self.inventory.settle(boottime())
            self._changed()
            await asyncio.sleep(SETTLE_PERIOD)

    def _changed(self) -> None:
        """Tell the listener, once for all changes of this turn of the event loop."""
        if self._telling or self.inventory.version == self._told:
            return
        self._telling = True
        asyncio.get_running_loop().call_soon(self._tell)

    def _tell(self) -> None:
        self._telling = False
        self._told = self.inventory.version
        self._on_change()
