"""The protocol with one rule taken away each: what the explorer must find, or it proves nothing.

Each starts shortly before the rule matters, so that the walk is short. The starts are states that
the whole protocol reaches too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tests.spec.protocol import (
    LEASE,
    LIVE,
    NONE,
    SENT,
    WAIT,
    Center,
    Clock,
    Job,
    Rules,
    State,
)

FULL = Clock(LEASE, False)


@dataclass(frozen=True, slots=True)
class Mutation:
    """Rules with one missing, and where to begin."""

    rules: Rules
    first: State


def _begun(one: Center, state: str, *, faults: int = 1) -> State:
    """The job's first epoch is in center 0; center 1 has a fresh lease."""
    other = Center(read=True, lease=FULL)
    job = Job(epoch=1, place=0, where=(0,), state=(state,))
    return State(True, (one, other), (job,), faults)


RUNNING = _begun(Center(read=True, lease=FULL), LIVE)
ANSWERED = _begun(Center(read=True, answer=LEASE, lease=FULL), LIVE)
CREATED = _begun(Center(read=True), SENT)
LOST = _begun(Center(link=False, lease=FULL), LIVE, faults=0)
"""The center of a running job has just stopped answering."""
LATE = _begun(Center(link=False), SENT, faults=0)
"""The same, with a create still on its way there."""
IDLE = _begun(Center(read=True, silent=WAIT), NONE)

_R = Rules()
MUTATIONS = {
    "wait for the clocks' drift": Mutation(replace(_R, wait=_R.wait - 1), LOST),
    "count a lease from its asking": Mutation(replace(_R, count_from_asking=False), ANSWERED),
    "clean before renewing": Mutation(replace(_R, clean_before_renewal=False), LATE),
    "read all epochs after a restore": Mutation(
        replace(_R, read_before_placing=False), RUNNING._replace(faults=2)
    ),
    "start only under a valid lease": Mutation(replace(_R, gate=False), LATE),
    "a create dies with its connection": Mutation(replace(_R, creates_die=False), CREATED),
    "a create counts as a word to the center": Mutation(replace(_R, create_is_a_word=False), IDLE),
    "a move waits for the stop": Mutation(replace(_R, stop_seen=False), RUNNING),
}
