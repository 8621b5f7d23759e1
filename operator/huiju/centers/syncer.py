"""Makes, stops and removes the workloads of one center, and follows what becomes of them.

Decides nothing about jobs. Invariants: objects are made by POST alone and changed or deleted only
as the very object that this hub made (origin, UID); a workload that was stopped stays as a
tombstone, so that no late create can start its epoch again. Retries are the caller's.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec

from huiju.api.reasons import Reason
from huiju.centers.bundle import Bundle, KubeDict
from huiju.centers.causes import condition_of
from huiju.centers.faults import Ailing, well
from huiju.centers.names import (
    DEPENDENTS,
    LABEL_HUB,
    LABEL_JOB_NAMESPACE,
    MOST_EPOCH,
    ORIGIN,
    STOP_MESSAGE,
    STOP_REASON,
    Origin,
    own_namespace,
)
from huiju.centers.objects import Meta, Pod, Workload
from huiju.centers.observe import Observation
from huiju.centers.patrol import Patrol
from huiju.centers.refusals import (
    DispatchRefused,
    dispatch_refusal,
    foreign_object,
    template_refusal,
)
from huiju.centers.sidecars import has_guard, keeps_sidecars
from huiju.centers.tracker import Entry, Tracker, identity_of
from huiju.kube.client import Client, preconditions
from huiju.kube.errors import (
    AlreadyExists,
    ApiStatus,
    Conflict,
    KubeError,
    NotFound,
    Transient,
    Unauthorized,
)
from huiju.kube.informer import Informer
from huiju.kube.resources import (
    CONFIG_MAPS,
    JOBS,
    NAMESPACES,
    PODS,
    SECRETS,
    SERVICES,
    Resource,
)

__all__ = ["DispatchRefused", "Held", "Syncer"]

log = logging.getLogger(__name__)
_BY_KIND: Final = {r.kind: r for r in (CONFIG_MAPS, SECRETS, SERVICES, JOBS)}
_BY_PLURAL: Final = {r.plural: r for r in _BY_KIND.values()}
_LONGEST_MESSAGE: Final = 1024
_LONGEST_NAME: Final = 253
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")


class _Object(msgspec.Struct):
    """Any object: whose it is."""

    metadata: Meta


T = TypeVar("T", _Object, Workload)


@dataclass(frozen=True, slots=True)
class Held:
    """A workload, or what was made for one, that the center holds."""

    job_uid: str
    epoch: int
    namespace: str
    """Namespace in the center."""
    name: str


class Syncer:
    """One center's workloads. `on_observed` is called in the event loop and must be quick.

    `ailing` tells what was wrong with a node's hardware lately.
    """

    def __init__(
        self,
        client: Client,
        hub_id: str,
        on_observed: Callable[[Observation], None],
        ailing: Ailing = well,
    ) -> None:
        self.synced = asyncio.Event()
        """Set once everything that the center holds for this hub was read."""
        self._client = client
        self._hub_id = hub_id
        self._tracker = Tracker(hub_id, on_observed, ailing=ailing)
        mine = f"{LABEL_HUB}={hub_id}"
        self._jobs = Informer(client, JOBS, Workload, labels=mine, on_change=self._workload_changed)
        self._pods = Informer(client, PODS, Pod, labels=mine, on_change=self._tracker.pod_changed)
        self._unfinished: dict[tuple[str, int], Bundle] = {}
        self._bereft: dict[tuple[str, int], Workload] = {}
        """Removed by others; what was made for them may still be there."""
        self._namespaces = asyncio.Lock()
        self._sidecars: bool | None = None
        self._patrol = Patrol(client, self._jobs.store, self._tracker)

    async def run(self) -> None:
        """Follow the center until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._jobs.run())
            group.create_task(self._pods.run())
            await self._jobs.synced.wait()
            await self._pods.synced.wait()
            self._tracker.start()
            self.synced.set()
            group.create_task(self._patrol.run())

    # --- what the center holds -----------------------------------------------------------------

    def observations_of(self, uid: str) -> tuple[Observation, ...]:
        """What the center shows of all epochs of a job."""
        return self._tracker.observations_of(uid)

    def held_epoch(self, uid: str, most: int = MOST_EPOCH) -> int:
        """The highest epoch of a job that the center holds, of those up to `most`; 0 for none."""
        return self._tracker.held_epoch(uid, most)

    def job_uids(self) -> set[str]:
        """The jobs of which the center holds anything that may run."""
        return {entry.job_uid for entry in self._tracker}

    def held(self) -> Iterator[Held]:
        """Everything that `remove` can remove."""
        for entry in self._tracker:
            if entry.workload is not None and not entry.workload.metadata.deletion_timestamp:
                meta = entry.workload.metadata
                yield Held(entry.job_uid, entry.epoch, meta.namespace, meta.name)
        for (uid, epoch), bundle in list(self._unfinished.items()):
            yield Held(uid, epoch, bundle.center_namespace, bundle.workload)
        for (uid, epoch), workload in list(self._bereft.items()):
            yield Held(uid, epoch, workload.metadata.namespace, workload.metadata.name)

    def _workload_changed(self, old: Workload | None, new: Workload | None) -> None:
        identity = identity_of(old, self._hub_id) if old is not None and new is None else None
        entry = self._tracker.entry(*identity) if identity is not None else None
        if entry is not None and old is not None:
            self._note_lost(entry, old)
        else:
            self._tracker.workload_changed(old, new)

    def _note_lost(self, entry: Entry, workload: Workload) -> None:
        """Somebody else removed it, unless `remove` is just doing so and clears this up."""
        known = entry.workload
        if known is None or known.metadata.uid != workload.metadata.uid:
            return
        if any(_dependents(workload)):
            self._bereft[entry.job_uid, entry.epoch] = workload
        self._tracker.note_removed(entry, workload.metadata.uid)

    # --- making --------------------------------------------------------------------------------

    async def ensure(self, bundle: Bundle) -> None:
        """Create what is missing of a bundle; an epoch that was stopped stays stopped.

        Raises:
            DispatchRefused: the center's API server refuses it, or the name is somebody else's.
            Transient: the center does not answer now; some objects may have been made.
        """
        identity = (bundle.job_uid, bundle.epoch)
        entry = self._tracker.entry(*identity)
        if entry is not None and entry.workload is not None:
            return
        *needed, workload = bundle.objects
        if needed:
            self._unfinished[identity] = bundle
        try:
            for obj in needed:
                await self._make(bundle, obj, _Object)
            if has_guard(workload):
                await self._prove_sidecars(bundle, workload)
            self._tracker.note(await self._make(bundle, workload, Workload))
        except DispatchRefused:
            await self._tidy(bundle)
            raise
        self._unfinished.pop(identity, None)

    async def dry_run(self, bundle: Bundle) -> None:
        """Let the center's API server check the workload; nothing is made.

        Raises:
            RenderRefused: the template is wrong, in the server's own words.
            DispatchRefused: the center refuses it for reasons of its own.
            Transient: the center does not answer now.
        """
        workload = bundle.objects[-1]
        namespace = bundle.center_namespace
        try:
            try:
                await self._client.create(JOBS, workload, namespace, dry_run=True, type=_Object)
            except NotFound:
                # The namespace comes with the first job; another one serves to check the fields.
                elsewhere = {**workload, "metadata": {**workload["metadata"]}}
                elsewhere["metadata"]["namespace"] = "default"
                await self._client.create(JOBS, elsewhere, "default", dry_run=True, type=_Object)
        except AlreadyExists:
            return
        except (Conflict, Unauthorized):
            raise
        except ApiStatus as error:
            wrong = template_refusal(error)
            if wrong is None:
                wrong_here = dispatch_refusal(error, bundle.center, "Job", bundle.workload)
                raise wrong_here from error
            raise wrong from error

    async def _prove_sidecars(self, bundle: Bundle, workload: KubeDict) -> None:
        """Once per connection, and again as long as the server has not said yes."""
        if not self._sidecars:
            self._sidecars = await keeps_sidecars(self._client, workload, bundle.center_namespace)
        if self._sidecars is False:
            raise DispatchRefused(
                Reason.GUARD_UNAVAILABLE,
                f"The API server of center {bundle.center} drops sidecars (feature gate"
                " SidecarContainers), so its pods cannot be guarded.",
            )

    async def _make(self, bundle: Bundle, obj: KubeDict, wanted: type[T]) -> T:
        """Create one object, or find it as the one that this epoch made before."""
        try:
            return await self._create(bundle, obj, wanted)
        except AlreadyExists:
            return await self._found(bundle, obj, wanted)
        except (Conflict, Unauthorized):
            raise
        except ApiStatus as error:
            name = obj["metadata"]["name"]
            raise dispatch_refusal(error, bundle.center, obj["kind"], name) from error

    async def _create(self, bundle: Bundle, obj: KubeDict, wanted: type[T]) -> T:
        res, namespace = _BY_KIND[obj["kind"]], bundle.center_namespace
        try:
            return await self._client.create(res, obj, namespace, type=wanted)
        except NotFound as error:
            if error.details.get("kind") != NAMESPACES.plural:
                raise
        await self._make_namespace(bundle)
        return await self._client.create(res, obj, namespace, type=wanted)

    async def _make_namespace(self, bundle: Bundle) -> None:
        name = bundle.center_namespace
        if name != own_namespace(self._hub_id, bundle.namespace):
            raise DispatchRefused(
                Reason.DISPATCH_REFUSED,
                f"Center {bundle.center} has no namespace {name}, to which its"
                f" sharing.namespaceMappings sends the jobs of {bundle.namespace}.",
            )
        labels = {LABEL_HUB: self._hub_id, LABEL_JOB_NAMESPACE: bundle.namespace}
        body = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": labels},
        }
        # Jobs that come together meet here; only the first of them makes the namespace.
        async with self._namespaces:
            try:
                await self._client.get(NAMESPACES, name, type=_Object)
            except NotFound:
                with suppress(AlreadyExists):
                    await self._client.create(NAMESPACES, body, type=_Object)

    async def _found(self, bundle: Bundle, obj: KubeDict, wanted: type[T]) -> T:
        kind, name = obj["kind"], obj["metadata"]["name"]
        try:
            found = await self._client.get(
                _BY_KIND[kind], name, bundle.center_namespace, type=wanted
            )
        except NotFound as error:
            raise Transient(f"{kind} {name} went while it was looked at") from error
        owner = _origin(found.metadata)
        if owner != obj["metadata"]["annotations"][ORIGIN]:
            raise foreign_object(bundle.center, kind, name, owner)
        return found

    # --- stopping and removing -----------------------------------------------------------------

    async def suspend(self, uid: str, epoch: int, reason: Reason, message: str) -> None:
        """Stop one epoch and note why on its workload, which stays; nothing to do is no error.

        Raises:
            KubeError: the center does not answer or refuses.
        """
        entry = self._tracker.entry(uid, epoch)
        workload = entry.workload if entry is not None else None
        if entry is None or workload is None or _needs_no_stop(workload):
            return
        meta = workload.metadata
        notes = {STOP_REASON: str(reason), STOP_MESSAGE: message[:_LONGEST_MESSAGE]}
        body = {
            "metadata": {**preconditions(uid=meta.uid), "annotations": notes},
            "spec": {"suspend": True},
        }
        try:
            stopped = await self._client.patch(JOBS, meta.name, body, meta.namespace, type=Workload)
        except (NotFound, Conflict):
            # Another object may have the name by now, which is not ours to stop.
            self._note_lost(entry, workload)
        else:
            self._tracker.note(stopped)

    async def remove(self, uid: str, epoch: int) -> None:
        """Delete one epoch's workload and what was made for it; nothing to do is no error.

        Raises:
            KubeError: the center does not answer or refuses; what is left is still `held`.
        """
        entry = self._tracker.entry(uid, epoch)
        workload = entry.workload if entry is not None else None
        if entry is None or workload is None:
            await self._remove_leftovers((uid, epoch))
            return
        meta = workload.metadata
        # The workload goes last: as long as it is there, a restarted hub still finds the rest.
        await self._remove_dependents(workload)
        with suppress(NotFound, Conflict):
            await self._client.delete(JOBS, meta.name, meta.namespace, uid=meta.uid)
        self._tracker.note_removed(entry, meta.uid)
        self._bereft.pop((uid, epoch), None)

    async def _remove_leftovers(self, identity: tuple[str, int]) -> None:
        bundle = self._unfinished.get(identity)
        if bundle is not None:
            await self._remove_needed(bundle)
        bereft = self._bereft.get(identity)
        if bereft is not None:
            await self._remove_dependents(bereft)
            self._bereft.pop(identity, None)

    async def _remove_dependents(self, workload: Workload) -> None:
        meta = workload.metadata
        for res, name in _dependents(workload):
            await self._remove_object(res, name, meta.namespace, _origin(meta))

    async def clear(
        self, origin: Origin, namespace: str, needed: Iterable[tuple[Resource, str]]
    ) -> None:
        """Delete what was made for a workload that never came to be, or went by another's hand.

        A hub that died between the two left it, and nothing in the center leads there.

        Raises:
            KubeError: the center does not answer or refuses.
        """
        for res, name in needed:
            await self._remove_object(res, name, namespace, str(origin))
        self._unfinished.pop((origin.uid, origin.epoch), None)
        self._bereft.pop((origin.uid, origin.epoch), None)

    async def _tidy(self, bundle: Bundle) -> None:
        """The workload was refused: what was made for it has no use."""
        try:
            await self._remove_needed(bundle)
        except KubeError as error:
            # It stays among what is held, so it goes with the job.
            log.info("leftovers stay for now", extra={"center": bundle.center, "error": str(error)})

    async def _remove_needed(self, bundle: Bundle) -> None:
        for obj in bundle.objects[:-1]:
            meta = obj["metadata"]
            await self._remove_object(
                _BY_KIND[obj["kind"]],
                meta["name"],
                bundle.center_namespace,
                meta["annotations"][ORIGIN],
            )
        self._unfinished.pop((bundle.job_uid, bundle.epoch), None)

    async def _remove_object(self, res: Resource, name: str, namespace: str, origin: str) -> None:
        """Delete an object if it is the one that `origin` made."""
        with suppress(NotFound, Conflict):
            found = await self._client.get(res, name, namespace, type=_Object)
            if _origin(found.metadata) == origin:
                await self._client.delete(res, name, namespace, uid=found.metadata.uid)


def _dependents(workload: Workload) -> Iterator[tuple[Resource, str]]:
    """What was made for a workload; what the center wrote there and makes no sense is no object."""
    for one in workload.note(DEPENDENTS).split(","):
        plural, _, name = one.partition("/")
        res = _BY_PLURAL.get(plural)
        if res is not None and len(name) <= _LONGEST_NAME and _NAME.fullmatch(name):
            yield res, name


def _origin(meta: Meta) -> str:
    return (meta.annotations or {}).get(ORIGIN, "")


def _needs_no_stop(workload: Workload) -> bool:
    ended = ("Complete", "Failed")
    return workload.spec.suspend or any(
        condition_of(workload.status.conditions, kind) is not None for kind in ended
    )
