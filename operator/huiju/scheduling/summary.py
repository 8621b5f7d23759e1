"""One reason and one message for a job out of what all centers said.

Decides wording only. Invariant: the reason is that of the centers that could help soonest: those
that lack room now count before those that could never take the job. Among these it is the one that
most of them give, so that it does not change with every node that is taken or held somewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from huiju.scheduling import reasons
from huiju.scheduling.model import Refusal

_NEVER = {
    reasons.NO_SUCH_ACCELERATOR,
    reasons.ILLEGAL_ACCELERATOR_COUNT,
    reasons.REGION_NOT_ALLOWED,
    reasons.RESIDENCY_NOT_SATISFIED,
    reasons.CENTER_EXCLUDED,
    reasons.SHARING_POLICY,
    reasons.RESIDENCY_FORBIDS,
    reasons.PERMISSION_DENIED,
    reasons.NO_ROUTE,
    reasons.NO_DATA_STORE,
}
_SHOWN = 3


def main_reason(counts: Mapping[str, int]) -> str:
    """The reason for a job that no center can take now, from how often each word was given."""
    given = {word: count for word, count in counts.items() if count}
    if not given:
        return reasons.NO_CENTER
    hopeful = {word: count for word, count in given.items() if word not in _NEVER} or given
    most = max(hopeful.values())
    first, *others = [word for word, count in hopeful.items() if count == most]
    return reasons.NO_CENTER if others else first


def shown(
    centers: Iterable[str], words: Mapping[str, Sequence[tuple[str, int | None]]]
) -> list[str]:
    """The centers of which a message tells in full: the first that could help soonest."""
    hopeful: list[str] = []
    others: list[str] = []
    for center in centers:
        given = words.get(center)
        if not given:
            continue
        if given[0][0] in _NEVER and all(word in _NEVER for word, _ in given):
            others.append(center)
            continue
        hopeful.append(center)
        if len(hopeful) == _SHOWN:
            break
    return hopeful or others[:_SHOWN]


def message_of(
    refusals: Sequence[Refusal], centers: int, counts: Mapping[str, int] | None = None
) -> str:
    """The message that goes with `main_reason`.

    `counts` is how often each reason was given, if the refusals are not all there are.
    """
    if not centers:
        return "there is no center"
    hopeful = [r for r in refusals if r.reason not in _NEVER]
    told = (hopeful or list(refusals))[:_SHOWN]
    text = "; ".join(f"{r.center}: {r.message}" for r in told)
    rest = Counter(r.reason for r in refusals) if counts is None else Counter(counts)
    rest.subtract(Counter(r.reason for r in told))
    more = ", ".join(f"{count} {word}" for word, count in sorted(rest.items()) if count > 0)
    what = "the center cannot" if centers == 1 else f"none of {centers} centers can"
    return f"{what} take it now: {text}" + (f"; besides {more}" if more else "")
