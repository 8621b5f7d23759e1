"""`kubectl huiju jobs`: training jobs, where they run and why they wait.

Decides which columns tell a job's state; phases and reasons are the hub's.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from huiju.cli.failures import OK
from huiju.cli.listing import Question, add_listing_flags, check_flags, read, show
from huiju.cli.session import Session
from huiju.cli.table import Column, age, dig

EXAMPLES = """\
examples:
  kubectl huiju jobs                         jobs of the namespace
  kubectl huiju jobs -A --center guiyang     everything that runs in one center
  kubectl huiju jobs --phase Queued -o wide  what waits, and why
  kubectl huiju jobs pretrain -w             one job, a row on each change
  kubectl huiju jobs -A -o csv > log.csv     the queue log, a trace for `huiju simulate`"""
PHASES = (
    "Queued",
    "Staging",
    "Dispatching",
    "Running",
    "Succeeded",
    "Failed",
    "Suspended",
    "Cancelled",
    "Unknown",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.epilog = EXAMPLES
    add_listing_flags(parser, "job", namespaced=True, more=("csv",))
    parser.add_argument("--queue", metavar="NAME", help="only jobs of this queue")
    parser.add_argument("--center", metavar="NAME", help="only jobs placed in this center")
    parser.add_argument("--phase", choices=PHASES, help="only jobs in this phase")


def run(session: Session) -> int:
    """Show the jobs."""
    from huiju.kube.resources import CROSS_REGION_JOBS

    flags = session.flags
    check_flags(flags)
    wanted = {
        "spec.queue": flags.queue,
        "status.placement.center": flags.center,
        "status.phase": flags.phase,
    }
    question = Question(
        CROSS_REGION_JOBS,
        None if flags.all_namespaces else session.namespace,
        tuple(flags.names),
        labels=flags.selector,
        fields=",".join(f"{key}={value}" for key, value in wanted.items() if value),
    )
    if flags.output == "csv":
        return _log(session, question)
    columns = (NAMESPACE, *COLUMNS) if flags.all_namespaces else COLUMNS
    return show(session, question, columns)


def _log(session: Session, question: Question) -> int:
    """Print the queue log; home centers are left out where the caller may not read queues."""
    from huiju.cli.joblog import homes_of, text
    from huiju.kube.errors import Forbidden
    from huiju.kube.resources import COMPUTE_QUEUES

    jobs, _ = read(session, question)
    homes: dict[str, str] = {}
    try:
        homes = homes_of(session.api.list(COMPUTE_QUEUES, None)[0])
    except Forbidden as error:
        session.note(f"warning: `cluster` is where each job was placed, not its home: {error}")
    session.say(text(jobs, homes, time.time()).rstrip("\n"))
    return OK


def _workers(job: dict[str, Any]) -> str:
    return f"{dig(job, 'status', 'readyWorkers') or 0}/{dig(job, 'spec', 'workers') or 1}"


NAMESPACE = Column("NAMESPACE", lambda j: dig(j, "metadata", "namespace"))
COLUMNS = (
    Column("NAME", lambda j: dig(j, "metadata", "name")),
    Column("QUEUE", lambda j: dig(j, "spec", "queue")),
    Column("PHASE", lambda j: dig(j, "status", "phase")),
    Column("CENTER", lambda j: dig(j, "status", "placement", "center")),
    Column("REASON", lambda j: dig(j, "status", "reason")),
    Column(
        "AGE", lambda j: age(dig(j, "metadata", "creationTimestamp"), time.time()), steady=False
    ),
    Column("WORKERS", _workers, wide=True),
    Column("MODEL", lambda j: dig(j, "status", "placement", "model"), wide=True),
    Column("EPOCH", lambda j: dig(j, "status", "epoch"), wide=True),
    Column("MESSAGE", lambda j: dig(j, "status", "message"), wide=True),
)
