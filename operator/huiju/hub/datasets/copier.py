"""Carries out what is due for copies: makes replicas, begins transfers, takes copies out.

Decides nothing (`data/moves.py` does). Invariants: every write is of the replica as it was read, so
of two hubs that would begin one transfer one does.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Awaitable, Callable, Iterable

from huiju.data.access import Refused
from huiju.data.copies import Demand, version_named
from huiju.data.moves import Evict, Make, Plan, Start, plan
from huiju.hub.datasets import replicas
from huiju.hub.datasets.catalog import Body, Catalog, Replica, place_of
from huiju.hub.datasets.holders import answers, copy_of, holders_of
from huiju.hub.datasets.orders import retry_at
from huiju.hub.datasets.replicawriter import HELD, ReplicaWriter
from huiju.hub.datasets.withdrawals import barred
from huiju.hub.sites import Sites
from huiju.kube.client import Client
from huiju.kube.errors import AlreadyExists, Conflict, KubeError, NotFound
from huiju.kube.resources import DATASET_REPLICAS

log = logging.getLogger(__name__)
Fields = replicas.Fields


class Copier:
    """Keeps replicas as the policies want them."""

    def __init__(
        self,
        client: Client,
        catalog: Catalog,
        sites: Sites,
        demands: Callable[[], Iterable[Demand]],
        writer: ReplicaWriter,
    ) -> None:
        self._client = client
        self._writer = writer
        self._catalog = catalog
        self._sites = sites
        self._demands = demands

    def look(self, now: float) -> Plan:
        """What is due now."""
        return plan(
            [known.share for known in self._catalog.shares()],
            holders_of(self._sites, now),
            [
                dataclasses.replace(copy_of(replica, now), barred=self._barred(replica, now))
                for replica in self._catalog.replicas()
            ],
            self._demands(),
            now,
        )

    def _barred(self, replica: Replica, now: float) -> Refused | None:
        known = self._catalog.share(replica.share_key)
        site = self._sites.get(replica.spec.center)
        if known is None or known.share.uid != replica.spec.share_uid or site is None:
            return None
        grants = self._catalog.grants_for(known.share)
        return barred(replica, known.share, grants, place_of(site.name, site.spec), now)

    async def carry_out(self, due: Plan, now: float) -> None:
        """Do what is due; what fails is due again at the next look."""
        for make in due.make:
            await self._safely(make.id.center, self._make(make))
        for evict in due.evict:
            await self._safely(evict.copy.key, self._evict(evict, now))
        for start in due.start:
            await self._safely(start.copy.key, self._start(start, now))
        for hold in due.hold:
            replica = self._catalog.replica(hold.copy.key)
            if replica is not None:
                after = replicas.held(replica, hold, now)
                await self._safely(replica.key, self._writer.write(replica, after))
        for replica in self._catalog.replicas():
            await self._safely(replica.key, self._follow(replica, due, now))

    async def _safely(self, what: str, deed: Awaitable[object]) -> None:
        """One copy's trouble stops no other."""
        try:
            await deed
        except (AlreadyExists, Conflict, NotFound) as error:
            log.debug("overtaken", extra={"copy": what, "error": str(error)})
        except (KubeError, TimeoutError) as error:
            log.info("copy not written", extra={"copy": what, "error": str(error)})

    async def _make(self, make: Make) -> None:
        known = next((k for k in self._catalog.shares() if k.share.uid == make.id.share), None)
        version = version_named(known.share, make.id.version) if known is not None else None
        if known is None or version is None:
            return
        body = replicas.replica_body(known.share, version, make.id)
        made = await self._client.create(DATASET_REPLICAS, body, known.share.namespace, type=Body)
        self._catalog.note(made)

    async def _start(self, start: Start, now: float) -> None:
        replica = self._catalog.replica(start.copy.key)
        if replica is None:
            return
        if HELD not in replica.body.metadata.finalizers:
            # From the first byte on the object stays until the bytes are gone.
            held = await self._writer.hold(replica, held=True)
            if held is None:
                return
            replica = held
        await self._writer.write(replica, replicas.begun(replica, start, now))
        log.info(
            "transfer begun",
            extra={"replica": replica.key, "source": start.source, "epoch": start.epoch},
        )

    async def _evict(self, evict: Evict, now: float) -> None:
        replica = self._catalog.replica(evict.copy.key)
        if replica is None:
            return
        if not evict.copy.epoch:
            await self._writer.drop(replica)  # it never had a byte
            return
        await self._writer.write(
            replica, replicas.leaving(replica, evict.reason, evict.message, now)
        )
        log.info(
            "copy leaves",
            extra={"replica": replica.key, "reason": evict.reason, "why": evict.message},
        )

    async def _follow(self, replica: Replica, due: Plan, now: float) -> None:
        if replica.phase == "Gone":
            return  # `mover.py` lets it go
        if replica.phase == "Evicting" and self._sites.get(replica.spec.center) is None:
            log.warning(
                "copy forgotten: its center has left with whatever it holds",
                extra={"replica": replica.key, "center": replica.spec.center},
            )
            await self._writer.drop(replica)
            return
        if not replica.status:
            return  # made just now: what keeps it is written with what is due for it
        pins = due.pins.get(copy_of(replica, now).id, ())
        asked = replica.spec.verify > int(replica.status.get("checked") or 0)
        asked = asked and retry_at(replica, now) <= now
        if replica.verified and asked and self._answers(replica.spec.center):
            await self._writer.write(replica, replicas.checking(replica, now))
            return
        out = self._barred(replica, now) is not None
        await self._writer.write(replica, replicas.kept(replica, pins, out, now))

    def _answers(self, center: str) -> bool:
        site = self._sites.get(center)
        return site is not None and answers(site)
