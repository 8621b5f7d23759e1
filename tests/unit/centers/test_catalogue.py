"""What nodes of each vendor resolve to."""

from __future__ import annotations

import re
from typing import Any

import pytest

from huiju.api.center import AcceleratorOverride
from huiju.api.meta import MODEL
from huiju.centers.catalogue import Resolver, catalogue
from huiju.centers.catalogue.slicing import registered_copies
from huiju.scheduling.model import Accelerator, Topology, UnitKind
from lab.nodes import KINDS
from tests.inventory_worlds import ASCEND, CHIP, GPU, H100, PRODUCT, SERVER

DEVICE, DIE, PARTITION, SHARE = (
    UnitKind.DEVICE,
    UnitKind.DIE,
    UnitKind.PARTITION,
    UnitKind.SHARE,
)


def resolved(
    resource: str,
    labels: dict[str, str] | None = None,
    units: int = 8,
    annotations: dict[str, str] | None = None,
    overrides: list[AcceleratorOverride] | None = None,
) -> Accelerator | None:
    found = Resolver(overrides or ()).resolve(resource, labels or {}, annotations or {}, units)
    return found.accelerator if found else None


def said(resource: str, model: str, selector: dict[str, str] | None = None, **more: Any) -> Any:
    return AcceleratorOverride(node_selector=selector or {}, resource=resource, model=model, **more)


