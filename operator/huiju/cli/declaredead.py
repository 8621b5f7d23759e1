"""`kubectl huiju declare-dead`: the owner's word that nothing runs in a lost center any more.

Decides whether the word can be taken: the center must be lost. Invariant: nobody says it by
accident; it is asked for, or given with --yes.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from huiju.cli.failures import OK, Failure
from huiju.cli.moving import epoch_to_leave, full_name
from huiju.cli.session import Session
from huiju.cli.table import dig

if TYPE_CHECKING:
    from collections.abc import Sequence

EXAMPLES = """\
examples:
  kubectl huiju declare-dead guiyang --dry-run   # which jobs would leave it
  kubectl huiju declare-dead guiyang
  kubectl huiju declare-dead guiyang --undo      # take the word back, for jobs still there

Say it only when the machines are off or cut from what jobs write to: a job that runs on in the
center while it runs elsewhere may spoil its own results. The word holds for this loss alone. If the
center returns, what it still runs of jobs that left is stopped before anything else."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.epilog = EXAMPLES
    add = parser.add_argument
    add("center", metavar="CENTER", help="name of the center")
    add("--yes", action="store_true", help="do not ask")
    add("--undo", action="store_true", help="take the word back")
    add("--dry-run", action="store_true", help="let the server check, store nothing")


def run(session: Session) -> int:
    """Declare the center dead, or take that back."""
    from huiju.kube.resources import COMPUTE_CENTERS

    flags = session.flags
    tried = " (server dry run)" if flags.dry_run else ""
    center = session.api.get(COMPUTE_CENTERS, flags.center)
    if flags.undo:
        _say(session, center, None)
        session.say(f"center {flags.center} is not declared dead any more{tried}")
        return OK
    since = dig(center, "status", "lostSince")
    if not since:
        raise Failure(
            f"center {flags.center} is not lost: `kubectl huiju drain {flags.center}` empties one"
            " that answers"
        )
    leaving, staying = _there(session)
    session.say(f"{flags.center} has not answered since {since}.")
    _list(session, leaving, "will run elsewhere")
    _list(session, staying, "wait for their user's word (kubectl huiju failover)")
    if not (flags.yes or flags.dry_run):
        _ask(flags.center)
    # The hub's own time of the loss: no clock of this machine reaches into a later loss.
    _say(session, center, str(since))
    session.say(f"center {flags.center} declared dead{tried}")
    return OK


def _there(session: Session) -> tuple[list[str], list[str]]:
    """Jobs that leave the center by themselves, and those that wait for a word."""
    from huiju.kube.resources import CROSS_REGION_JOBS

    where = f"status.placement.center={session.flags.center}"
    jobs, _ = session.api.list(CROSS_REGION_JOBS, None, fields=where)
    leaving: list[str] = []
    staying: list[str] = []
    for job in jobs:
        epoch = epoch_to_leave(job)
        if epoch is None:
            continue
        free = dig(job, "spec", "failover", "policy") == "Reschedule"
        free = free or dig(job, "spec", "failoverFromEpoch") == epoch
        (leaving if free else staying).append(full_name(job))
    return leaving, staying


def _list(session: Session, names: Sequence[str], what: str) -> None:
    if names:
        shown = ", ".join(names[:10])
        more = f" and {len(names) - 10} more" if len(names) > 10 else ""
        session.say(f"{len(names)} job(s) {what}: {shown}{more}")


def _ask(center: str) -> None:
    if not sys.stdin.isatty():
        raise Failure("nobody can be asked here: give --yes; nothing was done")
    sys.stderr.write(f"Does nothing run in {center} any more? Type its name to confirm: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip() != center:
        raise Failure("not confirmed: nothing was done")


def _say(session: Session, center: dict[str, Any], word: str | None) -> None:
    from huiju.kube.resources import COMPUTE_CENTERS

    meta = center["metadata"]
    change = {"metadata": {"uid": meta["uid"]}, "spec": {"declaredDead": word}}
    session.api.patch(COMPUTE_CENTERS, meta["name"], change, dry_run=session.flags.dry_run)
