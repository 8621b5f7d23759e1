from __future__ import annotations

import pytest

from huiju.cli.preflight import queue_problem

ALLOWED = {"research": ["*"], "private": ["team-a", "vip-*"]}


@pytest.mark.parametrize(
    ("wanted", "namespace", "told"),
    [
        ("research", "team-b", ""),
        ("private", "vip-1", ""),
        ("reserch", "team-b", "there is no queue reserch, did you mean research?"),
        ("xyz", "team-a", "there is no queue xyz, queues for namespace team-a: private, research"),
        ("private", "team-b", "queue private takes no jobs of namespace team-b, queues for"),
    ],
)
def test_a_queue_that_cannot_be_used_is_told_with_those_that_can(
    wanted: str, namespace: str, told: str
) -> None:
    problem = queue_problem(wanted, namespace, ALLOWED)
    assert problem.startswith(told)
    assert bool(problem) == bool(told)


def test_nobody_is_left_without_advice() -> None:
    assert "ask a platform engineer" in queue_problem("x", "n", {})
