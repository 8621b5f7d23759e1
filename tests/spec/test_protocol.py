"""The protocol holds in every state within a small bound; without one of its rules it breaks."""

from __future__ import annotations

import pytest

from tests.spec.explore import explore
from tests.spec.mutations import LOST, MUTATIONS, RUNNING
from tests.spec.protocol import Rules, State


@pytest.mark.parametrize(
    "first",
    [RUNNING._replace(faults=0), LOST],
    ids=["moved", "center lost"],
)
def test_no_promise_breaks(first: State) -> None:
    found = explore(Rules(), first=first)
    assert found.complete
    assert (found.violation, found.trace) == ("", ())


@pytest.mark.parametrize(
    "name",
    [
        "wait for the clocks' drift",
        "start only under a valid lease",
        "read all epochs after a restore",
        "a move waits for the stop",
    ],
)
def test_a_missing_rule_is_found(name: str) -> None:
    mutation = MUTATIONS[name]
    found = explore(mutation.rules, first=mutation.first, most=300_000)
    assert found.violation
    assert found.trace
