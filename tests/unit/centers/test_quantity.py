from __future__ import annotations

import pytest

from huiju.centers.quantity import base_units


@pytest.mark.parametrize(
    ("resource", "written", "expected"),
    [
        ("nvidia.com/gpu", "8", 8),
        ("nvidia.com/gpu", 8, 8),
        ("nvidia.com/gpu", "8k", 8000),
        ("nvidia.com/gpu", "1e3", 1000),
        ("nvidia.com/gpu", "1E3", 1000),
        ("cpu", "500m", 500),
        ("cpu", "0.5", 500),
        ("cpu", 0.1, 100),
        ("cpu", "1n", 1),
        ("cpu", "2", 2000),
        ("cpu", "1.2345", 1235),
        ("memory", "1Ki", 1024),
        ("memory", "1.5Gi", 3 * 2**29),
        ("memory", "128974848000m", 128_974_848),
        ("memory", "100m", 1),
        ("memory", "12e6", 12_000_000),
        ("memory", "1E", 10**18),
        ("memory", "1Ei", 2**60),
        ("memory", "+5", 5),
        ("memory", ".5k", 500),
        ("memory", "5.", 5),
        ("memory", "0", 0),
    ],
)
def test_quantities_are_exact_and_rounded_up(
    resource: str, written: str | int | float, expected: int
) -> None:
    assert base_units(resource, written) == expected


@pytest.mark.parametrize("text", ["", "8 Gi", "Gi", "1Zi", "0x10", "1e", "--1", "1.2.3", "eight"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a quantity"):
        base_units("memory", text)
