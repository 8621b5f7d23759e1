"""`kubectl huiju approve`: lets the agent of a center in, which moves data where the hub pushes.

Decides whether the one who asks is the one who is meant. Invariant: the rights are there before the
hub is told, and the mailbox's quota is counted, so an agent that the hub trusts can work at once.
"""

from __future__ import annotations

import argparse

from huiju.cli.explain import explain
from huiju.cli.failures import OK, Failure
from huiju.cli.session import Session
from huiju.cli.table import dig

EXAMPLES = """\
examples:
  kubectl huiju approve guiyang
  kubectl huiju approve guiyang --serves-data
  kubectl huiju approve guiyang --cluster 5e0c2a5e-8a39-4bb1-9c43-0f6f8c1d2b7e

The owner of the cluster finds its UID with
`kubectl get namespace kube-system -o jsonpath='{.metadata.uid}'`."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.epilog = EXAMPLES
    add = parser.add_argument
    add("center", metavar="CENTER", help="name of the center")
    add("--cluster", metavar="UID", help="only if the agent runs in the cluster of this UID")
    add(
        "--serves-data",
        action="store_true",
        help="the center is the source of data sets: its agent reads shares and grants by name",
    )
    add("--dry-run", action="store_true", help="say who asks and what it would get; write nothing")


def run(session: Session) -> int:
    """Let the agent in."""
    from huiju.cli.ensure import ensure
    from huiju.cli.joinpull import refuse_revoked
    from huiju.cli.mailboxquota import until_counted
    from huiju.cli.pulling import approval_steps
    from huiju.kube.resources import COMPUTE_CENTERS

    name, dry = session.flags.center, session.flags.dry_run
    center = session.api.get(COMPUTE_CENTERS, name)
    refuse_revoked(center)
    pull = dig(center, "spec", "connection", "pull") is not None
    # The hub knows the cluster that it reaches: no other may speak for its data.
    _see_who_asks(session, name, None if pull else str(dig(center, "status", "identity", "uid")))
    for step in approval_steps(name, serves_data=session.flags.serves_data):
        explain(session, step, ensure(session.api, step, dry=dry))
    if not dry:
        until_counted(session, name)
    if pull:
        change = {"spec": {"connection": {"pull": {"approved": "Approved"}}}}
        session.api.patch(COMPUTE_CENTERS, name, change, dry_run=dry)
    session.say(f"center {name} approved{' (dry run)' if dry else ''}")
    return OK


def _see_who_asks(session: Session, name: str, known: str | None) -> None:
    from huiju.cli.joinpull import heard

    asks = heard(session, name)
    if asks is None:
        raise Failure(
            f"no agent has asked for center {name} yet: is it installed, and can it reach the hub?"
            + _otherwise(name, pull=known is None)
        )
    uid, version, age = asks
    session.say(
        f"The agent in the cluster of kube-system UID {uid} (Kubernetes {version}) asks;"
        f" heard of {max(age, 0):.0f} s ago."
    )
    wanted = session.flags.cluster
    if wanted and wanted != uid:
        raise Failure(
            f"--cluster: another cluster asks, {uid}: do not approve it; `kubectl huiju revoke"
            f" {name}` shuts it out"
        )
    if known is not None and known != uid:
        raise Failure(
            f"another cluster asks, {uid}, than the one that the hub reaches, {known}: its agent is"
            " not let in"
        )


def _otherwise(name: str, *, pull: bool) -> str:
    if not pull:
        return f" `kubectl huiju join {name} --data-agent` makes its token"
    return (
        f" `kubectl huiju join {name} --pull --approve` lets the first one in that brings the token"
    )
