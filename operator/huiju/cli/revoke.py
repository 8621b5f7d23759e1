"""`kubectl huiju revoke`: shuts the agent of a pull center out, and empties its mailbox.

Decides the order. Invariants: the hub is told first, so that nothing new is written; the account
and its rights go before the mailbox is emptied; doing it twice is as good as doing it once.
"""

from __future__ import annotations

import argparse
import time
from datetime import UTC, datetime
from typing import Final

from huiju.cli.failures import OK, Failure
from huiju.cli.session import Session
from huiju.cli.table import condition, dig

_PATIENCE: Final = 15.0
_GRACE: Final = 2.0
"""Seconds for writes of the hub that are under way, where no hub says that it saw the change."""
EXAMPLES = """\
examples:
  kubectl huiju revoke guiyang

The agent is refused within seconds. What runs in the center goes on until its owner stops it, and
the hub shows those jobs as Unknown. The name is not used again: join the cluster under another."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.epilog = EXAMPLES
    parser.add_argument("center", metavar="CENTER", help="name of the pull center")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done")


def run(session: Session) -> int:
    """Shut the agent out."""
    from huiju.cli.pulling import REVOKED_AT
    from huiju.kube.resources import COMPUTE_CENTERS

    name = session.flags.center
    center = session.api.get(COMPUTE_CENTERS, name)
    pull = dig(center, "spec", "connection", "pull") is not None
    if not pull and not _has_mailbox(session, name):
        raise Failure(
            f"center {name} has no agent: the hub reaches it by push; delete the account"
            " huiju-system/huiju-hub in the center, or the ComputeCenter"
        )
    if session.flags.dry_run:
        session.say(f"center {name} would be revoked; leave --dry-run out to do it")
        return OK
    if not pull:
        _lock_out(session, name)
        _empty(session, name)
        session.say(f"center {name}: its data agent is refused; jobs go on as the hub pushes them")
        return OK
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    since = dig(center, "metadata", "annotations", REVOKED_AT) or now
    change = {
        "metadata": {"annotations": {REVOKED_AT: since}},
        "spec": {"connection": {"pull": {"approved": "Denied"}}},
    }
    session.api.patch(COMPUTE_CENTERS, name, change)
    _lock_out(session, name)
    _wait_for_hub(session, name)
    _empty(session, name)
    session.say(f"center {name} revoked: its agent is refused, its mailbox is empty")
    return OK


def _has_mailbox(session: Session, name: str) -> bool:
    """Whether the center has a mailbox, as one has whose agent moves data."""
    from huiju.centers.mailbox import mailbox_of
    from huiju.kube.errors import NotFound
    from huiju.kube.resources import NAMESPACES

    try:
        session.api.get(NAMESPACES, mailbox_of(name))
    except NotFound:
        return False
    return True


def _lock_out(session: Session, name: str) -> None:
    """Delete what lets anybody in: the bindings first, which count at once."""
    from huiju.centers import agentrole
    from huiju.centers.mailbox import mailbox_of
    from huiju.cli.pulling import wide_name
    from huiju.kube import resources as kinds
    from huiju.kube.errors import NotFound

    space, wide = mailbox_of(name), wide_name(name)
    roles = (agentrole.MAILBOX_ROLE, agentrole.ASKING_ROLE, agentrole.BOOTSTRAP)
    doomed = [
        *((kinds.ROLE_BINDINGS, role, space) for role in roles),
        (kinds.CLUSTER_ROLE_BINDINGS, wide, None),
        (kinds.SERVICE_ACCOUNTS, agentrole.ACCOUNT, space),
        (kinds.SERVICE_ACCOUNTS, agentrole.BOOTSTRAP, space),
        *((kinds.ROLES, role, space) for role in roles),
        (kinds.CLUSTER_ROLES, wide, None),
    ]
    for res, what, where in doomed:
        try:
            session.api.call("DELETE", res.path(where, what))
        except NotFound:
            continue
        session.say(f"  {res.kind} {f'{where}/' if where else ''}{what}: deleted")


def _wait_for_hub(session: Session, name: str) -> None:
    """Until the hub says that it writes nothing more, if one is at work."""
    from huiju.cli.joining import SYSTEM
    from huiju.cli.probe import leader
    from huiju.kube.resources import COMPUTE_CENTERS

    if leader(session.api, SYSTEM, time.time()) is None:
        time.sleep(_GRACE)
        return
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        center = session.api.get(COMPUTE_CENTERS, name)
        if condition(center, "Reachable").get("reason") == "AgentNotApproved":
            return
        time.sleep(0.2)
    session.note(
        f"warning: the hub has not said within {_PATIENCE:g} s that it saw the change; run the"
        " command again once it is at work"
    )


def _empty(session: Session, name: str) -> None:
    from huiju.centers.mailbox import mailbox_of
    from huiju.kube import resources as kinds

    space = mailbox_of(name)
    for res in (
        kinds.SECRETS,
        kinds.CONFIG_MAPS,
        kinds.CENTER_WORKS,
        kinds.CENTER_INVENTORIES,
        kinds.CENTER_COPIES,
        kinds.CENTER_SERVINGS,
        kinds.LEASES,
    ):
        session.api.call("DELETE", res.path(space))
    session.say(f"  Namespace {space}: emptied")
