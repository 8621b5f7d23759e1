"""What the demo sees of its jobs and centers, from watches on the hub.

Decides nothing; notes when each job was submitted, first ran and ended, by one clock. Invariant: a
time is noted once, at the first event that shows it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec

from huiju.kube.client import Client
from huiju.kube.informer import Informer
from huiju.kube.resources import COMPUTE_CENTERS, CROSS_REGION_JOBS


class _Meta(msgspec.Struct, rename="camel"):
    name: str
    uid: str
    resource_version: str
    namespace: str = ""


class _Placement(msgspec.Struct):
    center: str


class _JobStatus(msgspec.Struct, rename="camel", frozen=True):
    phase: str = ""
    reason: str = ""
    placement: _Placement | None = None


class _Job(msgspec.Struct):
    metadata: _Meta
    status: _JobStatus = _JobStatus()


class _Units(msgspec.Struct, rename="camel"):
    model: str
    allocatable: int = 0
    used: int = 0
    free: int = 0


class _CenterStatus(msgspec.Struct, rename="camel", frozen=True):
    accelerators: list[_Units] = []


class _Center(msgspec.Struct):
    metadata: _Meta
    status: _CenterStatus = _CenterStatus()


@dataclass(slots=True)
class Life:
    """One job's way; seconds of one monotonic clock, None until it happened."""

    submitted: float | None = None
    running: float | None = None
    ended: float | None = None
    phase: str = ""
    reason: str = ""
    center: str = ""


@dataclass(slots=True)
class Picture:
    """All jobs by name and all centers by name, as last seen."""

    lives: dict[str, Life] = field(default_factory=dict)
    units: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Used and allocatable accelerators by center."""

    def job(self, _old: _Job | None, new: _Job | None) -> None:
        """A job changed."""
        if new is None:
            return
        now = time.perf_counter()
        life = self.lives.setdefault(new.metadata.name, Life())
        life.phase, life.reason = new.status.phase, new.status.reason
        if new.status.placement is not None:
            life.center = new.status.placement.center
        if life.phase in ("Running", "Succeeded") and life.running is None:
            life.running = now
        if life.phase in ("Succeeded", "Failed") and life.ended is None:
            life.ended = now

    def center(self, _old: _Center | None, new: _Center | None) -> None:
        """A center changed."""
        if new is None:
            return
        used = sum(row.used for row in new.status.accelerators)
        whole = sum(row.allocatable for row in new.status.accelerators)
        self.units[new.metadata.name] = (used, whole)

    def submit(self, name: str) -> None:
        """The create call of a job begins."""
        self.lives.setdefault(name, Life()).submitted = time.perf_counter()

    def ended(self) -> int:
        """Jobs that reached an end."""
        return sum(life.ended is not None for life in self.lives.values())


@asynccontextmanager
async def watching(hub: Client) -> AsyncIterator[Picture]:
    """Follow jobs and centers while the context lasts."""
    picture = Picture()
    informers = (
        Informer(hub, CROSS_REGION_JOBS, _Job, on_change=picture.job),
        Informer(hub, COMPUTE_CENTERS, _Center, on_change=picture.center),
    )
    tasks = [asyncio.create_task(informer.run()) for informer in informers]
    try:
        await asyncio.gather(*(informer.synced.wait() for informer in informers))
        yield picture
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