@pytest.mark.parametrize(
    ("resource", "labels", "units", "model", "unit", "gflops", "topology"),
    [
        (ASCEND, {CHIP: "910ProA"}, 8, "ascend-910a", DEVICE, 256_000, Topology.RINGS_OF_4),
        (ASCEND, {SERVER: "module"}, 8, "ascend-910a", DEVICE, 256_000, Topology.RINGS_OF_4),
        (ASCEND, {SERVER: "half"}, 4, "ascend-910a", DEVICE, 256_000, Topology.HALF),
        (ASCEND, {SERVER: "card"}, 2, "ascend-910a", DEVICE, 256_000, Topology.CARD_PAIR),
        (ASCEND, {CHIP: "910ProB"}, 4, "ascend-910a", DEVICE, 256_000, Topology.HALF),
        (ASCEND, {CHIP: "910B1"}, 8, "ascend-910b1", DEVICE, 376_000, Topology.FLAT),
        (ASCEND, {CHIP: "910B2"}, 16, "ascend-910b2", DEVICE, 354_000, Topology.GROUPS_OF_8),
        (ASCEND, {CHIP: "910B2C"}, 8, "ascend-910b2c", DEVICE, 354_000, Topology.FLAT),
        (ASCEND, {CHIP: "Ascend910B3"}, 8, "ascend-910b3", DEVICE, 295_000, Topology.FLAT),
        (ASCEND, {CHIP: "910B4"}, 8, "ascend-910b4", DEVICE, 246_000, Topology.FLAT),
        (ASCEND, {CHIP: "910B4-1"}, 8, "ascend-910b4-1", DEVICE, 246_000, Topology.FLAT),
        (
            ASCEND,
            {SERVER: "module-910b-16"},
            16,
            "ascend-910b",
            DEVICE,
            295_000,
            Topology.GROUPS_OF_8,
        ),
        (
            ASCEND,
            {CHIP: "Ascend910", SERVER: "module-a3-16-super-pod"},
            16,
            "ascend-910c",
            DIE,
            354_000,
            Topology.MODULES_OF_2,
        ),
        (ASCEND, {CHIP: "Ascend910_9391"}, 16, "ascend-910c", DIE, 354_000, Topology.MODULES_OF_2),
        (ASCEND, {}, 8, "ascend-910-unknown", DEVICE, 0, Topology.FLAT),
        (
            "huawei.com/npu",
            {SERVER: "350-Atlas-8"},
            8,
            "ascend-950pr",
            DEVICE,
            425_000,
            Topology.FLAT,
        ),
        (
            "huawei.com/npu",
            {CHIP: "Ascend950DT", SERVER: "850-Atlas-8p-8"},
            8,
            "ascend-950dt",
            DEVICE,
            0,
            Topology.BOARD_8,
        ),
        ("huawei.com/Ascend310P", {CHIP: "310P3"}, 8, "ascend-310p", DEVICE, 70_000, Topology.FLAT),
        ("huawei.com/Ascend310P-VPro", {}, 8, "ascend-310p", DEVICE, 70_000, Topology.FLAT),
        (
            "huawei.com/Ascend910-10c.3cpu.32g",
            {CHIP: "910B3"},
            8,
            "ascend-910b3-vnpu-10c.3cpu.32g",
            PARTITION,
            147_500,
            Topology.FLAT,
        ),
        (
            "huawei.com/Ascend310P-2c.1cpu",
            {},
            8,
            "ascend-310p-vnpu-2c.1cpu",
            PARTITION,
            17_500,
            Topology.FLAT,
        ),
        ("huawei.com/Ascend910B4-1", {}, 32, "ascend-910b4-1-shared", SHARE, 0, Topology.FLAT),
        (GPU, {PRODUCT: "Tesla-V100-SXM2-32GB"}, 8, "nvidia-v100", DEVICE, 125_000, Topology.FLAT),
        (GPU, {PRODUCT: "Tesla-T4-SHARED"}, 40, "nvidia-t4-shared", SHARE, 0, Topology.FLAT),
        (GPU, {PRODUCT: "Tesla-T4"}, 4, "nvidia-t4", DEVICE, 65_000, Topology.FLAT),
        (GPU, {PRODUCT: "NVIDIA-A10"}, 4, "nvidia-a10", DEVICE, 125_000, Topology.FLAT),
        (GPU, {PRODUCT: "NVIDIA-L20"}, 4, "nvidia-l20", DEVICE, 119_500, Topology.FLAT),
        (GPU, {PRODUCT: "NVIDIA-L40S"}, 4, "nvidia-l40s", DEVICE, 362_000, Topology.FLAT),
        (
            GPU,
            {PRODUCT: "NVIDIA-A100-SXM4-40GB"},
            8,
            "nvidia-a100-40g",
            DEVICE,
            312_000,
            Topology.FLAT,
        ),
        (
            GPU,
            {PRODUCT: "NVIDIA-A100-SXM4-80GB"},
            8,
            "nvidia-a100-80g",
            DEVICE,
            312_000,
            Topology.FLAT,
        ),
        (
            GPU,
            {PRODUCT: "NVIDIA-A800-SXM4-80GB"},
            8,
            "nvidia-a800-80g",
            DEVICE,
            312_000,
            Topology.FLAT,
        ),
        (GPU, H100, 8, "nvidia-h100-sxm", DEVICE, 989_000, Topology.FLAT),
        (GPU, {PRODUCT: "NVIDIA-H100-PCIe"}, 8, "nvidia-h100-pcie", DEVICE, 0, Topology.FLAT),
        (GPU, {PRODUCT: "NVIDIA-H800"}, 8, "nvidia-h800-sxm", DEVICE, 989_000, Topology.FLAT),
        (GPU, {PRODUCT: "NVIDIA-H200"}, 8, "nvidia-h200-sxm", DEVICE, 989_000, Topology.FLAT),
        (GPU, {PRODUCT: "NVIDIA-H20"}, 8, "nvidia-h20", DEVICE, 148_000, Topology.FLAT),
        (GPU, {PRODUCT: "NVIDIA-B200"}, 8, "nvidia-b200", DEVICE, 2_250_000, Topology.FLAT),
        (GPU, {PRODUCT: "NVIDIA-GB200"}, 4, "nvidia-gb200", DEVICE, 2_500_000, Topology.FLAT),
        (
            GPU,
            {PRODUCT: "NVIDIA-GeForce-RTX-4090"},
            8,
            "nvidia-geforce-rtx-4090",
            DEVICE,
            0,
            Topology.FLAT,
        ),
        (
            "nvidia.com/mig-3g.40gb",
            H100,
            2,
            "nvidia-h100-sxm-mig-3g.40gb",
            PARTITION,
            423_857,
            Topology.FLAT,
        ),
        (
            "nvidia.com/mig-3g.40gb.shared",
            {**H100, "nvidia.com/mig-3g.40gb.replicas": "4"},
            8,
            "nvidia-h100-sxm-mig-3g.40gb-shared",
            SHARE,
            105_964,
            Topology.FLAT,
        ),
        (
            GPU,
            {PRODUCT: "NVIDIA-H100-80GB-HBM3-MIG-3g.40gb-SHARED", "nvidia.com/gpu.replicas": "4"},
            8,
            "nvidia-h100-sxm-mig-3g.40gb-shared",
            SHARE,
            105_964,
            Topology.FLAT,
        ),
        (
            "nvidia.com/mig-1g.10gb.me.shared",
            H100,
            8,
            "nvidia-h100-sxm-mig-1g.10gb.me-shared",
            SHARE,
            0,
            Topology.FLAT,
        ),
        ("nvidia.com/gpu.shared", H100, 80, "nvidia-h100-sxm-shared", SHARE, 0, Topology.FLAT),
        (
            "amd.com/gpu",
            {"beta.amd.com/gpu.product-name": "AMD_Instinct_MI250_OAM"},
            8,
            "amd-mi250",
            DEVICE,
            362_000,
            Topology.FLAT,
        ),
        (
            "amd.com/gpu",
            {"amd.com/gpu.product-name": "AMD_Instinct_MI300X_OAM", "amd.com/gpu.cu-count": "304"},
            8,
            "amd-mi300x",
            DEVICE,
            1_307_000,
            Topology.FLAT,
        ),
        (
            "amd.com/gpu",
            {"amd.com/gpu.product-name": "AMD_Instinct_MI300X_OAM", "amd.com/gpu.cu-count": "38"},
            64,
            "amd-mi300x-cut-8",
            PARTITION,
            163_375,
            Topology.FLAT,
        ),
        (
            "amd.com/cpx_nps4",
            {"amd.com/gpu.product-name": "MI300X"},
            64,
            "amd-mi300x-cpx-nps4",
            PARTITION,
            163_375,
            Topology.FLAT,
        ),
        (
            "cambricon.com/mlu",
            {"Model": "MLU370-X8"},
            8,
            "cambricon-mlu370-x8",
            DEVICE,
            96_000,
            Topology.FLAT,
        ),
        ("cambricon.com/mlu370", {}, 8, "cambricon-mlu370", DEVICE, 0, Topology.FLAT),
        ("cambricon.com/mlu590", {}, 8, "cambricon-mlu590", DEVICE, 0, Topology.FLAT),
        (
            "cambricon.com/mlu370.share",
            {"Model": "MLU370-X8"},
            32,
            "cambricon-mlu370-x8-shared",
            SHARE,
            0,
            Topology.FLAT,
        ),
        (
            "cambricon.com/mlu370.mim-2m.8gb",
            {},
            8,
            "cambricon-mlu370-mim-2m.8gb",
            PARTITION,
            0,
            Topology.FLAT,
        ),
        (
            "hygon.com/dcu",
            {"hygon.com/dcu.name": "K100_AI"},
            8,
            "hygon-k100-ai",
            DEVICE,
            196_000,
            Topology.FLAT,
        ),
        (
            "hygon.com/dcu-share-30c-16g",
            {"hygon.com/dcu.name": "K100"},
            8,
            "hygon-k100-share-30c-16g",
            SHARE,
            0,
            Topology.FLAT,
        ),
        ("metax-tech.com/gpu", {}, 8, "metax-gpu", DEVICE, 240_000, Topology.FLAT),
        ("metax-tech.com/sgpu", {}, 32, "metax-gpu-shared", SHARE, 0, Topology.FLAT),
        ("birentech.com/1-4-gpu", {}, 32, "biren-gpu-1-4", PARTITION, 84_750, Topology.FLAT),
        ("iluvatar.ai/BI-V150-vgpu", {}, 8, "iluvatar-bi-v150-shared", SHARE, 0, Topology.FLAT),
        ("alibabacloud.com/ppu", {}, 16, "t-head-ppu", DEVICE, 119_000, Topology.FLAT),
        (
            "gpu.intel.com/xe",
            {"gpu.intel.com/product": "Max_1550"},
            8,
            "intel-max-1550",
            DEVICE,
            0,
            Topology.FLAT,
        ),
    ],
)
def test_a_resource_resolves_to(
    resource: str,
    labels: dict[str, str],
    units: int,
    model: str,
    unit: UnitKind,
    gflops: int,
    topology: Topology,
) -> None:
    found = resolved(resource, labels, units)
    assert found is not None
    assert (found.model, found.resource) == (model, resource)
    assert found.unit is unit
    assert found.gflops == gflops
    assert found.topology is topology
    assert re.fullmatch(MODEL, found.model)


