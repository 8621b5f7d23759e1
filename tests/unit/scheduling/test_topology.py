"""Legal sizes and positions, against a search over all occupancies."""

from __future__ import annotations

from itertools import combinations

import pytest

from huiju.scheduling.model import Topology
from huiju.scheduling.topology import after, legal, slots

SIZES = {
    Topology.RINGS_OF_4: (8, (1, 2, 4, 8)),
    Topology.HALF: (4, (1, 2, 4)),
    Topology.CARD_PAIR: (2, (1, 2)),
    Topology.BOARD_8: (8, (1, 2, 4, 8)),
    Topology.MODULES_OF_2: (16, (1, 2, 4, 6, 8, 16)),
    Topology.GROUPS_OF_8: (16, (1, 3, 4, 5, 8, 10, 12, 14, 16)),
}


@pytest.mark.parametrize(
    ("topology", "size", "gang", "expected"),
    [
        (Topology.RINGS_OF_4, 3, False, False),
        (Topology.RINGS_OF_4, 8, True, True),
        (Topology.HALF, 8, False, False),
        (Topology.CARD_PAIR, 1, False, True),
        (Topology.CARD_PAIR, 1, True, False),
        (Topology.GROUPS_OF_8, 9, False, False),
        (Topology.GROUPS_OF_8, 10, False, True),
        (Topology.MODULES_OF_2, 1, False, True),
        (Topology.MODULES_OF_2, 1, True, False),
        (Topology.MODULES_OF_2, 6, True, True),
        (Topology.MODULES_OF_2, 7, False, False),
        (Topology.BOARD_8, 6, False, False),
        (Topology.FLAT, 7, True, True),
    ],
)
def test_legal_sizes(topology: Topology, size: int, gang: bool, expected: bool) -> None:
    assert legal(topology, size, gang) is expected


@pytest.mark.parametrize(
    ("topology", "size", "devices", "expected"),
    [
        (Topology.RINGS_OF_4, 4, (0, 1, 4, 5), 0),
        (Topology.RINGS_OF_4, 4, (4, 5, 6, 7), 1),
        (Topology.RINGS_OF_4, 2, (0, 1, 4, 5), 2),
        (Topology.MODULES_OF_2, 4, (0, 2, 3, 4), 0),
        (Topology.MODULES_OF_2, 2, (0, 2, 3, 4), 1),
        (Topology.GROUPS_OF_8, 10, (0, 1, 2, 3, 4, 8, 9, 10, 11, 12), 1),
        (Topology.GROUPS_OF_8, 10, (0, 1, 2, 3, 4, 11, 12, 13, 14, 15), 0),
        (Topology.GROUPS_OF_8, 8, (0, 1, 2, 3, 8, 9, 10, 11), 0),
    ],
)
def test_known_devices(
    topology: Topology, size: int, devices: tuple[int, ...], expected: int
) -> None:
    total = 16 if topology in (Topology.MODULES_OF_2, Topology.GROUPS_OF_8) else 8
    assert slots(topology, size, total, len(devices), devices) == expected


@pytest.mark.parametrize("topology", list(SIZES))
def test_unknown_devices_are_the_worst_case(topology: Topology) -> None:
    total, sizes = SIZES[topology]
    for free in range(0, total + 1, 1 if total < 16 else 5):
        sets = list(combinations(range(total), free))
        for size in sizes:
            worst = min(slots(topology, size, total, free, devices) for devices in sets)
            assert slots(topology, size, total, free, None) == worst, (size, free)


def test_a_set_that_disagrees_with_the_count_is_not_believed() -> None:
    assert slots(Topology.RINGS_OF_4, 4, 8, 4, (0, 1, 2)) == 0


def test_positions_stay_known_only_where_all_choices_are_alike() -> None:
    all_eight = tuple(range(8))
    assert after(Topology.RINGS_OF_4, 4, 1, 8, all_eight) == (4, 5, 6, 7)
    assert after(Topology.RINGS_OF_4, 2, 1, 8, all_eight) is None
    assert after(Topology.RINGS_OF_4, 4, 1, 8, None) is None
    assert after(Topology.FLAT, 1, 1, 8, all_eight) is None
    assert after(Topology.MODULES_OF_2, 6, 2, 16, tuple(range(16))) == (12, 13, 14, 15)
