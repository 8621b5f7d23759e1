"""What people see of their jobs, with nothing but the hub's kubeconfig."""

from __future__ import annotations

import json

import pytest

from e2e.commands import CommandFailed, step, until
from e2e.lines import Lines
from e2e.network import Network
from e2e.team import ASCEND, NVIDIA, Team, on


def test_logs_are_followed_to_the_end(net: Network, squad: Team) -> None:
    step("logs -f of a job that runs for some seconds")
    squad.submit("talker", "run", "12")
    squad.until_phase("talker", "Running")
    with net.hub.started("huiju", "logs", "talker", "-f", "-n", squad.namespace) as process:
        lines = Lines(process)
        lines.until('"step": 0')
        assert squad.status("talker")["phase"] == "Running", "it came while the job ran"
        lines.until('"event": "done"')
        assert process.wait(30) == 0, "it ends with the job"
    numbers = [json.loads(line)["step"] for line in lines.seen if '"step"' in line and "{" in line]
    assert numbers == list(range(len(numbers))), "every line once and in order"
    last = squad.huiju("logs", "talker", "--tail", "1")
    assert json.loads(last)["event"] == "done"
    with pytest.raises(CommandFailed, match="has workers 0 to 0"):
        squad.huiju("logs", "talker", "--worker", "1")


def test_logs_of_a_pull_center_say_that_they_cannot_be_had(squad: Team) -> None:
    squad.submit("far", accelerators=on(NVIDIA))
    squad.until_phase("far", "Succeeded")
    with pytest.raises(CommandFailed, match="pull center"):
        squad.huiju("logs", "far")


def test_centers_are_watched_while_a_job_comes_and_goes(net: Network, squad: Team) -> None:
    step("centers -w while a job comes and goes")
    with net.hub.started("huiju", "centers", "-w") as process:
        lines = Lines(process)
        lines.until("ascend-910b3 16/16")
        squad.submit("passing", "run", "600", accelerators=on(ASCEND, units=8))
        lines.until("ascend-910b3 8/16")
        text = squad.huiju("why", "passing")
        assert "Placed    south, on ascend-910b3 (epoch 1)" in text, text
        squad.huiju("cancel", "passing")
        lines.until("ascend-910b3 16/16")


def test_events_tell_a_users_job(net: Network, squad: Team) -> None:
    squad.submit("told")
    squad.until_phase("told", "Succeeded")

    def reasons() -> set[str]:
        found = net.hub.list("events.events.k8s.io", squad.namespace)
        return {event["reason"] for event in found if event["regarding"]["name"] == "told"}

    until("events of the job", reasons, lambda found: {"Placed", "Succeeded"} <= found)
