"""What changes on nodes is seen: broken devices, a plugin that restarts, nodes that go."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e import devices
from e2e.commands import step, until
from e2e.network import Network, units
from e2e.team import ASCEND, NVIDIA, Team, on

GPUS = (8, 8, 8)


@pytest.fixture
def south_healed(net: Network) -> Iterator[None]:
    """South as it was, whatever the test did to its second node."""
    yield
    south = net.south
    south.on_node(south.worker, "systemctl restart kubelet")
    until("the second node is back", lambda: south.get("node", south.worker))
    south.kubectl("uncordon", south.worker)
    devices.label(south, ASCEND, south.worker)
    devices.break_devices(south, south.worker)
    devices.until_devices(south, south.worker, ASCEND, ASCEND.count)
    net.until_center("south", lambda s: units(s, ASCEND) == (16, 16, 16), "as it was")


@pytest.mark.usefixtures("south_healed")
def test_a_broken_device_is_not_offered(net: Network) -> None:
    step("device 3 fails on south's second node")
    devices.break_devices(net.south, net.south.worker, 3)
    net.until_center("south", lambda s: units(s, ASCEND) == (16, 15, 15), "15 of 16 are healthy")
    step("and heals")
    devices.break_devices(net.south, net.south.worker)
    net.until_center("south", lambda s: units(s, ASCEND) == (16, 16, 16), "16 again")


def test_a_plugin_that_restarts_has_not_taken_the_cards_away(net: Network) -> None:
    """In a pull center: what the agent tells is held as well."""
    node = net.north.control_plane
    step("north's device plugin goes")
    devices.withdraw(net.north, away=True)
    devices.until_devices(net.north, node, NVIDIA, 0)
    held = net.until_center("north", lambda s: units(s, NVIDIA)[2] == 0, "nothing is free")
    step("and comes back")
    devices.withdraw(net.north, away=False)
    devices.until_devices(net.north, node, NVIDIA, NVIDIA.count)
    net.until_center("north", lambda s: units(s, NVIDIA) == GPUS, "8 again")
    assert units(held, NVIDIA)[:2] == (8, 8), "no alarm for an upgrade of the plugin"


@pytest.mark.usefixtures("south_healed")
def test_nodes_are_cordoned_drained_and_deleted(net: Network, squad: Team) -> None:
    south = net.south
    step("a job fills south's second node")
    south.kubectl("label", "node", south.worker, "rack=second", "--overwrite")
    placement = {"nodeSelector": {"rack": "second"}}
    squad.submit("resident", "run", "600", accelerators=on(ASCEND, units=8), placement=placement)
    before = squad.until_phase("resident", "Running")
    assert before["placement"]["center"] == "south"
    net.until_center("south", lambda s: units(s, ASCEND) == (16, 16, 8), "8 are taken")
    squad.edit("resident", placement={"nodeSelector": {"rack": None}})

    step("the second node is cordoned")
    south.kubectl("cordon", south.worker)
    net.until_center("south", lambda s: s["nodes"]["schedulable"] == 1, "one node takes work")
    assert squad.status("resident")["phase"] == "Running", "a cordon moves nothing"

    step("and drained")
    words = ("--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=120s")
    south.kubectl("drain", south.worker, *words, timeout=150)
    after = squad.until(
        "resident",
        "runs again",
        lambda s: s.get("phase") == "Running" and s["placement"]["epoch"] == 2,
        seconds=120,
    )
    assert after["history"][0]["reason"] == "Evicted", after
    assert not after.get("applicationFailures"), after
    (where,) = {pod["spec"]["nodeName"] for _, pod in squad.pods("resident") if _runs(pod)}
    assert where == south.control_plane

    step("and deleted")
    south.delete("node", south.worker)
    net.until_center("south", lambda s: units(s, ASCEND) == (8, 8, 0), "8 cards, none free")
    assert net.center("south")["nodes"]["total"] == 1


def _runs(pod: dict[str, object]) -> bool:
    status = pod["status"]
    return isinstance(status, dict) and status.get("phase") == "Running"
