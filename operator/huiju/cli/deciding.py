"""Asking for data sets, and deciding on it: `kubectl huiju dataset grant|approve|deny|revoke`.

Decides what is written into a DatasetGrant. Invariant: the name under which somebody asks or
decides is the one that the API server knows them by.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from huiju.cli.failures import Failure, UsageError
from huiju.cli.session import Session
from huiju.cli.table import dig


def whoami(session: Session) -> str:
    """The caller's name as the API server knows it."""
    from huiju.kube.resources import SELF_SUBJECT_REVIEWS as REVIEWS

    body = {"apiVersion": REVIEWS.api_version, "kind": REVIEWS.kind}
    name = dig(session.api.create(REVIEWS, body), "status", "userInfo", "username")
    return str(name)


def split(session: Session, name: str) -> tuple[str, str]:
    """Namespace and name of `NAMESPACE/NAME`, the session's namespace where none is given."""
    space, slash, rest = name.rpartition("/")
    if not rest or "/" in space or (slash and not space):
        raise UsageError(f"{name!r} is not NAMESPACE/NAME")
    return space or session.namespace, rest


def ask(session: Session, name: str) -> None:
    """Ask for the use of a data set in the session's namespace."""
    from huiju.kube.errors import AlreadyExists
    from huiju.kube.resources import DATASET_GRANTS

    flags = session.flags
    owner, dataset = split(session, name)
    wanted = _offered(session, owner, dataset)
    license = str(wanted.get("license") or "")
    if flags.accept_license != license:
        given = f"not {flags.accept_license}" if flags.accept_license else "read it"
        raise UsageError(
            f"the license of {owner}/{dataset} is {license}, {given}: say that you accept it with"
            f" --accept-license {license}"
        )
    spec: dict[str, Any] = {
        "dataset": {"namespace": owner, "name": dataset},
        "purpose": flags.purpose,
        "centers": flags.center or [],
        "requestedBy": whoami(session),
        "acceptedLicense": license,
    }
    if flags.expires:
        spec["expiresAt"] = _after(flags.expires)
    body = {
        "apiVersion": DATASET_GRANTS.api_version,
        "kind": DATASET_GRANTS.kind,
        "metadata": {"name": dataset, "namespace": session.namespace},
        "spec": spec,
    }
    shown = f"{session.namespace}/{dataset}"
    try:
        session.api.create(DATASET_GRANTS, body, session.namespace, dry_run=flags.dry_run)
    except AlreadyExists:
        _same(session, shown, session.api.get(DATASET_GRANTS, dataset, session.namespace), spec)
        session.say(f"grant {shown} was asked for already")
        return
    tried = " (server dry run)" if flags.dry_run else ""
    session.say(f"grant {shown} requested of {owner}{tried}")


def _offered(session: Session, owner: str, dataset: str) -> dict[str, Any]:
    from huiju.cli.viewapi import datasets_path

    answer = session.api.call("GET", datasets_path(session.namespace))
    for item in answer.get("items") or []:
        if (item["namespace"], item["name"]) == (owner, dataset):
            return dict(item)
    raise Failure(
        f"there is no data set {owner}/{dataset} that namespace {session.namespace} may ask for;"
        " `kubectl huiju datasets` lists those there are"
    )


def _same(session: Session, shown: str, found: dict[str, Any], spec: dict[str, Any]) -> None:
    ours = (dig(found, "spec", "dataset"), dig(found, "spec", "purpose"))
    if ours != (spec["dataset"], spec["purpose"]):
        raise Failure(
            f"grant {shown} exists and asks for something else: `kubectl delete datasetgrant"
            f" {found['metadata']['name']} -n {session.namespace}`, then ask again"
        )


def _after(duration: str) -> str:
    from huiju.api.durations import parse_duration

    try:
        seconds = parse_duration(duration)
    except ValueError as error:
        raise UsageError(f"--expires: {error}") from None
    return datetime.fromtimestamp(time.time() + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def approve(session: Session, name: str) -> None:
    """Agree to a grant."""
    _decide(session, name, "Approved")


def deny(session: Session, name: str) -> None:
    """Refuse a grant for good."""
    _decide(session, name, "Denied")


def suspend(session: Session, name: str) -> None:
    """Hold a grant for now; `approve` takes it up again."""
    _decide(session, name, "Suspended")


def revoke(session: Session, name: str) -> None:
    """End a grant for good."""
    _decide(session, name, "Revoked")


def _decide(session: Session, name: str, word: str) -> None:
    from huiju.kube.resources import DATASET_GRANTS

    flags = session.flags
    space, grant = split(session, name)
    found = session.api.get(DATASET_GRANTS, grant, space)
    before = dig(found, "spec", "decision", "decision")
    if before == word:
        session.say(f"grant {space}/{grant} is {word.lower()} already")
        return
    decision = {"decision": word, "by": whoami(session), "reason": flags.reason}
    change = {
        "metadata": {"resourceVersion": found["metadata"]["resourceVersion"]},
        "spec": {"decision": decision},
    }
    session.api.patch(DATASET_GRANTS, grant, change, space, dry_run=flags.dry_run)
    tried = " (server dry run)" if flags.dry_run else ""
    session.say(f"grant {space}/{grant} {word.lower()}{tried}")
