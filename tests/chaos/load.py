"""The jobs of a storm: what users submit and do, and how each job must end.

Decides the mix; `users.py` plays it. Invariant: the end of a job follows from its order alone,
whatever goes wrong around it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from huiju.kube.resources import CROSS_REGION_JOBS
from lab.fates import PLAYED, PREFIX, Fate, pod_annotations

QUEUES: Final = ("research", "product")
WORD: Final = "correct-horse-battery"
"""Stands in every Secret that travels with a job; nothing but Secrets may ever hold it."""
SECRET: Final = "licence"
CONFIG: Final = "settings"


class Course(StrEnum):
    """What a user does with a job."""

    RUN = "run"
    TIDY = "tidy"
    """Its user removes it once it has succeeded."""
    FAIL = "fail"
    """Its program fails, each time."""
    RETRY = "retry"
    """Its program fails the first time."""
    CANCEL = "cancel"
    DELETE = "delete"
    PAUSE = "pause"
    """Suspended and resumed."""
    MOVE = "move"
    GUARD = "guard"
    """Runs as real processes under a guard, saves checkpoints, and leaves a lost center."""


ENDS: Final[dict[Course, frozenset[str]]] = {
    Course.RUN: frozenset({"Succeeded"}),
    Course.TIDY: frozenset(),
    Course.FAIL: frozenset({"Failed"}),
    # A program whose first attempt was cut short fails in none of the later ones.
    Course.RETRY: frozenset({"Succeeded"}),
    Course.CANCEL: frozenset({"Cancelled", "Succeeded"}),
    Course.DELETE: frozenset(),
    Course.PAUSE: frozenset({"Succeeded"}),
    Course.MOVE: frozenset({"Succeeded"}),
    Course.GUARD: frozenset({"Succeeded"}),
}
"""The phases that a job may have in the end; none: it is gone."""


@dataclass(frozen=True, slots=True)
class Order:
    """One job and what is done with it."""

    at: float
    name: str
    course: Course
    queue: str
    workers: int
    cards: int
    run_for: float
    carries: bool
    """A Secret and a ConfigMap travel with it."""
    act_after: float
    """Seconds from its creation to what its user does."""
    once_running: bool
    """Its user waits for it to run first."""


_MIX: Final = (
    *Course,
    *(Course.TIDY,) * 5,
    *(Course.CANCEL, Course.PAUSE, Course.MOVE, Course.GUARD) * 2,
)
"""Much work for the steps that end something: they are the rare ones."""
_RUN_FOR: Final = {Course.GUARD: 15.0, Course.PAUSE: 8.0, Course.MOVE: 8.0, Course.CANCEL: 8.0}
"""Seconds at most."""


def orders(seed: int, seconds: float, rate: float) -> list[Order]:
    """Jobs over so many seconds, `rate` of them a second."""
    chance = random.Random(seed ^ 0x5EED)
    found: list[Order] = []
    at = 0.0
    while at < seconds:
        found.append(_order(chance, at, len(found)))
        at += chance.expovariate(rate)
    return found


def _order(chance: random.Random, at: float, number: int) -> Order:
    course = chance.choice(_MIX)
    guarded = course is Course.GUARD
    gang = chance.random() < 0.15 and not guarded
    return Order(
        at=round(at, 3),
        name=f"j{number:03}-{course}",
        course=course,
        queue=chance.choice(QUEUES),
        workers=2 if gang else 1,
        cards=8 if gang else chance.choice((1, 1, 2, 4)),
        run_for=round(chance.uniform(0.5, _RUN_FOR.get(course, 4.0)), 2),
        carries=chance.random() < 0.4,
        act_after=round(chance.uniform(0.0, 4.0), 2),
        once_running=chance.random() < 0.6,
    )


def body(order: Order, namespace: str, lake: Path) -> dict[str, Any]:
    """The job as its user submits it; `lake` is a folder that all centers reach."""
    notes = pod_annotations(run_for=f"{order.run_for}s")
    if order.course is Course.FAIL:
        notes = pod_annotations(fate=Fate.FAIL, exit_code=3, after="0.3s")
    if order.course is Course.RETRY:
        notes |= pod_annotations(fate=Fate.FAIL, exit_code=3, after="0.3s", epoch=1)
    container: dict[str, Any] = {"name": "train", "image": "registry.invalid/train:1"}
    spec: dict[str, Any] = {
        "queue": order.queue,
        "workers": order.workers,
        "accelerators": [{"model": "ascend-910b3", "perWorker": order.cards}],
        "retry": {"maxAttempts": 2 if order.course is Course.RETRY else 1},
        "schedulingDeadline": "10m",
    }
    template: dict[str, Any] = {"metadata": {"annotations": notes}}
    pod: dict[str, Any] = {"containers": [container]}
    if order.course is Course.GUARD:
        notes |= {PLAYED: "true", PREFIX + "save-every": "200ms"}
        pod["volumes"] = [{"name": "lake", "hostPath": {"path": str(lake)}}]
        container["volumeMounts"] = [{"name": "lake", "mountPath": "/lake"}]
        spec |= {
            "failover": {"policy": "Reschedule"},
            "checkpoint": {"period": "1m", "directory": "/lake/checkpoints"},
            # A guard that loses its sentinel for a while ends the attempt.
            "retry": {"maxAttempts": 100},
        }
    if order.carries:
        container["envFrom"] = [
            {"secretRef": {"name": SECRET}},
            {"configMapRef": {"name": CONFIG}},
        ]
        spec["carry"] = {"secrets": [SECRET], "configMaps": [CONFIG]}
    return {
        "apiVersion": CROSS_REGION_JOBS.api_version,
        "kind": CROSS_REGION_JOBS.kind,
        "metadata": {"name": order.name, "namespace": namespace},
        "spec": spec | {"template": template | {"spec": pod}},
    }
