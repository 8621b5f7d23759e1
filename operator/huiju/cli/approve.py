"""`kubectl huiju approve`: lets the agent of a pull center in.

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
    add("center", metavar="CENTER", help="name of the pull center")
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
    if dig(center, "spec", "connection", "pull") is None:
        raise Failure(f"center {name} has no agent to approve: the hub reaches it by push")
    refuse_revoked(center)
    _see_who_asks(session, name)
    for step in approval_steps(name, serves_data=session.flags.serves_data):
        explain(session, step, ensure(session.api, step, dry=dry))
    if not dry:
        until_counted(session, name)
    change = {"spec": {"connection": {"pull": {"approved": "Approved"}}}}
    session.api.patch(COMPUTE_CENTERS, name, change, dry_run=dry)
    session.say(f"center {name} approved{' (dry run)' if dry else ''}")
    return OK


def _see_who_asks(session: Session, name: str) -> None:
    from huiju.cli.joinpull import heard

    asks = heard(session, name)
    if asks is None:
        raise Failure(
            f"no agent has asked for center {name} yet: is it installed, and can it reach the hub?"
            f" `kubectl huiju join {name} --pull --approve` lets the first one in that brings the"
            " token"
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
