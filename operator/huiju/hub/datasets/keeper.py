"""The loop over data sets: looks at everything that is known, and brings statuses up to it.

Level-based: a pass reads the present state and nothing else. Decides when to look, never what is
right. Invariant: one bad object stops no other.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from huiju.api.reasons import Reason
from huiju.data.access import Share, Standing, judge_grant
from huiju.data.moves import Plan
from huiju.hub.datasets.auditor import Auditor
from huiju.hub.datasets.catalog import Catalog, KnownGrant, KnownShare
from huiju.hub.datasets.copier import Copier
from huiju.hub.datasets.holders import answers, holders_of
from huiju.hub.datasets.models import Models
from huiju.hub.datasets.statuses import grant_status, share_status, shortfall_fields
from huiju.hub.datasets.waker import Waker
from huiju.hub.settings import HubSettings
from huiju.hub.sites import Sites
from huiju.hub.status import merge_patch
from huiju.kube.client import Client
from huiju.kube.errors import KubeError, NotFound
from huiju.kube.resources import DATASET_GRANTS, DATASET_SHARES, Resource

log = logging.getLogger(__name__)
Fields = dict[str, Any]


class Keeper:
    """Keeps grants and shares as they should be shown, and copies as they should be."""

    def __init__(
        self,
        client: Client,
        catalog: Catalog,
        sites: Sites,
        copier: Copier,
        waker: Waker,
        models: Models,
        auditor: Auditor,
        settings: HubSettings,
    ) -> None:
        self._client = client
        self._copier = copier
        self._waker = waker
        self._models = models
        self._auditor = auditor
        self._catalog = catalog
        self._sites = sites
        self._settings = settings
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Something changed: look soon."""
        self._wake.set()

    async def run(self) -> None:
        """Look again and again until cancelled."""
        while True:
            try:
                async with asyncio.timeout(self._settings.data_interval):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            if self._catalog.synced:
                await self.once(time.time())
            await asyncio.sleep(self._settings.data_pause)

    async def once(self, now: float) -> None:
        """One look at everything."""
        for known in self._catalog.grants():
            share = self._share_of(known)
            standing = judge_grant(share, known.grant, now)
            await self._show(
                DATASET_GRANTS,
                known.grant.namespace,
                known.grant.name,
                known.body.status,
                grant_status(known, standing, now),
            )
        self._waker.centers_seen(holders_of(self._sites, now), now)
        due = self._copier.look(now)
        await self._copier.carry_out(due, now)
        for each in self._catalog.shares():
            await self._show_share(each, due, now)
        await self._models.look(now)
        await self._auditor.look(now)

    async def _show_share(self, known: KnownShare, due: Plan, now: float) -> None:
        share = known.share
        status = share_status(
            known,
            self._catalog.replicas_of(share),
            list(self._standings(share, now)),
            [shortfall_fields(short) for short in due.shortfalls.get(share.uid, ())],
            self._served(share),
            now,
        )
        await self._show(DATASET_SHARES, share.namespace, share.name, known.status, status)

    def _standings(self, share: Share, now: float) -> list[tuple[KnownGrant, Standing]]:
        return [
            (known, judge_grant(share, known.grant, now))
            for known in self._catalog.grants()
            if self._share_of(known) is share
        ]

    def _share_of(self, known: KnownGrant) -> Share | None:
        ref = known.grant.spec.dataset
        found = self._catalog.share(f"{ref.namespace}/{ref.name}")
        return found.share if found is not None else None

    def _served(self, share: Share) -> tuple[bool | None, Reason, str]:
        """Whether the owner's center can hand the data out."""
        center = share.spec.source.center
        site = self._sites.get(center)
        if site is None:
            return False, Reason.PEER_UNREACHABLE, f"There is no ComputeCenter {center}."
        if not answers(site):
            message = f"Center {center} does not answer: verified copies stay, none is made."
            return False, Reason.PEER_UNREACHABLE, message
        return True, Reason.SERVED, f"Center {center} answers."

    async def _show(
        self, res: Resource, namespace: str, name: str, before: Fields, after: Fields
    ) -> None:
        change = merge_patch(before, after)
        if not change:
            return
        try:
            await self._client.patch_status(res, name, namespace, change)
        except NotFound:
            return
        except (KubeError, TimeoutError) as error:
            log.info(
                "status not written",
                extra={"kind": res.kind, "object": f"{namespace}/{name}", "error": str(error)},
            )
