"""What the owner lets in, counted while it is made and after."""

from __future__ import annotations

import pytest

from huiju.agent.owner import Owner
from huiju.centers.bundle import Bundle
from huiju.centers.census import Census, Contribution, Units
from huiju.centers.names import own_namespace
from huiju.centers.observe import Observation, State
from huiju.centers.refusals import DispatchRefused
from huiju.kube.client import Client
from huiju.kube.credentials import Credentials
from huiju.scheduling.model import Accelerator, UnitKind

HUB = "abcd1234"
GPU = "nvidia.com/gpu"
CARD = Accelerator("nvidia-h100-sxm", GPU, UnitKind.DEVICE, 989_000)


def bundle(uid: str, units: int, workers: int = 1) -> Bundle:
    requests = {"requests": {GPU: str(units), "rdma/hca": "1"}}
    spec = {"containers": [{"name": "c", "image": "i", "resources": requests}]}
    job = {"kind": "Job", "spec": {"completions": workers, "template": {"spec": spec}}}
    return Bundle(uid, "team", "job", 1, "north", own_namespace(HUB, "team"), "w", (job,))


class Center:
    """A center of 16 units, as an Owner asks for it."""

    def __init__(self, **policy: str) -> None:
        self.seen: dict[str, Observation] = {}
        self.federated = 0
        client = Client(Credentials("https://nowhere.invalid"), name="center")
        self.owner = Owner(client, "huiju-system", HUB, self.census, self.observed)
        self.owner.follow(policy)

    def census(self) -> Census:
        census = Census()
        units = Units(CARD, (), 16, 16, self.federated, 16, self.federated, False, True)
        census.add(Contribution(True, True, (units,), ()))
        return census

    def observed(self, uid: str) -> tuple[Observation, ...]:
        return (self.seen[uid],) if uid in self.seen else ()

    def show(self, uid: str, state: State, bound: int) -> None:
        self.seen[uid] = Observation(uid, 1, state, bound, bound)


def admitted(center: Center, given: Bundle) -> bool:
    try:
        center.owner.admit(given)
    except DispatchRefused:
        return False
    return True


def test_jobs_that_come_together_do_not_pass_a_limit_together() -> None:
    center = Center(maxSharePercent="50")
    assert admitted(center, bundle("one", 4))
    assert admitted(center, bundle("two", 4))
    with pytest.raises(DispatchRefused, match=f"hold 8 of {GPU}: 8 are held, and 1 more"):
        center.owner.admit(bundle("three", 1))


def test_what_was_made_counts_until_its_pods_do_and_no_longer_once_it_has_ended() -> None:
    center = Center(maxUnits=f"{GPU}=8")
    one = bundle("one", 4, workers=2)
    assert admitted(center, one)
    center.show("one", State.PENDING, 0)
    center.owner.settled(one)
    assert not admitted(center, bundle("two", 4))
    center.show("one", State.RUNNING, 2)
    center.federated = 8
    assert not admitted(center, bundle("two", 4))
    center.show("one", State.SUCCEEDED, 0)
    center.federated = 0
    assert admitted(center, bundle("two", 8))


def test_what_failed_to_be_made_is_not_counted() -> None:
    center = Center(maxUnits=f"{GPU}=8")
    lost = bundle("lost", 8)
    assert admitted(center, lost)
    center.owner.settled(lost)
    assert admitted(center, bundle("next", 8))


def test_what_ran_before_the_agent_began_is_recalled() -> None:
    center = Center(maxUnits=f"{GPU}=8")
    center.owner.recall(bundle("old", 8))
    center.show("old", State.PENDING, 0)
    assert not admitted(center, bundle("new", 1))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (None, "no ConfigMap huiju-policy"),
        ({"colour": "red"}, "no such key"),
    ],
)
def test_without_a_policy_nothing_is_let_in(data: dict[str, str] | None, told: str) -> None:
    center = Center()
    center.owner.admit(bundle("fine", 16))
    center.owner.follow(data)
    with pytest.raises(DispatchRefused, match=told):
        center.owner.admit(bundle("late", 1))
    assert told in center.owner.trouble
