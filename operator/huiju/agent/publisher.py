"""Writes the center's inventory into its mailbox, piece by piece, only what changed.

Decides when to write. Invariants: what lies in the mailbox after a round is what the inventory said
at its start; pieces of an earlier life that no longer hold are removed; the first round ends with
`published`, and not before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec

from huiju.agent.settings import AgentSettings
from huiju.centers.inventory import CenterInventory
from huiju.centers.mailbox import mailbox_of, report_of
from huiju.centers.shards import Shards
from huiju.centers.syncer import Syncer
from huiju.kube.client import Client
from huiju.kube.clock import boottime
from huiju.kube.errors import KubeError, NotFound
from huiju.kube.resources import CENTER_INVENTORIES

log = logging.getLogger(__name__)
Fields = dict[str, Any]
STRAYS_PER_PIECE = 200


class Publisher:
    """The writer of one mailbox's inventory."""

    def __init__(
        self,
        hub: Client,
        inventory: CenterInventory,
        syncer: Syncer,
        known: Callable[[str], bool],
        settings: AgentSettings,
    ) -> None:
        self.published = asyncio.Event()
        """Set once everything that the center has lies in the mailbox."""
        self.trouble = ""
        """Why the last round did not come to its end, empty if it did."""
        self.wake = asyncio.Event()
        self.writes = 0
        """Pieces written so far."""
        self._hub = hub
        self._inventory = inventory
        self._syncer = syncer
        self._known = known
        self._settings = settings
        self._space = mailbox_of(settings.center)
        self._shards = Shards()
        self._written: dict[str, Fields] | None = None
        self._due: set[str] = {""}
        self._look_at = 0.0

    async def run(self) -> None:
        """Write until cancelled; the inventory must have been read."""
        while True:
            self.wake.clear()
            try:
                await self._round()
                self.published.set()
                self.trouble = ""
            except (KubeError, TimeoutError) as error:
                self.trouble = str(error) or type(error).__name__
                log.info("inventory not written: %s", self.trouble)
                await asyncio.sleep(self._settings.retry)
                continue
            await asyncio.sleep(self._settings.publish_interval)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.heartbeat):
                    await self.wake.wait()

    async def _round(self) -> None:
        if self._written is None or boottime() >= self._look_at:
            page = await self._hub.list_all(CENTER_INVENTORIES, self._space)
            self._written = {item["metadata"]["name"]: item["spec"] for item in page.items}
            self._look_at = boottime() + self._settings.look_again
            self._due |= self._shards.bits()
        for node in self._inventory.take_touched():
            self._due.add(self._shards.put(node, self._inventory.node(node)))
        for bits in sorted(self._due):
            for name, spec in self._shards.written(bits):
                await self._write(self._written, name, spec)
            self._due.discard(bits)
        strays = self._strays()
        for name, spec in strays.items():
            await self._write(self._written, name, spec)
        # A piece that fell apart goes only after the smaller ones are there.
        for name in self._written.keys() - self._shards.names() - strays.keys():
            with suppress(NotFound):
                await self._hub.delete(CENTER_INVENTORIES, name, self._space)
            del self._written[name]

    async def _write(self, written: dict[str, Fields], name: str, spec: Fields) -> None:
        if written.get(name) == spec:
            return
        self.writes += 1
        body = {
            "apiVersion": CENTER_INVENTORIES.api_version,
            "kind": CENTER_INVENTORIES.kind,
            "metadata": {"name": name, "namespace": self._space},
            "spec": {"groups": [], "holders": [], "strays": [], **spec},
        }
        try:
            await self._hub.patch(CENTER_INVENTORIES, name, {"spec": body["spec"]}, self._space)
        except NotFound:
            await self._hub.create(CENTER_INVENTORIES, body, self._space)
        written[name] = spec

    def _strays(self) -> dict[str, Fields]:
        """What the center holds that no CenterWork speaks of, in pieces."""
        found: list[Fields] = []
        for held in self._syncer.held():
            if self._known(held.job_uid):
                continue
            found += [
                {
                    "jobUid": held.job_uid,
                    "namespace": held.namespace,
                    "workload": held.name,
                    "report": msgspec.to_builtins(report_of(seen)),
                }
                for seen in self._syncer.observations_of(held.job_uid)
                if seen.epoch == held.epoch
            ]
        found.sort(key=lambda one: (one["jobUid"], one["report"]["epoch"]))
        return {
            f"strays-{start // STRAYS_PER_PIECE}": {
                "strays": found[start : start + STRAYS_PER_PIECE]
            }
            for start in range(0, len(found), STRAYS_PER_PIECE)
        }
