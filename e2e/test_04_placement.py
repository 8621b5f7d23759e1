"""A full center sends work to the other; two full ones let it wait, and say why."""

from __future__ import annotations

import json

from e2e.commands import step, until
from e2e.network import Network, units
from e2e.team import ASCEND, NVIDIA, Team, on


def test_work_goes_where_room_is_and_waits_where_none_is(net: Network, squad: Team) -> None:
    step("two workers of eight cards fill south")
    squad.submit("filler", "run", "900", accelerators=on(ASCEND, units=8), workers=2)
    squad.until_phase("filler", "Running")
    net.until_center("south", lambda s: units(s, ASCEND) == (16, 16, 0), "full")

    step("what would rather be in south goes to north")
    either = on(ASCEND, NVIDIA, units=8)
    squad.submit("second", "run", "900", accelerators=either)
    second = squad.until_phase("second", "Running")
    assert second["placement"]["center"] == "north"
    assert second["placement"]["alternative"] == 1
    net.until_center("north", lambda s: units(s, NVIDIA) == (8, 8, 0), "full")

    step("a third one waits")
    squad.submit("third", "report", accelerators=either)
    third = squad.until("third", "waits with a reason", lambda s: s.get("reason"))
    assert third["phase"] == "Queued", third
    assert "placement" not in third
    answer = json.loads(squad.huiju("why", "third", "-o", "json"))
    said = {(one["center"], one["alternative"]): one for one in answer["centers"]}
    for center, alternative in (("south", 0), ("north", 1)):
        one = said[center, alternative]
        assert (one["verdict"], one["reason"]) == ("Refused", "NoNodeFits"), answer
        assert "8" in one["message"], "in numbers"
    text = squad.huiju("why", "third")
    assert "Position  1 in queue default" in text, text

    step("and starts when cards are free")
    squad.huiju("cancel", "filler")
    squad.until("filler", "cancelled", lambda s: s.get("phase") in ("Cancelled", "Failed"))
    third = squad.until_phase("third", "Succeeded")
    assert third["placement"]["center"] == "south"
    assert third["epoch"] == 1
    squad.huiju("cancel", "second")
    until("all pods are gone", lambda: squad.pods("second"), lambda pods: not pods)
