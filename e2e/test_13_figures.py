"""What alerts and dashboards ask for is what programs that run show."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

from e2e.cluster import Cluster
from e2e.commands import until
from e2e.network import SYSTEM, Network
from e2e.team import ASCEND, NVIDIA, Team, on
from e2e.test_07_hub import leader
from helm import asked

_SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "counter": ("_total",),
    "histogram": ("_bucket", "_count", "_sum"),
}


def shown(cluster: Cluster, pod: str, port: int) -> tuple[set[str], dict[str, set[str]]]:
    """Names of the series that a pod may show, and the labels of those that it shows now."""
    path = f"/api/v1/namespaces/{SYSTEM}/pods/{pod}:{port}/proxy/metrics"
    text = cluster.kubectl("get", "--raw", path)
    names: set[str] = set()
    labels: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        names |= {family.name + suffix for suffix in _SUFFIXES.get(family.type, ("",))}
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    return names, labels


def test_alerts_and_dashboards_ask_for_what_is_shown(net: Network, squad: Team) -> None:
    squad.submit("one", accelerators=on(ASCEND))
    squad.submit("other", accelerators=on(NVIDIA))
    for name in ("one", "other"):
        squad.until_phase(name, "Succeeded")
    pod = until("a hub leads", lambda: leader(net))
    names, labels = until(
        "the hub shows its centers",
        lambda: shown(net.hub, pod, 8081),
        lambda seen: "huiju_center_units" in seen[1] and "huiju_queue_tflops" in seen[1],
    )
    known = 0
    for where, expression in asked.expressions():
        for name, wanted in asked.series(expression):
            assert name in names, f"{where}: a hub that runs shows no {name}"
            if name in labels:
                assert wanted <= labels[name], f"{where}: {name} has labels {labels[name]}"
                known += 1
    assert known > 20, "most series had values by which labels could be told"


def test_sentinels_show_their_lease(net: Network) -> None:
    for cluster in net.centers.values():
        (pod,) = cluster.list("pods", SYSTEM, "app.kubernetes.io/component=sentinel")
        _, labels = shown(cluster, pod["metadata"]["name"], 8084)
        for word in ("asks_total", "grants_total", "lease_seconds", "stops_total"):
            assert f"huiju_sentinel_{word}" in labels
