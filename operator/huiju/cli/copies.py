"""Copies of data sets by hand: `kubectl huiju dataset replicate|verify|rm`.

Decides what is written into DatasetReplicas. Invariant: two who ask for one copy meet at one
object, whose name follows from what it is a copy of.
"""

from __future__ import annotations

from typing import Any, Final

from huiju.cli.deciding import split
from huiju.cli.failures import Failure, UsageError
from huiju.cli.session import Session
from huiju.cli.table import dig

_SHOWN: Final = 3
Fields = dict[str, Any]


def replicate(session: Session, name: str) -> None:
    """Ask for copies of a version in the centers that are named."""
    from huiju.kube.resources import DATASET_SHARES

    flags = session.flags
    if not flags.center:
        raise UsageError("replicate needs --center: the center where the copy is to lie")
    space, dataset = split(session, name)
    share = session.api.get(DATASET_SHARES, dataset, space)
    version = _version(share, flags.version or "latest")
    for center in flags.center:
        _known_center(session, center)
        _want(session, share, version, center)


def _version(share: Fields, name: str) -> Fields:
    """The version that a name means, as the share has it."""
    from pydantic import ValidationError

    from huiju.data import access

    try:
        found = access.version_of(access.share_of(share).spec, name)
    except ValidationError as error:
        raise Failure(f"the share makes no sense to this program: {error.errors()[0]}") from None
    if isinstance(found, access.Refused):
        raise Failure(found.message)
    return found.model_dump(by_alias=True, exclude_none=True)


def _known_center(session: Session, center: str) -> None:
    from huiju.kube.errors import Forbidden
    from huiju.kube.resources import COMPUTE_CENTERS

    try:
        found = session.api.get(COMPUTE_CENTERS, center)
    except Forbidden:
        return  # owners of data need not see centers; the copy's status will tell
    if not dig(found, "spec", "dataStore"):
        raise Failure(
            f"center {center} has no place for copies: have spec.dataStore of the ComputeCenter set"
        )


def _want(session: Session, share: Fields, version: Fields, center: str) -> None:
    from huiju.data.naming import replica_name
    from huiju.kube.errors import AlreadyExists
    from huiju.kube.resources import DATASET_REPLICAS

    flags, meta = session.flags, share["metadata"]
    include, exclude = sorted({*(flags.include or [])}), sorted({*(flags.exclude or [])})
    name = replica_name(meta["name"], meta["uid"], version["name"], center, include, exclude)
    spec: Fields = {
        "dataset": {"namespace": meta["namespace"], "name": meta["name"]},
        "shareUid": meta["uid"],
        "version": version["name"],
        "manifestDigest": version["manifestDigest"],
        "bytes": version["bytes"],
        "files": version["files"],
        "center": center,
        "wanted": True,
    }
    if include or exclude:
        spec |= {"include": include, "exclude": exclude}
    body = {
        "apiVersion": DATASET_REPLICAS.api_version,
        "kind": DATASET_REPLICAS.kind,
        "metadata": {"name": name, "namespace": meta["namespace"]},
        "spec": spec,
    }
    shown = f"{meta['namespace']}/{meta['name']} {version['name']} in {center}"
    tried = " (server dry run)" if flags.dry_run else ""
    try:
        session.api.create(DATASET_REPLICAS, body, meta["namespace"], dry_run=flags.dry_run)
    except AlreadyExists:
        change = {"spec": {"wanted": True}}
        session.api.patch(DATASET_REPLICAS, name, change, meta["namespace"], dry_run=flags.dry_run)
        session.say(f"copy of {shown} is there already; it is kept from now on{tried}")
        return
    session.say(f"copy of {shown} ordered{tried}; `kubectl huiju transfers` shows how far it is")


def verify(session: Session, name: str) -> None:
    """Have all digests of the copies checked once more."""
    from huiju.kube.resources import DATASET_REPLICAS

    flags = session.flags
    for replica in _chosen(session, name):
        meta, spec = replica["metadata"], replica["spec"]
        change = {
            "metadata": {"resourceVersion": meta["resourceVersion"]},
            "spec": {"verify": int(spec.get("verify") or 0) + 1},
        }
        session.api.patch(
            DATASET_REPLICAS, meta["name"], change, meta["namespace"], dry_run=flags.dry_run
        )
        tried = " (server dry run)" if flags.dry_run else ""
        session.say(f"copy {spec['version']} in {spec['center']} is verified again{tried}")


def remove(session: Session, name: str) -> None:
    """Take copies back; one that a job has mounted goes when the job has ended."""
    from huiju.kube.resources import DATASET_REPLICAS

    flags = session.flags
    if not flags.center:
        raise UsageError("rm needs --center: the center whose copy is to go")
    for replica in _chosen(session, name):
        meta, spec = replica["metadata"], replica["spec"]
        if not flags.dry_run:
            session.api.delete(DATASET_REPLICAS, meta["name"], meta["namespace"])
        tried = " (server dry run)" if flags.dry_run else ""
        keeps = [pin for pin in dig(replica, "status", "pinnedBy") or [] if pin != "asked for"]
        kept = f"; it comes back or stays for {', '.join(keeps[:_SHOWN])}" if keeps else ""
        session.say(f"copy {spec['version']} in {spec['center']} is given up{tried}{kept}")


def _chosen(session: Session, name: str) -> list[Fields]:
    """The copies of a data set that the flags mean; at least one."""
    from huiju.kube.resources import DATASET_REPLICAS

    flags = session.flags
    space, dataset = split(session, name)
    items, _ = session.api.list(DATASET_REPLICAS, space)
    found = [
        item
        for item in items
        if dig(item, "spec", "dataset", "name") == dataset
        and (not flags.center or dig(item, "spec", "center") in flags.center)
        and (not flags.version or dig(item, "spec", "version") == flags.version)
    ]
    if not found:
        raise Failure(
            f"no copy of {space}/{dataset} is as asked for; `kubectl huiju transfers --all -n"
            f" {space}` lists those there are"
        )
    return found
