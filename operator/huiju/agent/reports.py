"""What the agent says of a CenterWork: reports of its epochs, and the Synced condition.

Pure: from the work, what the center shows and what was done to the status to write. Invariants: an
end that was reported once stays reported as that end; what was made and is no longer to be seen is
gone, never new; equal facts give the status that is there already, so nothing is written.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec

from huiju.api.reasons import Reason
from huiju.centers.causes import Failure
from huiju.centers.mailbox import REMOVE, STOP, Attempt, Report, Work, stamp
from huiju.centers.observe import State
from huiju.centers.refusals import DispatchRefused
from huiju.kube.errors import KubeError

Fields = dict[str, Any]
_ENDED: Final = frozenset({"succeeded", "failed", "suspended", "gone"})
_LONGEST: Final = 1024


def refusal_report(epoch: int, refusal: DispatchRefused, now: float) -> Report:
    """The report of an epoch that this center does not take."""
    return Report(
        epoch=epoch,
        state=State.FAILED.value,
        reason=str(refusal.reason),
        message=refusal.message[:_LONGEST],
        failure=Failure.PLACEMENT.name.lower(),
        finished_at=stamp(now),
    )


def reports_of(
    work: Work,
    shown: Mapping[int, Report],
    refused: Mapping[int, Report],
    made: Collection[int],
) -> list[Report]:
    """A report of each epoch, oldest first.

    `shown` is what the center shows; `refused` and `made` are the epochs that this agent refused
    and made.
    """
    found = dict(shown)
    for attempt in work.spec.attempts:
        if attempt.epoch in found:
            # The hub has said it here itself: not to be told again.
            found[attempt.epoch] = msgspec.structs.replace(found[attempt.epoch], placement="")
        if attempt.epoch in found or attempt.desired == REMOVE:
            continue
        known = refused.get(attempt.epoch) or work.report(attempt.epoch)
        passed = attempt.epoch in made or attempt.epoch < max(shown, default=0)
        report = _unseen(attempt, known, made=passed)
        if report is not None:
            found[attempt.epoch] = report
    return [found[epoch] for epoch in sorted(found)]


def _unseen(attempt: Attempt, known: Report | None, *, made: bool) -> Report | None:
    """What there is to say of an epoch of which the center shows nothing."""
    if known is not None and known.state in _ENDED:
        return known
    if attempt.desired == STOP:
        return Report(
            epoch=attempt.epoch,
            state=State.SUSPENDED.value,
            reason=attempt.reason,
            message=attempt.message,
        )
    if known is None and not made:
        return None
    return Report(
        epoch=attempt.epoch,
        state=State.GONE.value,
        reason=str(Reason.WORKLOAD_GONE),
        message="The workload was removed in the center, not by Huiju.",
    )


def status_of(
    work: Work, reports: list[Report], trouble: KubeError | None, now: float
) -> Fields | None:
    """The status to write, None if it was told already.

    After `trouble` the spec has not been carried out, whatever the center shows.
    """
    told = work.status
    generation = told.observed_generation if trouble is not None else work.metadata.generation
    condition = _condition(work, trouble, now)
    before = told.conditions[0] if told.conditions else None
    if (
        tuple(reports) == told.attempts
        and generation == told.observed_generation
        and before is not None
        and (condition["status"], condition["message"]) == (before.status, before.message)
    ):
        return None
    newest = reports[-1] if reports else None
    return {
        "observedGeneration": generation,
        "conditions": [condition],
        "summary": f"{newest.epoch} {newest.state}" if newest is not None else None,
        "attempts": [msgspec.to_builtins(report) for report in reports],
    }


def _condition(work: Work, trouble: KubeError | None, now: float) -> Fields:
    status = "True" if trouble is None else "False"
    reason = Reason.READY if trouble is None else Reason.DISPATCH_REFUSED
    before = work.status.conditions[0] if work.status.conditions else None
    flipped = before is None or before.status != status
    since = stamp(now) if before is None or flipped else before.last_transition_time
    return {
        "type": "Synced",
        "status": status,
        "reason": str(reason),
        "message": str(trouble)[:_LONGEST] if trouble is not None else "",
        "observedGeneration": work.metadata.generation,
        "lastTransitionTime": since,
    }
