"""Carries the center's asks to the hub and the hub's answers back.

The sentinel asks on a Lease in the center whether the hub can be reached from there or not; in a
pull center the agent copies the ask into a Lease of the same name in its mailbox, and the answer
from there. Decides nothing: it neither asks nor grants by itself, and what it brings late, twice or
not at all prolongs nothing, since the sentinel counts from its own asking. Invariant: a failure on
either side is tried again and ends nothing else of the agent.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from huiju.centers.leaseobject import ONLY, LeaseObject, write_ask, write_grant
from huiju.kube.client import Client
from huiju.kube.errors import KubeError, NotFound
from huiju.kube.informer import Backoff, Informer
from huiju.kube.resources import LEASES

log = logging.getLogger(__name__)
_CALL = 5.0
_RETRY = 1.0


class Relay:
    """Between one center and its mailbox."""

    def __init__(
        self, hub: Client, mailbox: str, center: Client, namespace: str, identity: str
    ) -> None:
        self._hub = hub
        self._mailbox = mailbox
        self._center = center
        self._namespace = namespace
        self._identity = identity
        self._news = asyncio.Event()
        self._trouble = ""
        self._there = self._informer(hub, mailbox)
        self._here = self._informer(center, namespace)

    def _informer(self, client: Client, namespace: str) -> Informer[LeaseObject]:
        return Informer(
            client,
            LEASES,
            LeaseObject,
            namespace=namespace,
            fields=ONLY,
            on_change=lambda _old, _new: self._news.set(),
            backoff=Backoff(last=5.0),
        )

    async def run(self) -> None:
        """Carry until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._there.run(), name="lease on the hub")
            group.create_task(self._here.run(), name="lease in the center")
            while True:
                await self._news.wait()
                self._news.clear()
                try:
                    async with asyncio.timeout(2 * _CALL):
                        await self._once()
                except (KubeError, TimeoutError) as error:
                    self._say(f"the lease is not carried: {error or 'no answer in time'}")
                    await asyncio.sleep(_RETRY)
                    self._news.set()
                else:
                    self._say("")

    async def _once(self) -> None:
        here, there = _only(self._here), _only(self._there)
        if here is None or not here.ask:
            return  # nobody asks
        if there is None or there.ask != here.ask:
            await write_ask(self._hub, self._mailbox, here.ask, self._identity)
        if there is not None and there.grant and there.grant != here.grant:
            with suppress(NotFound):  # the sentinel took its Lease away
                await write_grant(self._center, self._namespace, there.grant, there.center)

    def _say(self, trouble: str) -> None:
        if trouble and not self._trouble:
            log.warning("%s", trouble)
        self._trouble = trouble


def _only(informer: Informer[LeaseObject]) -> LeaseObject | None:
    return next(iter(informer.store.values()), None)
