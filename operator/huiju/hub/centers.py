"""ComputeCenters: which runtimes exist, and their statuses on the hub.

Decides when a runtime is made, remade or ended as ComputeCenters come, change and go. Invariant:
exactly one runtime per ComputeCenter; one center's trouble is confined to its own tasks.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from huiju.api.center import ComputeCenterSpec
from huiju.api.zones import time_zone
from huiju.hub.announce import Announcer
from huiju.hub.center import CenterRuntime
from huiju.hub.center_status import Fields, answered, refused, status_of, unread
from huiju.hub.centerlease import CLOCKS_APART, CenterLease
from huiju.hub.clock import seconds
from huiju.hub.connection import HubSide
from huiju.hub.faults import Faults
from huiju.hub.settings import ANNOTATION_ALLOW_ORPHAN_REMOVAL
from huiju.hub.sites import Sites
from huiju.hub.status import merge_patch
from huiju.kube.clock import boottime
from huiju.kube.errors import Conflict, KubeError, NotFound
from huiju.kube.resources import COMPUTE_CENTERS

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Refused:
    """A ComputeCenter whose spec cannot be used."""

    uid: str
    generation: int
    problem: str
    status: Fields
    """As last seen."""


class Record:
    """One ComputeCenter as last seen, with its runtime's task."""

    __slots__ = (
        "agreed_orphans",
        "generation",
        "mass_orphans",
        "orphan_consent",
        "runtime",
        "status",
        "task",
        "uid",
        "version",
    )

    def __init__(self, runtime: CenterRuntime, uid: str) -> None:
        self.runtime = runtime
        self.uid = uid
        self.generation = 0
        self.version = 0
        self.status: Fields = {}
        self.orphan_consent = ""
        self.agreed_orphans: frozenset[str] = frozenset()
        self.mass_orphans = ""
        self.task: asyncio.Task[None] | None = None


