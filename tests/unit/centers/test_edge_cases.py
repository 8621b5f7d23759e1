"""The field's edge cases that break naive inventories, one test each."""

from __future__ import annotations

import json
from typing import Any

import pytest

from huiju.centers.devicereports import read_reports
from huiju.centers.inventory import CenterInventory
from huiju.centers.nodestate import VANISH_SECONDS, DeviceReport
from huiju.scheduling.model import Topology, UnitKind
from tests.inventory_worlds import (
    A3,
    ASCEND,
    B3,
    CHIP,
    GPU,
    H100,
    PRODUCT,
    SERVER,
    A,
    bucket_of,
    device_class,
    free_on,
    gpu_device,
    inventory,
    node,
    pod,
    reservation,
    slice_of,
    tally,
)


def reports(free: str, *, broken: str = "", unlinked: str = "") -> dict[str, DeviceReport]:
    """What the device plugin says of some device numbers, as its ConfigMap holds it."""

    def named(numbers: str) -> str:
        return ",".join(f"Ascend910-{number}" for number in numbers.split(",") if number)

    told = {
        ASCEND: named(free),
        f"{ASCEND}-Unhealthy": named(broken),
        f"{ASCEND}-NetworkUnhealthy": named(unlinked),
        f"{ASCEND}-Fault": "[]",
    }
    config = json.dumps({"DeviceInfo": {"DeviceList": told, "UpdateTime": 1}, "CheckCode": "0"})
    return read_reports({"data": {"DeviceInfoCfg": config}})


def devices_of(made: CenterInventory, name: str) -> tuple[int, ...] | None:
    bucket = bucket_of(made, name)
    assert bucket is not None
    return bucket.free_devices


def test_01_an_a3_node_counts_dies_and_not_packages() -> None:
    made = inventory(node("n", {ASCEND: "16"}, A3))
    (status,) = made.summary()["accelerators"]
    assert status["unit"] == "die"
    assert status["total"] == 16
    assert status["normalizedCompute"] == 16 * 354
    bucket = bucket_of(made, "n")
    assert bucket is not None
    assert bucket.shape.accelerators[0].units_per_card == 2


def test_02_one_resource_name_on_three_generations_is_three_models() -> None:
    made = inventory(
        node("old", {ASCEND: "8"}, A),
        node("mid", {ASCEND: "8"}, B3),
        node("new", {ASCEND: "16"}, A3),
    )
    assert {a["model"] for a in made.summary()["accelerators"]} == {
        "ascend-910a",
        "ascend-910b3",
        "ascend-910c",
    }
    assert made.model_labels("ascend-910a", ASCEND) == {CHIP: "910ProB"}
    assert made.model_labels("ascend-910b3", ASCEND) == {CHIP: "910B3"}
    assert made.model_labels("ascend-910c", ASCEND) == {SERVER: "module-a3-16"}


