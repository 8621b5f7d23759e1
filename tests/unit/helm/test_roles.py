"""What the generated roles must never grant, and what the values look like."""

from __future__ import annotations

import json

import pytest
import yaml

from helm.generate import CHARTS, crd_templates, permissions, schema, values_yaml
from helm.values import Values
from huiju.api.crd import KINDS
from huiju.centers import agentrole, sentinelrole
from huiju.centers.role import RULES, RoleRule
from huiju.hub import admission, role
from huiju.web.endpoint import Address, endpoint_slice

EVERYTHING = (
    *role.CLUSTER,
    *role.OWN,
    *role.CARRY,
    *RULES,
    *agentrole.HUB_IN_MAILBOX,
    *agentrole.MAILBOX,
    *agentrole.HUB_WIDE,
    *agentrole.CENTER_LOOKING,
    *agentrole.CENTER_WORKING,
    *sentinelrole.OWN,
    *sentinelrole.CENTER,
)


@pytest.mark.parametrize("rule", EVERYTHING, ids=lambda r: f"{r.group}/{','.join(r.resources)}")
def test_the_least(rule: RoleRule) -> None:
    assert "*" not in (rule.group, *rule.resources, *rule.verbs)
    assert "escalate" not in rule.verbs
    assert rule.why.endswith(".")
    if "secrets" in rule.resources:
        assert not {"list", "watch", "deletecollection"} & set(rule.verbs)
    if rule.names:
        assert "create" not in rule.verbs, "names do not bound it"
    if rule.names and rule.resources != ("leases",):
        # Of the one Lease both sides select by its name, which binds lists and watches too.
        assert not {"list", "watch"} & set(rule.verbs), "names do not bound these"
    assert rule.why in permissions()


def test_an_agents_rights_by_name_bind() -> None:
    """Lists and watches are bound by a name where the caller selects by it, as the agent does."""
    named = (
        *agentrole.BOOTSTRAP_RULES,
        *agentrole.ASKING,
        *agentrole.CENTER_OWN,
        agentrole.own_center("north"),
    )
    for rule in named:
        assert rule.why.endswith(".")
        assert "*" not in (rule.group, *rule.resources, *rule.verbs)
        if "create" in rule.verbs and rule.names:
            assert rule.resources == ("serviceaccounts/token",), "only a path names what it makes"
        if "secrets" in rule.resources:
            assert not {"list", "watch"} & set(rule.verbs)
    looking = {verb for rule in agentrole.CENTER_LOOKING for verb in rule.verbs}
    assert looking == {"get", "list", "watch"}


def test_no_secret_outside_the_own_namespace() -> None:
    assert not any("secrets" in r.resources or "configmaps" in r.resources for r in role.CLUSTER)


def test_users_specs_are_not_the_hubs_to_change() -> None:
    for rule in role.CLUSTER:
        if rule.resources == ("datasetreplicas",):
            # Ordered by people: the hub patches finalizers, and a policy keeps it from the rest.
            assert "update" not in rule.verbs
            by_hub = [o for o in admission.objects() if o["metadata"]["name"] == admission.REPLICAS]
            (policy,) = (o for o in by_hub if o["kind"] == "ValidatingAdmissionPolicy")
            change, order = (each["expression"] for each in policy["spec"]["validations"])
            assert change == "request.operation != 'UPDATE' || object.spec == oldObject.spec"
            assert order.startswith("request.operation != 'CREATE' || !has(object.spec.wanted)")
        elif rule.group == "huiju.dev" and not any("/status" in r for r in rule.resources):
            assert not {"create", "update", "patch"} & set(rule.verbs)


@pytest.mark.parametrize("model", CHARTS.values())
def test_values_are_strict_and_described(model: type[Values]) -> None:
    made = json.loads(schema(model))
    levels = [made, *made.get("$defs", {}).values()]
    for level in levels:
        assert level["additionalProperties"] is False
        for name, prop in level["properties"].items():
            nested = made["$defs"].get(prop.get("$ref", "").rpartition("/")[2], {})
            assert prop.get("description") or nested.get("description"), name
    assert model.model_validate(yaml.safe_load(values_yaml(model))) == model()


def test_every_kind_is_in_the_chart() -> None:
    made = dict(crd_templates())
    assert len(made) == len(KINDS)
    for text in made.values():
        assert text.count("helm.sh/resource-policy: keep") == 1


@pytest.mark.parametrize(("host", "family"), [("10.1.2.3", "IPv4"), ("fd00::1", "IPv6")])
def test_the_slice_leads_to_one_address(host: str, family: str) -> None:
    service = {"metadata": {"name": "huiju-view", "namespace": "huiju-system", "uid": "u"}}
    made = endpoint_slice(service, Address(host, 8443))
    assert made["addressType"] == family
    assert made["endpoints"] == [{"addresses": [host], "conditions": {"ready": True}}]
    assert made["metadata"]["labels"]["kubernetes.io/service-name"] == "huiju-view"
    assert made["metadata"]["ownerReferences"][0]["uid"] == "u"
