"""Free nodes that a center shows and does not have: who passes it over, and for how long."""

from __future__ import annotations

from dataclasses import replace

import pytest

from huiju.api.reasons import Reason
from huiju.centers.inventory import CenterInventory
from huiju.centers.observe import State
from huiju.centers.policy import center_view
from huiju.hub.lifecycle import Action, decide
from huiju.hub.promises import MOST_ASKS, Ask, Pace, Promises
from huiju.hub.settings import HubSettings
from huiju.scheduling.model import Doubt, ShareLimit
from tests.inventory_worlds import GPU, H100, inventory, node, pod, reservation
from tests.unit.centers.test_policy import NOON, spec
from tests.unit.test_hub_lifecycle import NOW, OK, job, observed, placed

MODEL = "nvidia-h100-sxm"
PACE = Pace(first=60.0, most=300.0, memory=1000.0)
EIGHT = Ask(MODEL, 8, 1)


def told(made: Promises, now: float) -> list[tuple[tuple[str, ...], bool]]:
    return [(doubt.namespaces, doubt.trial) for doubt in made.doubts(now)]


def test_what_one_namespace_met_concerns_its_own_jobs_and_what_two_met_all() -> None:
    made = Promises(PACE)
    assert made.broken(EIGHT, "a", 0.0, 300.0)
    (doubt,) = made.doubts(300.0)
    assert (doubt.model, doubt.per_worker, doubt.workers) == ("nvidia-h100-sxm", 8, 1)
    assert (doubt.namespaces, doubt.trial) == (("a",), False)
    assert "1 x 8 nvidia-h100-sxm" in doubt.message
    assert made.claim() == ""
    assert made.broken(EIGHT, "b", 10.0, 310.0)
    assert told(made, 310.0) == [((), False)]
    assert "did not find 2 times" in made.claim()


def test_jobs_that_were_sent_together_count_once_and_each_later_one_doubles_the_wait() -> None:
    made = Promises(PACE)
    assert made.broken(EIGHT, "a", 0.0, 300.0)
    assert not made.broken(EIGHT, "a", 1.0, 301.0)
    assert told(made, 359.0) == [(("a",), False)]
    assert told(made, 360.0) == [(("a",), True)], "one job may try"
    ends: list[int] = []
    for _ in range(4):
        now = 2000.0 * (len(ends) + 1)
        assert made.broken(EIGHT, "a", now - 300.0, now)
        ends.append(next(t for t in range(1, 999) if told(made, now + t)[0][1]))
    assert ends == [120, 240, 300, 300]


def test_a_job_that_gets_as_much_later_undoes_it() -> None:
    made = Promises(PACE)
    made.broken(EIGHT, "a", 0.0, 300.0)
    assert not made.kept(EIGHT, 299.0), "it was placed before anybody knew"
    assert not made.kept(Ask(MODEL, 4, 9), 400.0), "smaller nodes will do for it"
    assert not made.kept(Ask("ascend-910b3", 8, 1), 400.0)
    assert made.doubts(500.0)
    assert made.kept(Ask(MODEL, 8, 2), 400.0)
    assert made.doubts(500.0) == ()


def test_who_asks_for_what_no_node_gives_speaks_against_nobody() -> None:
    made = Promises(PACE)
    made.kept(EIGHT, 100.0)
    assert not made.broken(EIGHT, "hostile", 50.0, 350.0), "another job got as much meanwhile"
    assert made.broken(EIGHT, "a", 200.0, 500.0)


def test_memory_is_bounded_and_ends() -> None:
    made = Promises(PACE)
    for number in range(MOST_ASKS + 5):
        made.broken(Ask("m", number + 1, 1), "a", 0.0, 300.0 + number)
        made.kept(Ask("other", number + 1, 1), float(number))
    assert len(made.doubts(400.0)) == MOST_ASKS
    made.forget(400.0)
    assert made.doubts(400.0)
    made.forget(2000.0)
    assert made.doubts(2000.0) == ()


def four_nodes() -> CenterInventory:
    """32 units: 8 held by a pod of the network, 8 kept for one that has no node yet."""
    return inventory(
        *(node(f"n{i}", {GPU: "8"}, H100) for i in range(4)),
        pod("fed", "n0", {GPU: "8"}, owner=("a", 1)),
        reservation("b", 1, {GPU: 8}, n2=1),
    )


@pytest.mark.parametrize(
    ("most", "limit"),
    [(64, ShareLimit(MODEL, 16, 16, trial=True)), (12, ShareLimit(MODEL, 12, 16))],
)
def test_while_one_job_tries_no_other_is_sent_after_it(most: int, limit: ShareLimit) -> None:
    sharing = {"maxUnits": [{"model": MODEL, "units": most}]}
    doubt = Doubt(MODEL, 8, 1, trial=True)
    view = center_view(
        "east",
        spec(sharing=sharing),
        four_nodes(),
        closed="",
        message="",
        now=NOON,
        doubts=(doubt, replace(doubt, per_worker=4)),
    )
    assert view.limits == (limit,)
    assert len(view.doubts) == 2


# --- a center that never says that it found no nodes ---


def test_the_hub_goes_by_what_a_silent_center_shows_once_its_time_is_over() -> None:
    settings = HubSettings(deadline_slack=60.0)
    seen = observed(State.PENDING)
    early = decide(job(placed()), OK, seen, NOW + 359, settings)
    assert (early.action, early.again) == (Action.NONE, NOW + 360)
    late = decide(job(placed()), OK, seen, NOW + 360, settings)
    assert (late.action, late.reason) == (Action.STOP, Reason.UNSCHEDULABLE)
    assert (late.status.reason, late.status.phase) == (Reason.UNSCHEDULABLE, "Dispatching")
    assert late.status.placement is not None, "it may run there: it leaves when it is seen stopped"
    assert "0 of 1 workers" in late.status.message
    again = decide(job(late.status), OK, seen, NOW + 400, settings)
    assert (again.status, again.action) == (late.status, Action.STOP)


def test_workers_with_nodes_have_the_time_of_the_ready_deadline_on_top() -> None:
    settings = HubSettings(deadline_slack=60.0)
    seen = observed(State.PENDING, ready=1)
    last = NOW + 300 + 1800 + 60
    early = decide(job(placed()), OK, seen, last - 1, settings)
    assert (early.action, early.again) == (Action.NONE, last)
    late = decide(job(placed()), OK, seen, last, settings)
    assert (late.action, late.reason) == (Action.STOP, Reason.PODS_NOT_READY)
    assert late.status.placement is not None, "it may run there: it leaves when it is seen stopped"
    assert "ran within 30m, as far as center" in late.status.message