@pytest.mark.parametrize(
    ("resource", "units", "labels", "annotations", "unit", "per_card"),
    [
        (
            "huawei.com/Ascend910B3",
            32,
            {},
            {"hami.io/node-register-Ascend910B3": '[{"id":"0","count":4,"devmem":65536}]'},
            UnitKind.SHARE,
            4,
        ),
        (
            GPU,
            280,
            {PRODUCT: "NVIDIA-A100-SXM4-80GB-MIG-1g.10gb-SHARED", "nvidia.com/gpu.replicas": "5"},
            {},
            UnitKind.SHARE,
            35,
        ),
        (
            "nvidia.com/mig-1g.10gb",
            280,
            {PRODUCT: "NVIDIA-A100-SXM4-80GB", "nvidia.com/mig-1g.10gb.replicas": "5"},
            {},
            UnitKind.SHARE,
            35,
        ),
        (GPU, 56, {PRODUCT: "NVIDIA-A100-SXM4-80GB-MIG-1g.10gb"}, {}, UnitKind.PARTITION, 7),
        (
            GPU,
            80,
            {
                PRODUCT: "NVIDIA-A100-SXM4-80GB-SHARED",
                "nvidia.com/gpu.sharing-strategy": "time-slicing",
                "nvidia.com/gpu.replicas": "10",
            },
            {},
            UnitKind.SHARE,
            10,
        ),
        (
            GPU,
            80,
            {
                PRODUCT: "NVIDIA-A100-SXM4-80GB",
                "nvidia.com/gpu.sharing-strategy": "mps",
                "nvidia.com/gpu.replicas": "10",
            },
            {},
            UnitKind.SHARE,
            10,
        ),
        (
            GPU,
            80,
            {PRODUCT: "NVIDIA-A100-SXM4-80GB"},
            {"hami.io/node-nvidia-register": "GPU-1,10,81920,100,NVIDIA-A100,0,true:"},
            UnitKind.SHARE,
            10,
        ),
    ],
)
def test_03_multiplied_cards_are_no_cards(
    resource: str,
    units: int,
    labels: dict[str, str],
    annotations: dict[str, str],
    unit: UnitKind,
    per_card: int,
) -> None:
    made = inventory(node("n", {resource: str(units)}, labels, annotations=annotations))
    bucket = bucket_of(made, "n")
    assert bucket is not None
    (accelerator,) = bucket.shape.accelerators
    assert accelerator.unit is unit
    assert accelerator.units_per_card == per_card
    assert accelerator.model not in {"nvidia-a100-80g", "ascend-910b3"}
    cards = units / per_card
    whole = {"huawei.com/Ascend910B3": 295_000}.get(resource, 312_000)
    assert accelerator.gflops * units == pytest.approx(cards * whole, rel=0.001)


@pytest.mark.parametrize(
    "name",
    [
        "huawei.com/npu-core",
        "huawei.com/Ascend910B3-memory",
        "nvidia.com/gpumem",
        "nvidia.com/gpucores",
        "mthreads.com/sgpu-memory",
        "enflame.com/gcu-count",
        "volcano.sh/vgpu-memory",
    ],
)
def test_04_amounts_never_enter_a_total_of_cards(name: str) -> None:
    made = inventory(node("n", {name: "65536"}))
    summary = made.summary()
    assert summary["accelerators"] == []
    assert summary["customResources"] == [{"resource": name, "allocatable": 65536, "used": 0}]
    assert made.buckets() == ()


def test_05_shares_that_need_their_own_scheduler_are_not_offered_as_cards() -> None:
    register = {"hami.io/node-nvidia-register": '[{"id":"GPU-0","count":10}]'}
    made = inventory(node("n", {GPU: "80"}, H100, annotations=register))
    assert made.resource_of("nvidia-h100-sxm") is None
    assert made.resource_of("nvidia-h100-sxm-shared") == GPU


def test_06_free_devices_tell_two_rings_of_two_from_one_of_four() -> None:
    made = inventory(
        node("n", {ASCEND: "8"}, A),
        pod("a", "n", {ASCEND: "2"}, real="Ascend910-0,Ascend910-1"),
        pod("b", "n", {ASCEND: "2"}, real="Ascend910-4,Ascend910-5"),
    )
    bucket = bucket_of(made, "n")
    assert bucket is not None
    assert bucket.shape.accelerators[0].topology is Topology.RINGS_OF_4
    assert bucket.free_devices == (2, 3, 6, 7)


def test_06_without_device_numbers_the_worst_case_is_judged() -> None:
    made = inventory(
        node("n", {ASCEND: "16"}, A3),
        pod("a", "n", {ASCEND: "2"}, real="Ascend910-0,Ascend910-1"),
        pod("b", "n", {ASCEND: "1"}),
    )
    bucket = bucket_of(made, "n")
    assert bucket is not None
    assert bucket.free_devices is None


