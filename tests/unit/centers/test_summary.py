"""The status stays small and fits its schema."""

from __future__ import annotations

from huiju.api.center import ComputeCenterStatus
from tests.inventory_worlds import ASCEND, B3, GPU, H100, inventory, node, pod, tally


def test_the_summary_fits_the_status() -> None:
    made = inventory(
        node("n", {ASCEND: "8", "rdma/hca": "1k"}, B3),
        node("m", {GPU: "8"}, H100),
        pod("p", "m", {GPU: "3", "rdma/hca": "1"}, owner=("j", 1)),
    )
    status = ComputeCenterStatus.model_validate(made.summary())
    assert status == ComputeCenterStatus(**made.summary())
    assert status.summary == "nvidia-h100-sxm 5/8, ascend-910b3 8/8"
    assert [a.federated for a in status.accelerators] == [0, 3]
    assert status.custom_resources[0].allocatable == 1000


def test_an_empty_center_says_so() -> None:
    status = ComputeCenterStatus.model_validate(inventory().summary())
    assert status.summary == "no accelerators"
    assert status.accelerators == []


def test_the_status_is_bounded_however_much_there_is() -> None:
    products = [{"nvidia.com/gpu.product": f"NVIDIA-X{i}"} for i in range(100)]
    made = inventory(
        *(
            node(f"n{i}", {GPU: str(8 + i % 9), f"example.com/r{i}": "1"}, labels)
            for i, labels in enumerate(products)
        ),
        *(pod(f"p{i}", f"n{i}", {GPU: str(i % 8)}) for i in range(100)),
    )
    status = ComputeCenterStatus.model_validate(made.summary())
    assert len(status.accelerators) == 64
    assert len(status.custom_resources) == 32
    assert len(status.buckets) == 32
    assert status.buckets_omitted == 64 - 32
    assert len(status.summary or "") < 256


def test_normalized_compute_is_of_allocatable_units_rounded_down() -> None:
    made = inventory(node("n", {"huawei.com/Ascend310P-2c": "3"}))
    assert tally(made, "ascend-310p-vnpu-2c").gflops == 3 * 17_500
    assert made.summary()["accelerators"][0]["normalizedCompute"] == 52
