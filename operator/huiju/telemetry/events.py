"""Kubernetes Events: sent on transitions only, best effort, never in the way of the work.

Decides what is dropped: repeats within ten minutes, and what does not fit into a bounded queue
drained at a bounded rate. Invariant: recording never blocks and never fails.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

log = logging.getLogger(__name__)
Post = Callable[[Mapping[str, Any], str], Awaitable[object]]
"""Creates an `events.k8s.io/v1` Event in a namespace."""

WAITING = 1000
"""Events in the queue at most; a burst of jobs must not grow the hub's memory."""
PER_SECOND = 10.0
"""A sustained rate that costs the API server little beside the jobs' own writes."""
BURST = 50.0
REPEAT_AFTER = 600.0
REMEMBERED = 4096
LONGEST_NOTE = 1024


@dataclass(frozen=True, slots=True)
class Subject:
    """The object that an event is about."""

    api_version: str
    kind: str
    name: str
    uid: str
    namespace: str = ""


class EventRecorder:
    """Sends events in the background; `run` must be running."""

    def __init__(
        self, post: Post, *, controller: str = "huiju.dev/hub", dropped: Callable[[], None]
    ) -> None:
        self._post = post
        self._controller = controller
        self._instance = f"huiju-{socket.gethostname()}-{os.getpid()}"[:128]
        self._dropped = dropped
        self._queue: asyncio.Queue[tuple[dict[str, Any], str]] = asyncio.Queue(WAITING)
        self._sent: OrderedDict[tuple[str, str, str], float] = OrderedDict()

    def record(
        self,
        subject: Subject,
        reason: str,
        note: str,
        *,
        action: str,
        warning: bool = False,
    ) -> None:
        """Send an event about `subject`, unless the same was sent lately."""
        now = time.time()
        key = (subject.uid, reason, note)
        if now - self._sent.get(key, 0.0) < REPEAT_AFTER:
            return
        self._sent[key] = now
        self._sent.move_to_end(key)
        if len(self._sent) > REMEMBERED:
            self._sent.popitem(last=False)
        namespace = subject.namespace or "default"
        event = self._event(subject, reason, note, action, "Warning" if warning else "Normal", now)
        try:
            self._queue.put_nowait((event, namespace))
        except asyncio.QueueFull:
            self._dropped()

    async def run(self) -> None:
        """Send until cancelled."""
        tokens, filled = BURST, time.monotonic()
        while True:
            event, namespace = await self._queue.get()
            now = time.monotonic()
            tokens = min(BURST, tokens + (now - filled) * PER_SECOND)
            filled = now
            if tokens < 1.0:
                await asyncio.sleep((1.0 - tokens) / PER_SECOND)
            tokens -= 1.0
            try:
                await self._post(event, namespace)
            except asyncio.CancelledError:
                raise
            except Exception as error:
                # An event is a courtesy: whatever refuses it, the work goes on.
                self._dropped()
                log.debug("event not sent", extra={"error": str(error)})

    def _event(
        self,
        subject: Subject,
        reason: str,
        note: str,
        action: str,
        kind: Literal["Normal", "Warning"],
        now: float,
    ) -> dict[str, Any]:
        regarding = {
            "apiVersion": subject.api_version,
            "kind": subject.kind,
            "name": subject.name,
            "uid": subject.uid,
        }
        if subject.namespace:
            regarding["namespace"] = subject.namespace
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {
                "name": f"{subject.name[:200]}.{uuid.uuid4().hex[:16]}",
                "namespace": subject.namespace or "default",
            },
            "eventTime": datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": self._controller,
            "reportingInstance": self._instance,
            "action": action,
            "reason": reason,
            "regarding": regarding,
            "note": note[:LONGEST_NOTE],
            "type": kind,
        }
