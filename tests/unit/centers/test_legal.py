"""Sizes that no server can serve are refused, with the legal ones named."""

from __future__ import annotations

import pytest

from huiju.centers.legal import check_legal


@pytest.mark.parametrize(
    ("model", "per_worker", "workers"),
    [
        ("ascend-910a", 4, 1),
        ("ascend-910a", 8, 16),
        ("ascend-910b3", 5, 1),
        ("ascend-910b3", 14, 4),
        ("ascend-a3", 1, 1),
        ("ascend-a3", 16, 8),
        ("ascend-310p-vnpu-4c.3cpu", 1, 1),
        ("ascend-310p-vnpu-4c.3cpu", 1, 8),
        ("ascend-950", 3, 1),
        ("nvidia-h100-sxm", 3, 5),
        ("some-new-chip", 7, 7),
    ],
)
def test_what_a_server_can_serve_is_legal(model: str, per_worker: int, workers: int) -> None:
    assert check_legal(model, per_worker, workers) is None


@pytest.mark.parametrize(
    ("model", "per_worker", "workers", "named"),
    [
        ("ascend-910a", 3, 1, "1, 2, 4 or 8"),
        ("ascend-910a", 16, 1, "1, 2, 4 or 8"),
        ("ascend-910b3", 9, 1, "10, 12, 14 or 16"),
        ("ascend-910b3", 11, 2, "10, 12, 14 or 16"),
        ("ascend-a3", 5, 1, "1, 2, 4, 6, 8, 10, 12, 14 or 16"),
        ("ascend-a3", 1, 2, "or one worker"),
        ("ascend-310p-vnpu-4c.3cpu", 2, 1, "use 1"),
    ],
)
def test_07_an_impossible_size_is_refused_with_the_legal_ones(
    model: str, per_worker: int, workers: int, named: str
) -> None:
    complaint = check_legal(model, per_worker, workers)
    assert complaint is not None
    assert f"perWorker {per_worker} of {model} is impossible" in complaint
    assert named in complaint
