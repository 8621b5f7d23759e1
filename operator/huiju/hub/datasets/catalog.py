"""The shares, grants and replicas that the hub knows, and what jobs ask of them.

Decides nothing: shares come by the shell, grants and replicas by informers, and what is known is
put in the terms of `data/access.py`. Invariant: an object that makes no sense is logged, and counts
as not there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from pydantic import ValidationError

from huiju.api.dataset import DatasetReplicaSpec
from huiju.api.reasons import Reason
from huiju.data import access
from huiju.data.access import Grant, Place, Refused, Share
from huiju.kube.client import Client
from huiju.kube.informer import Informer
from huiju.kube.resources import DATASET_GRANTS, DATASET_REPLICAS

log = logging.getLogger(__name__)
Fields = dict[str, Any]


class Meta(msgspec.Struct, rename="camel", gc=False, frozen=True):
    """The metadata that is used here."""

    name: str
    uid: str
    namespace: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str = ""
    deletion_timestamp: str = ""
    finalizers: list[str] = []


class Body(msgspec.Struct, frozen=True):
    """An object whose parts are read by its model."""

    metadata: Meta
    spec: Fields = {}
    status: Fields = {}

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.metadata.namespace}/{self.metadata.name}"


@dataclass(frozen=True, slots=True)
class KnownShare:
    """A share with what the server says of it."""

    share: Share
    generation: int
    version: int
    status: Fields
    labels: Mapping[str, str]
    created: str


@dataclass(frozen=True, slots=True)
class KnownGrant:
    """A grant with what the server says of it."""

    grant: Grant
    body: Body


@dataclass(frozen=True, slots=True)
class Replica:
    """A replica as stored."""

    body: Body
    spec: DatasetReplicaSpec

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return self.body.key

    @property
    def uid(self) -> str:
        """UID of the object."""
        return self.body.metadata.uid

    @property
    def status(self) -> Fields:
        """The status as stored."""
        return self.body.status

    @property
    def share_key(self) -> str:
        """`namespace/name` of the share."""
        return f"{self.spec.dataset.namespace}/{self.spec.dataset.name}"

    @property
    def phase(self) -> str:
        """How far it is."""
        return str(self.status.get("phase") or "Pending")

    @property
    def verified(self) -> bool:
        """Whether it can be mounted: all digests are right, and it is not on its way out."""
        return self.phase == "Verified" and not self.body.metadata.deletion_timestamp

    @property
    def whole(self) -> bool:
        """Whether it is of all files of the version."""
        return not self.spec.include and not self.spec.exclude


class Catalog:
    """What the hub knows of data; `changed` is called in the loop and must be quick."""

    def __init__(self, client: Client, changed: Callable[[str], None]) -> None:
        self._changed = changed
        self._shares: dict[str, KnownShare] = {}
        self._grants: dict[str, KnownGrant] = {}
        self._replicas: dict[str, Replica] = {}
        self._grant_informer = Informer(client, DATASET_GRANTS, Body, on_change=self._grant_changed)
        self._replica_informer = Informer(
            client, DATASET_REPLICAS, Body, on_change=self._replica_changed
        )

    @property
    def informers(self) -> tuple[Informer[Body], ...]:
        """What has to run."""
        return (self._grant_informer, self._replica_informer)

    @property
    def synced(self) -> bool:
        """Whether all grants and replicas are known."""
        return all(informer.synced.is_set() for informer in self.informers)

    # --- shares, from the shell ----------------------------------------------------------------

    def upsert(self, body: Mapping[str, Any]) -> None:
        """A DatasetShare appeared or changed."""
        meta = body["metadata"]
        key = f"{meta.get('namespace', '')}/{meta['name']}"
        version = int(meta.get("resourceVersion") or 0)
        before = self._shares.get(key)
        if before is not None and version < before.version:
            return  # a listing that a watch has overtaken
        try:
            share = access.share_of(body)
        except ValidationError as error:
            log.error("share refused", extra={"share": key, "error": str(error.errors()[0])})
            return
        self._shares[key] = KnownShare(
            share,
            int(meta.get("generation") or 0),
            version,
            dict(body.get("status") or {}),
            dict(meta.get("labels") or {}),
            str(meta.get("creationTimestamp") or ""),
        )
        self._changed(key)

    def remove(self, key: str) -> None:
        """A DatasetShare was deleted."""
        if self._shares.pop(key, None) is not None:
            self._changed(key)

    def keep_only(self, keys: set[str], version: int) -> None:
        """A full listing at `version`: drop what it does not name."""
        for key in set(self._shares) - keys:
            if self._shares[key].version <= version:
                self.remove(key)

    # --- grants and replicas, from informers ---------------------------------------------------

    def _grant_changed(self, old: Body | None, new: Body | None) -> None:
        body = new or old
        if body is None:
            return
        self._grants.pop(body.key, None)
        if new is not None:
            try:
                grant = access.grant_of(_plain(new))
            except ValidationError as error:
                log.error("grant refused", extra={"grant": new.key, "error": str(error)})
            else:
                self._grants[new.key] = KnownGrant(grant, new)
        ref = body.spec.get("dataset") or {}
        self._changed(f"{ref.get('namespace')}/{ref.get('name')}")

    def _replica_changed(self, old: Body | None, new: Body | None) -> None:
        body = new or old
        if body is None:
            return
        if new is None:
            self._replicas.pop(body.key, None)
        else:
            self.note(new)
        ref = body.spec.get("dataset") or {}
        self._changed(f"{ref.get('namespace')}/{ref.get('name')}")

    def note(self, body: Body) -> None:
        """Take a replica as written: who looks before the watch tells must not miss it."""
        known = self._replicas.get(body.key)
        if known is not None and known.uid == body.metadata.uid and _older(body, known.body):
            return
        self._replicas.pop(body.key, None)
        try:
            spec = DatasetReplicaSpec.model_validate(body.spec)
        except ValidationError as error:
            log.error("replica refused", extra={"replica": body.key, "error": str(error)})
            return
        self._replicas[body.key] = Replica(body, spec)

    def forget(self, key: str) -> None:
        """A replica was deleted by this hub."""
        self._replicas.pop(key, None)

    # --- what is asked -------------------------------------------------------------------------

    def shares(self) -> Iterator[KnownShare]:
        """All shares."""
        yield from tuple(self._shares.values())

    def share(self, key: str) -> KnownShare | None:
        """The share `namespace/name`."""
        return self._shares.get(key)

    def grants(self) -> Iterator[KnownGrant]:
        """All grants."""
        yield from tuple(self._grants.values())

    def grants_for(self, share: Share) -> Iterable[Grant]:
        """The grants of a share."""
        wanted = (share.namespace, share.name)
        for known in self._grants.values():
            ref = known.grant.spec.dataset
            if (ref.namespace, ref.name) == wanted:
                yield known.grant

    def replicas(self) -> Iterator[Replica]:
        """All replicas."""
        yield from tuple(self._replicas.values())

    def replica(self, key: str) -> Replica | None:
        """The replica `namespace/name`."""
        return self._replicas.get(key)

    def replicas_of(self, share: Share) -> Iterator[Replica]:
        """The copies of one share; not those of an earlier one of the same name."""
        for replica in tuple(self._replicas.values()):
            if replica.spec.share_uid == share.uid:
                yield replica

    def find(self, dataset: str, namespace: str | None, asking: str) -> KnownShare | Refused:
        """The share that a job of namespace `asking` means by a name."""
        if namespace is not None:
            known = self._shares.get(f"{namespace}/{dataset}")
            if known is not None and access.may_see(known.share, asking):
                return known
            return _unknown(f"{namespace}/{dataset}")
        own = self._shares.get(f"{asking}/{dataset}")
        if own is not None:
            return own
        named = {
            known.grant.spec.dataset.namespace
            for known in self._grants.values()
            if known.grant.namespace == asking and known.grant.spec.dataset.name == dataset
        }
        found = [
            known
            for known in (self._shares.get(f"{space}/{dataset}") for space in sorted(named))
            if known is not None and access.may_see(known.share, asking)
        ]
        if len(found) == 1:
            return found[0]
        if not found:
            return _unknown(dataset)
        spaces = ", ".join(known.share.namespace for known in found)
        return Refused(
            Reason.UNKNOWN_DATASET,
            f"data set {dataset} is shared by {spaces}: name one in `namespace`",
        )


def _unknown(name: str) -> Refused:
    return Refused(
        Reason.UNKNOWN_DATASET,
        f"there is no data set {name} that this namespace may use; `kubectl huiju datasets` lists"
        " what can be asked for, and `kubectl huiju dataset grant` asks",
    )


def _older(one: Body, other: Body) -> bool:
    """Resource versions are comparable numbers within one kind since Kubernetes 1.35."""
    mine, theirs = one.metadata.resource_version, other.metadata.resource_version
    return mine.isdecimal() and theirs.isdecimal() and int(mine) < int(theirs)


def _plain(body: Body) -> Fields:
    meta = body.metadata
    named = {"name": meta.name, "namespace": meta.namespace, "uid": meta.uid}
    return {"metadata": named, "spec": body.spec, "status": body.status}


def place_of(name: str, spec: Any) -> Place:
    """What residency asks of a center."""
    return Place(name, spec.region, frozenset(spec.residency))
