"""What the hub wants of a pull center, written into its mailbox as CenterWorks.

Decides how a bundle, a stop and a removal become attempts. Invariants: an attempt stands in a
CenterWork only once all that it carries lies in the mailbox; an attempt that was stopped is never
wanted again; an older one is never wanted beside a newer; every write is of the CenterWork as read.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final

from huiju.api.reasons import Reason
from huiju.centers.bundle import Bundle, KubeDict
from huiju.centers.mailbox import REMOVE, RUN, STOP, Attempt, Work, mailbox_of
from huiju.centers.names import PLACEMENT, Origin
from huiju.centers.refusals import DispatchRefused, template_refusal
from huiju.kube.client import Client, preconditions
from huiju.kube.errors import AlreadyExists, ApiStatus, Forbidden, KubeError, NotFound
from huiju.kube.resources import CENTER_WORKS, CONFIG_MAPS, JOBS, SECRETS, Resource

_CARRIED: Final = {"Secret": SECRETS, "ConfigMap": CONFIG_MAPS}
MOST_ATTEMPTS: Final = 48
"""Of the 64 that a CenterWork may hold; older tombstones than that are removed."""
Fields = dict[str, Any]


class Wishes:
    """The writer of one mailbox.

    `find` is what a CenterWork was when last seen or written, `note` takes what was written, and
    `shows` tells whether the center shows an epoch.
    """

    def __init__(
        self,
        client: Client,
        center: str,
        find: Callable[[str], Work | None],
        note: Callable[[Fields], None],
        shows: Callable[[str, int], bool],
    ) -> None:
        self._client = client
        self._space = mailbox_of(center)
        self._find = find
        self._note = note
        self._shows = shows

    async def dry_run(self, bundle: Bundle) -> None:
        """Let the hub's own API server check the workload: the center cannot be asked.

        Raises:
            RenderRefused: the template is wrong, in the server's own words.
            Transient: the server does not answer now.
        """
        workload = bundle.objects[-1]
        body = {**workload, "metadata": {**workload["metadata"], "namespace": "default"}}
        try:
            await self._client.create(JOBS, body, "default", dry_run=True)
        except ApiStatus as error:
            wrong = template_refusal(error)
            if wrong is not None:
                raise wrong from error

    async def ensure(self, bundle: Bundle) -> None:
        """Put a bundle into the mailbox; an epoch that lies there already stays as it is.

        Raises:
            KubeError: the hub's API server does not answer or refuses.
        """
        known = self._find(bundle.job_uid)
        if known is not None and known.attempt(bundle.epoch) is not None:
            return
        carried = [obj for obj in bundle.objects if obj["kind"] in _CARRIED]
        attempt = self._attempt(bundle, carried)
        first = [] if carried else [attempt]
        work, made = await self._work_of(bundle.job_uid, bundle.namespace, bundle.name, first)
        if made and not carried:
            return
        for ref, obj in zip(attempt["carried"], carried, strict=True):
            await self._carry(ref, obj, work["metadata"]["uid"], bundle.job_uid)
        attempts = work["spec"].get("attempts") or []
        if any(one["epoch"] == bundle.epoch for one in attempts):
            return
        kept = outdated(known, attempts)
        await self._put(work, [*kept, attempt])
        left = {one["epoch"] for one in kept}
        for one in known.spec.attempts if known is not None else ():
            if one.epoch not in left:
                await self._drop_carried(one)

    async def suspend(self, uid: str, epoch: int, reason: Reason, message: str) -> None:
        """Want one epoch stopped; nothing to do is no error.

        Raises:
            KubeError: the hub's API server does not answer or refuses.
        """
        wish = {"desired": STOP, "reason": str(reason), "message": message[:1024]}
        await self._wish(uid, epoch, wish, instead_of=(RUN,))

    async def remove(self, uid: str, epoch: int) -> None:
        """Want one epoch removed, and take it out of the mailbox once the agent has done so.

        Raises:
            KubeError: the hub's API server does not answer or refuses.
        """
        known = self._find(uid)
        if known is None and not self._shows(uid, epoch):
            return
        attempt = known.attempt(epoch) if known is not None else None
        if known is not None and (epoch == 0 or _gone(known, epoch)):
            await self._take_out(known, epoch)
            return
        if attempt is None or attempt.desired != REMOVE:
            await self._wish(uid, epoch, {"desired": REMOVE}, instead_of=(RUN, STOP))

    async def clear(
        self, origin: Origin, namespace: str, needed: Iterable[tuple[Resource, str]]
    ) -> None:
        """Want gone what was made for a workload that never came to be.

        Raises:
            KubeError: the hub's API server does not answer or refuses.
        """
        known = self._find(origin.uid)
        if known is not None and known.attempt(origin.epoch) is not None:
            await self._wish(origin.uid, origin.epoch, {"desired": REMOVE}, (RUN, STOP))
            return
        # A hub that died before the attempt stood in the mailbox may have carried something there.
        kinds = [res for res, _ in needed if res in _CARRIED.values()]
        for number, res in itertools.product(range(len(kinds)), set(kinds)):
            with suppress(NotFound):
                name = _carried_name(origin.uid, origin.epoch, number)
                await self._client.delete(res, name, self._space)

    async def _take_out(self, work: Work, epoch: int) -> None:
        meta = work.metadata
        attempt = work.attempt(epoch)
        if attempt is not None:
            await self._drop_carried(attempt)
        with suppress(NotFound):
            if any(a.epoch != epoch for a in work.spec.attempts):
                full = await self._client.get(CENTER_WORKS, meta.name, self._space)
                left = [a for a in full["spec"].get("attempts") or [] if a["epoch"] != epoch]
                await self._put(full, left)
            else:
                await self._client.delete(
                    CENTER_WORKS,
                    meta.name,
                    self._space,
                    uid=meta.uid,
                    resource_version=meta.resource_version,
                )

    async def _drop_carried(self, attempt: Attempt) -> None:
        """It would go with its CenterWork too, but a Secret should not wait for a collector."""
        for ref in attempt.carried:
            with suppress(NotFound):
                await self._client.delete(_CARRIED[ref.kind], ref.mailbox, self._space)

    async def _wish(self, uid: str, epoch: int, wish: Fields, instead_of: tuple[str, ...]) -> None:
        known = self._find(uid)
        attempt = known.attempt(epoch) if known is not None else None
        if attempt is not None and attempt.desired not in instead_of:
            return
        if attempt is None and not self._shows(uid, epoch):
            return
        fresh = {"epoch": epoch, **wish}
        # The names of a stray's job are only its label: who it belongs to is its UID.
        work, made = await self._work_of(uid, "unknown", uid, [fresh])
        if made:
            return
        attempts = list(work["spec"].get("attempts") or [])
        for index, one in enumerate(attempts):
            if one["epoch"] == epoch:
                if one["desired"] not in instead_of:
                    return
                attempts[index] = {**_without_objects(one), **wish}
                break
        else:
            attempts.append(fresh)
        await self._put(work, attempts)

    async def _work_of(
        self, uid: str, namespace: str, name: str, attempts: list[Fields]
    ) -> tuple[Fields, bool]:
        """The job's CenterWork, and whether it was made with these attempts now."""
        body = {
            "apiVersion": CENTER_WORKS.api_version,
            "kind": CENTER_WORKS.kind,
            "metadata": {"name": uid, "namespace": self._space},
            "spec": {"job": {"namespace": namespace, "name": name}, "attempts": attempts},
        }
        if self._find(uid) is None:
            with suppress(AlreadyExists):
                try:
                    made = await self._client.create(CENTER_WORKS, body, self._space)
                except Forbidden as error:
                    raise self._full(error) from error
                self._note(made)
                return made, True
        return await self._client.get(CENTER_WORKS, uid, self._space), False

    def _full(self, error: Forbidden) -> KubeError:
        """The mailbox has its quota: another center may have room."""
        if "exceeded quota" not in error.message:
            return error
        return DispatchRefused(
            Reason.QUOTA_EXCEEDED, f"The mailbox {self._space} holds as much as it may."
        )

    async def _put(self, work: Fields, attempts: list[Fields]) -> None:
        """Write the attempts, only if the CenterWork is as it was read (else Conflict)."""
        meta = work["metadata"]
        required = preconditions(uid=meta["uid"], resource_version=meta["resourceVersion"])
        body = {"metadata": required, "spec": {"attempts": attempts}}
        self._note(await self._client.patch(CENTER_WORKS, meta["name"], body, self._space))

    async def _carry(self, ref: Fields, obj: KubeDict, owner: str, uid: str) -> None:
        """Lay a Secret or ConfigMap into the mailbox; it goes with its CenterWork."""
        reference = {
            "apiVersion": CENTER_WORKS.api_version,
            "kind": CENTER_WORKS.kind,
            "name": uid,
            "uid": owner,
        }
        metadata = {
            "name": ref["mailbox"],
            "namespace": self._space,
            "ownerReferences": [reference],
        }
        with suppress(AlreadyExists):
            res = _CARRIED[obj["kind"]]
            await self._client.create(res, {**obj, "metadata": metadata}, self._space)

    def _attempt(self, bundle: Bundle, carried: list[KubeDict]) -> Fields:
        refs = [
            {
                "kind": obj["kind"],
                "mailbox": _carried_name(bundle.job_uid, bundle.epoch, number),
                "name": obj["metadata"]["name"],
            }
            for number, obj in enumerate(carried)
        ]
        workload = bundle.objects[-1]
        return {
            "epoch": bundle.epoch,
            "desired": RUN,
            "namespace": bundle.center_namespace,
            "workload": bundle.workload,
            "hash": bundle.hash,
            "placement": workload["metadata"]["annotations"].get(PLACEMENT, ""),
            "carried": refs,
            "objects": [obj for obj in bundle.objects if obj["kind"] not in _CARRIED],
        }


