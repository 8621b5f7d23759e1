"""What jobs that have ended tell of the run times of those to come.

Decides who is alike: jobs of one namespace and queue that ask for as much of the same models.
Learns from jobs that succeeded in one go only: a failure tells how long a fault took, and of a
job that was stopped in between nobody knows how much it did anew. Invariant: a job is learned from
once, when it is first seen to have ended; a hub that starts learns from all that are still there.
"""

from __future__ import annotations

from huiju.centers.catalogue.data import catalogue
from huiju.hub.clock import seconds
from huiju.hub.objects import JobObject
from huiju.hub.status import finished
from huiju.scheduling.learning import Learner, RunTimes

_SUCCEEDED = "Succeeded"


class Experience:
    """Run times by kind of job; bounded (see `scheduling.learning`)."""

    def __init__(self) -> None:
        self._learner = Learner()

    def saw(self, old: JobObject | None, new: JobObject | None) -> None:
        """A job has changed, or was listed."""
        if new is None or new.status.phase != _SUCCEEDED:
            return
        known = old is not None and old.metadata.uid == new.metadata.uid and finished(old.status)
        ran = None if known else _ran(new)
        if ran is not None:
            self._learner.ended(_alike(new), ran)

    def of(self, job: JobObject) -> RunTimes:
        """What is known of jobs like it."""
        return self._learner.told(_alike(job))


def _alike(job: JobObject) -> tuple[object, ...]:
    spec = job.spec
    asked = tuple((each.model, each.per_worker) for each in spec.accelerators)
    return (job.metadata.namespace, spec.queue, spec.workers, asked)


def _ran(job: JobObject) -> float | None:
    """Seconds that the job would have run on its first alternative, None if nobody can tell."""
    status = job.status
    placement = status.placement
    if placement is None or status.history or not (status.started_at and status.finished_at):
        return None
    ran = seconds(status.finished_at) - seconds(status.started_at)
    return ran * _speed(job, placement.alternative) if ran >= 0 else None


def _speed(job: JobObject, alternative: int) -> float:
    """How fast an alternative runs the job against the first, by its word or the catalogue's."""
    if not alternative:
        return 1.0
    first, chosen = job.spec.accelerators[0], job.spec.accelerators[alternative]
    if chosen.relative_speed:
        return float(chosen.relative_speed)
    models = catalogue().models
    ours, theirs = models.get(chosen.model), models.get(first.model)
    if ours is None or theirs is None or not theirs.gflops:
        return 1.0
    return chosen.per_worker * ours.gflops / (first.per_worker * theirs.gflops)
