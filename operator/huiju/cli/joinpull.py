"""`kubectl huiju join CENTER --pull`: a mailbox, and a short-lived token for the center's owner.

Decides the order and where the token goes. Invariants: the token is written to a file that only its
owner can read, never printed; repeating the command changes only what the flags name and makes a
new token; nothing is let in that was shut out before.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Final

from huiju.cli.explain import explain, https_address, token_seconds
from huiju.cli.failures import OK, Failure, UsageError
from huiju.cli.session import Session
from huiju.cli.table import dig

if TYPE_CHECKING:
    from huiju.cli.joining import Wishes

Fields = dict[str, Any]
_DEFAULT: Final = 3600
"""Seconds that a bootstrap token lasts."""


def run(session: Session, wishes: Wishes) -> int:
    """Make the mailbox and the token."""
    from huiju.cli import pulling
    from huiju.cli.ensure import ensure
    from huiju.cli.joining import Side, Step
    from huiju.cli.mailboxquota import until_counted
    from huiju.kube.resources import COMPUTE_CENTERS

    flags = session.flags
    known = _known(session, wishes.name)
    if known is None and not wishes.region:
        raise UsageError("--region is needed for a new center: where is it, such as south?")
    lifetime = token_seconds(flags.token_lifetime) or _DEFAULT
    server = https_address(
        session, flags.server or session.credentials.server, "agents reach the hub"
    )
    session.say(f"Center {wishes.name}: its agent will reach the hub at {server}")
    approved = flags.approve or dig(known or {}, "spec", "connection", "pull", "approved") == (
        "Approved"
    )
    steps = [*pulling.asking_steps(wishes.name), *pulling.bootstrap_steps(wishes.name)]
    if flags.approve:
        steps += pulling.approval_steps(wishes.name)
    center = pulling.pull_center(wishes, approved=approved)
    steps.append(
        Step(Side.HUB, COMPUTE_CENTERS, center, "Makes the cluster a center, once approved.")
    )
    for step in steps:
        explain(session, step, ensure(session.api, step, dry=flags.dry_run))
    if flags.dry_run:
        session.say("\nNothing was written. Leave --dry-run out to do it.")
        return OK
    if approved:
        until_counted(session, wishes.name)
    file = flags.bootstrap_file or f"{wishes.name}-bootstrap.kubeconfig"
    ends = _write_bootstrap(session, wishes.name, server, lifetime, file)
    session.say(f"  token   written to {file}, good for one exchange until {ends}")
    _say_next(session, wishes.name, file)
    return OK


def run_data_agent(session: Session, wishes: Wishes) -> int:
    """Make the mailbox and the token for an agent that moves data and does nothing else."""
    from huiju.cli import pulling
    from huiju.cli.ensure import ensure
    from huiju.kube.resources import COMPUTE_CENTERS

    flags = session.flags
    known = session.api.get(COMPUTE_CENTERS, wishes.name)
    if dig(known, "spec", "connection", "push") is None:
        raise Failure(
            f"the agent of center {wishes.name} moves data too: give it --data"
            " (chart: agent.data.enabled)"
        )
    refuse_revoked(known)
    lifetime = token_seconds(flags.token_lifetime) or _DEFAULT
    server = https_address(
        session, flags.server or session.credentials.server, "agents reach the hub"
    )
    session.say(f"Center {wishes.name}: its data agent will reach the hub at {server}")
    for step in (*pulling.asking_steps(wishes.name), *pulling.bootstrap_steps(wishes.name)):
        explain(session, step, ensure(session.api, step, dry=flags.dry_run))
    if flags.dry_run:
        session.say("\nNothing was written. Leave --dry-run out to do it.")
        return OK
    file = flags.bootstrap_file or f"{wishes.name}-bootstrap.kubeconfig"
    ends = _write_bootstrap(session, wishes.name, server, lifetime, file)
    session.say(f"  token   written to {file}, good for one exchange until {ends}")
    _say_next(session, wishes.name, file, only_data=True)
    return OK


def refuse_revoked(center: Fields) -> None:
    """Whoever was shut out of a mailbox may still watch it, so it is not used again."""
    from huiju.cli.pulling import REVOKED_AT

    at = dig(center, "metadata", "annotations", REVOKED_AT)
    if at:
        name = center["metadata"]["name"]
        raise Failure(
            f"center {name} was revoked at {at}, and whoever was shut out may still watch its"
            f" mailbox: join the cluster under another name, and `kubectl delete computecenter"
            f" {name}` when its jobs are gone"
        )


def _known(session: Session, name: str) -> Fields | None:
    from huiju.kube.errors import NotFound
    from huiju.kube.resources import COMPUTE_CENTERS

    try:
        known = session.api.get(COMPUTE_CENTERS, name)
    except NotFound:
        return None
    if dig(known, "spec", "connection", "push") is not None:
        raise Failure(
            f"center {name} is reached by push: `kubectl delete computecenter {name}` first, or"
            " join under another name"
        )
    refuse_revoked(known)
    return known


def _write_bootstrap(session: Session, center: str, server: str, lifetime: int, file: str) -> str:
    """Ask for the token and write the kubeconfig; returns when the token ends."""
    from dataclasses import replace

    from huiju.centers.agentrole import BOOTSTRAP
    from huiju.centers.mailbox import mailbox_of
    from huiju.cli.joining import kubeconfig_text
    from huiju.kube.resources import SERVICE_ACCOUNTS

    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": lifetime},
    }
    path = SERVICE_ACCOUNTS.path(mailbox_of(center), BOOTSTRAP, "token")
    status = session.api.call("POST", path, request)["status"]
    trust = replace(session.credentials, token=None)
    text = kubeconfig_text(center, trust, server, str(status["token"]))
    try:
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as target:
            os.fchmod(target.fileno(), 0o600)
            target.write(text)
    except OSError as error:
        raise Failure(f"--bootstrap-file: {file} cannot be written ({error.strerror})") from error
    return str(status["expirationTimestamp"])


def _say_next(session: Session, center: str, file: str, *, only_data: bool = False) -> None:
    more = (
        "agent.data.enabled=true --set agent.data.only=true" if only_data else "push.enabled=false"
    )
    session.say(
        f"""
Give the file to the owner of the cluster, who installs the agent:

  kubectl create namespace huiju-system
  kubectl -n huiju-system create secret generic huiju-agent-bootstrap --from-file=kubeconfig={file}
  helm install huiju-center helm/huiju-center -n huiju-system \\
    --set agent.enabled=true --set agent.center={center} --set {more}
"""
    )
    if not session.flags.approve:
        session.say(f"Then let it in: kubectl huiju approve {center}")


def heard(session: Session, center: str) -> tuple[str, str, float] | None:
    """Who asks as this center: UID of its cluster, version, and seconds since it was heard."""
    from datetime import datetime

    from huiju.centers.agentrole import PRESENCE
    from huiju.centers.mailbox import CENTER_UID, CENTER_VERSION, mailbox_of
    from huiju.kube.errors import NotFound
    from huiju.kube.resources import LEASES

    try:
        lease = session.api.get(LEASES, PRESENCE, mailbox_of(center))
    except NotFound:
        return None
    notes = dig(lease, "metadata", "annotations") or {}
    renewed = dig(lease, "spec", "renewTime")
    age = time.time() - datetime.fromisoformat(renewed).timestamp() if renewed else float("inf")
    return str(notes.get(CENTER_UID, "")), str(notes.get(CENTER_VERSION, "")), age