def test_08_free_is_told_by_node_and_not_only_as_a_sum() -> None:
    made = inventory(
        *(node(f"n{i}", {ASCEND: "8"}, B3) for i in range(4)),
        *(pod(f"p{i}", f"n{i}", {ASCEND: "6"}) for i in range(4)),
    )
    (status,) = made.summary()["accelerators"]
    assert status["free"] == 8
    assert status["largestFreeOnOneNode"] == 2
    assert status["wholeFreeNodes"] == 0


def test_09_cpu_memory_and_pod_slots_are_part_of_what_is_free() -> None:
    made = inventory(
        node("n", {GPU: "8", "hugepages-1Gi": "16Gi"}, H100, cpu="8", pods="2"),
        pod("a", "n", {"cpu": "7500m", "memory": "1Gi"}),
        pod("b", "n", {"hugepages-1Gi": "16Gi"}),
    )
    bucket = bucket_of(made, "n")
    assert bucket is not None
    assert dict(bucket.free) == {"cpu": 500, "memory": 511 * 2**30, GPU: 8}


@pytest.mark.parametrize(
    "how",
    [
        {"cordoned": True},
        {"ready": "False"},
        {"ready": "Unknown"},
        {"deleting": True},
    ],
)
def test_10_nodes_that_take_no_work_have_nothing_free(how: dict[str, Any]) -> None:
    made = inventory(node("n", {ASCEND: "8"}, B3, **how), node("m", {ASCEND: "8"}, B3))
    assert bucket_of(made, "n") is None
    counted = tally(made, "ascend-910b3")
    assert counted.free == 8
    assert counted.total == 16
    assert counted.allocatable == (16 if "ready" not in how else 8)


def test_10_a_tainted_node_keeps_its_taints_for_jobs_that_tolerate_them() -> None:
    taint = {"key": "huawei.com/npu", "effect": "NoSchedule"}
    soft = {"key": "busy", "effect": "PreferNoSchedule"}
    made = inventory(
        node("n", {ASCEND: "8"}, B3, taints=[soft, taint]), node("m", {ASCEND: "8"}, B3)
    )
    tainted, plain = bucket_of(made, "n"), bucket_of(made, "m")
    assert tainted is not None
    assert plain is not None
    assert [t.key for t in tainted.shape.taints] == ["huawei.com/npu"]
    assert plain.shape.taints == ()


@pytest.mark.parametrize(("phase", "free"), [("Succeeded", 8), ("Failed", 8), ("Running", 0)])
def test_11_ended_pods_hold_nothing(phase: str, free: int) -> None:
    made = inventory(node("n", {GPU: "8"}, H100), pod("p", "n", {GPU: "8"}, phase=phase))
    assert free_on(made, "n", GPU) == free


def test_11_terminating_pods_hold_until_they_are_gone() -> None:
    made = inventory(node("n", {GPU: "8"}, H100), pod("p", "n", {GPU: "8"}, deleting=True))
    assert free_on(made, "n", GPU) == 0
    made.drop_pod("p")
    assert free_on(made, "n", GPU) == 8


def test_11_pods_of_a_vanished_node_count_nowhere_and_again_when_it_returns() -> None:
    there = node("n", {GPU: "8"}, H100)
    made = inventory(there, pod("p", "n", {GPU: "8"}))
    made.drop_node("n")
    assert made.buckets() == ()
    assert made.summary()["accelerators"] == []
    made.set_node(there, 1.0)
    assert free_on(made, "n", GPU) == 0


def test_12_init_containers_sidecars_and_overhead_are_held() -> None:
    made = inventory(
        node("n", {GPU: "8"}, H100, cpu="32"),
        pod(
            "p",
            "n",
            {"cpu": "4"},
            initContainers=[
                {"resources": {"limits": {"cpu": "1"}}, "restartPolicy": "Always"},
                {"resources": {"limits": {GPU: "2", "cpu": "6"}}},
            ],
            overhead={"cpu": "500m"},
        ),
    )
    bucket = bucket_of(made, "n")
    assert bucket is not None
    free = dict(bucket.free)
    assert free[GPU] == 6
    assert free["cpu"] == 32_000 - 7_500


