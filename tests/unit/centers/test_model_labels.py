"""Which labels send a job's pods to the right chips."""

from __future__ import annotations

from huiju.api.center import AcceleratorOverride
from huiju.centers.catalogue import Resolver
from huiju.centers.inventory import CenterInventory
from tests.inventory_worlds import ASCEND, CHIP, GPU, H100, PRODUCT, SERVER, inventory, node


def test_the_label_that_told_the_model_singles_it_out() -> None:
    made = inventory(node("n", {GPU: "8"}, H100))
    assert made.model_labels("nvidia-h100-sxm", GPU) == H100


def test_an_unknown_model_has_no_labels() -> None:
    made = inventory(node("n", {GPU: "8"}, H100))
    assert made.model_labels("nvidia-h20", GPU) == {}
    assert made.gflops_per_unit("nvidia-h20", GPU) == 0
    assert made.resource_of("nvidia-h20") is None


def test_a_model_with_several_names_is_not_narrowed_while_it_is_alone() -> None:
    made = inventory(
        node("a", {GPU: "8"}, {PRODUCT: "NVIDIA-H100-80GB-HBM3"}),
        node("b", {GPU: "8"}, {PRODUCT: "NVIDIA-H100-SXM5-80GB"}),
    )
    assert made.model_labels("nvidia-h100-sxm", GPU) == {}


def test_beside_other_models_the_words_of_most_nodes_are_taken() -> None:
    made = inventory(
        node("a", {GPU: "8"}, {PRODUCT: "NVIDIA-H100-80GB-HBM3"}),
        node("b", {GPU: "8"}, {PRODUCT: "NVIDIA-H100-80GB-HBM3"}),
        node("c", {GPU: "8"}, {PRODUCT: "NVIDIA-H100-SXM5-80GB"}),
        node("d", {GPU: "8"}, {PRODUCT: "NVIDIA-H20"}),
    )
    assert made.model_labels("nvidia-h100-sxm", GPU) == {PRODUCT: "NVIDIA-H100-80GB-HBM3"}


def test_the_selector_of_an_override_singles_out_its_nodes() -> None:
    word = AcceleratorOverride(
        node_selector={"pool": "old", "site": "x"}, resource=ASCEND, model="ascend-910a"
    )
    made = CenterInventory(Resolver([word]))
    made.set_node(node("a", {ASCEND: "8"}, {"pool": "old", "site": "x"}), 0.0)
    made.set_node(node("b", {ASCEND: "8"}, {CHIP: "910B3", SERVER: "module-910b-8"}), 0.0)
    assert made.model_labels("ascend-910a", ASCEND) == {"pool": "old", "site": "x"}


def test_a_model_under_two_names_is_asked_for_by_the_one_with_more_units() -> None:
    made = inventory(
        node("a", {"huawei.com/Ascend310P": "4"}, {CHIP: "310P3"}),
        node("b", {"huawei.com/Ascend310P-V": "8"}, {CHIP: "310P3"}),
    )
    assert made.resource_of("ascend-310p") == "huawei.com/Ascend310P-V"
    assert made.held_units("ascend-310p") == 0
