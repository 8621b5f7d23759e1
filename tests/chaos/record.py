"""What ran where and when, seen past all proxies, and what was wrong with it.

Decides what counts as proof. Invariant: a run is known only from answers of the API servers
themselves, and only for the time between the end of the first answer that showed it and the
beginning of the last one: two runs that overlap in these times did overlap.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Final

from huiju.kube.client import Client
from huiju.kube.errors import KubeError
from huiju.kube.resources import PODS
from lab.nodes import ASCEND

_PAUSE: Final = 0.3


@dataclass(slots=True)
class Run:
    """One pod, as long as it is known to have run."""

    center: str
    pod: str
    job_uid: str
    job: str
    epoch: int
    node: str
    cards: int
    since: float
    until: float

    def meets(self, other: Run) -> bool:
        """Whether both surely ran at one instant."""
        return max(self.since, other.since) < min(self.until, other.until)


@dataclass(slots=True)
class Record:
    """Runs by the UIDs of their pods."""

    runs: dict[str, Run] = field(default_factory=dict)

    def note(
        self, center: str, pods: Iterable[Mapping[str, Any]], asked: float, had: float
    ) -> None:
        """One listing of a center's pods, asked for and had at these times."""
        for pod in pods:
            if pod.get("status", {}).get("phase") != "Running":
                continue
            uid = pod["metadata"]["uid"]
            if uid in self.runs:
                self.runs[uid].until = asked
            else:
                self.runs[uid] = _run(center, pod, had)

    async def follow(self, clients: Mapping[str, Client]) -> None:
        """Look at all centers again and again until cancelled."""
        async with asyncio.TaskGroup() as group:
            for center, client in clients.items():
                group.create_task(self._follow(center, client))

    async def _follow(self, center: str, client: Client) -> None:
        while True:
            asked = time.monotonic()
            try:
                page = await client.list_all(PODS, labels="huiju.dev/job-uid")
            except KubeError:
                await asyncio.sleep(_PAUSE)
                continue
            self.note(center, page.items, asked, time.monotonic())
            await asyncio.sleep(_PAUSE)

    # --- what was wrong ----------------------------------------------------------------------

    def overlaps(self) -> Iterator[str]:
        """Pods of one job under two epochs that ran at one instant."""
        jobs: dict[str, list[Run]] = {}
        for run in self.runs.values():
            jobs.setdefault(run.job_uid, []).append(run)
        for runs in jobs.values():
            for one, other in combinations(runs, 2):
                if one.epoch != other.epoch and one.meets(other):
                    yield (
                        f"job {one.job} ran twice: epoch {one.epoch} in {one.center} and epoch"
                        f" {other.epoch} in {other.center}"
                    )

    def over_commitments(self, cards: int) -> Iterator[str]:
        """Nodes on which more cards were used at one instant than they have."""
        nodes: dict[tuple[str, str], list[Run]] = {}
        for run in self.runs.values():
            nodes.setdefault((run.center, run.node), []).append(run)
        for (center, node), runs in nodes.items():
            for one in runs:
                used = sum(run.cards for run in runs if run.since <= one.since < run.until)
                if used > cards:
                    yield f"node {node} of {center} had {used} of {cards} cards in use"


def _run(center: str, pod: Mapping[str, Any], now: float) -> Run:
    meta = pod["metadata"]
    labels = meta["labels"]
    limits = (one.get("resources", {}).get("limits") or {} for one in pod["spec"]["containers"])
    return Run(
        center=center,
        pod=meta["name"],
        job_uid=labels["huiju.dev/job-uid"],
        job=labels.get("huiju.dev/job-name", ""),
        epoch=int(labels.get("huiju.dev/epoch", 0)),
        node=pod["spec"].get("nodeName", ""),
        cards=sum(int(one.get(ASCEND, 0)) for one in limits),
        since=now,
        until=now,
    )
