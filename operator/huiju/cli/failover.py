"""`kubectl huiju failover`: the user's word that a job may leave a lost center.

Decides nothing; the hub lets the job go once nothing of it can run there any more. Invariant: the
word is about the epoch that was looked at and no other.
"""

from __future__ import annotations

import argparse

from huiju.cli.failures import ERROR, OK
from huiju.cli.moving import FAILOVER, epoch_to_leave, full_name, leave
from huiju.cli.session import Session
from huiju.cli.switches import add_names
from huiju.cli.table import dig

EXAMPLES = """\
examples:
  kubectl huiju failover pretrain
  kubectl huiju failover pretrain --dry-run

For a job with spec.failover.policy Ask or Never, or one that has used up its maxAttempts. It starts
elsewhere when its pods in the lost center have stopped: by the center's lease where they carry a
guard, else when the center returns or is declared dead. `kubectl huiju why` says which."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.epilog = EXAMPLES
    add_names(parser, "job")


def run(session: Session) -> int:
    """Let the jobs go."""
    from huiju.kube.resources import CROSS_REGION_JOBS

    code = OK
    for name in session.flags.names:
        job = session.api.get(CROSS_REGION_JOBS, name, session.namespace)
        center = dig(job, "status", "placement", "center")
        if epoch_to_leave(job) is None:
            session.note(f"job {full_name(job)} is in no center: there is nothing to give up")
            code = ERROR
            continue
        if dig(job, "status", "phase") != "Unknown":
            session.note(
                f"{center} answers: job {full_name(job)} stays there; `kubectl huiju move` sends a"
                " job away"
            )
            code = ERROR
            continue
        leave(session, job, FAILOVER, dry=session.flags.dry_run)
        tried = " (server dry run)" if session.flags.dry_run else ""
        session.say(f"job {full_name(job)} may run elsewhere than in {center}{tried}")
    return code
