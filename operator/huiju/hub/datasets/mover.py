"""Has decided transfers carried out: orders in mailboxes, requests for links, and their answers.

Level-based: a pass reads what is decided and what the mailboxes hold, and brings one to the other.
Decides nothing of what is copied where (`data/moves.py` does); it shares links among transfers by
`data/budget.py`. Invariants: an order is of the replica's own epoch; links pass through unopened;
what a center says of an older transfer changes nothing; a replica's object goes last, after its
bytes and all that lies in mailboxes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Iterator, Mapping
from typing import Any, Final

from huiju.api.center import Link
from huiju.api.reasons import Reason
from huiju.centers.policy import bytes_per_second
from huiju.data.access import Share
from huiju.data.budget import Line, shared
from huiju.hub.clock import seconds
from huiju.hub.datasets.catalog import Body, Catalog, Replica
from huiju.hub.datasets.desk import Desk
from huiju.hub.datasets.flows import Flows, Moving
from huiju.hub.datasets.holders import windows_of
from huiju.hub.datasets.orders import (
    Terms,
    copy_spec,
    failed,
    followed,
    mode_of,
    retry_at,
    serving_spec,
    worth_writing,
)
from huiju.hub.datasets.replicas import told
from huiju.hub.datasets.replicawriter import ReplicaWriter
from huiju.hub.settings import HubSettings
from huiju.hub.sites import Sites
from huiju.kube.client import Client
from huiju.kube.errors import AlreadyExists, Conflict, Forbidden, KubeError, NotFound

log = logging.getLogger(__name__)
Fields = dict[str, Any]
_LOOK: Final = 2.0
"""Seconds between two passes when nothing happens."""
_NO_LIMIT: Final = Terms()


class Mover:
    """The hub's hand in all transfers."""

    def __init__(
        self,
        client: Client,
        catalog: Catalog,
        sites: Sites,
        writer: ReplicaWriter,
        flows: Flows,
        settings: HubSettings,
    ) -> None:
        self._client = client
        self._catalog = catalog
        self._sites = sites
        self._writer = writer
        self._flows = flows
        self._settings = settings
        self._desks: dict[str, tuple[Desk, asyncio.Task[None]]] = {}
        self._written: dict[str, float] = {}
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Something changed: look soon."""
        self._wake.set()

    async def run(self) -> None:
        """Look again and again until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                try:
                    async with asyncio.timeout(_LOOK):
                        await self._wake.wait()
                except TimeoutError:
                    pass
                self._wake.clear()
                if self._catalog.synced:
                    self._open_desks(group)
                    await self.once(time.time())
                await asyncio.sleep(self._settings.data_pause)

    def _open_desks(self, group: asyncio.TaskGroup) -> None:
        """Follow the mailboxes of centers that transfers lead from or to, and that are there.

        Those of ended transfers too: an earlier hub may have left something in them.
        """
        wanted = {name for replica in self._catalog.replicas() for name in self._ends(replica)}
        for name in wanted - self._desks.keys():
            desk = Desk(self._client, name, self.wake)
            self._desks[name] = (desk, group.create_task(desk.run(), name=f"mailbox {name}"))
        for name in [n for n in self._desks if self._sites.get(n) is None]:
            self._desks.pop(name)[1].cancel()

    def _ends(self, replica: Replica) -> Iterator[str]:
        """The centers in whose mailboxes something of a replica may lie."""
        for name in (replica.spec.center, str(replica.status.get("source") or "")):
            if name and self._sites.get(name) is not None:
                yield name

    def _desk(self, center: str) -> Desk | None:
        known = self._desks.get(center)
        return known[0] if known is not None else None

    async def once(self, now: float) -> None:
        """One pass over all transfers."""
        rates = self._rates()
        self._flows.show(
            (self._moving(each) for each in self._catalog.replicas() if each.phase == "Copying"),
            {
                (site.name, link.to): bytes_per_second(link.bandwidth)
                for site in self._sites
                for link in site.spec.links
            },
        )
        for replica in self._catalog.replicas():
            await self._safely(replica.key, self._one(replica, rates, now))
        there = {replica.uid for replica in self._catalog.replicas()}
        for desk, _ in list(self._desks.values()):
            for drawer in (desk.copies, desk.servings):
                for uid in list(drawer.names()):
                    if uid not in there:
                        await self._safely(uid, drawer.drop(uid))

    async def _safely(self, what: str, deed: Awaitable[None]) -> None:
        """One transfer's trouble stops no other."""
        try:
            await deed
        except (AlreadyExists, Conflict, NotFound) as error:
            log.debug("overtaken", extra={"copy": what, "error": str(error)})
        except (KubeError, TimeoutError) as error:
            log.info("transfer not carried on", extra={"copy": what, "error": str(error)})

    # --- links -----------------------------------------------------------------------------------

    def _link(self, source: str, center: str) -> Link | None:
        site = self._sites.get(source)
        links = site.spec.links if site is not None else []
        return next((link for link in links if link.to == center), None)

    def _rates(self) -> Mapping[str, int]:
        """What each transfer may take of its link, by the UID of its replica."""
        lines: dict[tuple[str, str], dict[str, Line]] = {}
        for replica in self._catalog.replicas():
            pair = (str(replica.status.get("source") or ""), replica.spec.center)
            if replica.phase == "Copying" and pair[0] != pair[1]:
                lines.setdefault(pair, {})[replica.uid] = self._line(replica)
        found: dict[str, int] = {}
        for (source, center), each in lines.items():
            link = self._link(source, center)
            if link is not None:
                found |= shared(max(1, bytes_per_second(link.bandwidth)), each)
        return found

    def _moving(self, replica: Replica) -> Moving:
        """A transfer and what its center says of it."""
        copy = self._copy(replica)
        epoch = int(replica.status.get("epoch") or 0)
        same = copy is not None and copy.status.get("epoch") == epoch
        return Moving(
            replica.uid,
            epoch,
            str(replica.status.get("source") or ""),
            replica.spec.center,
            copy.status if copy is not None and same else {},
            seconds(str(replica.status.get("startedAt") or "")),
        )

    def _copy(self, replica: Replica) -> Body | None:
        """The order of a replica in its center's mailbox."""
        desk = self._desk(replica.spec.center)
        return desk.copies.get(replica.uid) if desk is not None else None

    def _line(self, replica: Replica) -> Line:
        copy = self._copy(replica)
        if copy is None or copy.spec.get("epoch") != replica.status.get("epoch"):
            return Line()
        same = copy.status.get("epoch") == replica.status.get("epoch")
        over = copy.status.get("state") in ("Done", "Failed")
        kept = int(copy.status.get("limit") or 0) if same and not over else 0
        return Line(int(copy.spec.get("rate") or 0), kept)

    def _terms(self, replica: Replica, mode: str, rates: Mapping[str, int]) -> Terms | None:
        """What the link allows now; None where none leads there."""
        source, center = str(replica.status.get("source") or ""), replica.spec.center
        if mode in ("Verify", "Remove") or source == center:
            return _NO_LIMIT
        link, site = self._link(source, center), self._sites.get(source)
        if link is None or site is None:
            return None
        return Terms(rates.get(replica.uid, 0), windows_of(link), site.spec.time_zone)

    def served(self) -> Iterator[tuple[Replica, Fields]]:
        """Transfers that asked for links, and what the owners' centers say to it."""
        for replica in self._catalog.replicas():
            desk = self._desk(str(replica.status.get("source") or ""))
            asked = desk.servings.get(replica.uid) if desk is not None else None
            if asked is not None and asked.spec.get("epoch") == replica.status.get("epoch"):
                yield replica, asked.status

    # --- one transfer ----------------------------------------------------------------------------

    async def _one(self, replica: Replica, rates: Mapping[str, int], now: float) -> None:
        mode, center = mode_of(replica), replica.spec.center
        if mode is None:
            await self._tidy(replica)
            if replica.phase == "Gone" and all(
                self._clear(replica, name) for name in self._ends(replica)
            ):
                await self._writer.drop(replica)
            return
        desk = self._desk(center)
        if desk is None or not desk.synced:
            await self._no_mailbox(replica, desk, center, now)
            return
        terms = self._terms(replica, mode, rates)
        if terms is None:
            source = replica.status.get("source")
            message = f"Center {source} declares no link to {center} any more."
            after = failed(replica, Reason.NO_ROUTE, message, "", now)
            await self._write(replica, after, now)
            return
        copy = desk.copies.get(replica.uid)
        if copy is not None:
            if mode == "Remove" and copy.status.get("state") == "Failed" and _due(replica, now):
                await desk.copies.drop(replica.uid)  # what comes in its place is tried anew
                return
            became = followed(replica, copy.status, now)
            if became is not None:
                await self._write(replica, became, now)
                if became.get("phase") != replica.phase:
                    if replica.phase == "Copying":
                        self._flows.ended(self._moving(replica), _result(became))
                    return
        share = self._share(replica)
        begun = copy is not None and copy.spec.get("epoch") == replica.status.get("epoch")
        if not begun and not terms.rate and terms is not _NO_LIMIT:
            return  # the others on the link slow down first
        await self._order(replica, share, desk, copy, mode, terms)

    async def _order(
        self,
        replica: Replica,
        share: Share | None,
        desk: Desk,
        copy: Body | None,
        mode: str,
        terms: Terms,
    ) -> None:
        spec = copy_spec(replica, share, mode, terms)
        same = copy is not None and (copy.spec.get("epoch"), copy.spec.get("mode")) == (
            spec["epoch"],
            mode,
        )
        if copy is not None and same:
            told_before = copy.spec.get("answer")
            answer = await self._answered(replica, share, copy)
            spec |= {"answer": answer or told_before} if answer or told_before else {}
        await desk.copies.put(replica.uid, spec)

    async def _answered(self, replica: Replica, share: Share | None, copy: Body) -> Fields | None:
        """The answer to what the puller needs, once the owner's side has given it."""
        need = copy.status.get("need") or {}
        known = copy.spec.get("answer") or {}
        of_this = copy.status.get("epoch") == copy.spec.get("epoch")
        if not of_this or not need or known.get("seq") == need.get("seq"):
            return None
        if share is None:
            return {"seq": need["seq"], "reason": str(Reason.UNKNOWN_DATASET), "message": "gone"}
        desk = self._desk(str(replica.status.get("source") or ""))
        if desk is None or not desk.synced:
            return None
        grants = self._catalog.grants_for(share)
        await desk.servings.put(replica.uid, serving_spec(replica, share, grants, need))
        serving = desk.servings.get(replica.uid)
        answer: Fields = (serving.status.get("answer") or {}) if serving is not None else {}
        return answer if answer.get("seq") == need.get("seq") else None

    def _share(self, replica: Replica) -> Share | None:
        known = self._catalog.share(replica.share_key)
        same = known is not None and known.share.uid == replica.spec.share_uid
        return known.share if known is not None and same else None

    async def _tidy(self, replica: Replica) -> None:
        """Nothing is to be done for it: what lies in mailboxes has no use."""
        self._written.pop(replica.uid, None)
        for desk, _ in list(self._desks.values()):
            await desk.copies.drop(replica.uid)
            await desk.servings.drop(replica.uid)

    def _clear(self, replica: Replica, center: str) -> bool:
        """Whether nothing of a replica lies in a mailbox: its object is what remembers it."""
        desk = self._desk(center)
        if desk is None or not desk.synced:
            # What the hub may not read it has never written into.
            return desk is not None and isinstance(desk.trouble, Forbidden)
        return desk.copies.get(replica.uid) is None and desk.servings.get(replica.uid) is None

    async def _no_mailbox(
        self, replica: Replica, desk: Desk | None, center: str, now: float
    ) -> None:
        trouble = desk.trouble if desk is not None else None
        if trouble is None:
            return  # it is being read
        message = (
            f"The mailbox of center {center} cannot be read ({trouble}): its agent moves data; see"
            f" `kubectl huiju join {center} --help`."
        )
        after = told(replica, {}, (), Reason.PEER_UNREACHABLE, message, now)
        await self._write(replica, after, now)

    async def _write(self, replica: Replica, after: Fields, now: float) -> None:
        written = self._written.get(replica.uid, 0.0)
        least = self._settings.data_report
        if worth_writing(replica.status, after, written, now, least) and await self._writer.write(
            replica, after
        ):
            self._written[replica.uid] = now


def _result(status: Fields) -> str:
    """What a transfer came to: `Verified`, or the reason why not."""
    said: Fields = next(iter(status.get("conditions") or []), {})
    return str(said.get("reason"))


def _due(replica: Replica, now: float) -> bool:
    """Whether a removal that failed is to be tried again."""
    return bool(replica.status.get("retryAt")) and retry_at(replica, now) <= now
