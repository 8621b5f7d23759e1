"""Devices of dynamic resource allocation."""

from __future__ import annotations

from typing import Any

import pytest

from huiju.centers.inventory import CenterInventory
from tests.inventory_worlds import (
    GPU,
    H100,
    claim,
    device_class,
    free_on,
    gpu_device,
    inventory,
    mig_device,
    node,
    pod,
    slice_of,
    tally,
)

IS_NVIDIA = 'device.driver == "gpu.nvidia.com"'
IS_WHOLE = "device.attributes['gpu.nvidia.com'].type == 'gpu'"
MODEL = "nvidia-h100-sxm"


def served(*devices: dict[str, Any], **more: Any) -> CenterInventory:
    """A node whose whole GPUs are served as nvidia.com/gpu."""
    made = inventory(node("n", {}))
    made.set_class(device_class("gpu.nvidia.com", GPU, IS_NVIDIA, IS_WHOLE))
    made.set_slice(slice_of("s", "n", list(devices), **more))
    return made


def test_claimed_devices_are_used() -> None:
    made = served(*(gpu_device(f"gpu-{i}") for i in range(8)))
    made.set_claim(claim("c", "n", "gpu-0", "gpu-5"))
    assert free_on(made, "n", GPU) == 6
    assert tally(made, MODEL).used == 2
    made.drop_claim("c")
    assert free_on(made, "n", GPU) == 8


def test_a_claim_for_watching_only_uses_nothing() -> None:
    made = served(gpu_device("gpu-0"))
    made.set_claim(claim("c", "n", "gpu-0", admin=True))
    assert free_on(made, "n", GPU) == 1


def test_a_pod_that_asks_by_name_and_its_claim_are_counted_once() -> None:
    made = served(*(gpu_device(f"gpu-{i}") for i in range(8)))
    made.set_pod(pod("p", "n", {GPU: "4"}))
    assert free_on(made, "n", GPU) == 4, "bound before its claim was seen"
    made.set_claim(claim("c", "n", "gpu-0", "gpu-1", "gpu-2", "gpu-3"))
    assert free_on(made, "n", GPU) == 4
    assert tally(made, MODEL).used == 4


def test_devices_that_a_plugin_serves_too_are_counted_once() -> None:
    made = inventory(node("n", {GPU: "8"}, H100))
    made.set_class(device_class("gpu.nvidia.com", GPU, IS_NVIDIA))
    made.set_slice(slice_of("s", "n", [gpu_device(f"gpu-{i}") for i in range(8)]))
    assert tally(made, MODEL).total == 8
    assert free_on(made, "n", GPU) == 8


def test_two_classes_do_not_count_a_device_twice() -> None:
    made = served(gpu_device("gpu-0"), gpu_device("gpu-1"))
    made.set_class(device_class("other", "example.com/gpu", IS_NVIDIA))
    assert sum(a["total"] for a in made.summary()["accelerators"]) == 2


def test_partitions_share_the_counters_of_their_card() -> None:
    def uses(memory: str) -> list[dict[str, Any]]:
        return [{"counterSet": "gpu-0", "counters": {"memory": {"value": memory}}}]

    devices = [
        gpu_device("gpu-0", consumesCounters=uses("80Gi")),
        *(mig_device(f"gpu-0-mig-{i}", "3g.40gb", consumesCounters=uses("40Gi")) for i in range(4)),
    ]
    shared = [{"name": "gpu-0", "counters": {"memory": {"value": "80Gi"}}}]
    made = served(*devices, shared=shared)
    part = f"{MODEL}-mig-3g.40gb"
    assert tally(made, MODEL).total == 1
    assert tally(made, part).total == 2, "four placements, of which two fit at once"
    made.set_claim(claim("c", "n", "gpu-0-mig-1"))
    assert free_on(made, "n", GPU) == 0, "a part is taken, so the whole cannot be had"
    assert tally(made, part).free == 1
    made.set_claim(claim("c", "n", "gpu-0"))
    assert tally(made, part).free == 0


def test_tainted_devices_are_there_but_not_to_be_had() -> None:
    taint = {"key": "gpu.nvidia.com/xid", "effect": "NoExecute"}
    made = served(gpu_device("gpu-0"), gpu_device("gpu-1", taints=[taint]))
    counted = tally(made, MODEL)
    assert (counted.total, counted.allocatable, counted.free) == (2, 1, 1)


def test_devices_of_unknown_drivers_are_no_accelerators() -> None:
    made = inventory(node("n", {}))
    made.set_slice(slice_of("s", "n", [{"name": "eth0"}], driver="dra.net"))
    assert made.summary()["accelerators"] == []


@pytest.mark.parametrize(
    "terms",
    [
        ('device.driver == "gpu.amd.com"',),
        (IS_NVIDIA, "device.attributes['gpu.nvidia.com'].type == 'mig'"),
        (IS_NVIDIA, "device.capacity['gpu.nvidia.com'].memory.compareTo(quantity('40Gi')) >= 0"),
        ("true",),
    ],
)
def test_a_class_that_does_not_surely_match_serves_nothing(terms: tuple[str, ...]) -> None:
    made = inventory(node("n", {}))
    made.set_slice(slice_of("s", "n", [gpu_device("gpu-0")]))
    made.set_class(device_class("c", GPU, *terms))
    assert made.buckets() == ()
    assert tally(made, MODEL).total == 1


def test_a_dropped_class_or_slice_takes_its_word_back() -> None:
    made = served(gpu_device("gpu-0"))
    made.drop_class("gpu.nvidia.com")
    assert made.buckets() == ()
    made.drop_slice("s")
    assert made.summary()["accelerators"] == []


def test_claims_known_before_their_slices_count_as_well() -> None:
    made = inventory(node("n", {}))
    made.set_claim(claim("c", "n", "gpu-0"))
    made.set_class(device_class("gpu.nvidia.com", GPU, IS_NVIDIA))
    made.set_slice(slice_of("s", "n", [gpu_device("gpu-0"), gpu_device("gpu-1")]))
    assert free_on(made, "n", GPU) == 1