def _carried_name(uid: str, epoch: int, number: int) -> str:
    return f"{uid}-e{epoch}-{number}"


def _gone(work: Work, epoch: int) -> bool:
    """Whether the agent has carried out a removal and shows nothing of the epoch any more."""
    attempt = work.attempt(epoch)
    wanted = attempt is not None and attempt.desired == REMOVE
    done = work.status.observed_generation >= work.metadata.generation
    return wanted and done and work.report(epoch) is None


def outdated(known: Work | None, attempts: list[Fields]) -> list[Fields]:
    """The older attempts beside a new one: none may run, and there is room for so many."""
    kept = [a for a in attempts if known is None or not _gone(known, a["epoch"])]
    kept.sort(key=lambda one: one["epoch"])
    surplus = len(kept) - MOST_ATTEMPTS
    # Never two valid epochs: what is older here has lost the right to run.
    stop = {"desired": STOP, "reason": str(Reason.PREEMPTED)}
    stopped = [{**_without_objects(one), **stop} if one["desired"] == RUN else one for one in kept]
    return [
        {**one, "desired": REMOVE} if index < surplus else one for index, one in enumerate(stopped)
    ]


def _without_objects(attempt: Fields) -> Fields:
    """What is never made again needs no body: attempts of large jobs must fit beside each other."""
    return {key: value for key, value in attempt.items() if key != "objects"}