@pytest.mark.parametrize("name", ["rdma/hca", "example.com/fpga", "huawei.com/npu-core"])
def test_what_is_no_card_is_not_resolved(name: str) -> None:
    assert resolved(name) is None


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_server_of_the_lab_is_known(kind: str) -> None:
    server = KINDS[kind]
    for resource, units in server.resources.items():
        found = Resolver().resolve(resource, server.labels, server.annotations, units)
        row = catalogue().row_of(resource)
        assert (found is None) == (row is None or row[0].unit is UnitKind.AMOUNT)


def test_every_row_says_where_it_is_from() -> None:
    table = catalogue()
    said = [(row.source, row.confidence) for row in table.models.values()]
    said += [(row.source, row.confidence) for row in table.resources]
    said += [(row.source, row.confidence) for row in table.drivers.values()]
    for source, confidence in said:
        assert source
        assert confidence in {"high", "medium", "low"}
    assert all(re.fullmatch(MODEL, name) for name in table.models)


def test_no_figure_is_shipped_where_public_pages_contradict_each_other() -> None:
    assert catalogue().models["cambricon-mlu590"].tflops is None


# --- overrides -----------------------------------------------------------------------------------


def test_an_override_beats_labels() -> None:
    word = said(GPU, "nvidia-h20", {"pool": "a"})
    assert resolved(GPU, {**H100, "pool": "a"}, overrides=[word]) == Accelerator(
        "nvidia-h20", GPU, DEVICE, 148_000
    )
    found = resolved(GPU, {**H100, "pool": "b"}, overrides=[word])
    assert found is not None
    assert found.model == "nvidia-h100-sxm"


