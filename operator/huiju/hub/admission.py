"""The hub's own admission policies: who may ask for data, and who may decide, as data.

Decides what the API server of the hub refuses whoever writes a DatasetGrant, whatever their roles
allow, and what it refuses the hub itself. Invariants: a copy that people
ordered is never another; the one who asks and the one who decides are who they say; nobody decides
without the verb `approve` on the share; a request never brings its own decision.
"""

from __future__ import annotations

from typing import Any, Final

from huiju.centers.role import PART_OF
from huiju.hub.role import ACCOUNT

NAME: Final = "huiju-grants"
_DECIDED: Final = (
    "has(object.spec.decision) && (!has(oldObject.spec.decision) ||"
    " object.spec.decision != oldObject.spec.decision)"
)
_SHARE: Final = (
    "authorizer.group('huiju.dev').resource('datasetshares')"
    ".namespace(object.spec.dataset.namespace).name(object.spec.dataset.name)"
)

VALIDATIONS: Final = (
    (
        "request.operation != 'CREATE' || object.spec.requestedBy == request.userInfo.username",
        "spec.requestedBy must be your own name, as `kubectl auth whoami` shows it",
    ),
    (
        "request.operation != 'CREATE' || !has(object.spec.decision)",
        "a request does not bring its own decision: leave spec.decision out",
    ),
    (
        "request.operation != 'UPDATE' || !has(oldObject.spec.decision) ||"
        " has(object.spec.decision)",
        "a decision is changed, never taken out",
    ),
    (
        f"request.operation != 'UPDATE' || !({_DECIDED}) ||"
        " object.spec.decision.by == request.userInfo.username",
        "spec.decision.by must be your own name, as `kubectl auth whoami` shows it",
    ),
    (
        f"request.operation != 'UPDATE' || !({_DECIDED}) || {_SHARE}.check('approve').allowed()",
        "only who has the verb approve on the DatasetShare decides on its grants (role"
        " huiju-data-owner in its namespace)",
    ),
)


REPLICAS: Final = "huiju-replicas"
_HUBS_OWN: Final = (
    "request.userInfo.username.startsWith('system:serviceaccount:') &&"
    f" request.userInfo.username.endsWith(':{ACCOUNT}')"
)
"""The hub's account, whatever its namespace."""


def objects() -> tuple[dict[str, Any], ...]:
    """The policies and their bindings."""
    grants = _policy(NAME, "datasetgrants", ("CREATE", "UPDATE"), VALIDATIONS)
    orders = (
        (
            "request.operation != 'UPDATE' || object.spec == oldObject.spec",
            "the hub changes no order of a copy",
        ),
        (
            "request.operation != 'CREATE' || !has(object.spec.wanted) || !object.spec.wanted",
            "the hub orders no copy in a person's name",
        ),
    )
    replicas = _policy(REPLICAS, "datasetreplicas", ("CREATE", "UPDATE"), orders)
    replicas["spec"]["matchConditions"] = [{"name": "by-the-hub", "expression": _HUBS_OWN}]
    return grants, _binding(NAME), replicas, _binding(REPLICAS)


def _policy(
    name: str,
    resource: str,
    operations: tuple[str, ...],
    validations: tuple[tuple[str, str], ...],
) -> dict[str, Any]:
    rule = {
        "apiGroups": ["huiju.dev"],
        "apiVersions": ["*"],
        "operations": list(operations),
        "resources": [resource],
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name, "labels": dict(PART_OF)},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [
                {"expression": expression, "message": message, "reason": "Forbidden"}
                for expression, message in validations
            ],
        },
    }


def _binding(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name, "labels": dict(PART_OF)},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }
