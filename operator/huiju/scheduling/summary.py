"""One reason and one message for a job out of what all centers said.

Decides wording only. Invariant: the reason is that of the centers that could help soonest: those
that lack room now count before those that could never take the job.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from huiju.scheduling import reasons
from huiju.scheduling.model import Refusal

_NEVER = {
    reasons.NO_SUCH_ACCELERATOR,
    reasons.ILLEGAL_ACCELERATOR_COUNT,
    reasons.REGION_NOT_ALLOWED,
    reasons.RESIDENCY_NOT_SATISFIED,
    reasons.CENTER_EXCLUDED,
    reasons.SHARING_POLICY,
}
_SHOWN = 3


def summarize(refusals: Sequence[Refusal], centers: int) -> tuple[str, str]:
    """Reason and message for a job that no center can take now."""
    if not centers:
        return reasons.NO_CENTER, "there is no center"
    hopeful = [r for r in refusals if r.reason not in _NEVER]
    words = {r.reason for r in hopeful or refusals}
    reason = words.pop() if len(words) == 1 else reasons.NO_CENTER
    shown = (hopeful or list(refusals))[:_SHOWN]
    text = "; ".join(f"{r.center}: {r.message}" for r in shown)
    rest = Counter(r.reason for r in refusals)
    rest.subtract(Counter(r.reason for r in shown))
    more = ", ".join(f"{count} {word}" for word, count in sorted(rest.items()) if count > 0)
    what = "the center cannot" if centers == 1 else f"none of {centers} centers can"
    return reason, f"{what} take it now: {text}" + (f"; besides {more}" if more else "")
