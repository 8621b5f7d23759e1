"""What `submit` finds out for its user before and right after a job is made.

Decides which mistakes are told at once: a queue that is not there or shut, a model that no center
has, and whatever the hub refuses within a moment. Invariants: what the caller may not see is left
to the hub to judge; a job that could run one day is noted, never refused.
"""

from __future__ import annotations

import time
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any, Final

from huiju.cli.failures import ERROR, OK, Failure
from huiju.cli.session import Session
from huiju.cli.table import condition, dig
from huiju.cli.wait import refused

Fields = dict[str, Any]
GLANCE_SECONDS: Final = 1.0
"""A hub that is at work refuses a job within a few tenths of a second."""
_STEP_SECONDS: Final = 0.1
_LONGEST_LIST: Final = 12


def check_queues(session: Session, jobs: list[Fields]) -> None:
    """Refuse jobs whose queue does not exist, or does not take jobs of their namespace.

    Raises:
        Failure: names the queue, the one that was perhaps meant, and those that are open.
    """
    from huiju.kube.errors import Forbidden, NotFound
    from huiju.kube.resources import COMPUTE_QUEUES

    try:
        queues, _ = session.api.list(COMPUTE_QUEUES)
    except (Forbidden, NotFound):
        return
    allowed = {q["metadata"]["name"]: dig(q, "spec", "namespaces") or ["*"] for q in queues}
    for job in jobs:
        wanted, namespace = dig(job, "spec", "queue"), job["metadata"]["namespace"]
        if not isinstance(wanted, str):
            continue  # the server says that better
        problem = queue_problem(wanted, namespace, allowed)
        if problem:
            raise Failure(f"{problem}; nothing was submitted")


def queue_problem(wanted: str, namespace: str, allowed: dict[str, list[str]]) -> str:
    """What is wrong with a wish for a queue, empty if nothing; `allowed` by queue name."""
    open_here = sorted(name for name, patterns in allowed.items() if _open(namespace, patterns))
    others = f"queues for namespace {namespace}: {_listed(open_here)}"
    if wanted not in allowed:
        close = get_close_matches(wanted, open_here, 1)
        meant = f", did you mean {close[0]}?" if close else ","
        return f"there is no queue {wanted}{meant} {others}"
    if not _open(namespace, allowed[wanted]):
        return f"queue {wanted} takes no jobs of namespace {namespace}, {others}"
    return ""


def _open(namespace: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(namespace, pattern) for pattern in patterns)


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:_LONGEST_LIST]) or "none, ask a platform engineer for one"
    return f"{shown} and {len(names) - _LONGEST_LIST} more" if len(names) > _LONGEST_LIST else shown


def note_unknown_models(session: Session, jobs: list[Fields]) -> None:
    """Tell of jobs none of whose accelerator models any center has now."""
    from huiju.kube.errors import KubeError
    from huiju.kube.resources import COMPUTE_CENTERS

    try:
        centers, _ = session.api.list(COMPUTE_CENTERS)
    except KubeError:
        return  # the jobs are made; a remark on them is not worth an error
    there = {a["model"] for center in centers for a in dig(center, "status", "accelerators") or []}
    if not there:
        return
    for job in jobs:
        wanted = [a["model"] for a in job["spec"]["accelerators"]]
        if there.isdisjoint(wanted):
            close = get_close_matches(wanted[0], there, 1)
            meant = f"did you mean {close[0]}? " if close else ""
            session.note(
                f"warning: no center has {' or '.join(wanted)} now: {meant}"
                f"models there are: {_listed(sorted(there))}"
            )


def glance(session: Session, made: list[Fields]) -> int:
    """Say what the hub refuses at once, else how to go on; returns 1 if anything was refused."""
    refusals = _refusals(session, made)
    for job in refusals:
        meta, told = job["metadata"], condition(job, "Accepted")
        session.note(
            f"error: job {meta['namespace']}/{meta['name']} cannot run as it is written"
            f" ({told.get('reason')}): {told.get('message')}\n"
            f"       mend that, or remove it: kubectl delete crossregionjob {meta['name']}"
            f" -n {meta['namespace']}"
        )
    told_of = {job["metadata"]["uid"] for job in refusals}
    for job in made:
        if job["metadata"]["uid"] not in told_of:
            session.note(f"see where it stands: kubectl huiju why {_where(session, job)}")
    return ERROR if refusals else OK


def _where(session: Session, job: Fields) -> str:
    name, namespace = job["metadata"]["name"], job["metadata"]["namespace"]
    return name if namespace == session.credentials.namespace else f"{name} -n {namespace}"


def _refusals(session: Session, jobs: list[Fields]) -> list[Fields]:
    """Those of the jobs just made that the hub refuses within a moment."""
    from huiju.kube.errors import KubeError
    from huiju.kube.resources import CROSS_REGION_JOBS

    deadline = time.monotonic() + GLANCE_SECONDS
    left, found = list(jobs), []
    while left and time.monotonic() < deadline:
        time.sleep(_STEP_SECONDS)
        undecided = []
        for job in left:
            meta = job["metadata"]
            try:
                seen = session.api.get(CROSS_REGION_JOBS, meta["name"], meta["namespace"])
            except KubeError:
                continue  # gone, or the server is: the job was submitted all the same
            if refused(seen):
                found.append(seen)
            elif not condition(seen, "Accepted"):
                undecided.append(job)
        left = undecided
    return found
