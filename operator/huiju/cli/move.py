"""`kubectl huiju move`: sends jobs away from the center where they are.

Decides nothing; the hub stops the job with its grace period, sees it stopped, and places it again
under the next epoch, in another center for the next ten minutes.
"""

from __future__ import annotations

import argparse

from huiju.cli.failures import ERROR, OK
from huiju.cli.moving import epoch_to_leave, full_name, leave
from huiju.cli.session import Session
from huiju.cli.switches import add_names
from huiju.cli.table import dig

EXAMPLES = """\
examples:
  kubectl huiju move pretrain
  kubectl huiju move pretrain --dry-run

The job gets its grace period to write a checkpoint, keeps its place in the queue, and no failure is
counted. `kubectl huiju whatif` says where a job like it would run now."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.epilog = EXAMPLES
    add_names(parser, "job")


def run(session: Session) -> int:
    """Move the jobs."""
    from huiju.kube.resources import CROSS_REGION_JOBS

    code = OK
    for name in session.flags.names:
        job = session.api.get(CROSS_REGION_JOBS, name, session.namespace)
        if epoch_to_leave(job) is None:
            session.note(f"job {full_name(job)} is in no center: there is nothing to move")
            code = ERROR
            continue
        leave(session, job, dry=session.flags.dry_run)
        center = dig(job, "status", "placement", "center")
        tried = " (server dry run)" if session.flags.dry_run else ""
        session.say(f"job {full_name(job)} leaves {center}{tried}")
        if dig(job, "status", "phase") == "Unknown":
            session.note(f"{center} does not answer: the job leaves when it answers again")
    return code