@pytest.mark.parametrize("gone", [{ASCEND: "0"}, None])
def test_13_a_restarting_plugin_has_not_taken_the_cards_away(gone: dict[str, str] | None) -> None:
    made = inventory(node("n", {ASCEND: "8"}, B3))
    after = node("n", gone or {}, B3)
    made.set_node(after, 100.0)
    counted = tally(made, "ascend-910b3")
    assert (counted.total, counted.allocatable) == (8, 8)
    assert free_on(made, "n", ASCEND) == 0, "devices that are away take no new work"
    assert made.settle(101.0) == 100.0 + VANISH_SECONDS
    made.set_node(node("n", {ASCEND: "8"}, B3), 130.0)
    assert free_on(made, "n", ASCEND) == 8
    assert made.settle(131.0) is None


def test_13_devices_that_stay_away_are_gone_in_the_end() -> None:
    made = inventory(node("n", {ASCEND: "8"}, B3))
    made.set_node(node("n", {ASCEND: "0"}, B3), 100.0)
    made.set_node(node("n", {ASCEND: "0"}, {**B3, "heartbeat": "2"}), 150.0)
    version = made.version
    assert made.settle(100.0 + VANISH_SECONDS) is None
    assert made.version > version
    assert made.summary()["accelerators"] == []
    assert made.buckets() == ()


def test_14_pods_refused_by_the_kubelet_hold_nothing() -> None:
    made = inventory(
        node("n", {GPU: "8"}, H100),
        pod("p", "n", {GPU: "8"}),
    )
    made.set_pod(pod("p", "n", {GPU: "8"}, phase="Failed"))
    assert free_on(made, "n", GPU) == 8


def test_15_free_starts_from_allocatable_so_broken_devices_are_not_offered() -> None:
    made = inventory(node("n", {ASCEND: "8"}, A, allocatable={ASCEND: "7"}))
    counted = tally(made, "ascend-910a")
    assert (counted.total, counted.allocatable, counted.free) == (8, 7, 7)
    bucket = bucket_of(made, "n")
    assert bucket is not None
    assert bucket.free_devices is None, "nobody says which of the eight is broken"


def test_15_a_broken_device_that_is_named_leaves_the_others_known() -> None:
    told = {f"{ASCEND}-Unhealthy": "Ascend910-3"}
    made = inventory(node("n", {ASCEND: "8"}, A, allocatable={ASCEND: "7"}, annotations=told))
    bucket = bucket_of(made, "n")
    assert bucket is not None
    assert bucket.free_devices == (0, 1, 2, 4, 5, 6, 7)


def test_06_the_device_plugin_tells_positions_that_pods_do_not() -> None:
    made = inventory(node("n", {ASCEND: "8"}, A), pod("p", "n", {ASCEND: "4"}))
    made.set_reports("n", reports("2,3,6,7"))
    assert devices_of(made, "n") == (2, 3, 6, 7)


@pytest.mark.parametrize("told", ["0,1,2,3,4,5,6,7", "0", "", "all of them"])
def test_06_a_report_that_disagrees_with_the_pods_tells_no_positions(told: str) -> None:
    made = inventory(node("n", {ASCEND: "8"}, A), pod("p", "n", {ASCEND: "4"}))
    made.set_reports("n", reports(told))
    assert devices_of(made, "n") is None
    assert free_on(made, "n", ASCEND) == 4


def test_06_positions_hold_until_a_pod_comes_or_goes() -> None:
    made = inventory(node("n", {ASCEND: "8"}, A), pod("p", "n", {ASCEND: "4"}))
    made.set_reports("n", reports("2,3,6,7"))
    made.set_pod(pod("other", "n", {"cpu": "1"}))
    assert devices_of(made, "n") == (2, 3, 6, 7)
    made.drop_pod("p")
    made.set_pod(pod("q", "n", {ASCEND: "4"}))
    assert devices_of(made, "n") is None


