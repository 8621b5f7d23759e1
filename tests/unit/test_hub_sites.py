"""What a center says of other centers' jobs costs these nothing, and shows on the center."""

from __future__ import annotations

from typing import cast

import msgspec
import pytest

from huiju.centers.names import MOST_EPOCH
from huiju.centers.observe import Observation, State
from huiju.hub.center import CenterRuntime
from huiju.hub.sites import MOST_AHEAD, Sites
from tests.unit.test_hub_lifecycle import job, placed, placement


class Center:
    """As much of a center as is asked here."""

    lost = False

    def __init__(self, name: str, held: int, identity: str = "") -> None:
        self.name = name
        self.identity = identity or f"cluster-of-{name}"
        self.held = held
        self.claims: list[str] = []

    def held_epoch(self, _uid: str, most: int = MOST_EPOCH) -> int:
        return self.held if self.held <= most else 0

    def observations_of(self, uid: str) -> tuple[Observation, ...]:
        return (Observation(uid, self.held, State.RUNNING, 1, 1),)

    def disbelieve(self, claim: str) -> None:
        self.claims.append(claim)


def sites(*centers: Center) -> Sites:
    made = Sites()
    for center in centers:
        made.add(cast(CenterRuntime, center))
    return made


@pytest.mark.parametrize("lie", [MOST_AHEAD + 2, 900_000_000, MOST_EPOCH])
def test_a_center_that_claims_a_high_epoch_does_not_use_up_anothers(lie: int) -> None:
    """The next epoch then had more digits than a label of ours may have: the job was never seen."""
    liar, honest = Center("liar", lie), Center("honest", 3)
    assert sites(liar, honest).next_epoch("u1", 1) == 4
    assert honest.claims == []
    (claim,) = liar.claims
    assert str(lie) in claim


def test_an_epoch_that_a_restored_hub_may_have_forgotten_is_not_given_again() -> None:
    center = Center("honest", MOST_AHEAD)
    assert sites(center).next_epoch("u1", 0) == MOST_AHEAD + 1
    assert center.claims == []


def test_a_center_that_runs_what_another_was_given_is_told_to_stop_and_shown_as_lying() -> None:
    holder, liar = Center("south", 1), Center("liar", 1)
    status = placed(1)
    bound = msgspec.structs.replace(placement(1), cluster=holder.identity)
    status = msgspec.structs.replace(status, placement=bound)
    ((site, seen),) = sites(holder, liar).strays(job(status))
    assert (site.name, seen.epoch) == ("liar", 1)
    assert (holder.claims, len(liar.claims)) == ([], 1)


def test_a_cluster_that_joined_again_under_another_name_does_not_lie() -> None:
    again = Center("renamed", 1, identity="the-cluster")
    bound = msgspec.structs.replace(placement(1), cluster="the-cluster")
    status = msgspec.structs.replace(placed(1), placement=bound)
    assert len(sites(again).strays(job(status))) == 1
    assert again.claims == []
