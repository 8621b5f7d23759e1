"""What Ascend's device plugin reports of single devices, in one ConfigMap a node.

Decides what of a report is believed and how often it is read; what it means for free devices is
decided where a node is counted. Invariants: a report can only take devices away or tell positions,
never add devices; reading is bounded in rate however many nodes a center has, and a center without
such reports costs little.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

import msgspec

from huiju.centers.nodestate import DeviceReport, Reports
from huiju.centers.podusage import device_numbers
from huiju.kube.client import Client
from huiju.kube.errors import ApiStatus, Forbidden, KubeError, NotFound
from huiju.kube.resources import CONFIG_MAPS

log = logging.getLogger(__name__)

NAMESPACE: Final = "kube-system"
PREFIX: Final = "mindx-dl-deviceinfo-"
KEY: Final = "DeviceInfoCfg"
PASS_PERIOD: Final = 20.0
"""Seconds between passes over the nodes; the plugin writes a report when something changes."""
READ_PAUSE: Final = 0.05
"""Seconds between two reads: 20 a second, so that 1,000 nodes are read in a minute."""
PASSES_WITHOUT: Final = 30
"""A node without a report is asked again after so many passes."""
_UNHEALTHY: Final = "-Unhealthy"
_UNLINKED: Final = "-NetworkUnhealthy"


class _Info(msgspec.Struct, rename="pascal"):
    device_list: dict[str, str] = {}


class _Config(msgspec.Struct, rename="pascal"):
    device_info: _Info = msgspec.field(default_factory=_Info)


def read_reports(config_map: Mapping[str, Any]) -> dict[str, DeviceReport]:
    """The reports in a ConfigMap; empty where it holds none that can be read."""
    text = (config_map.get("data") or {}).get(KEY, "")
    try:
        told = msgspec.json.decode(text, type=_Config).device_info.device_list
    except msgspec.DecodeError:
        return {}
    names = {name.removesuffix(_UNHEALTHY).removesuffix(_UNLINKED) for name in told}
    return {
        name: DeviceReport(
            free=device_numbers(told.get(name, "")),
            broken=frozenset(device_numbers(told.get(name + _UNHEALTHY, "")) or ()),
            unlinked=frozenset(device_numbers(told.get(name + _UNLINKED, "")) or ()),
        )
        for name in names
        if "/" in name and not name.endswith(("-Recovering", "-Fault"))
    }


class DeviceReportReader:
    """Reads the reports of the nodes that may have one, over and over; one task runs `run()`."""

    def __init__(
        self,
        client: Client,
        nodes: Callable[[], list[str]],
        on_report: Callable[[str, Reports], None],
    ) -> None:
        self._client = client
        self._nodes = nodes
        self._on_report = on_report
        self._versions: dict[str, str] = {}
        """Of the reports as read last, empty for a node that had none."""

    async def run(self) -> NoReturn:
        """Read until cancelled."""
        passes = 0
        while True:
            try:
                await self.read_all(again=passes % PASSES_WITHOUT == 0)
            except Forbidden as error:
                # An account of an older join; all else is sensed without it.
                log.info("device reports are not read: %s", error)
                await asyncio.sleep(PASS_PERIOD * PASSES_WITHOUT)
            except KubeError as error:
                log.debug("device reports are not read now: %s", error)
            passes += 1
            await asyncio.sleep(PASS_PERIOD)

    async def read_all(self, *, again: bool) -> None:
        """Read once what there is; `again` asks also the nodes that had no report.

        Raises:
            Forbidden: the account may not read them.
            Transient: the server cannot be reached now.
        """
        names = self._nodes()
        self._versions = {name: self._versions[name] for name in names if name in self._versions}
        for name in names:
            if again or self._versions.get(name) != "":
                await self._read(name)
                await asyncio.sleep(READ_PAUSE)

    async def _read(self, node: str) -> None:
        try:
            found = await self._client.get(CONFIG_MAPS, PREFIX + node, NAMESPACE)
        except NotFound:
            self._take(node, "", {})
            return
        except Forbidden:
            raise
        except ApiStatus as error:
            log.debug("report not read: %s", error, extra={"node": node})
            return
        self._take(node, str(found["metadata"]["resourceVersion"]), read_reports(found))

    def _take(self, node: str, version: str, reports: Reports) -> None:
        before = self._versions.get(node)
        self._versions[node] = version
        if before == version or (before is None and not reports):
            return
        self._on_report(node, reports)
