"""Jobs run to their end in real pods, and find there what they were promised."""

from __future__ import annotations

import base64

from e2e.commands import step
from e2e.network import Network
from e2e.team import ASCEND, NVIDIA, Team, on

MEGABYTE = 1 << 20


def test_one_pod_in_a_pull_center(net: Network, squad: Team) -> None:
    step("a job with a ConfigMap and a Secret goes to north")
    space = squad.namespace
    squad.hub.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "tuning", "namespace": space},
            "data": {"train.yaml": "rate: 1\n"},
        },
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "tracker", "namespace": space},
            "data": {"token": base64.b64encode(b"not-very-secret").decode()},
        },
    )
    secret = {"secretKeyRef": {"name": "tracker", "key": "token"}}
    squad.submit(
        "single",
        *("report", "--file", "/etc/tuning/train.yaml", "--env", "TRACKER_TOKEN"),
        accelerators=on(NVIDIA, units=2),
        carry={"configMaps": ["tuning"], "secrets": ["tracker"]},
        container={
            "env": [{"name": "TRACKER_TOKEN", "valueFrom": secret}],
            "volumeMounts": [{"name": "tuning", "mountPath": "/etc/tuning"}],
        },
        pod={"volumes": [{"name": "tuning", "configMap": {"name": "tuning"}}]},
    )
    status = squad.until_phase("single", "Succeeded")
    assert status["placement"]["center"] == "north"
    assert status["placement"]["resource"] == NVIDIA.resource
    (report,) = squad.reports("single")
    env = report["env"]
    assert len(report["devices"]) == 2, "as many devices as were asked for"
    assert set(report["devices"]) <= set(range(8))
    assert report["files"] == {"/etc/tuning/train.yaml": "rate: 1\n"}
    assert env["TRACKER_TOKEN"] == "not-very-secret"
    assert report["shared_memory"] == 32 * MEGABYTE
    assert env["HUIJU_JOB"] == "single"
    assert env["HUIJU_NAMESPACE"] == space
    assert env["HUIJU_CENTER"] == "north"
    assert env["HUIJU_EPOCH"] == "1"
    assert env["HUIJU_ACCELERATOR"] == NVIDIA.model
    assert (env["NNODES"], env["NODE_RANK"], env["NPROC_PER_NODE"]) == ("1", "0", "2")
    assert env["HUIJU_MASTER_ADDR"] == "127.0.0.1"


def test_a_gang_of_four_meets_across_nodes(net: Network, squad: Team) -> None:
    step("four workers of four cards each fill south")
    squad.submit(
        "gang",
        accelerators=on(ASCEND, units=4),
        workers=4,
        launch={"framework": "torchrun", "sharedMemory": "32Mi"},
    )
    status = squad.until_phase("gang", "Succeeded", seconds=150)
    assert status["placement"]["center"] == "south"
    reports = squad.reports("gang")
    assert [report["rank"] for report in reports] == [0, 1, 2, 3]
    everybody = [{key: report[key] for key in ("rank", "host", "devices")} for report in reports]
    by_node: dict[str, list[int]] = {}
    for report in reports:
        env = report["env"]
        assert report["everybody"] == everybody, "each worker met all others"
        assert (env["NNODES"], env["NPROC_PER_NODE"]) == ("4", "4")
        assert env["NODE_RANK"] == env["PET_NODE_RANK"] == str(report["rank"])
        assert env["MASTER_ADDR"] == env["PET_MASTER_ADDR"] == env["HUIJU_MASTER_ADDR"]
        assert env["HUIJU_MASTER_ADDR"].startswith(f"{status['placement']['workload']}-0.")
        assert int(env["HCCL_CONNECT_TIMEOUT"]) >= 120
        assert not {"RANK", "WORLD_SIZE", "LOCAL_RANK"} & env.keys(), "these are the launcher's"
        by_node.setdefault(report["node"], []).extend(report["devices"])
    assert {node: sorted(found) for node, found in by_node.items()} == {
        node: list(range(8)) for node in net.south.nodes
    }, "no two workers share a card"
    (done,) = [item for _, item in squad.workloads("gang")]
    assert done["status"]["succeeded"] == 4