def test_15_the_device_plugin_names_a_broken_device() -> None:
    made = inventory(node("n", {ASCEND: "8"}, A, allocatable={ASCEND: "7"}))
    made.set_reports("n", reports("", broken="3"))
    assert devices_of(made, "n") == (0, 1, 2, 4, 5, 6, 7)


def test_16_the_device_plugin_names_devices_without_a_link() -> None:
    made = inventory(node("n", {ASCEND: "8"}, A))
    made.set_reports("n", reports("", unlinked="0,6"))
    assert tally(made, "ascend-910a").free == 6
    assert devices_of(made, "n") == (1, 2, 3, 4, 5, 7)
    made.set_reports("n", {})
    assert tally(made, "ascend-910a").free == 8


def test_16_devices_without_a_link_are_not_offered() -> None:
    told = {f"{ASCEND}-NetworkUnhealthy": "Ascend910-0,Ascend910-6"}
    made = inventory(
        node("n", {ASCEND: "8"}, A, annotations=told),
        pod("p", "n", {ASCEND: "2"}, real="Ascend910-0,Ascend910-1"),
    )
    counted = tally(made, "ascend-910a")
    assert (counted.allocatable, counted.used, counted.free) == (8, 2, 5)
    bucket = bucket_of(made, "n")
    assert bucket is not None
    assert bucket.free_devices == (2, 3, 4, 5, 7)


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        {"DeviceInfoCfg": "no JSON"},
        {"DeviceInfoCfg": "[]"},
        {"DeviceInfoCfg": '{"DeviceInfo": {"DeviceList": {"x": 3}}}'},
        {"DeviceInfoCfg": '{"DeviceInfo": null}'},
    ],
)
def test_06_a_report_that_cannot_be_read_tells_nothing(data: dict[str, str] | None) -> None:
    assert read_reports({"data": data}) == {}


def test_06_a_reservation_hides_which_devices_are_free() -> None:
    made = inventory(node("n", {ASCEND: "8"}, A), reservation("job", 1, {ASCEND: 4}, n=1))
    bucket = bucket_of(made, "n")
    assert bucket is not None
    assert bucket.free_devices is None
    assert dict(bucket.free)[ASCEND] == 4


def test_20_pods_of_another_federation_count_as_held_by_federations() -> None:
    made = inventory(node("n", {GPU: "8"}, H100), pod("p", "n", {GPU: "4"}, owner=("elsewhere", 3)))
    assert tally(made, "nvidia-h100-sxm").federated == 4


def test_28_two_decisions_of_one_wave_do_not_take_the_same_cards() -> None:
    made = inventory(node("n", {GPU: "8"}, H100))
    made.reserve(reservation("first", 1, {GPU: 8}, n=1))
    assert free_on(made, "n", GPU) == 0
    made.release("first", 1)
    assert free_on(made, "n", GPU) == 8


def test_28_a_nominated_pod_holds_its_place_before_it_is_bound() -> None:
    made = inventory(
        node("n", {GPU: "8"}, H100),
        pod("p", "", {GPU: "8"}, phase="Pending", nominated="n"),
        pod("q", "", {GPU: "8"}, phase="Pending"),
    )
    assert free_on(made, "n", GPU) == 0
    made.set_pod(pod("p", "n", {GPU: "8"}))
    assert free_on(made, "n", GPU) == 0


def test_34_architecture_is_kept_on_the_shape_for_selectors() -> None:
    made = inventory(node("n", {ASCEND: "8"}, {**B3, "kubernetes.io/arch": "arm64"}))
    bucket = bucket_of(made, "n")
    assert bucket is not None
    labels = dict(bucket.shape.labels)
    assert labels["kubernetes.io/arch"] == "arm64"
    assert "kubernetes.io/hostname" not in labels


def test_35_driver_versions_are_kept_on_the_shape() -> None:
    made = inventory(node("n", {GPU: "8"}, {**H100, "nvidia.com/cuda.driver.major": "550"}))
    bucket = bucket_of(made, "n")
    assert bucket is not None
    assert dict(bucket.shape.labels)["nvidia.com/cuda.driver.major"] == "550"


