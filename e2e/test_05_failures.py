"""A program that fails, an image that is nowhere and a quota are three different things."""

from __future__ import annotations

from e2e.commands import step, until
from e2e.network import Network
from e2e.team import ASCEND, NVIDIA, Team, hub_id, rather


def test_failures_are_told_apart(net: Network, squad: Team) -> None:
    space = f"huiju-{hub_id(net.hub)}-{squad.namespace}"
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "cards", "namespace": space},
        "spec": {"hard": {f"requests.{ASCEND.resource}": "2"}},
    }
    step("a program that fails")
    squad.submit("broken", "fail", "7", retry={"maxAttempts": 2})
    until("the team's namespace in south", lambda: net.south.get("namespace", space))
    step("an image that is nowhere, and four cards where south's owner allows two")
    net.south.apply(quota)
    soon = {"schedulingDeadline": "15s"}
    nowhere = rather(ASCEND, NVIDIA)
    nowhere["accelerators"][0]["image"] = "huiju/nowhere:1"
    squad.submit("unpulled", **nowhere, **soon)
    squad.submit("greedy", **rather(ASCEND, NVIDIA, 4), **soon)

    broken = squad.until_phase("broken", "Failed", seconds=150)
    assert broken["reason"] == "ApplicationFailed", broken
    assert "exited with code 7" in broken["message"], broken
    assert broken["applicationFailures"] == 2, "each attempt counted"
    assert broken["epoch"] == 2, "each attempt an epoch of its own"
    assert not broken.get("placementFailures"), broken

    for name, reason, words in (
        ("unpulled", "ImagePullFailed", "huiju/nowhere:1"),
        ("greedy", "QuotaExceeded", "exceeded quota: cards"),
    ):
        ended = squad.until_phase(name, "Succeeded", seconds=150)
        assert ended["placement"]["center"] == "north", ended
        (past,) = ended["history"]
        assert (past["center"], past["reason"]) == ("south", reason), ended
        assert words in past["message"], past
        assert ended["placementFailures"] == 1, ended
        assert not ended.get("applicationFailures"), "not held against the program"
        assert [one["center"] for one in ended.get("avoid", ())] == ["south"], ended
