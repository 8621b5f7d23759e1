"""What the agent says of a CenterWork, from facts alone."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from huiju.agent.reports import refusal_report, reports_of, status_of
from huiju.api.mailbox import CenterWorkStatus
from huiju.api.reasons import Reason
from huiju.centers.mailbox import Report, Work, observation_of
from huiju.centers.refusals import DispatchRefused
from huiju.kube.errors import Transient

NOW = 1_800_000_000.0


def work(*attempts: dict[str, Any], status: dict[str, Any] | None = None) -> Work:
    body = {
        "metadata": {"name": "uid", "uid": "u", "resourceVersion": "1", "generation": 3},
        "spec": {"job": {"namespace": "team", "name": "job"}, "attempts": list(attempts)},
        "status": status or {},
    }
    return msgspec.convert(body, Work)


def states(reports: list[Report]) -> dict[int, str]:
    return {report.epoch: report.state for report in reports}


def test_what_the_center_shows_is_reported_oldest_first() -> None:
    wanted = work({"epoch": 1, "desired": "Stop"}, {"epoch": 2})
    shown = {2: Report(2, "running"), 1: Report(1, "suspended")}
    assert states(reports_of(wanted, shown, {}, ())) == {1: "suspended", 2: "running"}
    assert [r.epoch for r in reports_of(wanted, shown, {}, ())] == [1, 2]


@pytest.mark.parametrize(
    ("desired", "told", "made", "expected"),
    [
        ("Run", None, False, None),
        ("Run", None, True, "gone"),
        ("Run", "running", False, "gone"),
        ("Run", "succeeded", False, "succeeded"),
        ("Run", "failed", True, "failed"),
        ("Stop", None, False, "suspended"),
        ("Stop", "running", True, "suspended"),
        ("Stop", "gone", True, "gone"),
        ("Remove", "running", True, None),
    ],
)
def test_what_the_center_does_not_show(
    desired: str, told: str | None, made: bool, expected: str | None
) -> None:
    status = {"attempts": [{"epoch": 1, "state": told}]} if told else None
    wanted = work({"epoch": 1, "desired": desired}, status=status)
    found = states(reports_of(wanted, {}, {}, {1} if made else ()))
    assert found == ({} if expected is None else {1: expected})


def test_an_epoch_that_was_passed_over_is_gone() -> None:
    """A restored hub wants again what it had given up: never made, it must not seem to come."""
    shown = {2: Report(2, "running", placement="word")}
    found = reports_of(work({"epoch": 1}), shown, {}, ())
    assert {r.epoch: r.state for r in found} == {1: "gone", 2: "running"}
    assert found[1].placement == "word"


def test_what_the_hub_has_said_here_is_not_told_back() -> None:
    shown = {1: Report(1, "running", placement="word"), 2: Report(2, "running", placement="two")}
    found = reports_of(work({"epoch": 1}), shown, {}, ())
    assert [r.placement for r in found] == ["", "two"]


def test_a_refusal_is_a_failed_placement_for_the_hub() -> None:
    refusal = DispatchRefused(Reason.SHARING_POLICY, "not here")
    report = refusal_report(1, refusal, NOW)
    seen = observation_of("uid", report)
    assert seen is not None
    assert seen.failure is not None
    assert (seen.failure.name, seen.reason) == ("PLACEMENT", Reason.SHARING_POLICY)
    assert reports_of(work({"epoch": 1}), {}, {1: report}, ()) == [report]


def test_the_same_facts_are_written_once() -> None:
    wanted = work({"epoch": 1})
    reports = [Report(1, "running")]
    first = status_of(wanted, reports, None, NOW)
    assert first is not None
    CenterWorkStatus.model_validate(first)
    told = msgspec.structs.replace(wanted, status=work(status=first).status)
    assert status_of(told, reports, None, NOW + 60) is None


def test_trouble_is_said_and_the_spec_is_not_called_carried_out() -> None:
    wanted = work({"epoch": 1}, status={"observedGeneration": 2})
    status = status_of(wanted, [], Transient("no answer"), NOW)
    assert status is not None
    assert status["observedGeneration"] == 2
    assert (status["conditions"][0]["status"], status["conditions"][0]["message"]) == (
        "False",
        "no answer",
    )
