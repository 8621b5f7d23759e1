"""The hub dies, and its whole cluster with it; nothing is lost and nothing runs twice."""

from __future__ import annotations

from e2e.commands import run, step, until
from e2e.network import SYSTEM, Network, ready
from e2e.team import ASCEND, NVIDIA, Team, on


def leader(net: Network) -> str:
    """The pod that holds the Lease; empty if none of those that are there does."""
    holder = str(net.hub.get("lease", "huiju-hub", SYSTEM)["spec"].get("holderIdentity") or "")
    pods = net.hub.list("pods", SYSTEM, "app.kubernetes.io/component=hub")
    names = [str(pod["metadata"]["name"]) for pod in pods]
    return next((name for name in names if holder.startswith(name)), "")


def ran_once(squad: Team, name: str) -> None:
    """One epoch, one workload, one success."""
    status = squad.status(name)
    assert status["epoch"] == 1, status
    assert not status.get("history"), status
    (done,) = [item for _, item in squad.workloads(name)]
    assert done["status"]["succeeded"] == 1, done["status"]


def test_another_hub_takes_over(net: Network, squad: Team) -> None:
    step("the leading hub is killed while jobs run and one is on its way")
    squad.submit("near", "run", "20")
    squad.submit("far", "run", "20", accelerators=on(NVIDIA))
    for name in ("near", "far"):
        squad.until_phase(name, "Running")
    before = until("a hub leads", lambda: leader(net))
    squad.submit("on-its-way")
    net.hub.kubectl("delete", "pod", before, "-n", SYSTEM, "--grace-period=0", "--force")
    squad.submit("after")
    until("another hub leads", lambda: leader(net), lambda name: name not in ("", before))
    for name in ("near", "far", "on-its-way", "after"):
        squad.until_phase(name, "Succeeded")
        ran_once(squad, name)


def test_the_hubs_cluster_restarts(net: Network, squad: Team) -> None:
    step("the hub's node restarts while jobs run")
    squad.submit("near", "run", "45")
    squad.submit("far", "run", "45", accelerators=on(NVIDIA))
    squad.submit("behind", accelerators=on(ASCEND, units=8), placement={"centers": ["nowhere"]})
    for name in ("near", "far"):
        squad.until_phase(name, "Running")
    run("docker", "restart", net.hub.control_plane, timeout=120)
    until("the hub's API server is back", lambda: net.hub.list("nodes"), seconds=180)
    for name in ("near", "far"):
        squad.until_phase(name, "Succeeded", seconds=240)
        ran_once(squad, name)
    for name in net.centers:
        net.until_center(name, ready, "Ready again")
    step("and work goes on")
    squad.edit("behind", placement={"centers": ["south"]})
    squad.until_phase("behind", "Succeeded")
    ran_once(squad, "behind")
    until("why is answered", lambda: squad.huiju("why", "behind"), lambda text: "south" in text)
