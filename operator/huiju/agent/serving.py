"""Hands out links to the center's own data, to transfers that its own look at the grants allows.

Level-based, one transfer at a time by the UID of its replica. Decides nothing by what a request
says but what to look at: share, grants and the center that copies are read from the hub's API
server, at each signing. Invariants: each need is answered once; what is handed out is sealed for
the puller that asked; every answer is logged, with no link in it.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from pydantic import ValidationError

from huiju.agent import wishes
from huiju.agent.settings import AgentSettings
from huiju.agent.sources import SourceRefused, Sources
from huiju.api.center import ComputeCenterSpec
from huiju.api.reasons import Reason
from huiju.api.transfer import CenterServingSpec, LinkNeed
from huiju.centers.mailbox import mailbox_of
from huiju.centers.objects import Meta
from huiju.data.access import Place, Refused, Share
from huiju.data.authority import Asked, Authority, Granted
from huiju.data.links import Need
from huiju.data.signing import Transfer, answer
from huiju.kube.client import Client
from huiju.kube.errors import Forbidden, NotFound
from huiju.kube.informer import Informer
from huiju.kube.resources import (
    CENTER_SERVINGS,
    COMPUTE_CENTERS,
    CROSS_REGION_JOBS,
    DATASET_GRANTS,
    DATASET_REPLICAS,
    DATASET_SHARES,
    Resource,
)
from huiju.kube.workqueue import WorkQueue

log = logging.getLogger(__name__)
Fields = dict[str, Any]
_LONGEST: Final = 1024


class ServingObject(msgspec.Struct, gc=False):
    """A CenterServing as stored."""

    metadata: Meta
    spec: Fields = {}
    status: Fields = {}


class Serving:
    """The requests in one center's mailbox."""

    def __init__(self, hub: Client, sources: Sources, settings: AgentSettings) -> None:
        self.queue = WorkQueue(group=lambda key: key)
        self._hub = hub
        self._sources = sources
        self._settings = settings
        self._space = mailbox_of(settings.center)
        self._answered: dict[str, int] = {}
        """Needs that were answered by this process, by UID of the replica."""
        self._requests = Informer(
            hub, CENTER_SERVINGS, ServingObject, namespace=self._space, on_change=self._changed
        )

    @property
    def requests(self) -> list[ServingObject]:
        """All that is asked for now."""
        return list(self._requests.store.values())

    async def run(self) -> None:
        """Follow the mailbox and answer until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._requests.run(), name="requests for links")
            workers = self._settings.signers
            group.create_task(self.queue.serve(self._once, workers=workers, noun="copy", log=log))

    def _changed(self, old: ServingObject | None, new: ServingObject | None) -> None:
        if new is not None:
            self.queue.add(new.metadata.name)
        elif old is not None:
            self._answered.pop(old.metadata.name, None)

    async def _once(self, uid: str) -> None:
        request = self._requests.store.get(f"{self._space}/{uid}")
        if request is None:
            return
        try:
            spec = CenterServingSpec.model_validate(request.spec)
        except ValidationError as error:
            log.error("request refused", extra={"copy": uid, "error": error.errors()[0]["msg"]})
            return
        need = spec.need
        before = (request.status.get("answer") or {}).get("seq")
        if need is None or need.seq in (before, self._answered.get(uid)):
            return
        now = time.time()
        found = await self._answer(uid, spec, need, now)
        await self._write(request, need, found, now)
        self._answered[uid] = need.seq
        self._note(uid, spec, need, found)

    async def _answer(
        self, uid: str, spec: CenterServingSpec, need: LinkNeed, now: float
    ) -> bytes | Refused:
        try:
            authority = await self.authority(spec)
            namespaces = await self._believed(authority, spec)
            asked = Asked(spec.share_uid, spec.digest, spec.center, namespaces)
            verdict = authority.judge(asked, now)
            if isinstance(verdict, Refused):
                return verdict
            return await self._sign(authority, verdict, asked, uid, spec, need, now)
        except SourceRefused as refusal:
            return refusal.refused
        except Forbidden as error:
            return Refused(
                Reason.PERMISSION_DENIED,
                f"The agent of {self._settings.center} may not look at shares and grants on the"
                f" hub: `kubectl huiju approve {self._settings.center} --serves-data` lets it"
                f" ({error}).",
            )

    async def _sign(
        self,
        authority: Authority,
        verdict: Granted,
        asked: Asked,
        uid: str,
        spec: CenterServingSpec,
        need: LinkNeed,
        now: float,
    ) -> bytes | Refused:
        share = verdict.share
        if share.spec.source.center != self._settings.center:
            return Refused(
                Reason.UNKNOWN_DATASET, f"{share.key} is not kept in {self._settings.center}."
            )
        await self._sources.offered(share)
        linker = await self._sources.linker(share)
        listed = await self._sources.listed(share, spec.digest)
        transfer = Transfer(
            uid, spec.epoch, need.public_key, asked, tuple(spec.include), tuple(spec.exclude)
        )
        wanted = Need(need.seq, need.first, need.count)
        return await asyncio.to_thread(answer, authority, linker, listed, transfer, wanted, now)

    async def authority(self, spec: CenterServingSpec) -> Authority:
        """What the API server says now of all that a request names; raises KubeError."""
        share = await self.get(DATASET_SHARES, spec.share.name, spec.share.namespace)
        grants = [await self.get(DATASET_GRANTS, g.name, g.namespace) for g in spec.grants]
        center = await self.get(COMPUTE_CENTERS, spec.center, None)
        found = Authority()
        bad = found.tell(
            [share] if share else (), [grant for grant in grants if grant], places_of(center)
        )
        for line in bad:
            log.warning("not understood", extra={"object": line})
        return found

    async def _believed(self, authority: Authority, spec: CenterServingSpec) -> tuple[str, ...]:
        """The namespaces of a request; the share's own only if its people want the copy there."""
        share, place = authority.share(spec.share_uid), authority.place(spec.center)
        named = tuple(spec.namespaces)
        if share is None or place is None or share.namespace not in named:
            return named
        if wishes.ruled(share, place) or await self._wanted(share, spec):
            return named
        return tuple(each for each in named if each != share.namespace)

    async def _wanted(self, share: Share, spec: CenterServingSpec) -> bool:
        ref = spec.replica
        if ref is not None and ref.namespace == share.namespace:
            replica = await self.get(DATASET_REPLICAS, ref.name, ref.namespace)
            if wishes.ordered(replica, share, spec):
                return True
        jobs = [
            await self.get(CROSS_REGION_JOBS, job.name, job.namespace)
            for job in spec.jobs
            if job.namespace == share.namespace
        ]
        return wishes.read_by(jobs, share)

    async def get(self, res: Resource, name: str, namespace: str | None) -> Fields | None:
        """An object of the hub as it is now, None where there is none; raises KubeError."""
        with suppress(NotFound):
            found: Fields = await self._hub.get(res, name, namespace)
            return found
        return None

    async def _write(
        self, request: ServingObject, need: LinkNeed, found: bytes | Refused, now: float
    ) -> None:
        stamp = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        told: Fields = {"seq": need.seq, "sealed": None, "reason": None, "message": None}
        count = int(request.status.get("batches") or 0)
        if isinstance(found, Refused):
            told |= {"reason": str(found.reason), "message": found.message[:_LONGEST]}
        else:
            told["sealed"] = base64.b64encode(found).decode()
            count += 1
        meta = request.metadata
        answered = isinstance(found, bytes)
        condition = {
            "type": "Answered",
            "status": str(answered),
            "reason": str(Reason.SERVED) if answered else told["reason"],
            "message": told["message"] or "",
            "observedGeneration": meta.generation,
            "lastTransitionTime": stamp,
        }
        status = {
            "observedGeneration": meta.generation,
            "conditions": [condition],
            "answer": told,
            "batches": count,
            **({"lastAt": stamp} if answered else {}),
        }
        with suppress(NotFound):
            await self._hub.patch_status(
                CENTER_SERVINGS, meta.name, self._space, status, uid=meta.uid
            )

    def _note(
        self, uid: str, spec: CenterServingSpec, need: LinkNeed, found: bytes | Refused
    ) -> None:
        about = {
            "share": f"{spec.share.namespace}/{spec.share.name}",
            "digest": spec.digest,
            "center": spec.center,
            "namespaces": ",".join(spec.namespaces),
            "copy": uid,
            "epoch": spec.epoch,
            "first": need.first,
            "count": need.count,
        }
        if isinstance(found, Refused):
            log.warning("links refused", extra=about | {"reason": str(found.reason)})
        else:
            log.info("links handed out", extra=about)


def places_of(center: Fields | None) -> list[Place]:
    """The place that a ComputeCenter is, empty where it makes no sense."""
    if center is None:
        return []
    try:
        spec = ComputeCenterSpec.model_validate(center.get("spec") or {})
    except ValidationError:
        return []
    return [Place(str(center["metadata"]["name"]), spec.region, frozenset(spec.residency))]