def test_the_first_override_that_matches_holds() -> None:
    words = [said(GPU, "model-a", {"pool": "a"}), said(GPU, "model-b")]
    found = resolved(GPU, {"pool": "a"}, overrides=words)
    assert found is not None
    assert found.model == "model-a"


def test_an_override_makes_an_unknown_resource_an_accelerator() -> None:
    word = said("example.com/npu", "example-x1", unit="device", tflops="99.5")
    assert resolved("example.com/npu", overrides=[word]) == Accelerator(
        "example-x1", "example.com/npu", DEVICE, 99_500
    )


def test_an_override_says_what_a_share_is() -> None:
    word = said("gpu.intel.com/i915", "intel-max-1550", unit="share", units_per_card=4, tflops="80")
    found = resolved("gpu.intel.com/i915", overrides=[word])
    assert found is not None
    assert (found.unit, found.units_per_card, found.gflops) == (SHARE, 4, 80_000)


def test_an_override_keeps_the_unit_that_the_model_has() -> None:
    found = resolved(ASCEND, {}, 16, overrides=[said(ASCEND, "ascend-910c")])
    assert found == Accelerator("ascend-910c", ASCEND, DIE, 354_000, Topology.MODULES_OF_2, 2)


def test_a_custom_resource_name_of_ascend_is_an_override_away() -> None:
    found = resolved("npu.example/card", overrides=[said("npu.example/card", "ascend-910b3")])
    assert found is not None
    assert (found.unit, found.gflops) == (DEVICE, 295_000)


# --- registrations of HAMi -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "copies"),
    [
        ('[{"id":"a","count":10},{"id":"b","count":10}]', 10),
        ("GPU-0,10,32768,100,NVIDIA-V100,0,true:GPU-1,10,32768,100,NVIDIA-V100,0,true:", 10),
        ('[{"id":"a","count":1}]', 1),
        ("", 0),
        ("nonsense", 0),
        ("{}", 0),
        ('[{"count":"x"}]', 0),
    ],
)
def test_registrations_are_read_in_both_forms(text: str, copies: int) -> None:
    assert registered_copies(text) == copies


def test_hami_on_ascend_with_whole_cards_counts_cards() -> None:
    whole = {"hami.io/node-register-Ascend910B3": '[{"id":"0","count":1}]'}
    found = resolved("huawei.com/Ascend910B3", {}, 8, whole)
    assert found is not None
    assert (found.model, found.unit) == ("ascend-910b3", DEVICE)