class Centers:
    """Makes and ends runtimes; writes statuses."""

    def __init__(self, hub: HubSide, sites: Sites, events: Announcer) -> None:
        self._hub = hub
        self._sites = sites
        self._events = events
        self._records: dict[str, Record] = {}
        self._dirty: set[str] = set()
        self._refused: dict[str, _Refused] = {}
        """Without a runtime, for their spec cannot be used."""
        self._group: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Keep statuses up to date until cancelled; runtimes live in this task group."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for record in self._records.values():
                self._start(record)
            while True:
                await asyncio.sleep(self._hub.settings.center_status_interval)
                for record in self._records.values():
                    record.runtime.look_at_time(time.time())
                await self._write_statuses()

    def records(self) -> list[Record]:
        """All known centers."""
        return list(self._records.values())

    def answered(self) -> set[str]:
        """The centers that, by their statuses, answered when they were last looked at."""
        return {name for name, record in self._records.items() if answered(record.status)}

    def changed(self, name: str) -> None:
        """Something that the status shows may have changed."""
        self._dirty.add(name)

    def upsert(self, body: Mapping[str, Any]) -> None:
        """A ComputeCenter appeared or changed."""
        meta = body["metadata"]
        name = str(meta["name"])
        try:
            spec = _usable(body.get("spec") or {})
        except ValueError as error:
            self._refuse(body, str(error))
            return
        record = self._records.get(name)
        version = int(meta.get("resourceVersion") or 0)
        if record is not None and version < record.version:
            return  # a listing that a watch has overtaken
        self._refused.pop(name, None)
        if record is not None and record.uid != meta["uid"]:
            self.remove(name)
            record = None
        status = dict(body.get("status") or {})
        if record is None:
            record = self._add(name, str(meta["uid"]), spec, status)
        elif record.generation != meta.get("generation") and record.runtime.respec(spec):
            self._restart(record)
        record.version = version
        record.generation = int(meta.get("generation") or 0)
        record.status = status
        notes = meta.get("annotations") or {}
        record.orphan_consent = str(notes.get(ANNOTATION_ALLOW_ORPHAN_REMOVAL, ""))
        self._dirty.add(name)

    def _refuse(self, body: Mapping[str, Any], problem: str) -> None:
        """A spec that the schema let through cannot be used: say so, and place nothing there.

        A center that is known already goes on by its former spec, so that its jobs are followed.
        """
        meta = body["metadata"]
        name, generation = str(meta["name"]), int(meta.get("generation") or 0)
        log.error("center refused", extra={"center": name, "error": problem})
        record = self._records.get(name)
        if record is not None and record.uid == meta["uid"]:
            record.generation = generation
            record.runtime.refuse_spec(problem)
        else:
            before = dict(body.get("status") or {})
            self._refused[name] = _Refused(str(meta["uid"]), generation, problem, before)
        self._dirty.add(name)

    def remove(self, name: str) -> None:
        """A ComputeCenter was deleted; what runs there stays and is nobody's now."""
        self._refused.pop(name, None)
        record = self._records.pop(name, None)
        if record is None:
            return
        self._sites.drop(name)
        if record.task is not None:
            record.task.cancel()
        self._hub.callbacks.changed(name)
        self._hub.callbacks.opened(name)  # its jobs are looked at, and say so

    def keep_only(self, names: set[str], version: int) -> None:
        """A full listing at `version`: drop what it does not name (a watch may miss deletions)."""
        self._refused = {n: told for n, told in self._refused.items() if n in names}
        for name in set(self._records) - names:
            if self._records[name].version <= version:
                self.remove(name)

    def _add(self, name: str, uid: str, spec: ComputeCenterSpec, status: Fields) -> Record:
        identity = str((status.get("identity") or {}).get("uid") or "")
        lease = CenterLease(
            self._hub.settings.lease_profiles,
            spec.lease.profile,
            status,
            boottime(),
            time.time(),
        )
        runtime = CenterRuntime(name, spec, identity, lease, self._hub)
        runtime.faults = Faults(self._hub.settings.faults, status.get("faultyNodes") or ())
        runtime.faults.forgive(seconds(spec.hardware_repaired or ""))
        runtime.unread = unread(status)
        runtime.lost_since = seconds(str(status.get("lostSince") or ""))
        record = self._records[name] = Record(runtime, uid)
        self._sites.add(runtime)
        self._start(record)
        self._hub.callbacks.changed(name)
        return record

    def _start(self, record: Record, old: asyncio.Task[None] | None = None) -> None:
        if self._group is not None and record.task is None:
            name = record.runtime.name
            record.task = self._group.create_task(
                _run_after(old, record.runtime), name=f"center {name}"
            )

    def _restart(self, record: Record) -> None:
        old, record.task = record.task, None
        self._start(record, old)

    async def _write_statuses(self) -> None:
        dirty, self._dirty = self._dirty, set()
        for name in sorted(dirty):
            try:
                await self._write_status(name)
            except (KubeError, TimeoutError) as error:
                log.info("status not written", extra={"center": name, "error": str(error)})
                self._dirty.add(name)

    async def _write_status(self, name: str) -> None:
        record = self._records.get(name)
        if record is not None:
            await self._write(record)
        elif name in self._refused:
            told = self._refused[name]
            after = refused(told.problem, told.generation, told.status, time.time())
            await self._patch(name, told.uid, merge_patch(told.status, after))

    async def _write(self, record: Record) -> None:
        site = record.runtime
        before = record.status
        after = status_of(site, record.mass_orphans, record.generation, before, time.time())
        change = merge_patch(before, after)
        if not change:
            # Also of a write whose answer was lost, and of which the watch told.
            site.lease.written(before)
            return
        written = await self._patch(site.name, record.uid, change)
        if written is None:
            return
        record.status = dict(written.get("status") or {})
        # An event that is older than this write must not bring back what was before.
        record.version = max(record.version, int(written["metadata"]["resourceVersion"]))
        site.lease.written(record.status)
        self._events.center(site.name, record.uid, before, after)

    async def _patch(self, name: str, uid: str, change: Fields) -> Fields | None:
        """Change the status of the very center; None if there is nothing to do or it is gone.

        A center that was deleted and joined again has the name of the first, and nothing else: what
        was known of the first (its identity, its lease) must not become the second's.
        """
        if not change:
            return None
        client = self._hub.client
        with suppress(NotFound, Conflict):
            return await client.patch_status(COMPUTE_CENTERS, name, None, change, uid=uid)
        return None


async def _run_after(old: asyncio.Task[None] | None, runtime: CenterRuntime) -> None:
    """Run once the former run has ended, so that its end undoes nothing of this one."""
    if old is not None:
        old.cancel()
        await asyncio.gather(old, return_exceptions=True)
    await runtime.run()


def _usable(fields: Fields) -> ComputeCenterSpec:
    """The spec, or a ValueError that names the field."""
    try:
        spec = ComputeCenterSpec.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"spec.{where}: {first['msg']}") from None
    try:
        time_zone(spec.time_zone)
    except ValueError as error:
        raise ValueError(f"spec.timeZone: {error}") from None
    if seconds(spec.declared_dead or "") > time.time() + CLOCKS_APART:
        raise ValueError(
            "spec.declaredDead: lies in the future, where it would speak of losses to come: give"
            " the time of status.lostSince, as `kubectl huiju declare-dead` does"
        )
    return spec
