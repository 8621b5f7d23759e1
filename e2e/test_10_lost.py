"""Centers that are lost: guarded jobs stop there by themselves and go on elsewhere, others stay."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from typing import Any, Final

import pytest

from e2e.cluster import Cluster
from e2e.commands import run, started, step, until
from e2e.lines import Lines
from e2e.network import Network, condition, ready
from e2e.team import ASCEND, NVIDIA, Team, rather

Fields = dict[str, Any]
MANIFEST: Final = "/etc/kubernetes/manifests/kube-apiserver.yaml"
AWAY: Final = "/etc/kubernetes/kube-apiserver.yaml"
GUARDED: Final = {"failover": {"policy": "Reschedule"}}
LONG: Final = 240.0
"""Seconds of patience: the lease of profile `fast`, all that follows it, and a slow machine."""


@pytest.fixture
def leased(net: Network) -> None:
    """Both centers hold the short lease."""
    for name in net.centers:
        net.until_center(name, holds_lease, "holds a short lease")


def holds_lease(status: Fields) -> bool:
    """Whether a center answers, and holds the lease of profile `fast`."""
    profile = status.get("lease", {}).get("profile")
    return ready(status) and condition(status, "Leased") == "True" and profile == "fast"


def began(pod: Fields, container: str = "main") -> float:
    """When a container that runs was started, to the second below."""
    (status,) = [c for c in pod["status"]["containerStatuses"] if c["name"] == container]
    return datetime.fromisoformat(status["state"]["running"]["startedAt"]).timestamp()


def only_pod(squad: Team, name: str, center: str) -> Fields:
    """The one pod of a job in a center; the other one may not answer."""
    (pod,) = squad.pods_in(center, name)
    return pod


def log_folder(pod: Fields, container: str) -> str:
    """Where its node keeps what a container says."""
    meta = pod["metadata"]
    return f"/var/log/pods/{meta['namespace']}_{meta['name']}_{meta['uid']}/{container}"


def goes_on_in(squad: Team, name: str, center: str) -> Fields:
    """Wait until a job that left a lost center runs in another one, and see what is told of it."""
    status = squad.until(
        name,
        f"runs in {center}",
        lambda s: s.get("epoch") == 2 and s.get("phase") == "Running",
        seconds=LONG,
    )
    assert status["placement"]["center"] == center, status
    assert status["history"][0]["reason"] == "CenterLost", status
    assert status["failovers"] == 1, status
    assert not status.get("applicationFailures"), status
    assert not status.get("placementFailures"), status
    return status


@pytest.fixture
def north_thawed(net: Network, squad: Team) -> Iterator[None]:
    """North goes on, whatever the test did, before the team is cleared away."""
    yield
    if "paused" in run("docker", "inspect", "-f", "{{.State.Status}}", net.north.control_plane):
        run("docker", "unpause", net.north.control_plane)
    net.until_center("north", ready, "Ready again", seconds=LONG)


@pytest.mark.usefixtures("leased", "north_thawed")
def test_a_frozen_center_loses_its_guarded_job(net: Network, squad: Team) -> None:
    step("a guarded job runs in north, which then freezes")
    squad.submit("train", "run", "900", **rather(NVIDIA, ASCEND, 4), **GUARDED)
    assert squad.until_phase("train", "Running")["placement"]["center"] == "north"
    old = only_pod(squad, "train", "north")
    with ExitStack() as stack:

        def follow(container: str) -> Lines:
            # On the node, so that it freezes with it and reads on, also of a pod that goes.
            tail = f"echo follows; exec tail -n+1 -f {log_folder(old, container)}/0.log"
            words = ("docker", "exec", net.north.control_plane, "sh", "-c", tail)
            lines = Lines(stack.enter_context(started(*words)))
            lines.until("follows")
            return lines

        program, guard = follow("main"), follow("huiju-guard")
        program.until('"step": 0')
        frozen = time.time()
        run("docker", "pause", net.north.control_plane)
        status = squad.until_phase("train", "Unknown", seconds=LONG)
        assert status["placement"]["center"] == "north", status
        assert "the job runs elsewhere from" in status["message"], status
        goes_on_in(squad, "train", "south")
        new = began(only_pod(squad, "train", "south"))
        step(f"it runs in south, {new - frozen:.0f} s later; north thaws")
        run("docker", "unpause", net.north.control_plane)
        guard.until("LeaseEnded", seconds=LONG)
        program.until('"event": "stopped"', seconds=LONG)
    net.until_center("north", holds_lease, "has its lease again", seconds=LONG)
    stale = [item["status"].get("active", 0) for where, item in squad.workloads("train")]
    assert sorted(stale) == [0, 1], "in north a tombstone, nothing more"
    status = squad.status("train")
    assert (status["phase"], status["epoch"]) == ("Running", 2), status
    squad.huiju("cancel", "train")
    squad.until_phase("train", "Cancelled")


@pytest.fixture
def south_answers(net: Network, squad: Team) -> Iterator[None]:
    """South's API server is back, whatever the test did, before the team is cleared away."""
    yield
    net.south.on_node(net.south.control_plane, f"[ ! -e {AWAY} ] || mv {AWAY} {MANIFEST}")
    until("south's API server is back", lambda: net.south.list("nodes"), seconds=LONG)
    net.until_center("south", ready, "Ready again", seconds=LONG)


