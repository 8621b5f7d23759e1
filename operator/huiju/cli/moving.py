"""Telling a job to leave its center: what `move`, `drain` and `failover` share.

Decides which jobs can be told to. Invariants: a job is told for the epoch that was looked at and no
other, so telling it twice moves it once; one that ended meanwhile is left alone.
"""

from __future__ import annotations

from typing import Any, Final

from huiju.cli.session import Session
from huiju.cli.table import dig
from huiju.cli.wait import ended

Fields = dict[str, Any]
MOVE: Final = "moveFromEpoch"
"""Field of the spec that has a job leave a center that answers."""
FAILOVER: Final = "failoverFromEpoch"
"""Field of the spec that has it leave one that is lost."""


def full_name(job: Fields) -> str:
    """`namespace/name`."""
    return f"{job['metadata']['namespace']}/{job['metadata']['name']}"


def epoch_to_leave(job: Fields) -> int | None:
    """The epoch under which the job is in a center, None if it is in none or has ended."""
    epoch = dig(job, "status", "placement", "epoch")
    return int(epoch) if epoch and ended(job) is None else None


def told(job: Fields) -> bool:
    """Whether the job was told to leave the placement that it has."""
    return bool(dig(job, "spec", MOVE) == epoch_to_leave(job))


def may_move(job: Fields) -> bool:
    """Whether its user lets others stop it."""
    return dig(job, "spec", "preemptible") is not False


def leave(session: Session, job: Fields, word: str = MOVE, *, dry: bool) -> None:
    """Tell the job to leave its placement; `word` is the field that says so.

    Raises:
        Conflict: the job is another one than was looked at.
    """
    from huiju.kube.resources import CROSS_REGION_JOBS

    meta = job["metadata"]
    change = {"metadata": {"uid": meta["uid"]}, "spec": {word: epoch_to_leave(job)}}
    session.api.patch(CROSS_REGION_JOBS, meta["name"], change, meta["namespace"], dry_run=dry)
