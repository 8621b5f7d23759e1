"""What an owner reads of the policy and of jobs that might come agrees with what the agent does."""

from __future__ import annotations

from typing import Any

import pytest

from huiju.agent.explain import Known, Units, bundle_of, judge, oddities, rows
from huiju.agent.policy import Policy, check, parse
from huiju.centers.jobview import JobView
from huiju.centers.refusals import DispatchRefused
from tests.unit.centers.workloads import job, pod_spec

RESOURCE = "huawei.com/Ascend910"
GUARD = "registry.owner/huiju:1"
KNOWN = Known(
    units={RESOURCE: Units(allocatable=64, federated=24)},
    resources={"ascend-910b3": RESOURCE},
    namespaces=frozenset({"research", "kube-system"}),
    priority_classes=frozenset({"federated-low"}),
)


def refusals(policy: Policy, view: JobView, **more: str) -> tuple[str, ...]:
    (found,) = judge(policy, view, KNOWN, "0a1b2c3d", more.get("guard", ""), more.get("rank", ""))
    return found.refusals


@pytest.mark.parametrize(
    ("data", "view", "words"),
    [
        ({}, job(), None),
        ({"namespaces": "team-b, x-*"}, job(), "namespace team-a (namespaces)"),
        ({"kinds": "Job Service"}, job(carry={"secrets": ["key"]}), "a Secret (kinds)"),
        ({"kinds": "Job"}, job(workers=2), "a Service (kinds)"),
        ({"imagePrefixes": "registry.owner/"}, job(), "image registry.example/pangu:910b"),
        ({"priorityClasses": "federated-low"}, job(), "priority class (none)"),
        ({"serviceAccounts": "jobs"}, job(), "service account default (serviceAccounts)"),
        ({"maxUnits": f"{RESOURCE}=4"}, job(), "8 of huawei.com/Ascend910, of which 4 are lent"),
        ({"maxSharePercent": "10"}, job(), "of which 6 are lent (maxSharePercent)"),
        ({}, job(pod_spec(hostNetwork=True)), "hostNetwork"),
        (
            {},
            job(pod_spec(volumes=[{"name": "d", "hostPath": {"path": "/driver"}}])),
            "host path /driver (hostPaths)",
        ),
    ],
)
def test_what_is_told_of_a_job_is_what_the_agent_would_do(
    data: dict[str, str], view: JobView, words: str | None
) -> None:
    policy = parse(data)
    told = refusals(policy, view)
    if words is None:
        assert told == ()
        return
    assert words in "; ".join(told)


@pytest.mark.parametrize(
    "data", [{}, {"namespaces": "x"}, {"kinds": "Service"}, {"imagePrefixes": "registry.owner/"}]
)
def test_nothing_is_said_to_be_let_in_that_the_agent_refuses(data: dict[str, str]) -> None:
    policy, view = parse(data), job(workers=2)
    bundle = bundle_of(view, 0, RESOURCE, "0a1b2c3d", GUARD, "")
    try:
        check(policy, bundle, "0a1b2c3d")
    except DispatchRefused:
        assert refusals(policy, view)
    else:
        assert not refusals(policy, view)


def test_all_breaches_are_told_at_once() -> None:
    policy = parse({"namespaces": "x", "imagePrefixes": "registry.owner/", "maxSharePercent": "0"})
    assert len(refusals(policy, job())) == 3


def test_what_is_held_now_keeps_a_job_waiting_and_does_not_refuse_it() -> None:
    (found,) = judge(parse({"maxUnits": f"{RESOURCE}=28"}), job(), KNOWN, "0a1b2c3d", "", "")
    assert found.refusals == ()
    assert found.remarks == (f"waits now: it asks for 8 of {RESOURCE}, 4 are left (maxUnits)",)


def test_each_alternative_is_judged_by_itself() -> None:
    both: list[dict[str, Any]] = [
        {"model": "ascend-910b3", "perWorker": 8, "image": "registry.owner/t:npu"},
        {"model": "nvidia-h100-sxm", "perWorker": 8},
    ]
    policy = parse({"imagePrefixes": "registry.owner/"})
    first, second = judge(policy, job(accelerators=both), KNOWN, "0a1b2c3d", "", "")
    assert first.refusals == ()
    assert second.refusals == ("the center has no nvidia-h100-sxm",)


def test_the_guards_image_counts_where_it_is_known_and_is_named_where_it_is_not() -> None:
    policy = parse({"imagePrefixes": "registry.example/"})
    view = job(failover={"policy": "Reschedule"})
    assert refusals(policy, view, guard=GUARD) == (f"image {GUARD} (imagePrefixes)",)
    (found,) = judge(policy, view, KNOWN, "0a1b2c3d", "", "")
    assert found.refusals == ()
    assert "--guard-image" in found.remarks[0]


def test_the_rank_that_the_hub_gives_is_judged() -> None:
    policy = parse({"priorityClasses": "federated-low"})
    assert refusals(policy, job(), rank="federated-low") == ()
    assert "priority class high" in refusals(policy, job(), rank="high")[0]


def test_the_policy_is_read_out_with_the_numbers_of_now() -> None:
    told = dict(rows(parse({"maxSharePercent": "50", "kinds": "Job"}), KNOWN))
    assert told["units"] == f"32 of 64 {RESOURCE}, 24 held now"
    assert (told["kinds"], told["namespaces"], told["hostPaths"]) == ("Job", "all", "none")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"kinds": "Service"}, "without Job"),
        ({"kinds": "Job"}, "without Service"),
        ({"maxSharePercent": "0"}, "no job that asks for accelerators"),
        ({"centerNamespaces": "gone"}, "no namespace gone"),
        ({"priorityClasses": "gone"}, "no PriorityClass gone"),
        ({"maxUnits": "nvidia.com/gpu=8"}, "no node has nvidia.com/gpu"),
    ],
)
def test_what_an_owner_can_hardly_mean_is_pointed_out(data: dict[str, str], words: str) -> None:
    assert words in "; ".join(oddities(parse(data), KNOWN))


def test_what_may_not_be_read_is_not_said_to_be_missing() -> None:
    blind = Known(KNOWN.units, KNOWN.resources)
    policy = parse({"centerNamespaces": "gone"})
    assert list(oddities(policy, blind)) == []


def test_a_sensible_policy_has_no_oddities() -> None:
    sensible = {"centerNamespaces": "research", "maxUnits": f"{RESOURCE}=8", "namespaces": "a-*"}
    assert list(oddities(parse(sensible), KNOWN)) == []