def said_on_node(cluster: Cluster, pod: Fields, container: str) -> list[str]:
    """What a container said, from its node's own files: no API server is asked."""
    text = cluster.on_node(pod["spec"]["nodeName"], f"cat {log_folder(pod, container)}/*.log")
    # Each line has its time, its stream and a mark before what was said.
    return [line.split(" ", 3)[3] for line in text.splitlines() if line.count(" ") >= 3]


@pytest.mark.usefixtures("leased", "south_answers")
def test_a_center_without_its_api_server_stops_guarded_pods_alone(
    net: Network, squad: Team
) -> None:
    step("a guarded job and one without a guard run in south, whose API server then goes")
    squad.submit("train", "run", "900", **rather(ASCEND, NVIDIA, 4), **GUARDED)
    squad.submit("plain", "run", "900", **rather(ASCEND, NVIDIA, 4))
    for name in ("train", "plain"):
        assert squad.until_phase(name, "Running")["placement"]["center"] == "south"
    train, plain = (only_pod(squad, name, "south") for name in ("train", "plain"))
    net.south.on_node(net.south.control_plane, f"mv {MANIFEST} {AWAY}")
    for name in ("train", "plain"):
        squad.until_phase(name, "Unknown", seconds=LONG)
    assert "spec.failover.policy is Never" in squad.status("plain")["message"]

    step("the guard ends its pod with no API server to ask")
    said = until(
        "the guarded program was told to stop",
        lambda: said_on_node(net.south, train, "main"),
        lambda lines: any('"stopped"' in line for line in lines),
        seconds=LONG,
    )
    stopped = float(json.loads(said[-1])["at"])
    assert any("LeaseEnded" in line for line in said_on_node(net.south, train, "huiju-guard"))
    goes_on_in(squad, "train", "north")
    new = began(only_pod(squad, "train", "north"))
    step(f"it runs in north, {new - stopped:.0f} s after it had stopped in south")
    assert stopped < new + 1, "never two at once; starts are known to the second"

    step("the one without a guard runs on where it is")
    status = squad.status("plain")
    assert (status["phase"], status["epoch"]) == ("Unknown", 1), status
    before = len(said_on_node(net.south, plain, "main"))
    until(
        "it gets on",
        lambda: len(said_on_node(net.south, plain, "main")),
        lambda now: now > before,
    )

    step("the API server is back")
    net.south.on_node(net.south.control_plane, f"mv {AWAY} {MANIFEST}")
    net.until_center("south", holds_lease, "has its lease again", seconds=LONG)
    status = squad.until_phase("plain", "Running", seconds=LONG)
    assert status["epoch"] == 1, status
    assert only_pod(squad, "plain", "south")["metadata"]["uid"] == plain["metadata"]["uid"]
    stale = [item for where, item in squad.workloads("train") if where == "south"]
    assert [item["status"].get("active", 0) for item in stale] == [0], "a tombstone, nothing more"
    for name in ("train", "plain"):
        squad.huiju("cancel", name)
        squad.until_phase(name, "Cancelled")
