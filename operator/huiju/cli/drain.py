"""`kubectl huiju drain`: closes a center and sends its jobs elsewhere, until none is left.

Decides which jobs stand in the way. Invariants: nothing is told to move before it is clear that
nothing stands in the way; doing it again, or after an interruption, goes on where it stopped.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any, Final

from huiju.cli.failures import OK, Failure, UsageError
from huiju.cli.moving import epoch_to_leave, full_name, leave, may_move, told
from huiju.cli.session import Session
from huiju.cli.table import dig

if TYPE_CHECKING:
    from collections.abc import Sequence

Fields = dict[str, Any]
_PAUSE: Final = 1.0
_MOST_NAMED: Final = 10
EXAMPLES = """\
examples:
  kubectl huiju whatif --cordon guiyang     # first ask what would happen
  kubectl huiju drain guiyang --dry-run
  kubectl huiju drain guiyang --timeout 30m
  kubectl huiju uncordon guiyang            # afterwards

Each job gets its grace period to write a checkpoint, keeps its place in the queue, and no failure
is counted. A job that may not be stopped (spec.preemptible: false) stops the drain before it
begins; --force moves it too, --leave lets it run to its end."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.epilog = EXAMPLES
    add = parser.add_argument
    add("center", metavar="CENTER", help="name of the center")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--force", action="store_true", help="move also jobs that may not be stopped for others"
    )
    which.add_argument(
        "--leave", action="store_true", help="wait for jobs that may not be stopped to end"
    )
    add("--timeout", metavar="TIME", help="give up waiting after this time, such as 30m")
    add("--dry-run", action="store_true", help="let the server check, store nothing")


def run(session: Session) -> int:
    """Cordon the center, move its jobs, wait until it is empty."""
    from huiju.kube.resources import COMPUTE_CENTERS

    flags = session.flags
    deadline = _deadline(flags.timeout)
    session.api.get(COMPUTE_CENTERS, flags.center)  # a wrong name is told before anything is done
    _refuse_unmovable(_there(session), forced=flags.force or flags.leave)
    tried = " (server dry run)" if flags.dry_run else ""
    change = {"spec": {"cordoned": True}}
    session.api.patch(COMPUTE_CENTERS, flags.center, change, dry_run=flags.dry_run)
    session.say(f"center {flags.center} cordoned{tried}")
    if flags.dry_run:
        _send_away(session, _there(session))
        return OK
    _empty(session, deadline)
    session.say(f"center {flags.center} drained")
    return OK


def _deadline(timeout: str | None) -> float | None:
    if timeout is None:
        return None
    from huiju.api.durations import parse_duration

    try:
        return time.monotonic() + parse_duration(timeout)
    except ValueError as error:
        raise UsageError(f"--timeout: {error}") from error


def _there(session: Session) -> list[Fields]:
    """Jobs of all namespaces that the center holds."""
    from huiju.kube.resources import CROSS_REGION_JOBS

    where = f"status.placement.center={session.flags.center}"
    jobs, _ = session.api.list(CROSS_REGION_JOBS, None, fields=where)
    return [job for job in jobs if epoch_to_leave(job) is not None]


def _refuse_unmovable(jobs: Sequence[Fields], *, forced: bool) -> None:
    kept = [full_name(job) for job in jobs if not may_move(job)]
    if kept and not forced:
        raise Failure(
            f"{len(kept)} job(s) may not be stopped for others: {_named(kept)}; nothing was done."
            " --force moves them too, --leave waits for them to end"
        )


def _send_away(session: Session, jobs: Sequence[Fields]) -> None:
    """Tell each job once that is to leave."""
    from huiju.kube.errors import Conflict, NotFound

    for job in jobs:
        if told(job) or not (may_move(job) or session.flags.force):
            continue
        try:
            leave(session, job, dry=session.flags.dry_run)
        except (Conflict, NotFound):
            continue  # it went meanwhile; the next look shows what is there
        tried = " (server dry run)" if session.flags.dry_run else ""
        session.say(f"job {full_name(job)} leaves{tried}")


def _empty(session: Session, deadline: float | None) -> None:
    """Go on until no job is left: decisions that were on their way may still bring one."""
    from huiju.kube.errors import Transient

    left = -1
    while True:
        try:
            jobs = _there(session)
            _send_away(session, jobs)
        except Transient as error:
            session.note(f"{error}; trying again")
        else:
            if not jobs:
                return
            if len(jobs) != left:
                left = len(jobs)
                session.note(f"{left} job(s) left: {_named([_standing(job) for job in jobs])}")
        if deadline is not None and time.monotonic() >= deadline:
            raise Failure(f"{left} job(s) have not left in time; they go on leaving")
        time.sleep(_PAUSE)


def _standing(job: Fields) -> str:
    phase = dig(job, "status", "phase")
    return f"{full_name(job)} ({phase})" if phase else full_name(job)


def _named(names: list[str]) -> str:
    shown = ", ".join(names[:_MOST_NAMED])
    more = len(names) - _MOST_NAMED
    return f"{shown} and {more} more" if more > 0 else shown
