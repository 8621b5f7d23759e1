"""Promises of a tree of queues that cannot all be kept are found; others are left alone."""

from __future__ import annotations

from typing import Any

from huiju.cli.guarantees import compute, faults, remarks

Fields = dict[str, Any]


def queue(name: str, ready: str = "", **spec: Any) -> Fields:
    found: Fields = {"metadata": {"name": name}, "spec": spec}
    if ready:
        told = {"type": "Ready", "status": "False", "reason": ready, "message": f"about {name}"}
        found["status"] = {"conditions": [told]}
    return found


def center(*tflops: int) -> Fields:
    return {"status": {"accelerators": [{"normalizedCompute": each} for each in tflops]}}


def texts(queues: list[Fields], centers: list[Fields] | None) -> list[str]:
    return [text for text, _ in remarks(queues, centers)]


def test_a_tree_that_can_be_kept_needs_no_remark() -> None:
    tree = [
        queue("org", guarantee=300, ceiling=500),
        queue("a", parent="org", guarantee=100),
        queue("b", parent="org", guarantee=200),
        queue("free"),
        queue("child", parent="free", guarantee=900),
    ]
    assert texts(tree, [center(100, 150), center(50), {}]) == []
    assert compute([center(100, 150), center(50), {}]) == 300


def test_more_than_there_is_cannot_be_promised() -> None:
    tree = [queue("a", guarantee=200), queue("b", guarantee=150)]
    (found,) = texts(tree, [center(300)])
    assert "350 TFLOPS" in found
    assert "all centers have 300" in found
    assert texts(tree, None) == [], "who may not see centers is told nothing of them"
    assert len(texts(tree, [])) == 1


def test_children_are_promised_no_more_than_their_parent() -> None:
    tree = [
        queue("org", guarantee=100, ceiling=120),
        queue("a", parent="org", guarantee=80),
        queue("b", parent="org", guarantee=50),
    ]
    first, second = texts(tree, [center(1000)])
    assert "queues below org are guaranteed 130 TFLOPS together, and org itself 100" in first
    assert "above its ceiling of 120" in second


def test_a_queue_that_admits_nothing_is_named_unless_it_was_stopped() -> None:
    tree = [queue("ok"), queue("lost", "ParentMissing"), queue("off", "QueueStopped")]
    assert list(faults(tree)) == [("queue lost: ParentMissing", "about lost")]
