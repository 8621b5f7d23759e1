"""A data set from a bucket in south is staged into north and read there by a job: docs/data.md."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from e2e.bucket import FILES, PORT, Bucket
from e2e.commands import run, step, until
from e2e.network import SYSTEM, Network
from e2e.team import NVIDIA, Team, found, on

Fields = dict[str, Any]
STORE: Final = "/store"
KEY: Final = "corpora-key"
MOVES: Final[Fields] = {
    "agent": {"data": {"enabled": True}},
    "networkPolicy": {"dataPorts": [PORT]},
}


@pytest.fixture
def bucket(net: Network) -> Iterator[Bucket]:
    """A bucket in south, and two centers that move data."""
    step("a bucket in south, and agents that move data")
    made = Bucket(net.south)
    try:
        south_serves(net)
        north_stores(net)
        yield made
    finally:
        made.remove()


def south_serves(net: Network) -> None:
    """An agent for data alone, since the hub reaches south by push."""
    net.huiju("join", "south", "--data-agent", *net.hand_over("south"))
    net.take_over("south")
    net.install_south(
        {
            **MOVES,
            "agent": {"enabled": True, "center": "south", "data": {"enabled": True, "only": True}},
            "policy": {"dataSources": [f"*/corpus-zh=s3:{KEY}/corpora/zh"]},
        }
    )
    until(
        "the agent of south asks to be let in",
        lambda: net.hub.list("leases", "huiju-center-south"),
    )
    net.huiju("approve", "south", "--serves-data")
    net.hub.patch(
        "computecenter", "south", {"spec": {"links": [{"to": "north", "bandwidth": "10G"}]}}
    )


def north_stores(net: Network) -> None:
    """A folder of the node for copies, which jobs may mount."""
    net.north.on_node(net.north.control_plane, f"mkdir -p {STORE} && chown 65532:65532 {STORE}")
    values = {
        **MOVES,
        "agent": {"data": {"enabled": True, "store": STORE}},
        "policy": {"hostPaths": [f"{STORE}/huiju-data"]},
    }
    net.install_north(values)
    net.north.until_rolled_out("deployment/huiju-agent", SYSTEM)
    store = {"path": STORE, "capacity": "10G"}
    net.hub.patch("computecenter", "north", {"spec": {"dataStore": store}})


def share(bucket: Bucket) -> Fields:
    """What the owner offers, with nothing published yet."""
    where = {"endpoint": bucket.endpoint, "bucket": "corpora", "prefix": "zh", "secretName": KEY}
    return {
        "apiVersion": "huiju.dev/v1alpha1",
        "kind": "DatasetShare",
        "metadata": {"name": "corpus-zh"},
        "spec": {
            "license": "CC-BY-4.0",
            "source": {"center": "south", "s3": where},
            "access": {"namespaces": ["team-*"], "purposes": ["pretraining"]},
        },
    }


def as_account(squad: Team, name: str) -> tuple[str, str]:
    """Flags by which somebody with `edit` in the team's namespace speaks to the hub."""
    space, hub = squad.namespace, squad.hub
    hub.kubectl("create", "serviceaccount", name, "-n", space)
    who = f"--serviceaccount={space}:{name}"
    hub.kubectl("create", "rolebinding", name, "-n", space, "--clusterrole=edit", who)
    token = hub.kubectl("create", "token", name, "-n", space).strip()
    config = yaml.safe_load(Path(hub.kubeconfig).read_text())
    config["users"] = [{"name": one["name"], "user": {"token": token}} for one in config["users"]]
    file = squad.network.folder / f"{space}-{name}.kubeconfig"
    file.write_text(yaml.safe_dump(config))
    return "--kubeconfig", str(file)


def on_disk(net: Network) -> list[str]:
    """Files of data sets on north's node."""
    words = f"find {STORE}/huiju-data -type f 2>/dev/null || true"
    return net.north.on_node(net.north.control_plane, words).splitlines()


def test_from_a_bucket_to_a_running_job(net: Network, squad: Team, bucket: Bucket) -> None:
    digests = bucket.make()
    assert digests.keys() == FILES.keys()
    bucket.hand_key_to_agent(KEY)
    owners = found(net, f"{squad.namespace}-owners")
    try:
        owners.hub.apply(share(bucket), namespace=owners.namespace)
        name = f"{owners.namespace}/corpus-zh"
        step("a version is published, asked for and granted")
        keys = {"AWS_ACCESS_KEY_ID": bucket.access, "AWS_SECRET_ACCESS_KEY": bucket.secret}
        said = net.huiju("dataset", "publish", name, "--version", "v1", env=keys)
        assert "v1" in said, said
        ask(net, squad, name)
        step("a job waits for its data, and reads it")
        entry = {"dataset": "corpus-zh", "namespace": owners.namespace, "mountPath": "/data"}
        squad.submit("reader", "digest", "/data", accelerators=on(NVIDIA), data=[entry])
        squad.until("reader", "waits for its data", lambda s: s.get("phase") != "Queued")
        status = squad.until_phase("reader", "Succeeded", seconds=180)
        assert status["placement"]["center"] == "north", status
        (read,) = [line for line in squad.lines("reader") if line["event"] == "digest"]
        # What lies in .huiju tells what the copy is; it is Huiju's own.
        given = {path: one for path, one in read["files"].items() if path[:7] != ".huiju/"}
        assert given == digests, "every byte, and nothing else"
        (replica,) = net.hub.list("datasetreplicas", owners.namespace)
        assert replica["status"]["phase"] == "Verified", replica
        assert replica["status"]["bytesDone"] == sum(FILES.values()), replica
        nothing_secret(net, bucket)
        step("the copy is removed, bytes first")
        squad.hub.kubectl("delete", "crossregionjob", "reader", "-n", squad.namespace)
        assert on_disk(net)
        net.huiju("dataset", "rm", name, "--center", "north")
        until("no bytes are left", lambda: on_disk(net), lambda files: not files)
        until(
            "nor the object",
            lambda: net.hub.list("datasetreplicas", owners.namespace),
            lambda left: not left,
        )
    finally:
        owners.clear()


def ask(net: Network, squad: Team, name: str) -> None:
    """Somebody of the team asks, and the data's owner agrees."""
    words = ("--purpose", "pretraining", "--accept-license", "CC-BY-4.0", "-n", squad.namespace)
    run("kubectl", "huiju", "dataset", "grant", name, *words, *as_account(squad, "li"))
    net.huiju("dataset", "approve", f"{squad.namespace}/corpus-zh")


def nothing_secret(net: Network, bucket: Bucket) -> None:
    """The bucket's key is nowhere on the hub or in the consumer's center."""
    for cluster in (net.hub, net.north):
        kinds = "secrets,configmaps,centercopies,centerservings,datasetshares,pods,events"
        known = kinds if cluster is net.hub else "secrets,configmaps,pods,jobs,events"
        text = cluster.kubectl("get", known, "-A", "-o", "json")
        assert json.loads(text)["items"], "something was read"
        for word in (bucket.access, bucket.secret):
            assert word not in text, f"the key is in {cluster.short}"
