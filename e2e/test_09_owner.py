"""A center's owner comes first: what local pods push out comes back to the queue at its place."""

from __future__ import annotations

from e2e.commands import step
from e2e.network import WORKER_IMAGE, Network
from e2e.team import ASCEND, Team, on


def test_local_pods_push_out_federated_ones(net: Network, squad: Team) -> None:
    step("a federated gang fills south, and another waits behind it")
    gang = {"accelerators": on(ASCEND, units=8), "workers": 2}
    squad.submit("first", "run", "600", **gang)
    squad.until_phase("first", "Running")
    squad.submit("second", "run", "600", **gang)
    squad.until("second", "waits", lambda s: s.get("phase") == "Queued" and s.get("reason"))

    step("the owner's own pod takes a node")
    local = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "local", "namespace": "default"},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": "main",
                    "image": WORKER_IMAGE,
                    "command": ["python3", "-c", "import time; time.sleep(900)"],
                    "resources": {"limits": {ASCEND.resource: "8"}},
                }
            ],
        },
    }
    net.south.apply(local)
    try:
        back = squad.until("first", "back in the queue", lambda s: "placement" not in s)
        assert back["history"][0]["reason"] == "PreemptedByOwner", back
        assert not back.get("applicationFailures"), "nothing counts against the program"
        net.south.kubectl("wait", "--for=condition=Ready", "pod/local", "-n", "default")
        assert not squad.status("second").get("epoch"), "nothing overtook it"
    finally:
        net.south.delete("pod", "local", "default")

    step("the owner's pod is gone: the first goes before the second")
    again = squad.until_phase("first", "Running", seconds=150)
    assert again["epoch"] == 2
    assert not squad.status("second").get("epoch"), "it kept its place"
    squad.huiju("cancel", "first")
    squad.until_phase("second", "Running")