def test_43_quantities_are_read_exactly_wherever_they_stand() -> None:
    made = inventory(
        node("n", {GPU: "8"}, H100, cpu="1e2", memory="1.5Ti"),
        pod("p", "n", {GPU: "4", "cpu": "500m", "memory": "128974848"}),
    )
    bucket = bucket_of(made, "n")
    assert bucket is not None
    free = dict(bucket.free)
    assert free["cpu"] == 99_500
    assert free["memory"] == 3 * 2**39 - 128_974_848
    assert free[GPU] == 4


def test_45_unchanged_nodes_and_pods_change_nothing() -> None:
    there, running = node("n", {GPU: "8"}, H100), pod("p", "n", {GPU: "1"})
    made = inventory(there, running)
    before, version = made.buckets(), made.version
    made.set_node(node("n", {GPU: "8"}, H100), 5.0)
    made.set_pod(pod("p", "n", {GPU: "1"}))
    assert made.version == version
    assert made.buckets() is before


def test_45_a_change_makes_only_the_buckets_anew_that_it_touches() -> None:
    made = inventory(
        *(node(f"a{i}", {GPU: "8"}, H100) for i in range(3)),
        *(node(f"b{i}", {ASCEND: "8"}, B3) for i in range(3)),
    )
    before = {bucket.nodes: bucket for bucket in made.buckets()}
    made.set_pod(pod("p", "a1", {GPU: "1"}))
    after = {bucket.nodes: bucket for bucket in made.buckets()}
    ascend = ("b0", "b1", "b2")
    assert after[ascend] is before[ascend]
    assert set(after) == {ascend, ("a0", "a2"), ("a1",)}
    assert after["a1",].shape is after["a0", "a2"].shape


def test_46_a_cluster_of_claims_only_is_not_empty() -> None:
    made = inventory(node("n", {}))
    made.set_slice(slice_of("s", "n", [gpu_device(f"gpu-{i}") for i in range(8)]))
    assert tally(made, "nvidia-h100-sxm").total == 8
    assert made.buckets() == (), "without a resource name no pod can ask for them"
    made.set_class(device_class("gpu", GPU, 'device.driver == "gpu.nvidia.com"'))
    assert free_on(made, "n", GPU) == 8
    assert made.resource_of("nvidia-h100-sxm") == GPU


def test_46_a_pool_in_the_middle_of_an_update_stays_as_it_was() -> None:
    made = inventory(node("n", {}))
    made.set_slice(slice_of("a", "n", [gpu_device("gpu-0")], count=2))
    made.set_slice(slice_of("b", "n", [gpu_device("gpu-1")], count=2))
    made.set_slice(slice_of("a", "n", [gpu_device("gpu-0")], generation=2, count=1))
    assert tally(made, "nvidia-h100-sxm").total == 1
    made.set_slice(slice_of("a", "n", [gpu_device("gpu-0")], generation=3, count=2))
    made.drop_slice("b")
    assert tally(made, "nvidia-h100-sxm").total == 1
    made.set_slice(slice_of("c", "n", [gpu_device("gpu-1")], generation=3, count=2))
    assert tally(made, "nvidia-h100-sxm").total == 2


def test_47_a_virtual_node_with_endless_capacity_is_no_hardware() -> None:
    made = inventory(node("v", {GPU: "100000"}, {**H100, "type": "virtual-kubelet"}))
    summary = made.summary()
    assert summary["accelerators"] == []
    assert summary["nodes"] == {"total": 1, "ready": 1, "schedulable": 0}


def test_47_a_node_that_starts_without_devices_grows_when_they_come() -> None:
    made = inventory(node("n", {}, H100))
    assert made.buckets() == ()
    made.set_node(node("n", {GPU: "8"}, H100), 1.0)
    assert free_on(made, "n", GPU) == 8
