"""The hub's store is put back to a backup: no epoch is used twice, nothing is removed in bulk."""

from __future__ import annotations

import re
from typing import Any, Final

from e2e import backup
from e2e.commands import step, until
from e2e.network import SYSTEM, Network, condition, ready
from e2e.team import ASCEND, NVIDIA, Team, rather

Fields = dict[str, Any]
MANY: Final = 12
"""More than the ten seeming orphans that are still taken for coincidence."""
REMOVAL: Final = r"huiju\.dev/allow-orphan-removal=[0-9a-f]{8}"


def alive(squad: Team, name: str) -> set[tuple[str, str]]:
    """Center and UID of the pods of a job that are to go on."""
    return {
        (center, pod["metadata"]["uid"])
        for center, pod in squad.pods(name)
        if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]
    }


def schedulable(status: Fields) -> Fields:
    """The condition, empty where nothing is said."""
    found = [c for c in status.get("conditions") or () if c["type"] == "Schedulable"]
    return found[0] if found else {}


def goes_on(squad: Team, name: str, epoch: int, center: str) -> None:
    """Wait until the hub takes a job to run where it runs."""
    status = squad.until(
        name,
        "runs as before",
        lambda s: s.get("epoch") == epoch and s.get("phase") == "Running",
        seconds=150,
    )
    assert status["placement"]["center"] == center, status


def test_a_restored_hub_goes_on_from_what_runs(net: Network, squad: Team) -> None:
    step("before the backup: a job that stays, one that will move, one that waits")
    squad.submit("stays", "run", "900")
    squad.submit("moves", "run", "900", **rather(ASCEND, NVIDIA))
    squad.submit("waits", "run", "900", placement={"centers": ["nowhere"]})
    for name in ("stays", "moves"):
        assert squad.until_phase(name, "Running")["placement"]["center"] == "south"
    squad.until_phase("waits", "Queued")
    backup.save(net.hub)

    step(f"after it: it moves, it starts, and {MANY} new ones run")
    squad.huiju("move", "moves")
    squad.edit("waits", placement={"centers": ["south"]})
    names = [f"new-{number}" for number in range(MANY)]
    for name in names:
        squad.submit(name, "run", "900")
    moved = squad.until(
        "moves", "runs again", lambda s: s.get("epoch") == 2 and s.get("phase") == "Running"
    )
    assert moved["placement"]["center"] == "north", moved
    for name in ("waits", *names):
        squad.until_phase(name, "Running", seconds=150)
    ran = {name: alive(squad, name) for name in ("stays", "moves", "waits", *names)}
    assert all(len(found) == 1 for found in ran.values()), ran

    step("the store of the hub's cluster is put back")
    backup.put_back(net.hub)
    assert not [n for n in names if squad.exists(n)], "the backup knows nothing of them"
    net.hub.until_rolled_out("deployment/huiju-hub", SYSTEM)
    goes_on(squad, "stays", 1, "south")
    goes_on(squad, "moves", 2, "north")
    goes_on(squad, "waits", 1, "south")
    said = net.until_center(
        "south", lambda s: schedulable(s).get("reason") == "MassOrphans", "keeps seeming orphans"
    )
    assert {name: alive(squad, name) for name in ran} == ran, "the very pods that ran before"

    step("the operator says that they may go")
    word = re.search(REMOVAL, schedulable(said)["message"])
    assert word, said
    net.hub.kubectl("annotate", "computecenter", "south", word.group())
    until(
        "the orphans are gone",
        lambda: [name for name in names if squad.workloads(name)],
        lambda left: not left,
        seconds=120,
    )
    net.until_center("south", lambda s: condition(s, "Schedulable") == "True", "takes jobs again")
    for name in ("stays", "moves", "waits"):
        assert alive(squad, name) == ran[name]
        squad.huiju("cancel", name)
        squad.until_phase(name, "Cancelled")
    step("and work goes on")
    squad.submit("later")
    assert squad.until_phase("later", "Succeeded")["epoch"] == 1
    for name in net.centers:
        net.until_center(name, ready, "Ready")
