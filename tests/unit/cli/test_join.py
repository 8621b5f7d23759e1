from __future__ import annotations

import base64
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from huiju.api.center import ComputeCenter
from huiju.centers import role
from huiju.cli.ensure import difference
from huiju.cli.joining import Side, Wishes, account_steps, hub_steps, kubeconfig_text, wanted_access
from huiju.cli.probe import Deed
from huiju.kube.credentials import Credentials
from huiju.kube.kubeconfig import from_secret_bytes

FORBIDDEN = {
    "rbac.authorization.k8s.io",
    "admissionregistration.k8s.io",
    "certificates.k8s.io",
    "apiextensions.k8s.io",
}


def test_the_role_is_the_least() -> None:
    for rule in role.RULES:
        assert "*" not in (*rule.verbs, *rule.resources, rule.group)
        assert rule.group not in FORBIDDEN
        assert rule.why.endswith(".")
        if "secrets" in rule.resources:
            assert not {"list", "watch", "update", "patch"} & set(rule.verbs)
        if "nodes" in rule.resources or "pods" in rule.resources:
            assert set(rule.verbs) <= {"get", "list", "watch"}
    assert not any(
        r in rule.resources for rule in role.RULES for r in ("pods/exec", "serviceaccounts")
    )


def test_federated_pods_come_last() -> None:
    made = role.priority_class()
    assert made["value"] < 0
    assert made["preemptionPolicy"] == "Never"
    assert made["globalDefault"] is False


def test_the_order_of_the_plan() -> None:
    kinds = [step.res.kind for step in account_steps()]
    assert kinds == [
        "Namespace",
        "ServiceAccount",
        "ClusterRole",
        "ClusterRoleBinding",
        "PriorityClass",
        "Secret",
    ]
    assert "Secret" not in [s.res.kind for s in account_steps(token_secret=False)]
    steps = hub_steps(Wishes("guiyang", region="south"), "text")
    assert [s.res.kind for s in steps] == ["Namespace", "Secret", "ComputeCenter"]
    assert {s.side for s in steps} == {Side.HUB}
    for step in (*account_steps(), *steps):
        assert step.body["kind"] == step.res.kind
        assert step.body["apiVersion"] == step.res.api_version
        assert step.why


def test_the_center_is_one_that_the_model_takes() -> None:
    wishes = Wishes("guiyang", "south", ("domestic",), "Asia/Shanghai", 50, ("team-*",))
    body = hub_steps(wishes, "text")[-1].body
    spec = ComputeCenter.model_validate(body).spec
    assert spec.sharing.max_share_percent == 50
    assert spec.sharing.priority_class_name == role.PRIORITY_CLASS
    assert spec.connection.push is not None
    assert spec.connection.push.kubeconfig_secret.name == "center-guiyang"


def test_a_repeated_join_says_only_what_the_flags_name() -> None:
    spec = hub_steps(Wishes("guiyang"), "text")[-1].body["spec"]
    assert set(spec) == {"connection", "sharing"}
    assert set(spec["sharing"]) == {"priorityClassName"}


def test_the_hub_takes_the_kubeconfig_and_sees_nothing_of_the_caller() -> None:
    caller = Credentials(
        server="https://10.0.0.1:6443",
        ca_pem=b"pem",
        token="administrator",
        client_key_pem=b"key",
        tls_server_name="kubernetes",
    )
    text = kubeconfig_text("guiyang", caller, None, "its-own")
    assert "administrator" not in text
    assert base64.b64encode(b"key").decode() not in text
    taken = from_secret_bytes(text.encode())
    assert taken.token == "its-own"
    assert taken.tls_server_name == "kubernetes"
    assert taken.ca_pem == b"pem"
    elsewhere = kubeconfig_text("guiyang", caller, "https://other:443", "t")
    assert from_secret_bytes(elsewhere.encode()).server == "https://other:443"


def test_every_right_is_asked_for() -> None:
    deeds = wanted_access()
    assert Deed("get", "", "pods", "log") in deeds
    assert Deed("create", "batch", "jobs") in deeds
    assert Deed("patch", "coordination.k8s.io", "leases", name="huiju-sentinel") in deeds
    assert len(deeds) == sum(len(r.verbs) * len(r.resources) for r in role.RULES)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=8,
)
objects = st.dictionaries(st.text(max_size=2), values, max_size=4)


def merged(target: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    result = dict(target)
    for key, value in patch.items():
        known = result.get(key)
        if isinstance(value, dict) and isinstance(known, dict):
            result[key] = merged(known, value)
        else:
            result[key] = value
    return result


@given(objects, objects)
def test_a_difference_brings_the_wanted_and_then_nothing(
    wanted: dict[str, Any], found: dict[str, Any]
) -> None:
    after = merged(found, difference(wanted, found))
    assert difference(wanted, after) == {}
    assert difference(wanted, wanted) == {}
    assert set(found) <= set(after)
