"""What a workload says of its placement is believed only where this hub has said it."""

from __future__ import annotations

import msgspec
import pytest

from huiju.centers.bundle import Bundle, KubeDict
from huiju.centers.names import PLACEMENT
from huiju.hub.proof import Proof
from tests.unit.test_hub_lifecycle import placement

KEY = bytes(range(32))


def proof(key: bytes = KEY) -> Proof:
    made = Proof()
    made.use(key)
    return made


def test_the_hubs_own_word_is_known_again() -> None:
    placed = msgspec.structs.replace(placement(7), cluster="the-cluster", guarded=True)
    found = proof().read("u1", 7, proof().note("u1", placed))
    assert found == msgspec.structs.replace(placed, nodes=()), "thousands of names do not travel"


def test_the_first_alternative_is_known_again() -> None:
    """Zero is a value: left out, the note could not be read."""
    found = proof().read("u1", 1, proof().note("u1", placement(1)))
    assert found is not None
    assert found.alternative == 0


@pytest.mark.parametrize(
    ("uid", "epoch", "change"),
    [
        ("u2", 7, ("", "")),
        ("u1", 8, ("", "")),
        ("u1", 7, ('"epoch":7', '"epoch":8')),
        ("u1", 7, ("south", "north")),
        ("u1", 7, (".", "x.")),
    ],
)
def test_another_word_is_not(uid: str, epoch: int, change: tuple[str, str]) -> None:
    note = proof().note("u1", placement(7)).replace(*change) if change[0] else ""
    note = note or proof().note("u1", placement(7))
    assert proof().read(uid, epoch, note) is None


@pytest.mark.parametrize("note", ["", ".", "x", "x.y", "\x00.{}", "é.{}", "." * 9])
def test_nonsense_is_no_word(note: str) -> None:
    assert proof().read("u1", 1, note) is None


def test_another_hubs_word_is_not_ours() -> None:
    note = proof(bytes(32)).note("u1", placement(7))
    assert proof().read("u1", 7, note) is None


def test_without_a_key_nothing_is_said_or_believed() -> None:
    note = proof().note("u1", placement(7))
    assert Proof().read("u1", 7, note) is None
    with pytest.raises(ValueError, match="key"):
        Proof().note("u1", placement(7))


def test_only_the_workload_carries_it() -> None:
    service: KubeDict = {"kind": "Service", "metadata": {"name": "s"}}
    workload: KubeDict = {"kind": "Job", "metadata": {"name": "w", "annotations": {"a": "b"}}}
    bundle = Bundle("u1", "n", "j", 7, "south", "c", "w", (service, workload))
    first, last = proof().marked(bundle, placement(7)).objects
    assert first == service
    assert last["metadata"]["annotations"] == {
        "a": "b",
        PLACEMENT: proof().note("u1", placement(7)),
    }
    assert PLACEMENT not in workload["metadata"]["annotations"], "the bundle is a value"
