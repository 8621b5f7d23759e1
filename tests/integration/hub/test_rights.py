"""No account has a right that it does not use: what is granted is held against what is called.

A federation of real programs with the rights of the charts lives through the lives of jobs in each
center while proxies count the calls. What only other tests need stands in a table, with where.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import pytest

from huiju.centers import agentrole, role, sentinelrole
from huiju.centers.role import RoleRule
from huiju.hub import role as hubrole
from huiju.kube.resources import CROSS_REGION_JOBS
from lab.proxy import FaultProxy
from tests.chaos.checks import nothing_left
from tests.chaos.federation import NAMESPACE, Federation, raised
from tests.chaos.load import Course, Order, body
from tests.chaos.plan import CENTERS, PULL, PUSH, SENTINELS
from tests.patience import PATIENCE

pytestmark = [pytest.mark.lab, pytest.mark.federation, pytest.mark.flaky(reruns=2)]

Right = tuple[str, str]
"""Verb and resource."""

GRANTED: Final[dict[str, tuple[RoleRule, ...]]] = {
    "hub": (*hubrole.CLUSTER, *hubrole.OWN, *hubrole.CARRY, *agentrole.HUB_IN_MAILBOX),
    "push": role.RULES,
    "agent": (
        *agentrole.ASKING,
        *agentrole.MAILBOX,
        *agentrole.HUB_WIDE,
        agentrole.own_center(PULL),
    ),
    "pull": (*agentrole.CENTER_LOOKING, *agentrole.CENTER_WORKING, *agentrole.CENTER_OWN),
    "sentinel": (*sentinelrole.OWN, *sentinelrole.CENTER),
}
LINKS: Final = {"hub": ("hub",), "push": PUSH, "agent": ("agent",), "pull": (PULL,)} | {
    "sentinel": SENTINELS
}
_DATA: Final = ("centercopies", "centerservings")
ELSEWHERE: Final[dict[str, dict[str, set[Right]]]] = {
    "hub": {
        "hub/test_transfers.py": {
            (verb, one) for verb in ("list", "watch", "create", "patch", "delete") for one in _DATA
        },
        "hub/test_copies.py": {
            *((verb, "datasetreplicas") for verb in ("create", "patch", "delete")),
            ("patch", "datasetreplicas/status"),
            ("patch", "datasetshares/status"),
            ("patch", "modelshares/status"),
        },
        "test_dataset_grants.py": {("patch", "datasetgrants/status")},
        "test_view_api.py": {
            ("get", "services"),
            *((verb, "endpointslices") for verb in ("get", "create", "patch")),
            *((verb, "apiservices") for verb in ("get", "patch")),
            ("create", "subjectaccessreviews"),
            ("update", "secrets"),
        },
        "hub/test_way_of_a_job.py": {("get", "crossregionjobs"), ("delete", "crossregionjobs")},
    },
    "push": {
        "test_syncer.py": {("get", "jobs")},
        "test_view_api.py": {("get", "pods/log")},
        "test_workload_ends.py": {("list", "events")},
    },
    "agent": {
        "hub/test_pull_access.py": {
            ("create", "serviceaccounts/token"),
            ("delete", "serviceaccounts"),
        },
        "hub/test_pull_centers.py": {("delete", "centerinventories")},
        "hub/test_transfers.py": {
            *((verb, one) for verb in ("list", "watch") for one in _DATA),
            *(("patch", f"{one}/status") for one in _DATA),
        },
    },
    "pull": {
        "hub/test_pull_access.py": {("patch", "secrets")},
        "test_syncer.py": {("get", "jobs")},
        "test_workload_ends.py": {("list", "events")},
    },
    "sentinel": {"hub/test_leases.py": {("patch", "jobs")}},
}
"""By account: rights that these lives do not need, by the test that shows their use."""


def rights(rules: Iterable[RoleRule]) -> set[Right]:
    return {(verb, one) for rule in rules for verb in rule.verbs for one in rule.resources}


def used(proxies: Iterable[FaultProxy]) -> set[Right]:
    return {right for proxy in proxies for right in proxy.passed}


def job(made: Federation, center: str, course: Course) -> dict[str, Any]:
    """A gang of two that carries a Secret and a ConfigMap, or one guarded pod."""
    guarded = course is Course.GUARD
    order = Order(
        at=0.0,
        name=f"{center}-{course}",
        course=course,
        queue="research",
        workers=1 if guarded else 2,
        cards=2,
        run_for=300.0 if course is Course.CANCEL else 3.0,
        carries=not guarded,
        act_after=0.0,
        once_running=False,
    )
    found = body(order, NAMESPACE, made.lake)
    found["spec"] |= {"placement": {"centers": [center]}}
    return found


async def until_phase(made: Federation, name: str, *phases: str) -> None:
    async with asyncio.timeout(2 * PATIENCE):
        while True:
            found = await made.user.get(CROSS_REGION_JOBS, name, NAMESPACE)
            if (found.get("status") or {}).get("phase") in phases:
                return
            await asyncio.sleep(0.2)


async def live(made: Federation, center: str) -> None:
    """Jobs that end by themselves, by their user's word, and under a guard."""
    user = made.user
    for course in (Course.RUN, Course.CANCEL, Course.GUARD):
        await user.create(CROSS_REGION_JOBS, job(made, center, course), NAMESPACE)
    stops = f"{center}-{Course.CANCEL}"
    await until_phase(made, stops, "Running")
    await user.patch(CROSS_REGION_JOBS, stops, {"spec": {"cancel": True}}, NAMESPACE)
    await until_phase(made, stops, "Cancelled")
    for course in (Course.RUN, Course.GUARD):
        await until_phase(made, f"{center}-{course}", "Succeeded")


async def test_every_right_is_used(tmp_path: Path) -> None:
    async with raised(f"rights-{os.getpid()}", tmp_path, 1) as made:
        await asyncio.gather(*(live(made, center) for center in CENTERS))
        assert await nothing_left(made, 2 * PATIENCE) == []
        for account, rules in GRANTED.items():
            spare = rights(rules) - used(made.proxies[link] for link in LINKS[account])
            assert spare <= set().union(*ELSEWHERE[account].values()), f"{account} has to spare"


def test_the_table_of_rights_is_about_what_there_is() -> None:
    folder = Path(__file__).parents[1]
    for account, tests in ELSEWHERE.items():
        for test, listed in tests.items():
            assert (folder / test).is_file(), test
            assert listed <= rights(GRANTED[account]), (
                f"{account}: {test} lists what is not granted"
            )
