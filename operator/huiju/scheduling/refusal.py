"""A center's refusal in words, with the numbers that were missing.

Decides nothing: the reason is known, this finds what to say about it. Invariant: the numbers are
those of the center at this moment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from huiju.scheduling import reasons
from huiju.scheduling.ask import Ask
from huiju.scheduling.capacity import Block, CenterState, Hold
from huiju.scheduling.filter import doubted, image_message
from huiju.scheduling.model import Refusal, Vector

if TYPE_CHECKING:
    from huiju.scheduling.fit import Fitter

Holds = frozenset[Hold]
NO_HOLDS: Holds = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class Want:
    """One alternative under one resource name."""

    alternative: int
    model: str
    resource: str
    per_worker: int
    request: Vector
    ask: Ask
    key: tuple[int, int]
    """The same for all gangs that ask the same of a center."""

    def gflops(self, state: CenterState) -> int:
        """Normalized compute of the whole gang there; the most where nodes differ."""
        return self.per_worker * self.key[1] * state.gflops(self.model, self.resource)


def tell(
    fitter: Fitter, state: CenterState, reason: str, index: int | None, holds: Holds
) -> Refusal:
    """The refusal of one alternative in full."""
    name = state.center.name
    if index is None:
        return Refusal(name, reason, "the job names no accelerator")
    chosen = fitter.shape.alternatives[index]
    match reason:
        case reasons.NO_SUCH_ACCELERATOR:
            has = ", ".join(sorted(state.resources)) or "no accelerator"
            message = f"has no {chosen.model}, only {has}"
        case reasons.SHARING_POLICY:
            message = image_message(chosen.image, state.center)
        case reasons.SHARING_LIMIT:
            limit, held = state.limits[chosen.model]
            message = (
                f"needs {chosen.per_worker * fitter.shape.workers} {chosen.model};"
                f" the owner lends {limit} and the network holds {held} of them"
            )
        case reasons.PROMISE_BROKEN:
            doubt = doubted(fitter.shape, chosen, state.center)
            doubts = (d for d in state.center.doubts if d.model == chosen.model)
            message = (doubt or next(doubts)).message
        case reasons.ILLEGAL_ACCELERATOR_COUNT:
            message = f"no {chosen.model} node here serves {chosen.per_worker} units to one worker"
        case _:
            want = fitter.wants(index, state)[0]
            texts = state.index[want.model, want.resource].texts
            known = None if holds else texts.get(want.key)
            if known is None:
                known = _shortage(fitter, state, want, holds)
                if not holds:
                    texts[want.key] = known
            message = known
    return Refusal(name, reason, message, index)


def _shortage(fitter: Fitter, state: CenterState, want: Want, holds: Holds) -> str:
    blocks = state.offers(want.model, want.resource)
    lacks = [want.ask.refused(block.kind) for block in blocks]
    if all(lacks):
        return f"no {want.model} node has {min(lacks)}"
    text = _numbers(fitter, want, [b for b in blocks if b.hold is None or b.hold in holds])
    avoided = sum(len(block.nodes) for block in blocks if want.ask.avoids(block.kind))
    if avoided:
        text += f"; keeps off {avoided} after hardware faults"
    if state.holds and fitter.room(want, blocks) >= fitter.shape.workers:
        waiting = {hold.job for hold in state.holds if hold not in holds}
        text += f"; nodes are kept for {len(waiting)} job(s) that waited longer"
    return text


def _numbers(fitter: Fitter, want: Want, blocks: list[Block]) -> str:
    workers, size = fitter.shape.workers, want.per_worker
    largest = max((block.free.get(want.resource, 0) for block in blocks), default=0)
    fitting = fitter.room(want, blocks)
    if workers == 1:
        text = f"needs a node with {size} free {want.model}, has none"
    else:
        text = f"needs room for {workers} workers with {size} free {want.model} each,"
        text += f" has {fitting}"
    text += f"; largest free block {largest}"
    enough = [block for block in blocks if block.free.get(want.resource, 0) >= size]
    count = sum(len(block.nodes) for block in enough)
    short: dict[str, int] = {}
    for block in enough:
        for name, amount in want.request:
            if block.free.get(name, 0) < amount:
                short[name] = short.get(name, 0) + len(block.nodes)
    if short:
        lack = ", ".join(f"{name} on {nodes}" for name, nodes in sorted(short.items()))
        text += f"; of {count} nodes with {size} free there is too little {lack}"
    elif count > fitting:
        text += f"; of {count} nodes with {size} free not all have a legal position for it"
        unknown = sum(len(b.nodes) for b in enough if want.ask.guesses(b))
        if unknown:
            text += f" (on {unknown} it is not known which are free, so the worst case counts)"
    return text
