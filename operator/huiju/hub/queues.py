"""ComputeQueues: handed to the scheduler, checked against each other, counted.

Decides whether a queue can admit jobs (its parents exist and form a tree), and when its figures are
worth a write: those that follow what others do are written less often. Invariant: a queue with a
fault stays in the scheduler as it last was valid, never silently without its ceiling.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from huiju.api.queue import ComputeQueueSpec
from huiju.api.reasons import Reason
from huiju.hub.clock import stamp
from huiju.hub.intake import GFLOPS_PER_TFLOPS, queue_of
from huiju.hub.population import QueueCount
from huiju.hub.status import merge_patch
from huiju.kube.client import Client
from huiju.kube.errors import KubeError, NotFound
from huiju.kube.resources import COMPUTE_QUEUES
from huiju.scheduling.core import Core
from huiju.scheduling.standing import Standing

log = logging.getLogger(__name__)
Fields = dict[str, Any]
DRIFTING = frozenset({"share", "deserved", "borrowed", "lent"})
"""Figures that change with every job of another queue and every node of a center."""


@dataclass(slots=True)
class Record:
    """One ComputeQueue as last seen."""

    spec: ComputeQueueSpec
    generation: int
    status: Fields
    version: int
    written: float = 0.0
    """When the status was last written by this hub (monotonic)."""


class Queues:
    """Known queues by name."""

    def __init__(
        self,
        core: Core,
        client: Client,
        changed: Callable[[str], None],
        figures_interval: float,
    ) -> None:
        self._core = core
        self._client = client
        self._changed = changed
        self._figures_interval = figures_interval
        self._records: dict[str, Record] = {}

    def spec(self, name: str) -> ComputeQueueSpec | None:
        """The queue's spec, if there is such a queue."""
        record = self._records.get(name)
        return record.spec if record else None

    def names(self) -> set[str]:
        """All known queues."""
        return set(self._records)

    def upsert(self, body: Mapping[str, Any]) -> None:
        """A ComputeQueue appeared or changed."""
        meta = body["metadata"]
        name = str(meta["name"])
        try:
            spec = ComputeQueueSpec.model_validate(body.get("spec") or {})
        except ValidationError as error:
            log.error("queue refused", extra={"queue": name, "error": str(error.errors()[0])})
            return
        before = self._records.get(name)
        version = int(meta.get("resourceVersion") or 0)
        if before is not None and version < before.version:
            return  # a listing that a watch has overtaken
        self._records[name] = Record(
            spec,
            int(meta.get("generation") or 0),
            dict(body.get("status") or {}),
            version,
            before.written if before else 0.0,
        )
        if before is None or before.spec != spec:
            self._core.set_queue(queue_of(name, spec))
            self._changed(name)

    def remove(self, name: str) -> None:
        """A ComputeQueue was deleted; its jobs wait for another of this name."""
        if self._records.pop(name, None) is not None:
            self._core.drop_queue(name)
            self._changed(name)

    def keep_only(self, names: set[str], version: int) -> None:
        """A full listing at `version`: drop what it does not name."""
        for name in set(self._records) - names:
            if self._records[name].version <= version:
                self.remove(name)

    def judge(self, name: str) -> tuple[str, Reason, str]:
        """The Ready condition of a queue: status, reason, message."""
        seen = [name]
        spec = self._records[name].spec
        while spec.parent:
            if spec.parent in seen:
                path = " -> ".join([*seen, spec.parent])
                return "False", Reason.QUEUE_CYCLE, f"spec.parent forms a cycle: {path}"
            above = self._records.get(spec.parent)
            if above is None:
                message = f"spec.parent: there is no ComputeQueue {spec.parent!r}; create it"
                return "False", Reason.PARENT_MISSING, message
            seen.append(spec.parent)
            spec = above.spec
        if self._records[name].spec.stopped:
            return "False", Reason.QUEUE_STOPPED, "Stopped: jobs are accepted but none is started."
        return "True", Reason.READY, "The queue admits jobs."

    async def write_statuses(
        self, counts: Mapping[str, QueueCount], standings: Mapping[str, Standing]
    ) -> None:
        """Write what changed; `counts` are of each queue's own jobs."""
        together = self._with_below(counts)
        for name, record in list(self._records.items()):
            after = self._status(name, record, together[name], standings.get(name))
            change = merge_patch(record.status, after)
            now = time.monotonic()
            drifts = change.keys() <= DRIFTING
            if not change or (drifts and now - record.written < self._figures_interval):
                continue
            try:
                await self._client.patch_status(COMPUTE_QUEUES, name, None, change)
                record.status, record.written = after, now
            except NotFound:
                continue
            except (KubeError, TimeoutError) as error:
                log.info("status not written", extra={"queue": name, "error": str(error)})

    def _with_below(self, counts: Mapping[str, QueueCount]) -> dict[str, tuple[int, int]]:
        """Jobs that wait and that are placed, in each queue and all queues below it."""
        found = dict.fromkeys(self._records, (0, 0))
        for name, count in counts.items():
            seen: set[str] = set()
            above: str | None = name
            while above in found and above not in seen:
                seen.add(above)
                queued, running = found[above]
                found[above] = (queued + count.queued, running + count.running)
                above = self._records[above].spec.parent
        return found

    def _status(
        self, name: str, record: Record, jobs: tuple[int, int], standing: Standing | None
    ) -> Fields:
        status, reason, message = self.judge(name)
        before: Fields = next(
            (c for c in record.status.get("conditions") or [] if c.get("type") == "Ready"), {}
        )
        since = before.get("lastTransitionTime")
        if before.get("status") != status or not since:
            since = stamp(time.time())
        return {
            "observedGeneration": record.generation,
            "conditions": [
                {
                    "type": "Ready",
                    "status": status,
                    "reason": str(reason),
                    "message": message,
                    "observedGeneration": record.generation,
                    "lastTransitionTime": since,
                }
            ],
            "queued": jobs[0],
            "running": jobs[1],
            **_figures(standing),
        }


def _figures(standing: Standing | None) -> dict[str, int]:
    """Compute that the queue holds and that falls to it, in TFLOPS."""
    if standing is None:
        return {}
    gflops = {
        "usage": standing.usage,
        "share": standing.share,
        "deserved": standing.deserved,
        "borrowed": standing.borrowed,
        "lent": standing.lent,
    }
    return {name: amount // GFLOPS_PER_TFLOPS for name, amount in gflops.items()}
