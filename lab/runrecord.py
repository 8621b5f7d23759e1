"""What ran when: the starts and ends of main containers, as a lab kubelet saw them.

Decides the file's form, one JSON object a line, and what an overlap is. Invariants: a start is
written before its process is made and an end after it is gone, so what is read is never shorter
than what ran; lines of several kubelets in one file do not mix; times are of the machine's
boot-time clock, one for all clusters of a lab.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from huiju.kube.clock import boottime

START: Final = "start"
STOP: Final = "stop"
TERM: Final = "term"
KILL: Final = "kill"
REFUSED: Final = "refused"
"""A probe that failed; `failures` counts them in a row."""


@dataclass(frozen=True, slots=True)
class Who:
    """Whose an event is."""

    cluster: str
    namespace: str
    pod: str
    uid: str
    node: str
    job_uid: str
    epoch: int


class Record:
    """Writes events to a file that others may write too."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def note(self, event: str, who: Who, **more: Any) -> None:
        """Append one event, with the present time."""
        told = {
            "at": boottime(),
            "event": event,
            "cluster": who.cluster,
            "namespace": who.namespace,
            "pod": who.pod,
            "uid": who.uid,
            "node": who.node,
            "jobUid": who.job_uid,
            "epoch": who.epoch,
            **more,
        }
        line = json.dumps(told, separators=(",", ":")).encode() + b"\n"
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(file, line)
        finally:
            os.close(file)


@dataclass(frozen=True, slots=True)
class Run:
    """One pod's main containers, from before their start until after their end."""

    who: Who
    started: float
    stopped: float | None
    """None: they run, as far as is known."""


def events(path: Path) -> Iterator[dict[str, Any]]:
    """Everything that was noted, in its order; a line that is still being written is left out."""
    if not path.exists():
        return
    for line in path.read_bytes().splitlines(keepends=True):
        if line.endswith(b"\n"):
            yield json.loads(line)


def runs(path: Path) -> list[Run]:
    """What ran, by its start."""
    started: dict[str, tuple[Who, float]] = {}
    found: list[Run] = []
    for event in events(path):
        if event["event"] == START:
            started[event["uid"]] = (_who(event), event["at"])
        elif event["event"] == STOP and event["uid"] in started:
            who, since = started.pop(event["uid"])
            found.append(Run(who, since, event["at"]))
    found += [Run(who, since, None) for who, since in started.values()]
    return sorted(found, key=lambda run: run.started)


def _who(event: dict[str, Any]) -> Who:
    return Who(
        cluster=event["cluster"],
        namespace=event["namespace"],
        pod=event["pod"],
        uid=event["uid"],
        node=event["node"],
        job_uid=event["jobUid"],
        epoch=event["epoch"],
    )


def overlaps(found: Iterable[Run]) -> list[tuple[Run, Run]]:
    """Pairs of runs of one job under two epochs that lived at the same instant: none may.

    Workers of one gang have one epoch and run beside each other.
    """
    by_job: dict[str, list[Run]] = {}
    for run in found:
        by_job.setdefault(run.who.job_uid, []).append(run)
    return [
        (one, other)
        for mine in by_job.values()
        for place, one in enumerate(mine)
        for other in mine[place + 1 :]
        if one.who.epoch != other.who.epoch and _meet(one, other)
    ]


def _meet(one: Run, other: Run) -> bool:
    return (one.stopped is None or other.started < one.stopped) and (
        other.stopped is None or one.started < other.stopped
    )
