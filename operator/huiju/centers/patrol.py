"""Looks again, now and then, at the workloads of a center that may change by time alone.

Decides when to look, and which workloads that lack pods are asked why. Invariants: the same
question is put ever more seldom; a center that does not answer it only leaves it open.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any, Final, NoReturn, cast

import msgspec

from huiju.centers.causes import when
from huiju.centers.objects import Meta, Workload
from huiju.centers.tracker import Entry, Tracker
from huiju.kube.client import Client
from huiju.kube.errors import Forbidden, KubeError, NotFound
from huiju.kube.resources import CORE_EVENTS, JOBS

log = logging.getLogger(__name__)
PATROL_SECONDS: Final = 3.0
"""How often what changes by time alone is looked at again."""
NO_PODS_SECONDS: Final = 5.0
"""A workload without its pods for so long is asked why."""
QUESTIONS: Final = 8
"""At most so many are asked in one round: a center without a controller has many."""


class _Event(msgspec.Struct, rename="camel"):
    """What a controller said."""

    message: str = ""
    last_timestamp: str | None = None


class Patrol:
    """The rounds of one center; `store` is what its Jobs informer holds."""

    def __init__(self, client: Client, store: Mapping[str, Workload], tracker: Tracker) -> None:
        self._client = client
        self._store = store
        self._tracker = tracker
        self._may_read_events = True

    async def run(self) -> NoReturn:
        """Go round until cancelled."""
        while True:
            await asyncio.sleep(PATROL_SECONDS)
            await self.round()

    async def round(self) -> None:
        """Look once at everything that is not settled."""
        questions = QUESTIONS
        for entry in self._tracker.unsettled():
            try:
                if questions and self._worth_asking(entry):
                    questions -= 1
                    await self._ask(entry)
            except (KubeError, TimeoutError) as error:
                log.debug("not asked", extra={"job": entry.job_uid, "error": str(error)})
            except Exception:
                log.exception("workload not understood", extra={"job": entry.job_uid})
            self._tracker.look(entry)

    def _worth_asking(self, entry: Entry) -> bool:
        """True for a workload that lacks pods; asked ever more seldom."""
        workload, now = entry.workload, time.time()
        if workload is None or workload.spec.suspend or now < entry.ask_at:
            return False
        if len(entry.pods) >= workload.spec.completions:
            return False
        made = when(workload.metadata.creation_timestamp) or 0.0
        if now < made + NO_PODS_SECONDS:
            return False
        entry.ask_at = now + NO_PODS_SECONDS * 2.0 ** min(entry.asks, 6)
        entry.asks += 1
        return True

    async def _ask(self, entry: Entry) -> None:
        """Whether the workload is still there, and why it has no pods."""
        workload = entry.workload
        if workload is None:
            return
        meta = workload.metadata
        if f"{meta.namespace}/{meta.name}" not in self._store:
            # Deleted before the informer saw it: it will never tell.
            try:
                found = await self._client.get(JOBS, meta.name, meta.namespace, type=Workload)
            except NotFound:
                self._tracker.note_removed(entry, meta.uid)
                return
            self._tracker.note(found)
        if self._may_read_events:
            try:
                entry.trouble = await self._last_words(meta)
            except Forbidden as error:
                self._may_read_events = False
                log.info(
                    "the account may not read Events: why pods are refused stays unknown",
                    extra={"center": self._client.name, "error": str(error)},
                )

    async def _last_words(self, meta: Meta) -> str:
        """What the Job controller said last of pods that it could not make."""
        selector = f"involvedObject.uid={meta.uid},reason=FailedCreate"
        last = ("", "")
        pages = self._client.list(CORE_EVENTS, meta.namespace, type=_Event, fields=selector)
        async with aclosing(cast(Any, pages)):
            async for page in pages:
                told = [(event.last_timestamp or "", event.message) for event in page.items]
                last = max((last, *told))
        return last[1]
