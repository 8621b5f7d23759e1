"""Asks for the center's lease and hears the answers.

Decides when to ask. The sentinel asks on a Lease in its own namespace, in push and pull centers
alike; who brings the ask to the hub and the answer back differs (the hub itself, or the agent) and
is of no concern here. So guards always ask the same process, an agent that restarts or loses its
own election costs no lease, and only one clock counts. Invariant: a lease counts from the moment at
which its ask was about to be written, on this machine's boot-time clock.
"""

from __future__ import annotations

import asyncio
import logging
import uuid

from huiju.centers.lease import LeaseAnswer, LeaseClock
from huiju.centers.leaseobject import ONLY, LeaseObject, write_ask
from huiju.kube.client import Client
from huiju.kube.clock import boottime
from huiju.kube.errors import KubeError
from huiju.kube.informer import Backoff, Informer
from huiju.kube.resources import LEASES
from huiju.sentinel.settings import SentinelSettings
from huiju.telemetry.sentinel import SentinelMetrics

log = logging.getLogger(__name__)
_CALL = 5.0
"""Seconds after which a write is given up; the next ask is a fresh one."""


class Asker:
    """The center's side of the lease."""

    def __init__(
        self, client: Client, settings: SentinelSettings, metrics: SentinelMetrics
    ) -> None:
        self._client = client
        self._settings = settings
        self._metrics = metrics
        self._clock = LeaseClock()
        self._life = uuid.uuid4().hex[:12]
        self._trouble = "the first ask was not written yet"
        self._born = boottime()
        self._longest = settings.longest_lease
        self._informer: Informer[LeaseObject] = Informer(
            client,
            LEASES,
            LeaseObject,
            namespace=settings.namespace,
            fields=ONLY,
            on_change=self._heard,
            backoff=Backoff(last=5.0),
        )

    async def run(self) -> None:
        """Ask and listen until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._informer.run(), name="answers")
            group.create_task(self._ask(), name="asks")

    # --- what is told of it --------------------------------------------------------------------

    @property
    def trouble(self) -> str:
        """Why asks cannot be written or answers read, empty if they can."""
        failure = self._informer.failure
        return self._trouble or (f"answers cannot be read: {failure}" if failure else "")

    def answer(self) -> LeaseAnswer:
        """What guards are told now."""
        return self._clock.answer(boottime())

    def remaining(self) -> float:
        """Seconds that the lease holds; 0 when it ran out or none was granted."""
        return self._clock.remaining(boottime())

    def ran_out(self) -> bool:
        """Whether no lease of this center can hold any more, one of an earlier sentinel neither.

        Not where there never was one: a hub that has never answered counts on nobody here.
        """
        now = boottime()
        over = self._clock.remaining(now) <= 0 and now - self._born > self._longest
        return over and any(lease.grant for lease in self._informer.store.values())

    # --- asking --------------------------------------------------------------------------------

    async def _ask(self) -> None:
        number = 0
        while True:
            number += 1
            word = f"{self._life}-{number}"
            self._clock.ask(word, boottime())
            try:
                async with asyncio.timeout(_CALL):
                    await write_ask(
                        self._client, self._settings.namespace, word, self._settings.identity
                    )
            except (KubeError, TimeoutError) as error:
                self._say(f"an ask cannot be written: {error or 'no answer in time'}")
                await asyncio.sleep(self._settings.retry)
                continue
            self._say("")
            self._metrics.asked()
            await asyncio.sleep(self._pause())

    def _pause(self) -> float:
        granted = self._clock.granted
        return granted / self._settings.asks_in_a_lease if granted else self._settings.first_ask

    def _say(self, trouble: str) -> None:
        if trouble and not self._trouble:
            log.warning("%s", trouble)
        self._trouble = trouble

    def _heard(self, _old: LeaseObject | None, new: LeaseObject | None) -> None:
        if new is None or not self._clock.hear(new.grant, new.center):
            return
        self._metrics.granted()
