"""Huiju goes and comes: uninstalled and installed again, and upgraded under running jobs."""

from __future__ import annotations

import pytest

from e2e import leaving
from e2e.cluster import Cluster
from e2e.commands import step
from e2e.network import SYSTEM, Network, condition, ready
from e2e.settings import Edition
from e2e.team import ASCEND, NVIDIA, Team, found, on

PARTS = (
    "deployments,services,configmaps,serviceaccounts,roles,rolebindings,clusterroles,"
    "clusterrolebindings,apiservices,validatingadmissionpolicies,"
    "validatingadmissionpolicybindings,networkpolicies,poddisruptionbudgets,endpointslices"
)


def pods(squad: Team, name: str) -> set[str]:
    """UIDs of the pods of a job."""
    return {pod["metadata"]["uid"] for _, pod in squad.pods(name)}


def run_on(squad: Team) -> None:
    """Two long jobs, one in each center, that run."""
    squad.submit("near", "run", "900")
    squad.submit("far", "run", "900", accelerators=on(NVIDIA))
    for name in ("near", "far"):
        squad.until_phase(name, "Running")


def run_through(squad: Team, before: dict[str, set[str]]) -> None:
    """These two run as they did."""
    for name, had in before.items():
        status = squad.until_phase(name, "Running")
        assert status["epoch"] == 1, status
        assert not status.get("history"), status
        assert pods(squad, name) == had, "the very pods"


def one_more_each(squad: Team, word: str) -> None:
    """A job in each center runs to its end."""
    for place, kind in (("near", ASCEND), ("far", NVIDIA)):
        squad.submit(f"{word}-{place}", accelerators=on(kind))
    for place in ("near", "far"):
        assert squad.until_phase(f"{word}-{place}", "Succeeded")["epoch"] == 1


def test_the_hub_goes_and_comes_back(net: Network, squad: Team) -> None:
    step("the hub's chart is uninstalled while jobs run")
    run_on(squad)
    before = {name: pods(squad, name) for name in ("near", "far")}
    leaving.hub_goes(net)
    left = net.hub.kubectl(
        "get", PARTS, "-A", "-l", "app.kubernetes.io/instance=huiju", "-o", "name"
    )
    assert not left, left
    kept = net.hub.kubectl("get", "crossregionjobs", "-n", squad.namespace, "-o", "name")
    assert len(kept.split()) == 2, "kinds and jobs stay"
    assert net.hub.get("secret", "center-south", SYSTEM)
    assert {name: pods(squad, name) for name in before} == before, "so do workloads"
    step("and installed again: it goes on where it was")
    net.install_hub()
    run_through(squad, before)
    one_more_each(squad, "again")


def images(cluster: Cluster, part: str) -> set[str]:
    """The images of the pods of a part, those that are going apart."""
    labels = f"app.kubernetes.io/component={part}"
    return {
        str(container["image"])
        for pod in cluster.list("pods", SYSTEM, labels)
        if "deletionTimestamp" not in pod["metadata"]
        for container in pod["spec"]["containers"]
    }


def test_everything_goes(net: Network) -> None:
    step("everything is taken away, as docs/uninstall.md says")
    leaving.everything_goes(net)
    for cluster in net.clusters:
        assert not leaving.traces(cluster), f"left in {cluster.short}"


def test_upgrade_under_running_jobs(net: Network) -> None:
    old = net.settings.previous
    if old is None:
        pytest.skip("no previous version: E2E_PREVIOUS names none")
    step(f"the version before this one is installed: {old.image}")
    leaving.everything_goes(net)
    net.install(old)
    for name in net.centers:
        net.until_center(name, ready, "Ready")
    assert images(net.hub, "hub") == images(net.north, "agent") == {old.image}
    squad = found(net, "team-upgrade")
    try:
        upgrade(net, squad, old)
    finally:
        squad.clear()


def upgrade(net: Network, squad: Team, old: Edition) -> None:
    """The hub, then the centers, with jobs between each two steps."""
    run_on(squad)
    before = {name: pods(squad, name) for name in ("near", "far")}
    one_more_each(squad, "old")

    step("the hub is upgraded; the agent is one version behind")
    net.install_hub()
    assert images(net.hub, "hub") == {net.settings.edition.image}
    run_through(squad, before)
    one_more_each(squad, "hub-ahead")
    assert "Succeeded" in net.hub.helm("test", "huiju", "-n", SYSTEM, "--timeout", "180s")

    step("then the centers")
    net.install_south()
    net.install_north()
    for center, part in (
        (net.south, "sentinel"),
        (net.north, "sentinel"),
        (net.north, "agent"),
    ):
        center.until_rolled_out(f"deployment/huiju-{part}", SYSTEM)
        assert images(center, part) == {net.settings.edition.image}
    for name in net.centers:
        net.until_center(name, lambda s: condition(s, "Leased") == "True", "holds its lease")
    run_through(squad, before)
    one_more_each(squad, "new")

    step("the hub goes back a version; the agent is one version ahead")
    net.hub.helm("rollback", "huiju", "1", "-n", SYSTEM, "--wait")
    assert images(net.hub, "hub") == {old.image}
    run_through(squad, before)
    one_more_each(squad, "back")
    net.install_hub()
    run_through(squad, before)
    for name in before:
        squad.huiju("cancel", name)
        squad.until_phase(name, "Cancelled")
