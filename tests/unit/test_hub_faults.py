"""Hardware faults of a center's nodes: who is believed how far, and for how long."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from huiju.api.reasons import Reason
from huiju.centers.observe import Failure, State
from huiju.hub import status as transitions
from huiju.hub.faults import MOST_NODES, MOST_WITNESSES, Faults, FaultTerms, witness
from huiju.hub.lifecycle import decide
from huiju.hub.objects import JobStatus
from tests.unit.test_hub_lifecycle import (
    NOW,
    OK,
    SETTINGS,
    job,
    observed,
    placed,
    placement,
)

TERMS = FaultTerms(memory=1000.0, avoid=300.0, share=0.25)
ONE, TWO = (witness(uid, "team-a", claimed=False) for uid in ("u1", "u2"))


def noted(*faults: tuple[str, str, float], terms: FaultTerms = TERMS) -> Faults:
    made = Faults(terms)
    for node, by, at in faults:
        made.note(node, by, at, "HardwareFault", at)
    return made


def test_one_fault_makes_a_node_suspect_and_a_second_ones_sets_it_aside() -> None:
    made = noted(("n1", ONE, 100.0))
    assert made.suspects(100.0) == {"n1"}
    assert made.set_aside(100.0, 40) == {}
    assert made.note("n1", TWO, 200.0, "NodeLost", 200.0)
    assert made.set_aside(200.0, 40) == {"n1": 500.0}
    assert made.suspects(499.0) == {"n1"}
    assert (made.suspects(500.0), made.set_aside(500.0, 40)) == (frozenset(), {})


def test_a_job_that_fails_there_twice_is_one_witness() -> None:
    made = noted(("n1", ONE, 100.0), ("n1", ONE, 200.0))
    assert made.set_aside(200.0, 40) == {}
    assert made.suspects(450.0) == {"n1"}, "the latest counts"


def test_programs_of_one_namespace_claim_with_one_voice() -> None:
    voices = {witness(uid, "team-a", claimed=True) for uid in ("u1", "u2", "u3")}
    assert len(voices) == 1
    assert witness("u1", "team-b", claimed=True) not in voices
    assert ONE not in voices


def test_equal_notes_are_one_and_older_ones_none() -> None:
    made = noted(("n1", ONE, 100.0))
    assert not made.note("n1", ONE, 100.0, "HardwareFault", 150.0)
    assert not made.note("n1", ONE, 90.0, "HardwareFault", 150.0)
    assert made.note("n1", ONE, 9999.0, "HardwareFault", 150.0)
    assert made.suspects(450.0) == frozenset(), "no fault lies ahead"


def test_two_faults_count_together_within_the_memory_only() -> None:
    made = noted(("n1", ONE, 100.0))
    made.forget(1200.0)
    made.note("n1", TWO, 1200.0, "HardwareFault", 1200.0)
    assert made.set_aside(1200.0, 40) == {}
    assert not made.note("n1", ONE, 100.0, "HardwareFault", 1200.0), "it would come back"


def test_no_more_than_a_share_of_the_nodes_is_set_aside_the_worst_first() -> None:
    faults = [(f"n{i}", by, 100.0 + i) for i in range(6) for by in (ONE, TWO)]
    made = noted(*faults, ("n0", "third", 100.0))
    assert list(made.set_aside(110.0, 8)) == ["n0", "n5"]
    assert list(made.set_aside(110.0, 3)) == ["n0"], "one may always be"
    assert len(made.suspects(110.0)) == 6


def test_memory_is_bounded_and_keeps_the_newest() -> None:
    made = Faults(TERMS)
    for i in range(MOST_NODES + 10):
        made.note(f"n{i:03}", ONE, 100.0 + i, "HardwareFault", 500.0)
    for i in range(MOST_WITNESSES + 5):
        made.note("n073", f"w{i:02}", 300.0 + i, "HardwareFault", 500.0)
    told = made.fields(500.0, 1000)
    assert len(told) == MOST_NODES
    assert told[-1]["node"] == "n073"
    assert len(told[-1]["faults"]) == MOST_WITNESSES
    assert told[0]["node"] == "n010"


def test_the_status_of_the_center_is_the_memory_of_the_next_hub() -> None:
    terms = FaultTerms()
    made = noted(("n1", ONE, NOW), ("n1", TWO, NOW + 5), ("n2", ONE, NOW), terms=terms)
    told = made.fields(NOW + 10, 8)
    assert [(n["node"], "setAsideUntil" in n) for n in told] == [("n1", True), ("n2", False)]
    again = Faults(terms, told)
    assert again.fields(NOW + 10, 8) == told
    assert not again.note("n1", ONE, NOW, "HardwareFault", NOW + 10), "known already"


def test_a_word_of_the_owner_undoes_what_was_before_it() -> None:
    made = noted(("n1", ONE, 100.0), ("n1", TWO, 200.0))
    made.forgive(150.0)
    assert made.set_aside(200.0, 40) == {}
    made.forgive(201.0)
    assert made.suspects(210.0) == frozenset()
    assert not made.note("n1", ONE, 100.0, "HardwareFault", 210.0)
    assert made.note("n1", ONE, 205.0, "HardwareFault", 210.0)


# --- the job's side ---


def ended(status: JobStatus, *, claimed: bool = False, **spec: Any) -> JobStatus:
    seen = observed(State.FAILED, Failure.INFRASTRUCTURE, Reason.HARDWARE_FAULT)
    assert seen.observed is not None
    faulty = replace(seen.observed, fault_node="n1", fault_claimed=claimed)
    return decide(job(status, **spec), OK, replace(seen, observed=faulty), NOW, SETTINGS).status


def test_a_job_keeps_off_the_node_and_no_failure_is_its_own() -> None:
    status = ended(placed())
    assert (status.phase, status.reason, status.placement) == ("Queued", "HardwareFault", None)
    (avoided,) = status.avoid_nodes
    assert (avoided.center, avoided.node, avoided.claimed) == ("south", "n1", False)
    assert (status.hardware_faults, status.application_failures) == (1, 0)
    assert status.avoid == (), "the center's other nodes are sound"


def test_who_always_blames_the_machine_is_believed_so_often() -> None:
    status = placed()
    for epoch in range(2, 2 + SETTINGS.claimed_faults):
        status = ended(status, claimed=True)
        assert status.application_failures == 0
        status = transitions.placed(status, placement(epoch), "Placed.", NOW)
    last = ended(status, claimed=True)
    assert (last.phase, last.reason) == ("Failed", "ApplicationFailed")
    assert last.application_failures == 1
    assert ended(status).phase == "Queued", "what the center shows is no claim"
