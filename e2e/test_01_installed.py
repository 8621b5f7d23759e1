"""The charts are installed and both centers joined; what a platform engineer sees first."""

from __future__ import annotations

from e2e.cluster import Cluster
from e2e.commands import step, until
from e2e.network import SYSTEM, Network, ready, units
from e2e.team import ASCEND, NVIDIA


def test_helm_test_finds_a_working_hub(net: Network) -> None:
    said = net.hub.helm("test", "huiju", "-n", SYSTEM, "--logs", "--timeout", "180s")
    assert "FAIL" not in said
    assert "Succeeded" in said


def test_centers_have_what_their_kubelets_offer(net: Network) -> None:
    step("what both centers show")
    south = net.until_center("south", lambda s: units(s, ASCEND) == (16, 16, 16), "16 Ascend")
    north = net.until_center("north", lambda s: units(s, NVIDIA) == (8, 8, 8), "8 NVIDIA")
    assert south["nodes"] == {"total": 2, "ready": 2, "schedulable": 2}
    assert north["nodes"]["schedulable"] == 1
    for name, status in (("south", south), ("north", north)):
        cluster = net.centers[name]
        assert ready(status)
        assert status["identity"]["uid"] == _uid(cluster)
        assert status["kubernetesVersion"] == _version(cluster)
    rows = net.huiju("centers").splitlines()
    assert any("ascend-910b3 16/16" in row for row in rows), rows
    assert any("nvidia-a100-80g 8/8" in row for row in rows), rows


def test_check_finds_nothing_amiss(net: Network) -> None:
    said = net.huiju("check")
    assert "FAIL" not in said, said


def test_one_hub_leads_and_the_other_is_ready_to(net: Network) -> None:
    def pods() -> list[bool]:
        found = net.hub.list("pods", SYSTEM, "app.kubernetes.io/component=hub")
        return [all(s["ready"] for s in pod["status"]["containerStatuses"]) for pod in found]

    assert until("two hubs are ready", pods, lambda ready: ready == [True, True])
    holder = net.hub.get("lease", "huiju-hub", SYSTEM)["spec"]["holderIdentity"]
    names = {pod["metadata"]["name"] for pod in net.hub.list("pods", SYSTEM)}
    assert any(holder.startswith(name) for name in names), (holder, names)


def _uid(cluster: Cluster) -> str:
    return str(cluster.get("namespace", "kube-system")["metadata"]["uid"])


def _version(cluster: Cluster) -> str:
    return str(cluster.get("node", cluster.control_plane)["status"]["nodeInfo"]["kubeletVersion"])
